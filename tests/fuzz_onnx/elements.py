# SPDX-License-Identifier: MIT
# Copyright (c) The gradc authors
"""Generators of elementwise operators, reductions and what orders elements. A generator adds one node or a few to a graph, or raises Reject."""
import numpy as np
from onnx import TensorProto

from oracle import numpy_type
from graph import ALL, FLOATS, INTEGERS, SIGNED, UNSIGNED, Reject, element_type

UNARY = "Abs Neg Sign Floor Ceil Round Sqrt Exp Log Sin Cos Tan Asin Acos Atan Sinh Cosh Asinh Acosh Atanh Tanh Erf Sigmoid Reciprocal " \
        "Identity IsNaN".split()
DOMAIN = {"Sqrt": lambda a: a > 0, "Log": lambda a: a > 0, "Asin": lambda a: abs(a) < 1, "Acos": lambda a: abs(a) < 1, "Acosh": lambda a: a > 1,
          "Atanh": lambda a: abs(a) < 1, "Reciprocal": lambda a: abs(a) > 0.1, "Tan": lambda a: abs(a) < 1.4}


def inside(op):
    """Whether all elements are in the operator's domain."""
    return lambda v: op not in DOMAIN or bool(DOMAIN[op](v.array.astype(np.float64)).all())


def unary(g):
    op = g.choose(UNARY)
    types = g.allowed(op, of=FLOATS + SIGNED if g.chance(0.2) else (g.float,))
    try:
        x = g.pick(types, inside(op), reuse=0.95)
    except Reject:
        if not g.chance(0.5):
            raise
        x = g.pick(types)  # outside of it, now and then
    g.node(op, [x])


def not_(g):
    g.node("Not", [g.pick("bool")])


def bitwise_not(g):
    g.node("BitwiseNot", [g.pick(INTEGERS)])


def is_inf(g):
    g.node("IsInf", [g.pick(g.allowed("IsInf", of=FLOATS))], **maybe(g, detect_negative=g.choose([0, 1]), detect_positive=g.choose([0, 1])))


def maybe(g, **attributes):
    """Some of the attributes; the others keep their defaults."""
    return {k: v for k, v in attributes.items() if g.chance(0.5)}


ACTIVATIONS = {"Relu": (), "LeakyRelu": ("alpha",), "Elu": ("alpha",), "Selu": ("alpha", "gamma"), "Celu": ("alpha",),
               "ThresholdedRelu": ("alpha",), "HardSigmoid": ("alpha", "beta"), "HardSwish": (), "Softplus": (), "Softsign": (), "Mish": (),
               "Swish": ("alpha",), "Shrink": ("bias", "lambd")}


def activation(g):
    op = g.choose(ACTIVATIONS)
    x = g.pick(g.allowed(op, of=(g.float,) if g.chance(0.9) else FLOATS + SIGNED))
    g.node(op, [x], **maybe(g, **{a: g.rng.uniform(0.1, 1.5) for a in ACTIVATIONS[op]}))


def gelu(g):
    if g.opset >= 20:
        g.node("Gelu", [g.pick()], **maybe(g, approximate=g.choose(["none", "tanh"])))
    else:
        g.node("Gelu", [g.pick("float32")], domain="com.microsoft")


def broadcast_operand(g, x, dtypes, accept=lambda v: True, one_way=False):
    """An operand that goes with x: one there is whose shape does, or a fresh one."""
    def fits(v):
        try:
            shape = np.broadcast_shapes(v.shape, x.shape)
        except ValueError:
            return False
        return accept(v) and np.prod(shape) <= 400 and (not one_way or shape == x.shape)

    def shape():
        s = [1 if g.chance(0.3) else n for n in x.shape]
        s = s[g.rng.randint(0, len(s)):] if g.chance(0.4) else s
        if not one_way and g.chance(0.2):
            s = [n if n > 1 else g.rng.randint(1, 3) for n in s]
            s = ([g.rng.randint(1, 3)] if len(s) == x.rank and g.chance(0.3) else []) + s
        return tuple(s)
    return g.pick(dtypes, fits, make=shape, reuse=0.6)


NUMBERS = ALL[:-1]
BINARY = {"Add": NUMBERS, "Sub": NUMBERS, "Mul": NUMBERS, "Div": NUMBERS, "And": ("bool",), "Or": ("bool",), "Xor": ("bool",),
          "BitwiseAnd": INTEGERS, "BitwiseOr": INTEGERS, "BitwiseXor": INTEGERS, "Equal": ALL, "Less": NUMBERS, "Greater": NUMBERS,
          "LessOrEqual": NUMBERS, "GreaterOrEqual": NUMBERS}


