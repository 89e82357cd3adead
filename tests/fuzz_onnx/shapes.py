# SPDX-License-Identifier: MIT
# Copyright (c) The gradc authors
"""Generators of operators that move elements, and of those that take them by index."""
import numpy as np
from onnx import TensorProto, numpy_helper

from elements import axis_of, broadcast_operand, maybe, some_axes
from graph import ALL, FLOATS, INTEGERS, Reject, element_type


def any_value(g, accept=lambda v: True, **more):
    """Mostly of the graph's own float type."""
    return g.pick((g.float,) if g.chance(0.85) else ALL, accept, **more)


def factored(g, size):
    """A random shape of that many elements."""
    shape = [1] * g.choose([0, 0, 0, 1])
    while size > 1:
        divisors = [d for d in range(2, size + 1) if size % d == 0]
        d = g.choose(divisors)
        shape.append(d)
        size //= d
    g.rng.shuffle(shape)
    return shape


def reshape(g):
    x = any_value(g, lambda v: v.size or g.chance(0.3))
    if not x.size:
        target = list(x.shape) + [1] if g.chance(0.5) else [0] + [3]
        return g.node("Reshape", [x, g.fixed(np.array(target, np.int64))], allowzero=1 if g.opset >= 14 else None)
    target = factored(g, x.size)[:6]
    if np.prod(target, dtype=int) != x.size:
        raise Reject
    how = g.rng.random()
    if how < 0.3 and target:  # one extent follows from the others; one may be the operand's own
        target[g.rng.randrange(len(target))] = -1
        for k in range(min(len(target), x.rank)):
            if target[k] == x.shape[k] and g.chance(0.5):
                target[k] = 0
        return g.node("Reshape", [x, g.fixed(np.array(target, np.int64))])
    g.node("Reshape", [x, g.extents(target)])


def flatten(g):
    x = any_value(g)
    axis = g.rng.randint(0 if g.opset < 11 else -x.rank, x.rank)
    g.node("Flatten", [x], **(maybe(g, axis=axis) if x.rank else {"axis": 0}))


def squeeze(g):
    x = any_value(g, lambda v: 1 in v.shape)
    ones = [k for k, n in enumerate(x.shape) if n == 1]
    axes = g.rng.sample(ones, g.rng.randint(1, len(ones))) if g.chance(0.8) else None
    if g.opset >= 13:
        return g.node("Squeeze", [x, None if axes is None else g.fixed(np.array(axes, np.int64))])
    g.node("Squeeze", [x], axes=axes)


def unsqueeze(g):
    x = any_value(g, lambda v: v.rank < 5)
    rank = x.rank + g.choose([1, 1, 2])
    axes = g.rng.sample(range(rank), rank - x.rank)
    if g.opset >= 11 and g.chance(0.3):
        axes = [a - rank for a in axes]
    g.unsqueeze(x, axes)


def transpose(g):
    x = any_value(g)
    perm = list(range(x.rank))
    g.rng.shuffle(perm)
    g.node("Transpose", [x], **(maybe(g, perm=perm) if x.rank > 1 else {}))


def concat(g):
    x = any_value(g, lambda v: v.rank)
    axis = g.rng.randrange(x.rank)
    others = [x]
    for _ in range(g.choose([0, 1, 1, 2, 3])):
        def fits(v):
            return v.rank == x.rank and all(a == b for k, (a, b) in enumerate(zip(v.shape, x.shape)) if k != axis)
        shape = x.shape[:axis] + (g.rng.randint(0 if g.chance(0.1) else 1, 3),) + x.shape[axis + 1:]
        others.append(g.pick(x.dtype, fits, make=lambda: shape, reuse=0.7))
    g.node("Concat", others, axis=axis - x.rank if g.opset >= 11 and g.chance(0.3) else axis)


def split_lengths(g, n):
    pieces = g.rng.randint(1, min(n, 4)) if n else 1
    cuts = sorted(g.rng.sample(range(1, n), pieces - 1)) if pieces > 1 else []
    return [b - a for a, b in zip([0, *cuts], [*cuts, n])]


def split(g):
    x = any_value(g, lambda v: v.rank and v.size)
    axis = axis_of(g, x.rank) if g.opset >= 11 else g.rng.randrange(x.rank)
    lengths = split_lengths(g, x.shape[axis])
    wanted = [True] * len(lengths)  # onnxruntime crashes where one has no name
    even = [n for n in range(1, x.shape[axis] + 1) if x.shape[axis] % n == 0]
    if g.chance(0.4):  # into equal parts, with no lengths given
        n = g.choose(even if g.opset < 18 else range(1, x.shape[axis] + 1))
        wanted = [True] * n
        return g.node("Split", [x], wanted=wanted, axis=axis, num_outputs=n if g.opset >= 18 else None)
    if g.opset >= 13:
        return g.node("Split", [x, g.extents(lengths)], wanted=wanted, axis=axis)
    g.node("Split", [x], wanted=wanted, axis=axis, split=lengths)


