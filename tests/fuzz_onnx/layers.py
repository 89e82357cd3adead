# SPDX-License-Identifier: MIT
# Copyright (c) The gradc authors
"""Generators of contractions, windows, normalisations, losses, recurrent layers, and control flow."""
import string
import numpy as np
from onnx import TensorProto, helper

from elements import axis_of, broadcast_operand, maybe, some_axes
from graph import Graph, Reject, element_type


def weight(g, shape, dtype=None):
    """An operand of that shape: most often an initializer."""
    return g.pick(dtype or g.float, lambda v: v.shape == tuple(shape), make=lambda: tuple(shape), reuse=0.3)


def matmul(g):
    x = g.pick((g.float,) if g.chance(0.9) else g.allowed("MatMul"), lambda v: v.rank and v.size)
    n, lead = g.rng.randint(1, 5), [1 if g.chance(0.3) else n for n in x.shape[:-2]]
    lead = lead[g.rng.randint(0, len(lead)):] if lead else [g.rng.randint(1, 3)] if g.chance(0.2) else []
    shape = (x.shape[-1],) if g.chance(0.1) else (*lead, x.shape[-1], n)
    y = weight(g, shape, x.dtype)
    g.node("MatMul", [x, y])


def matmul_integer(g):
    x = g.pick(("uint8", "int8"), lambda v: v.rank and v.size)
    n, kind = g.rng.randint(1, 5), g.choose(["uint8", "int8"])
    y = weight(g, g.choose([(x.shape[-1], n)] * 3 + [(x.shape[-1],), (2, x.shape[-1], n)]) if x.rank < 3 else (x.shape[-1], n), kind)
    p = g.fixed(g.data(x.dtype, ())) if g.chance(0.6) else None
    q = g.fixed(g.data(kind, (n,) if y.rank == 2 and g.chance(0.5) else ())) if g.chance(0.6) else None
    g.node("MatMulInteger", [x, y] + ([p, q] if q else [p] if p else []))


def gemm(g):
    x = g.pick(rank=2, accept=lambda v: v.size)
    ta, tb = g.choose([0, 0, 1]), g.choose([0, 1])
    m, k = x.shape[::-1] if ta else x.shape
    n = g.rng.randint(1, 5)
    y = weight(g, (n, k) if tb else (k, n))
    c = None
    if g.opset < 11 or g.chance(0.7):
        c = weight(g, g.choose([(m, n), (1, n), (n,), (m, 1), (), (1,)]))
    g.node("Gemm", [x, y, c], **maybe(g, alpha=g.choose([0.5, -1.0, 1.0]), beta=g.choose([0.5, 2.0, 0.0])), transA=ta or None, transB=tb or None)


EQUATIONS = "ij,jk->ik bij,bjk->bik ij->ji ii->i ii-> i,i-> i,j->ij bij->bi bhid,bhjd->bhij ...ij,...jk->...ik ij,jk ...i->... i,i,i->i ijk->kij " \
            "bij,bj->bi ij,kj->k ij,ij->j".split()


def einsum(g):
    equation = g.choose(EQUATIONS)
    extent = {c: g.rng.randint(1, 4) for c in string.ascii_lowercase}
    lead = g.some_shape(g.choose([0, 1]), 3)
    shapes = [_shape(s, extent, lead) for s in equation.split("->")[0].split(",")]
    g.node("Einsum", [weight(g, s) for s in shapes], equation=equation.replace(",", ", ") if g.chance(0.2) else equation)


def _shape(subscript, extent, lead):
    inner = tuple(extent[c] for c in subscript.replace("...", ""))
    return lead + inner if subscript.startswith("...") else inner