def binary(g):
    op = g.choose(["Add", "Sub", "Mul", "Div"] * 4 + list(BINARY))
    types = g.allowed(op, of=BINARY[op])
    x = g.pick((g.float,) if g.float in types and g.chance(0.75) else types)
    divisor = (lambda v: bool((np.abs(v.array.astype(np.float64)) > (0.1 if v.dtype in FLOATS else 0)).all())) if op == "Div" else lambda v: True
    y = broadcast_operand(g, x, x.dtype, divisor)
    swap = g.chance(0.5) and op != "Div"
    g.node(op, [y, x] if swap else [x, y])


def bit_shift(g):
    x = g.pick(UNSIGNED)
    y = broadcast_operand(g, x, x.dtype, lambda v: bool((v.array < 8).all()))
    g.node("BitShift", [x, y], direction=g.choose(["LEFT", "RIGHT"]))


def power(g):
    x = g.pick((g.float,) if g.chance(0.8) else g.allowed("Pow", of=FLOATS + ("int32", "int64")))
    if x.dtype in FLOATS and bool((x.array.astype(np.float64) > 0.05).all()):
        y = broadcast_operand(g, x, x.dtype)
    else:  # whole exponents for what may be negative; no parameters, as there is no derivative by them
        types = ("int32", "int64") if g.opset >= 12 and (g.chance(0.3) or x.dtype not in FLOATS) else (x.dtype,)
        exponent = g.choose([0, 1, 2, 3] + ([-1, -2] if x.dtype in FLOATS else []))
        y = g.constant(np.asarray(exponent, numpy_type(g.choose(types))))
    g.node("Pow", [x, y])


def modulo(g):
    x = g.pick((g.float,) if g.chance(0.4) else INTEGERS)
    y = broadcast_operand(g, x, x.dtype, lambda v: bool((np.abs(v.array.astype(np.float64)) > (0.1 if v.dtype in FLOATS else 0)).all()))
    g.node("Mod", [x, y], fmod=1 if x.dtype in FLOATS else g.choose([None, 0, 1]))


def variadic(g):
    op = g.choose(["Max", "Min", "Sum", "Mean"])
    types = g.allowed(op)
    x = g.pick((g.float,) if g.float in types and g.chance(0.8) else types)
    rest = [broadcast_operand(g, x, x.dtype) for _ in range(g.choose([0, 1, 1, 2, 3]))]
    if g.chance(0.1):
        rest.append(x)
    g.node(op, [x, *rest])


def where(g):
    x = g.pick((g.float,) if g.chance(0.7) else g.allowed("Where", 1))
    y = broadcast_operand(g, x, x.dtype)
    shape = np.broadcast_shapes(x.shape, y.shape)
    model = type("V", (), {"shape": shape, "rank": len(shape)})
    g.node("Where", [broadcast_operand(g, model, "bool"), x, y])


def prelu(g):
    x = g.pick()
    g.node("PRelu", [x, broadcast_operand(g, x, x.dtype, one_way=True)])


def clip(g):
    x = g.pick((g.float,) if g.opset < 12 or g.chance(0.8) else g.allowed("Clip"))
    low, high = (sorted([g.rng.randint(-2, 2), g.rng.randint(-1, 4)]) if x.dtype not in UNSIGNED else (1, 5))
    if g.opset < 11:
        return g.node("Clip", [x], **maybe(g, min=float(low), max=float(high)))
    bound = lambda n: None if g.chance(0.3) else g.input(np.asarray(n, x.array.dtype)) if g.chance(0.1) else g.fixed(np.asarray(n, x.array.dtype))
    g.node("Clip", [x, bound(low), bound(high)])


def castable(v, to):
    """Whether the conversion is defined: in range, no NaN."""
    a = v.array.astype(np.float64)
    if to in FLOATS or to == "bool":
        return True
    low, high = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-2**15, 2**15 - 1), "uint16": (0, 2**16 - 1), "uint32": (0, 2**31),
                 "uint64": (0, 2**31)}.get(to, (-2**31, 2**31 - 1))
    return bool(np.isfinite(a).all() and (np.trunc(a) >= low).all() and (np.trunc(a) <= high).all())


def cast(g):
    to = g.choose([g.float] * 3 + [t for t in ALL if t != "bfloat16" or g.opset >= 13])
    x = g.pick(ALL[:3] + ALL[4:] if g.opset < 13 else ALL, lambda v: castable(v, to))
    if g.opset >= 15 and g.chance(0.2):
        g.node("CastLike", [x, g.pick(to)])
    else:
        g.node("Cast", [x], to=element_type(to))


def quantize(g):
    x = g.pick("float32", lambda v: v.size)
    per_axis = g.opset >= 13 and x.rank and g.chance(0.4)
    axis = g.rng.randrange(x.rank) if per_axis else None
    kind = g.choose(["uint8", "int8"] + (["int16", "uint16"] if g.opset >= 21 else []))
    shape = (x.shape[axis],) if per_axis else ()
    scale = g.fixed(np.asarray(np.abs(g.data("float32", shape)) * 0.1 + 0.02, np.float32))
    zero = None if kind == "uint8" and g.chance(0.3) else g.fixed(np.asarray(np.abs(g.data("int32", shape)), kind))
    q = g.node("QuantizeLinear", [x, scale, zero], axis=axis if per_axis and axis != 1 or g.chance(0.3) else None)
    if g.chance(0.7):
        g.node("DequantizeLinear", [q, scale, zero], axis=axis if per_axis and axis != 1 else None)