def slice_(g):
    x = any_value(g, lambda v: v.rank)
    axes = g.rng.sample(range(x.rank), g.rng.randint(1, x.rank))
    starts, ends, steps = [], [], []
    for a in axes:
        n, step = x.shape[a], g.choose([1, 1, 1, 2, 3, -1, -1, -2]) if g.opset >= 10 else 1
        low, high = sorted([g.rng.randint(0, n), g.rng.randint(0, n)])
        if low == high and not g.chance(0.05):
            low, high = 0, n
        if step > 0:
            start, end = low, g.choose([high, high, high - n, 2**31 - 1, 2**63 - 1]) if high == n else high
            end = end if end != 0 or high == 0 else high
        else:
            start, end = high - 1 if g.chance(0.5) else g.choose([high - 1, 2**31 - 1]) if high == n else high - 1, low - 1
            end = -(n + 1) if low == 0 else end
        starts.append(start - n if start > 0 and start < n and g.chance(0.3) else start)
        ends.append(end)
        steps.append(step)
    first = axes == list(range(len(axes)))
    if g.opset < 10:
        return g.node("Slice", [x], starts=starts, ends=ends, axes=None if first and g.chance(0.5) else axes)
    kind = g.choose(["int64", "int64", "int32"])
    if kind == "int32":
        ends = [min(e, 2**31 - 1) for e in ends]
    made = lambda numbers: g.fixed(np.array(numbers, kind))
    no_steps = all(s == 1 for s in steps) and g.chance(0.6)
    no_axes = first and g.chance(0.4)
    small = kind == "int64" and max(ends) < 100 and min(ends) >= 0
    operands = [g.extents(ends) if small else made(ends), None if no_axes else made(axes), None if no_steps else made(steps)]
    g.node("Slice", [x, made(starts), *operands])


def expand(g):
    x = any_value(g)
    shape = [g.rng.randint(1, 4) if n == 1 else g.choose([n, n, 1]) for n in x.shape]
    shape = [g.rng.randint(1, 3) for _ in range(g.choose([0, 0, 1]))] + shape
    if g.chance(0.2):
        shape = shape[-g.rng.randint(0, len(shape)):] if shape else shape
    g.node("Expand", [x, g.extents(shape)])


def tile(g):
    x = any_value(g)
    g.node("Tile", [x, g.fixed(np.array([g.choose([1, 1, 2, 3, 0] if g.chance(0.03) else [1, 1, 2, 3]) for _ in x.shape], np.int64))])


def pad(g):
    mode = g.choose(["constant", "constant", "constant", "reflect", "edge"] + (["wrap"] if g.opset >= 19 else []))
    types = g.allowed("Pad")
    x = g.pick((g.float,) if g.chance(0.8) else types, lambda v: v.rank and v.size)
    pads = []
    for side in range(2):
        for n in x.shape:
            most = {"reflect": n - 1, "wrap": n}.get(mode, 2)
            p = g.rng.randint(0, max(0, min(2, most))) if g.chance(0.6) else 0
            pads.append(-1 if mode == "constant" and n > 2 and g.chance(0.15) else p)
    value = g.choose([0, 1, -1]) if x.dtype[0] != "u" else 1
    if g.opset < 11:
        return g.node("Pad", [x], pads=pads, mode=mode, value=float(value) if g.chance(0.5) else None)
    axes = None
    if g.opset >= 18 and g.chance(0.4):
        axes = g.rng.sample(range(x.rank), g.rng.randint(1, x.rank))
        pads = [pads[a] for a in axes] + [pads[x.rank + a] for a in axes]
        axes = np.array([a - x.rank if g.chance(0.3) else a for a in axes], np.int64)
    fill = g.fixed(np.asarray(value).astype(x.array.dtype)) if mode == "constant" and g.chance(0.6) else None
    g.node("Pad", [x, g.fixed(np.array(pads, np.int64)), fill, None if axes is None else g.fixed(axes)], mode=mode)


def center_crop_pad(g):
    x = any_value(g, lambda v: v.rank and v.size)
    axes = g.rng.sample(range(x.rank), g.rng.randint(1, x.rank)) if g.chance(0.5) else None
    n = len(axes) if axes else x.rank
    g.node("CenterCropPad", [x, g.fixed(np.array([g.rng.randint(1, 5) for _ in range(n)], np.int64))], axes=axes)


