# SPDX-License-Identifier: MIT
# Copyright (c) The gradc authors
"""A random ONNX graph under construction. Each node is evaluated as it is added, on the actual inputs, so that what comes after knows shapes
and values: operands within an operator's domain, indices within bounds, and no rule about shapes is written down here a second time."""
import numpy as np, onnx
from onnx import TensorProto, helper, numpy_helper

import oracle

FLOATS = ("float32", "float64", "float16", "bfloat16")
SIGNED, UNSIGNED = ("int8", "int16", "int32", "int64"), ("uint8", "uint16", "uint32", "uint64")
INTEGERS = SIGNED + UNSIGNED
ALL = FLOATS + INTEGERS + ("bool",)
LIMIT = 400  # elements of a value
LARGEST = 1e3  # magnitude that values rarely exceed


class Reject(Exception):
    """What was begun cannot be done: the generator tries something else."""


def dtype_name(a):
    return str(a.dtype)


def element_type(name):
    """ONNX's number of an element type."""
    return TensorProto.DataType.Value({"float32": "FLOAT", "float64": "DOUBLE"}.get(name, name.upper()))


def schema_type(name):
    """An element type as schemas write it."""
    return f"tensor({ {'float32': 'float', 'float64': 'double'}.get(name, name)})"


class Value:
    """A named tensor: what it is at the actual inputs; whether it is fixed by the file alone (a shape may depend on it); whether
    a gradient flows to it."""

    def __init__(self, name, array, fixed=False):
        self.name, self.array, self.fixed = name, array, fixed

    dtype = property(lambda self: dtype_name(self.array))
    shape = property(lambda self: self.array.shape)
    rank = property(lambda self: self.array.ndim)
    size = property(lambda self: self.array.size)