def dynamic_quantize(g):
    g.node("DynamicQuantizeLinear", [g.pick("float32", lambda v: v.size)], outputs=3)


def bit_cast(g):
    to, kind = g.choose(["int32", "uint32", "float32"]), g.choose(["int32", "uint32", "float32"])
    # The bits of a float that was computed show how it was rounded.
    g.node("BitCast", [g.pick(kind, reuse=0 if kind == "float32" else 0.85)], to=element_type(to))


# ---- Reductions and order ----

def axis_of(g, rank):
    a = g.rng.randrange(rank)
    return a - rank if g.chance(0.4) else a


def some_axes(g, rank):
    axes = g.rng.sample(range(rank), g.rng.randint(1, rank))
    return [a - rank if g.chance(0.3) else a for a in axes]


REDUCTIONS = "Sum Mean Prod Max Min L1 L2 SumSquare LogSum LogSumExp".split()


def reduce(g):
    op = "Reduce" + g.choose(REDUCTIONS)
    types = g.allowed(op)
    positive = (lambda v: v.rank and v.size and bool((v.array.astype(np.float64) > 0).all())) if op == "ReduceLogSum" else lambda v: v.rank and (
        v.size or g.chance(0.3))
    x = g.pick((g.float,) if g.chance(0.85) else types, positive)
    axes = some_axes(g, x.rank) if g.chance(0.8) else None
    attributes = maybe(g, keepdims=g.choose([0, 1]))
    if not g.has(op, "axes"):  # an input since opset 13 (ReduceSum) or 18
        if g.chance(0.3):
            attributes["noop_with_empty_axes"] = g.choose([0, 1])
        given = g.fixed(np.array(axes or [], np.int64)) if axes or g.chance(0.2) else None
        return g.node(op, [x, given], **attributes)
    g.node(op, [x], axes=axes, **attributes)


def arg_reduce(g):
    op = g.choose(["ArgMax", "ArgMin"])
    types = g.allowed(op)
    x = g.pick((g.float,) if g.chance(0.8) else types, lambda v: v.rank and v.size)
    last = g.choose([0, 1]) if g.has(op, "select_last_index") else None
    g.node(op, [x], **maybe(g, axis=axis_of(g, x.rank), keepdims=g.choose([0, 1]), select_last_index=last))


def softmax(g):
    if g.opset < 13 and g.float != "float32":
        raise Reject  # onnx.reference, alone there, has them as of opset 13
    x = g.pick(accept=lambda v: v.rank and v.size)
    op = g.choose(["Softmax", "LogSoftmax", "Hardmax"])
    axis = axis_of(g, x.rank)
    if g.opset < 11:
        axis %= x.rank
    if x.rank == 1 and g.opset < 13:  # the default is 1 there
        axis = 0
        return g.node(op, [x], axis=axis)
    g.node(op, [x], **maybe(g, axis=axis))


def cumulative(g):
    op = g.choose(["CumSum", "CumSum", "CumProd"])
    x = g.pick((g.float,) if g.chance(0.8) else g.allowed(op), lambda v: v.rank)
    axis = g.fixed(np.array(axis_of(g, x.rank), g.choose(["int32", "int64"])))
    g.node(op, [x, axis], **maybe(g, exclusive=g.choose([0, 1]), reverse=g.choose([0, 1])))


def top_k(g):
    x = g.pick((g.float,) if g.opset < 11 or g.chance(0.8) else g.allowed("TopK"), lambda v: v.rank and v.size)
    axis = axis_of(g, x.rank)
    k = g.rng.randint(1, x.shape[axis])
    wanted = [True, True]
    if g.opset < 10:
        return g.node("TopK", [x], wanted=wanted, k=k, axis=axis % x.rank)
    more = maybe(g, largest=g.choose([0, 1])) if g.opset >= 11 else {}
    g.node("TopK", [x, g.extents([k])], wanted=wanted, axis=axis if g.opset >= 11 else axis % x.rank, **more)


# generator: how often
GENERATORS = {unary: 10, not_: 1, bitwise_not: 1, is_inf: 1, activation: 6, gelu: 1, binary: 12, bit_shift: 1, power: 2, modulo: 1, variadic: 3,
              where: 3, prelu: 1, clip: 2, cast: 3, quantize: 1, dynamic_quantize: 0.5, bit_cast: 0.5, reduce: 7, arg_reduce: 1, softmax: 3,
              cumulative: 2, top_k: 2}