def window(g, x, most=3, pads=True, op=""):
    """Attributes of a window over x's spatial dimensions, and its extents."""
    spatial = x.shape[2:]
    kernel = [g.rng.randint(1, min(most, n + 1)) for n in spatial]
    dilations = [g.choose([1, 1, 1, 2]) for _ in spatial]
    how = {"strides": [g.choose([1, 1, 2, 3]) for _ in spatial]} if g.chance(0.6) else {}
    if any(d > 1 for d in dilations) and g.has(op, "dilations"):
        how["dilations"] = dilations
    else:
        dilations = [1] * len(spatial)
    padded = [[0, 0] for _ in spatial]
    kind = g.choose(["pads", "pads", "pads", "SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"])
    if kind == "pads":
        padded = [[g.rng.randint(0, min(k - 1, 2)) if g.chance(0.7) else 0 for _ in range(2)] for k in kernel]
        how["pads"] = [p[0] for p in padded] + [p[1] for p in padded]
    elif kind.startswith("SAME"):
        how.pop("dilations", None)
        dilations = [1] * len(spatial)
        how["auto_pad"] = kind
    elif g.chance(0.5):
        how["auto_pad"] = kind
    if kind.startswith("SAME") and any(k < n for k, n in zip(kernel, how.get("strides", [1] * len(kernel)))):
        raise Reject  # see known.py
    if not kind.startswith("SAME") and any(n + sum(p) < (k - 1) * d + 1 for n, p, k, d in zip(spatial, padded, kernel, dilations)):
        raise Reject
    return kernel, how


def images(g, least=1):
    """Batches of channels of one to three spatial dimensions."""
    def shape():
        spatial = g.choose([1, 2, 2, 2, 3])
        return (g.choose([1, 1, 2]), g.choose([1, 2, 3, 4]), *[g.rng.randint(least, 6 if spatial < 3 else 3) for _ in range(spatial)])
    return g.pick(rank=(3, 4, 5), accept=lambda v: v.size and min(v.shape[2:]) >= least, make=shape, reuse=0.7)