def shape_of(g):
    x = any_value(g)
    if g.chance(0.2):
        return g.node("Size", [x])
    more = maybe(g, start=g.rng.randint(-2, 2), end=g.rng.randint(-2, 3)) if g.has("Shape", "start") else {}
    g.node("Shape", [x], **more)


def constant_of_shape(g):
    kind = g.choose([g.float] * 3 + [t for t in ALL if t != "bfloat16" or g.opset >= 20])
    value = numpy_helper.from_array(g.data(kind, (1,)), "value") if g.chance(0.8) else None
    g.node("ConstantOfShape", [g.extents(g.some_shape(g.choose([0, 1, 2, 3])))], value=value)


def eye_like(g):
    kind = g.choose(["float32", "float64", "int32", "int64"])
    g.node("EyeLike", [any_value(g, rank=2)], **maybe(g, k=g.rng.randint(-2, 2), dtype=element_type(kind)))


def range_(g):
    kind = g.choose(["int64", "int64", "int32", "float32"])
    step = g.choose([1, 1, 2, -1])
    start = g.rng.randint(-3, 3)
    limit = start + step * g.rng.randint(1, 6)
    made = lambda n: g.fixed(np.array(n, kind))
    if kind == "int64" and step == 1 and g.chance(0.4):
        return g.node("Range", [made(0), squeezed(g, g.extent(g.rng.randint(1, 6))), made(1)])
    g.node("Range", [made(start), made(limit), made(step)])


def squeezed(g, v):
    """A vector of one element as a scalar."""
    return g.node("Squeeze", [v, g.fixed(np.array([0], np.int64))]) if g.opset >= 13 else g.node("Squeeze", [v], axes=[0])


def trilu(g):
    x = any_value(g, lambda v: v.rank >= 2)
    g.node("Trilu", [x, g.fixed(np.array(g.rng.randint(-3, 3), np.int64)) if g.chance(0.6) else None], **maybe(g, upper=g.choose([0, 1])))


def depth_to_space(g):
    b = g.choose([1, 2, 2, 3])
    if g.chance(0.5):
        x = g.pick(rank=4, accept=lambda v: v.size and v.shape[1] % (b * b) == 0, make=lambda: (g.choose([1, 2]), b * b * g.choose([1, 2]), 2, 1))
        return g.node("DepthToSpace", [x], blocksize=b, **(maybe(g, mode=g.choose(["DCR", "CRD"])) if g.opset >= 11 else {}))
    x = g.pick(rank=4, accept=lambda v: v.size and v.shape[2] % b == 0 and v.shape[3] % b == 0, make=lambda: (1, g.choose([1, 2, 3]), b * 2, b))
    g.node("SpaceToDepth", [x], blocksize=b)