class Graph:
    def __init__(self, rng, opset, dtype, parent=None):
        self.rng, self.opset, self.parent, self.float = rng, opset, parent, dtype
        self.nodes, self.values, self.inputs, self.initializers, self.used = [], [], [], [], set()
        self.names = parent.names if parent else [0]

    # ---- chance ----

    def chance(self, p):
        return self.rng.random() < p

    def choose(self, options):
        return self.rng.choice(list(options))

    def some_shape(self, rank=None, most=6, least=None):
        """A small shape; extents of 1 are frequent, of 0 rare."""
        rank = self.rng.choice([0, 1, 1, 2, 2, 2, 3, 3, 4, 5]) if rank is None else rank
        low = 0 if least is None and self.chance(0.02) else least or 1
        while True:
            shape = tuple(1 if low <= 1 and self.chance(0.2) else self.rng.randint(low, most) for _ in range(rank))
            if np.prod(shape, dtype=np.int64) <= LIMIT:
                return shape
            most -= 1

    def data(self, dtype, shape):
        """Random elements: floats mostly normal, else on a grid (ties, zeros); small integers."""
        r = np.random.RandomState(self.rng.randrange(2**31))
        if dtype == "bool":
            return np.asarray(r.rand(*shape) < 0.5)
        if dtype in INTEGERS:
            return np.asarray(r.randint(0 if dtype in UNSIGNED else -6, 10, shape), dtype)
        a = r.randint(-4, 5, shape) * 0.5 if self.chance(0.15) else r.standard_normal(shape)
        return np.asarray(a).astype(oracle.numpy_type(dtype))

    # ---- values ----

    def name(self, kind):
        self.names[0] += 1
        return f"{kind}{self.names[0]}"

    def top(self):
        return self.parent.top() if self.parent else self

    def visible(self):
        return self.values + (self.parent.visible() if self.parent else [])

    def add(self, value):
        self.values.append(value)
        return value

    def input(self, array):
        """An input of the model."""
        g = self.top()
        v = g.add(Value(self.name("x"), array))
        g.inputs.append(v)
        return v

    def initializer(self, array, where=None):
        g = where or (self if self.chance(0.3) else self.top())
        v = g.add(Value(self.name("w"), array, fixed=True))
        g.initializers.append(v)
        return v

    def add_parameter(self, array):
        """A parameter of a body, as it is in the first iteration."""
        return self.add(Value(self.name("p"), array))

    def constant(self, array):
        """A Constant node, in one of the forms it may have."""
        array, forms = np.asarray(array), ["value"]
        if self.opset < 9 and dtype_name(array) not in FLOATS[:3]:
            return self.initializer(array)
        if self.opset >= 12 and array.ndim <= 1 and dtype_name(array) in ("float32", "int64"):
            forms.append(("value_float" if array.dtype == np.float32 else "value_int") + ("s" if array.ndim else ""))
        form = self.choose(forms)
        plain = {"value": lambda: numpy_helper.from_array(array, "c"), "value_float": lambda: float(array), "value_int": lambda: int(array),
                 "value_floats": lambda: [float(a) for a in array], "value_ints": lambda: [int(a) for a in array]}[form]()
        if form.endswith("s") and not array.size:
            form, plain = "value", numpy_helper.from_array(array, "c")
        return self.node("Constant", [], **{form: plain})

    def fixed(self, array):
        """A value that the file fixes."""
        array = np.asarray(array)
        return self.initializer(array) if self.chance(0.5) else self.constant(array)

    def fresh(self, dtype, shape):
        a = self.data(dtype, shape)
        how = self.rng.random()
        return self.input(a) if how < 0.55 else self.initializer(a) if how < 0.9 else self.constant(a)

    def pick(self, dtypes=None, accept=lambda v: True, rank=None, make=None, reuse=0.85):
        """An operand: a value there is that will do, late ones rather than early ones, or a fresh one (of shape make())."""
        dtypes = (dtypes,) if isinstance(dtypes, str) else dtypes or (self.float,)
        ranks = (rank,) if isinstance(rank, int) else rank
        def fits(v):
            small = v.array.dtype.kind not in "iu" or not v.size or (v.array.min() > -(10**4) and v.array.max() < 10**4)
            return v.dtype in dtypes and (ranks is None or v.rank in ranks) and small and accept(v)
        found = [v for v in self.visible() if fits(v)]
        if found and self.chance(reuse):
            return found[max(self.rng.randrange(len(found)), self.rng.randrange(len(found)))]
        for _ in range(4):
            dtype = self.float if self.float in dtypes else self.choose(dtypes)
            v = self.fresh(dtype, make() if make else self.some_shape(self.choose(ranks) if ranks else None))
            if fits(v):
                return v
        raise Reject

    def allowed(self, op, parameter=0, domain="", of=ALL):
        """Element types that the operator's schema takes for its input number `parameter`."""
        schema = oracle.schema(op, self.opset, domain)
        if schema is None:
            raise Reject
        formal = schema.inputs[min(parameter, len(schema.inputs) - 1)]
        return [t for t in of if schema_type(t) in formal.types]

    def has(self, op, attribute=None, domain=""):
        schema = oracle.schema(op, self.opset, domain)
        return schema is not None and (attribute is None or attribute in schema.attributes)

    def takes_type(self, op, parameter, dtype, domain=""):
        schema = oracle.schema(op, self.opset, domain)
        return schema_type(dtype) in schema.inputs[min(parameter, len(schema.inputs) - 1)].types

    # ---- nodes ----

    def proto(self, op, inputs, names, domain="", **attributes):
        inputs = list(inputs)
        while inputs and inputs[-1] is None:
            inputs.pop()
        if not self.has(op, domain=domain):
            raise Reject
        if not all(self.takes_type(op, k, i.dtype, domain) for k, i in enumerate(inputs) if isinstance(i, Value)):
            raise Reject
        given = [i if isinstance(i, str) else i.name if i else "" for i in inputs]
        proto = helper.make_node(op, given, names, domain=domain, **{k: v for k, v in attributes.items() if v is not None})
        if self.chance(0.3):
            proto.name = f"{op}_{self.name('')}"
        return proto

    def node(self, op, inputs, outputs=1, wanted=None, domain="", **attributes):
        """Adds a node and gives its value, or the list of its values if there may be several. `inputs` may hold None for one left out;
        `wanted`: which outputs have names."""
        names = [self.name("v") if w else "" for w in wanted or [True] * outputs]
        values = self.append([self.proto(op, inputs, names, domain, **attributes)], [n for n in names if n])
        if outputs == 1 and not wanted:
            return values[0]
        values = iter(values)
        return [next(values) if n else None for n in names]

    def append(self, protos, names):
        """Adds nodes, of whose results those called `names` are tensors that others may read."""
        scope = {v.name: v for v in self.visible()}
        arrays = oracle.evaluate(protos, names, {v.name: v.array for v in scope.values()}, self.opset)
        if arrays is None or any(a.size > LIMIT for a in arrays.values()):
            raise Reject
        if any(a.dtype.kind in "fV" and a.size and not self.acceptable(a) for a in arrays.values()):
            raise Reject
        read = [n for p in protos for n in oracle.reads(p) if n in scope]
        fixed = protos[0].op_type in ("Shape", "Size") or all(scope[n].fixed for n in read)
        self.nodes += protos
        self.used.update(read)
        return [self.add(Value(n, arrays[n], fixed)) for n in names]

    def acceptable(self, a):
        """Numbers that are NaN, infinite or large are rare, or nothing else would be seen after them."""
        with np.errstate(all="ignore"):
            a = a.astype(np.float64)
            tame = np.isfinite(a).all() and np.abs(a).max() <= LARGEST
        return tame or self.chance(0.03)

    # ---- shapes as exporters write them ----

    def extents(self, shape, entire=True):
        """An int64 value that holds these extents: a constant, an input (which `run` bakes), or arithmetic on shapes."""
        shape, how = [int(s) for s in shape], self.rng.random()
        if how < 0.45 or not shape or self.opset < 8:
            return self.fixed(np.array(shape, np.int64))
        if how < 0.5 and entire and not self.parent:
            return self.input(np.array(shape, np.int64))
        return self.node("Concat", [self.extent(s) for s in shape], axis=0)

    def extent(self, number):
        """A vector of one extent."""
        sources = [(v, k) for v in self.visible() if v.rank and v.dtype in FLOATS for k in range(v.rank) if v.shape[k] == number]
        if not sources or self.chance(0.3):
            return self.fixed(np.array([number], np.int64))
        v, k = self.choose(sources)
        shape = self.node("Shape", [v])
        how = self.rng.random()
        if how < 0.4:
            one = self.node("Gather", [shape, self.fixed(np.array(k, np.int64))], axis=0)
            if self.chance(0.2) and number:
                one = self.node("Div", [self.node("Mul", [one, self.fixed(np.array(3, np.int64))]), self.fixed(np.array(3, np.int64))])
            return self.unsqueeze(one, [0])
        if how < 0.7 and self.opset >= 10:
            ends = [np.array([e], np.int64) for e in (k, k + 1, 0)]
            return self.node("Slice", [shape, *[self.fixed(e) for e in ends]])
        if self.has("Shape", "start"):
            return self.node("Shape", [v], start=k, end=k + 1)
        one = self.node("Gather", [shape, self.fixed(np.array([k], np.int64))], axis=0)
        if self.chance(0.5) and self.opset >= 9:
            real = self.node("Cast", [one], to=TensorProto.FLOAT)
            one = self.node("Cast", [self.node("Floor", [real])], to=TensorProto.INT64)
        return one

    def unsqueeze(self, v, axes):
        if self.opset >= 13:
            return self.node("Unsqueeze", [v, self.fixed(np.array(axes, np.int64))])
        return self.node("Unsqueeze", [v], axes=axes)

    # ---- the result ----

    def leaves(self):
        """Values that nothing reads."""
        made = {o for n in self.nodes for o in n.output}
        return [v for v in self.values if v.name in made and v.name not in self.used]

    def body(self, name, inputs, outputs):
        """The graph as a body: `inputs` and `outputs` are its values."""
        outputs = [v if v not in outputs[:k] else self.node("Identity", [v]) for k, v in enumerate(outputs)]  # see known.py
        typed = [helper.make_tensor_value_info(v.name, element_type(v.dtype), v.shape if self.chance(0.7) else [None] * v.rank) for v in inputs]
        given = [helper.make_tensor_value_info(v.name, element_type(v.dtype), v.shape if self.chance(0.3) else [None] * v.rank) for v in outputs]
        return helper.make_graph(self.nodes, name, typed, given, [numpy_helper.from_array(v.array, v.name) for v in self.initializers])

    def model(self):
        """(the model, {input: array})"""
        rng, made = self.rng, {o for n in self.nodes for o in n.output}
        outputs = self.leaves()
        others = [v for v in self.values if v.name in made and v not in outputs]
        outputs += rng.sample(others, min(len(others), rng.choice([0, 0, 1, 1, 2])))
        rng.shuffle(outputs)
        outputs = outputs[:8]
        if not outputs:
            raise Reject
        bodies = any(a.HasField("g") for n in self.nodes for a in n.attribute)
        old = self.opset <= 8 and not bodies and self.chance(0.3)  # in files of old IR versions each initializer is an input too
        symbols = {}
        inputs = [self.port(v, symbols) for v in self.inputs + (self.initializers if old else [])]
        given = [helper.make_tensor_value_info(v.name, element_type(v.dtype), v.shape if self.chance(0.4) else [None] * v.rank) for v in outputs]
        graph = helper.make_graph(self.nodes, "g", inputs, given, [numpy_helper.from_array(v.array, v.name) for v in self.initializers])
        domains = {n.domain for n in self.nodes}
        imports = [helper.make_opsetid(d, self.opset if not d else 1) for d in sorted(domains | {""})]
        version = 3 if old else max(4, helper.find_min_ir_version_for(imports[:1], True))
        m = helper.make_model(graph, opset_imports=imports, ir_version=version)
        return m, {v.name: v.array for v in self.inputs}

    def port(self, v, symbols):
        """An input's declaration: some extents symbolic, alike where they are equal."""
        shape = list(v.shape)
        if v in self.inputs and self.chance(0.15):
            for k, n in enumerate(shape):
                if self.chance(0.5) and n:
                    shape[k] = symbols.setdefault(n, f"n{len(symbols)}")
        return helper.make_tensor_value_info(v.name, element_type(v.dtype), shape)