def conv(g):
    x = images(g)
    kernel, how = window(g, x, op="Conv")
    c = x.shape[1]
    group = g.choose([d for d in range(1, c + 1) if c % d == 0])
    out = group * g.choose([1, 1, 2, 3])
    if g.chance(0.5):
        how["kernel_shape"] = kernel
    if group > 1 or g.chance(0.3):
        how["group"] = group
    g.node("Conv", [x, weight(g, (out, c // group, *kernel)), weight(g, (out,)) if g.chance(0.6) else None], **how)


def conv_transpose(g):
    x = images(g)
    kernel, how = window(g, x, op="ConvTranspose")
    c = x.shape[1]
    group = g.choose([d for d in range(1, c + 1) if c % d == 0])
    out = g.choose([1, 2, 3])
    if g.chance(0.3) and "strides" in how:
        how["output_padding"] = [g.rng.randint(0, s - 1) for s in how["strides"]]
    if g.chance(0.5):
        how["kernel_shape"] = kernel
    if group > 1:
        how["group"] = group
    g.node("ConvTranspose", [x, weight(g, (c, out, *kernel)), weight(g, (out * group,)) if g.chance(0.6) else None], **how)


def pool(g):
    op = g.choose(["MaxPool", "MaxPool", "AveragePool", "AveragePool", "LpPool"])
    x = images(g)
    kernel, how = window(g, x, op=op)
    if op == "MaxPool" and any(d > n for d, n in zip(how.get("dilations", []), x.shape[2:])) and any(how.get("pads", [])):
        raise Reject  # a window of padding alone: see known.py
    if g.has(op, "ceil_mode") and not how.get("auto_pad", "").startswith("SAME"):
        how |= maybe(g, ceil_mode=g.choose([0, 1]))
    if op == "AveragePool":
        how |= maybe(g, count_include_pad=g.choose([0, 1]))
    if op == "LpPool":
        how |= maybe(g, p=g.choose([1, 2, 3]))
    if op == "MaxPool" and g.chance(0.3):
        if g.opset >= 8:
            how |= maybe(g, storage_order=g.choose([0, 0, 1]))
        return g.node(op, [x], outputs=2, kernel_shape=kernel, **how)
    g.node(op, [x], kernel_shape=kernel, **how)


def global_pool(g):
    op = g.choose(["GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"])
    g.node(op, [images(g)], **(maybe(g, p=g.choose([1, 2, 3])) if op == "GlobalLpPool" else {}))


def channel_parameters(g, c, positive):
    return g.fresh(g.float, (c,)) if not positive else g.initializer((np.abs(g.data(g.float, (c,)).astype(np.float64)) + 0.3).astype(
        g.data(g.float, ()).dtype))


def batch_norm(g):
    x = g.pick(rank=(2, 3, 4), accept=lambda v: v.size)
    c = x.shape[1]
    operands = [x, *[channel_parameters(g, c, k == 3) for k in range(4)]]
    how = maybe(g, epsilon=g.choose([1e-3, 1e-2]), momentum=g.choose([0.5, 0.9]))
    if g.opset >= 14 and g.chance(0.3) and x.size > c:
        hidden = operands[3:]  # onnxruntime overwrites running statistics
        hidden += g.node("BatchNormalization", operands, outputs=3, training_mode=1, **how)[1 if g.chance(0.7) else 3 :]
        for graph in (g, g.top()):
            graph.values = [v for v in graph.values if v not in hidden]
        return
    g.node("BatchNormalization", operands, **how)


def instance_norm(g):
    x = images(g)
    g.node("InstanceNormalization", [x, weight(g, (x.shape[1],)), weight(g, (x.shape[1],))], **maybe(g, epsilon=1e-2))


def group_norm(g):
    x = images(g)
    c = x.shape[1]
    groups = g.choose([d for d in range(1, c + 1) if c % d == 0])
    n = groups if g.opset < 21 else c
    g.node("GroupNormalization", [x, weight(g, (n,)), weight(g, (n,))], num_groups=groups, **maybe(g, epsilon=1e-2))


def layer_norm(g):
    x = g.pick(accept=lambda v: v.rank and v.size)
    axis = axis_of(g, x.rank) if g.chance(0.6) else -1
    inner = x.shape[axis:] if axis < 0 else x.shape[axis:]
    shape = inner if g.chance(0.8) else tuple(1 if g.chance(0.5) else n for n in inner)
    scale = weight(g, shape)
    more = {} if axis == -1 and g.chance(0.5) else {"axis": axis}
    more |= maybe(g, epsilon=1e-2)
    if g.opset >= 23 and g.chance(0.4):
        return g.node("RMSNormalization", [x, scale], **more)
    if g.chance(0.2) and g.float == "float32":
        return g.node("LayerNormalization", [x, scale, weight(g, shape)], outputs=3, **more)
    g.node("LayerNormalization", [x, scale, weight(g, shape) if g.chance(0.7) else None], **more)


def other_norm(g):
    op = g.choose(["MeanVarianceNormalization", "LpNormalization", "LRN"])
    if op == "LpNormalization":
        x = g.pick(accept=lambda v: v.rank and v.size)
        return g.node(op, [x], **maybe(g, axis=axis_of(g, x.rank), p=g.choose([1, 2])))
    x = g.pick(rank=4, accept=lambda v: v.size)
    if op[0] == "M" and (g.float != "float32" or g.opset < 13):
        raise Reject  # onnx.checker infers other types in its function
    if op == "LRN":
        return g.node(op, [x], size=g.choose([1, 2, 3, 5]), **maybe(g, alpha=0.1, beta=0.5, bias=1.5))
    g.node(op, [x], **maybe(g, axes=some_axes(g, 4)))


def dropout(g):
    x = g.pick()
    if g.opset < 12:
        return g.node("Dropout", [x], **maybe(g, ratio=0.3))
    wanted = g.choose([[True], [True, True]])
    ratio = g.fixed(np.array(0.0 if g.chance(0.5) else 0.3, np.float32))
    training = g.fixed(np.array(False)) if g.chance(0.5) else None
    g.node("Dropout", [x, ratio, training], wanted=wanted)


def loss(g):
    classes, n = g.rng.randint(2, 5), g.choose([1, 2, 3])
    lead = g.some_shape(g.choose([0, 0, 1, 2]), 3)
    x = weight(g, (n, classes, *lead))
    r = np.random.RandomState(g.rng.randrange(2**31))
    labels = r.randint(0, classes, (n, *lead)).astype(g.choose(["int64", "int32"]))
    more = maybe(g, reduction=g.choose(["none", "sum", "mean"]))
    if g.chance(0.3):
        more["ignore_index"] = g.choose([0, -1, -100])
        if more["ignore_index"] < 0:
            labels[r.rand(*labels.shape) < 0.3] = more["ignore_index"]
    if (labels == more.get("ignore_index")).all():
        raise Reject
    weights = g.initializer(np.abs(g.data(g.float, (classes,))) + np.asarray(0.1, g.data(g.float, ()).dtype)) if g.chance(0.4) else None
    if g.chance(0.5):
        wanted = g.choose([[True], [True, True]])
        return g.node("SoftmaxCrossEntropyLoss", [x, g.input(labels), weights], wanted=wanted, **more)
    g.node("NegativeLogLikelihoodLoss", [g.node("LogSoftmax", [x], axis=1), g.input(labels), weights], **more)


# ---- Recurrent ----

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


def recurrent(g):
    op = g.choose(GATES)
    x = g.pick(rank=3, accept=lambda v: v.size, make=lambda: (g.rng.randint(1, 4), g.rng.randint(1, 3), g.rng.randint(1, 4)))
    layout = 1 if g.opset >= 14 and g.chance(0.15) else 0
    steps, batch = (x.shape[1], x.shape[0]) if layout else x.shape[:2]
    direction = g.choose(["forward", "forward", "reverse", "bidirectional"])
    d, h, k = 2 if direction == "bidirectional" else 1, g.rng.randint(1, 3), GATES[op]
    state = (batch, d, h) if layout else (d, batch, h)
    r = np.random.RandomState(g.rng.randrange(2**31))
    lengths = r.randint(1, steps + 1, batch).astype(np.int32) if g.chance(0.25) else None
    optional = lambda p, make: make() if g.chance(p) else None
    operands = [x, weight(g, (d, k * h, x.shape[2])), weight(g, (d, k * h, h)), optional(0.6, lambda: weight(g, (d, 2 * k * h))),
                None if lengths is None else g.fixed(lengths) if g.chance(0.6) else g.input(lengths), optional(0.4, lambda: weight(g, state))]
    how = {"hidden_size": h, "direction": direction, "layout": layout or None}
    if op == "LSTM":
        operands += [optional(0.4, lambda: weight(g, state)), optional(0.3, lambda: weight(g, (d, 3 * h)))]
        how["input_forget"] = 1 if g.chance(0.1) else None
    if op == "GRU":
        how["linear_before_reset"] = g.choose([None, 0, 1])
    if g.chance(0.2):
        how["clip"] = g.choose([0.5, 3.0])
    if g.chance(0.25):
        n = {"RNN": 1, "GRU": 2, "LSTM": 3}[op] * d
        how["activations"] = [g.choose(["Tanh", "Sigmoid", "Relu", "Tanh", "Sigmoid", "Softsign", "HardSigmoid"]) for _ in range(n)]
    outputs = 3 if op == "LSTM" else 2
    wanted = [g.chance(0.6) for _ in range(outputs)]
    if not any(wanted):
        wanted[0] = True
    while not wanted[-1]:
        wanted.pop()
    g.node(op, operands, wanted=wanted, **how)


# ---- Control flow: bodies are graphs that see what is outside of them ----

def inner(g, steps=3):
    """A body with a few nodes."""
    import generators
    body = Graph(g.rng, g.opset, g.float, parent=g)
    return body, lambda: generators.grow(body, g.rng.randint(1, steps))


def branch(g, like):
    """A body whose outputs have these types and shapes."""
    body, grow = inner(g)
    grow()
    return body.body(g.name("branch"), [], [adapted(body, v) for v in like])


def adapted(g, like):
    """A value made in this body, of the type and shape of another."""
    made = {o for n in g.nodes for o in n.output}
    found = [v for v in g.values if v.name in made and v.dtype == like.dtype and v.shape == like.shape]
    if found:
        return g.choose(found)
    others = [v for v in g.values if v.name in made and v.dtype == like.dtype]
    for v in others:  # what has another shape goes in as one number
        if like.dtype == g.float and v.rank and v.size and g.chance(0.7):
            total = g.node("ReduceMean", [v], keepdims=0)
            base = g.pick(like.dtype, lambda u: u.shape == like.shape, make=lambda: like.shape)
            sum_ = g.node("Add", [base, total])
            if sum_.shape == like.shape:
                return sum_
    base = g.pick(like.dtype, lambda u: u.shape == like.shape, make=lambda: like.shape)
    return g.node("Identity", [base])


def if_(g):
    if depth(g) > 1:
        raise Reject
    like = [g.pick((g.float,) if g.chance(0.9) else None) for _ in range(g.choose([1, 1, 2]))]
    condition = np.array(g.chance(0.5))
    c = g.input(condition) if g.chance(0.6) else g.fixed(condition) if g.chance(0.3) else g.pick("bool", lambda v: v.size == 1 and v.rank == 0,
                                                                                               make=lambda: ())
    g.node("If", [c], outputs=len(like), wanted=[True] * len(like), then_branch=branch(g, like), else_branch=branch(g, like))


def depth(g):
    return 0 if g.parent is None else 1 + depth(g.parent)


def carried(g):
    return [g.pick(accept=lambda v: v.size) for _ in range(g.choose([1, 1, 2]))]


def new_state(body, states):
    """What the body makes of carried values: of their shapes, and tame."""
    found = []
    for s in states:
        v = adapted(body, s)
        found.append(body.node("Tanh", [v]) if body.chance(0.6) else v)
        if body.chance(0.3):
            found[-1] = body.node("Add", [s, found[-1]])
    return found


def loop(g):
    if depth(g) > 1:
        raise Reject
    start = carried(g)
    body, grow = inner(g)
    states = [body.add_parameter(v.array) for v in start]
    i, condition = body.add_parameter(np.array(0, np.int64)), body.add_parameter(np.array(True))
    grow()
    if body.chance(0.3):
        real = body.node("Cast", [i], to=element_type(g.float))
        body.node("Mul", [real, body.choose(states)])
    after = new_state(body, states)
    trips = g.rng.randint(0 if g.chance(0.1) else 1, 4)
    early = g.chance(0.25)
    ys = [] if early or trips == 0 else [adapted(body, g.choose(states)) for _ in range(g.choose([0, 1, 1]))]
    if early:
        more = body.node("Less", [i, body.fixed(np.array(g.rng.randint(0, 4), np.int64))])
    else:
        more = body.node("Identity", [condition]) if g.chance(0.6) else body.constant(np.array(True))
    graph = body.body(g.name("body"), [i, condition, *states], [more, *after, *ys])
    m = g.fixed(np.array(trips, np.int64)) if g.chance(0.8) or ys else g.input(np.array(trips, np.int64))
    c = None if g.chance(0.6) else g.fixed(np.array(True))
    g.node("Loop", [m, c, *start], wanted=[True] * (len(after) + len(ys)), body=graph)


def scan(g):
    if depth(g) > 1 or g.opset < 9:
        raise Reject
    start = carried(g) if g.chance(0.85) else []
    xs = [g.pick(accept=lambda v: v.rank and v.size and v.shape[0] <= 4)]
    axis = g.rng.randrange(xs[0].rank) if g.chance(0.3) else 0
    steps = xs[0].shape[axis]
    if g.chance(0.3):
        xs.append(g.pick(accept=lambda v: v.rank and v.size and v.shape[0] == steps, make=lambda: (steps, *g.some_shape(g.choose([0, 1]), 3, 1))))
    axes = [axis] + [0] * (len(xs) - 1)
    body, grow = inner(g)
    states = [body.add_parameter(v.array) for v in start]
    slices = [body.add_parameter(np.take(v.array, 0, a)) for v, a in zip(xs, axes)]
    grow()
    after = new_state(body, states)
    ys = [adapted(body, g.choose(states + slices)) for _ in range(g.choose([0, 1, 1, 2]) if after else 1)]
    how = {"scan_input_axes": axes if axis or g.chance(0.2) else None}
    if g.chance(0.3):
        how["scan_input_directions"] = [g.choose([0, 1]) for _ in xs]
    if ys and g.chance(0.3):
        how["scan_output_directions"] = [g.choose([0, 1]) for _ in ys]
    if ys and g.chance(0.3):
        how["scan_output_axes"] = [g.rng.randint(0, y.rank) for y in ys]
    graph = body.body(g.name("body"), [*states, *slices], [*after, *ys])
    g.node("Scan", [*start, *xs], wanted=[True] * (len(after) + len(ys)), body=graph, num_scan_inputs=len(xs), **how)


GENERATORS = {matmul: 7, matmul_integer: 1, gemm: 4, einsum: 2, conv: 5, conv_transpose: 3, pool: 4, global_pool: 1, batch_norm: 2, instance_norm: 1,
              group_norm: 1, layer_norm: 3, other_norm: 1.5, dropout: 1, loss: 2, recurrent: 2.5, if_: 2.5, loop: 2, scan: 2.5}