def resize(g):
    x = g.pick(accept=lambda v: v.rank and v.size and (v.rank <= 4), rank=(1, 2, 3, 4))
    spatial = [k for k in range(x.rank) if x.rank < 3 or k >= 2]
    scales = [1.0] * x.rank
    for k in spatial:
        scales[k] = g.choose([1.0, 2.0, 2.0, 0.5, 3.0, 1.5, 0.7, 2.6, 0.35])
    if g.opset < 10:
        if x.rank != 4:
            raise Reject
        scales = [1.0, 1.0] + [g.choose([1.0, 2.0, 3.0]) for _ in range(2)]
        mode = g.choose(["nearest", "linear"])
        if g.opset == 9:
            return g.node("Upsample", [x, g.fixed(np.array(scales, np.float32))], mode=mode)
        return g.node("Upsample", [x], mode=mode, scales=scales)
    alone = x.rank < 3 or g.float != "float32"  # onnxruntime cannot
    exact = [n * float(np.float32(s)) for n, s in zip(x.shape, scales)]  # onnx.reference multiplies in double, gradc and onnxruntime in f32
    fractions = any(e != int(e) for e in exact)
    if g.opset == 10:
        if alone and fractions:
            raise Reject
        return g.node("Resize", [x, g.fixed(np.array(scales, np.float32))], mode=g.choose(["nearest", "linear"]))
    mode = g.choose(["nearest", "nearest", "linear", "linear", "cubic"])
    if mode == "cubic" and x.rank < 2:
        mode = "linear"
    positions = ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"] + (["half_pixel_symmetric"] if g.opset >= 19 else [])
    position = g.choose(positions)
    alone = alone or (mode == "cubic" and x.rank != 4)
    if alone and (position == "pytorch_half_pixel" or fractions):
        raise Reject  # onnx.reference takes extents for fractions, and has another position of one element than the specification
    how = {"mode": mode, "coordinate_transformation_mode": position}
    if mode == "nearest":
        how |= maybe(g, nearest_mode=g.choose(["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]))
    if mode == "cubic":
        how |= maybe(g, cubic_coeff_a=g.choose([-0.5, -0.75]), exclude_outside=g.choose([0, 1]))
    if mode != "nearest" and g.opset >= 18 and g.chance(0.2):
        how["antialias"] = 1
    roi = g.fixed(np.array([], np.float32)) if g.opset < 13 or g.chance(0.3) else None
    if g.chance(0.5):
        sizes = [max(1, int(n * s)) for n, s in zip(x.shape, scales)]
        empty = g.fixed(np.array([], np.float32)) if g.opset < 13 else None
        return g.node("Resize", [x, roi, empty, g.extents(sizes)], **how)
    g.node("Resize", [x, roi, g.fixed(np.array(scales, np.float32))], **how)


def sequence(g):
    """A tensor split to a sequence, or tensors made one, and what is taken from it."""
    x = g.pick(accept=lambda v: v.rank and v.size)
    name, out, axis = g.name("s"), g.name("v"), axis_of(g, x.rank)
    if g.chance(0.5):
        n, more = x.shape[axis], {}
        length = None if g.chance(0.5) else g.fixed(np.array(split_lengths(g, n), np.int64))
        if length is None and g.chance(0.5):
            more["keepdims"] = 0
        first, count = g.proto("SplitToSequence", [x, length], [name], axis=axis, **more), n if length is None else length.size
    else:
        parts = [x] + [g.pick(x.dtype, lambda v: v.shape == x.shape, make=lambda: x.shape) for _ in range(g.choose([0, 1, 2]))]
        first, count, more, length = g.proto("SequenceConstruct", parts, [name]), len(parts), {"keepdims": 1}, None
    how = g.choose(["SequenceAt", "SequenceLength", "ConcatFromSequence"])
    if how == "SequenceAt":
        k = g.rng.randrange(count)
        second = g.proto(how, [name, g.fixed(np.array(k - count if g.chance(0.3) else k, np.int64))], [out])
    elif how == "SequenceLength":
        second = g.proto(how, [name], [out])
    else:
        rank = x.rank - 1 if more.get("keepdims") == 0 else x.rank
        new = rank == 0 or (g.chance(0.4) and (length is None))
        second = g.proto(how, [name], [out], axis=0 if rank == 0 else g.rng.randrange(rank), new_axis=int(new))
    g.append([first, second], [out])


# ---- By index ----

def indices(g, n, shape, low=None):
    """Indices below n, some counted from the end; a constant, an input, or computed."""
    r = np.random.RandomState(g.rng.randrange(2**31))
    low = -n if low is None and g.opset >= 11 and g.chance(0.4) else low or 0
    a = r.randint(low, n, shape).astype(g.choose(["int64", "int64", "int32"]))
    how = g.rng.random()
    return g.fixed(a) if how < 0.4 else g.input(a) if how < 0.9 else g.node("Identity", [g.input(a)])


def gather(g):
    x = any_value(g, lambda v: v.rank and v.size)
    axis = axis_of(g, x.rank)
    g.node("Gather", [x, indices(g, x.shape[axis], g.some_shape(g.choose([0, 1, 1, 2]), 4))], **(maybe(g, axis=axis) if g.chance(0.2) and axis in (
        0, -x.rank) else {"axis": axis}))


def gather_elements(g):
    x = any_value(g, lambda v: v.rank and v.size)
    axis = axis_of(g, x.rank)
    shape = [g.rng.randint(1, 4) if k == axis % x.rank else g.rng.randint(1, n) for k, n in enumerate(x.shape)]
    g.node("GatherElements", [x, indices(g, x.shape[axis], shape)], axis=axis)


def index_rows(g, x, lead, depth, batch=0):
    """Rows of `depth` indices into x behind its batch dimensions."""
    r = np.random.RandomState(g.rng.randrange(2**31))
    rows = np.stack([r.randint(-x.shape[batch + k] if g.chance(0.3) else 0, x.shape[batch + k], lead) for k in range(depth)], -1).astype(np.int64)
    return g.fixed(rows) if g.chance(0.4) else g.input(rows)


def gather_nd(g):
    x = any_value(g, lambda v: v.rank and v.size)
    batch = g.choose([0, 0, 0, 1]) if g.opset >= 12 and x.rank > 1 else 0
    depth = g.rng.randint(1, x.rank - batch)
    lead = x.shape[:batch] + g.some_shape(g.choose([0, 1, 2]) if batch else g.choose([1, 2]), 3)
    g.node("GatherND", [x, index_rows(g, x, lead, depth, batch)], batch_dims=batch or None)


def reductions(g, op):
    kinds = [None, "none", "none"]
    if g.opset >= 16:
        kinds += ["add", "mul"]
    if g.opset >= 18:
        kinds += ["max", "min"]
    return g.choose(kinds) if g.has(op, "reduction") else None


def scatter_elements(g):
    x = g.pick(accept=lambda v: v.rank and v.size)
    op = "ScatterElements" if g.opset >= 11 else "Scatter"
    axis = axis_of(g, x.rank) if g.opset >= 11 else g.rng.randrange(x.rank)
    how = reductions(g, op)
    shape = [g.rng.randint(1, n) for n in x.shape]
    r = np.random.RandomState(g.rng.randrange(2**31))
    if how in (None, "none"):  # each place once, or which one wins is not defined
        order = np.argsort(r.rand(*[x.shape[k] if k == axis % x.rank else n for k, n in enumerate(shape)]), axis)
        places = np.take(order, range(shape[axis]), axis)
    else:
        places = r.randint(-x.shape[axis], x.shape[axis], shape)
    places = places.astype(np.int64)
    index = g.fixed(places) if g.chance(0.4) else g.input(places)
    g.node(op, [x, index, g.pick(x.dtype, lambda v: v.shape == tuple(shape), make=lambda: tuple(shape))], axis=axis, reduction=how)


def scatter_nd(g):
    x = g.pick(accept=lambda v: v.rank and v.size)
    depth, how = g.rng.randint(1, x.rank), reductions(g, "ScatterND")
    n = g.rng.randint(1, 3)
    r = np.random.RandomState(g.rng.randrange(2**31))
    if how in (None, "none"):
        total = int(np.prod(x.shape[:depth]))
        n = min(n, total)
        rows = np.stack(np.unravel_index(r.permutation(total)[:n], x.shape[:depth]), -1).astype(np.int64)
        index = g.fixed(rows) if g.chance(0.4) else g.input(rows)
    else:
        index = index_rows(g, x, (n,), depth)
    shape = (n, *x.shape[depth:])
    g.node("ScatterND", [x, index, g.pick(x.dtype, lambda v: v.shape == shape, make=lambda: shape)], reduction=how)


def one_hot(g):
    depth = g.rng.randint(1, 5)
    index = indices(g, depth, g.some_shape(g.choose([1, 1, 2]), 4), low=-depth if g.opset >= 11 else 0)
    values = g.fresh(g.choose([g.float, "int64"]), (2,))
    g.node("OneHot", [index, g.fixed(np.array(g.choose([depth, [depth]]), g.choose(["int64", "int32"]))), values], **maybe(
        g, axis=g.rng.randint(-index.rank - 1, index.rank)))


def reverse_sequence(g):
    x = any_value(g, lambda v: v.rank >= 2 and v.size)
    batch = g.choose([0, 1])
    r = np.random.RandomState(g.rng.randrange(2**31))
    lengths = r.randint(1, x.shape[1 - batch] + 1, x.shape[batch]).astype(np.int64)
    g.node("ReverseSequence", [x, g.fixed(lengths) if g.chance(0.5) else g.input(lengths)], batch_axis=batch, time_axis=1 - batch)


def compress(g):
    x = any_value(g, lambda v: v.rank and v.size)
    axis = axis_of(g, x.rank) if g.opset >= 11 else g.rng.randrange(x.rank)
    flat = g.chance(0.3)
    keep = g.data("bool", (g.rng.randint(1, x.size if flat else x.shape[axis]),))
    keep[0] = True
    g.node("Compress", [x, g.fixed(keep)], axis=None if flat else axis)


GENERATORS = {reshape: 8, flatten: 1, squeeze: 2, unsqueeze: 3, transpose: 6, concat: 4, split: 3, slice_: 6, expand: 4, tile: 2, pad: 4,
              center_crop_pad: 0.7, shape_of: 1.5, constant_of_shape: 1, eye_like: 0.5, range_: 1, trilu: 1, depth_to_space: 1, resize: 3,
              sequence: 1.5, gather: 3, gather_elements: 2, gather_nd: 2, scatter_elements: 2, scatter_nd: 2, one_hot: 1,
              reverse_sequence: 1, compress: 0.7}
