# SPDX-License-Identifier: MIT
# Copyright (c) The gradc authors
"""Two independent systems that say what a node or a model gives: onnxruntime, in the types of the file, and onnx.reference, in double."""
import functools, os, warnings

os.environ["ALLOW_RELEASED_ONNX_OPSET_ONLY"] = "0"
import ml_dtypes, numpy as np, onnx, onnxruntime
from onnx import AttributeProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import corrections, recurrent

warnings.filterwarnings("ignore")
np.seterr(all="ignore")


def numpy_type(name):
    return np.dtype(ml_dtypes.bfloat16) if name == "bfloat16" else np.dtype(name)


@functools.lru_cache(None)
def schema(op, opset, domain):
    """The operator as that opset has it, or None where it has none."""
    try:
        s = onnx.defs.get_schema(op, opset if not domain else 1, domain)
    except Exception:
        return None
    return None if s.deprecated else s


def reads(node):
    """Names that a node reads, its bodies included."""
    names = [n for n in node.input if n]
    for a in node.attribute:
        for g in [a.g] if a.type == AttributeProto.GRAPH else a.graphs:
            own = {v.name for v in g.input} | {t.name for t in g.initializer}
            for n in g.node:
                names += [i for i in reads(n) if i not in own]
                own.update(n.output)
            names += [v.name for v in g.output if v.name not in own]
    return list(dict.fromkeys(names))


def part(nodes, outputs, arrays, opset):
    """A model of some nodes, and what it is fed."""
    made = {o for n in nodes for o in n.output}
    given = {name: arrays[name] for n in nodes for name in reads(n) if name not in made and name in arrays}
    typed = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape) for n, a in given.items()]
    imports = [helper.make_opsetid("", opset)] + [helper.make_opsetid(d, 1) for d in {n.domain for n in nodes} if d]
    graph = helper.make_graph(nodes, "g", typed, [onnx.ValueInfoProto(name=o) for o in outputs])
    return helper.make_model(graph, opset_imports=imports, ir_version=max(4, helper.find_min_ir_version_for(imports[:1], True))), given


def time_first(model):
    """The model with recurrent layers whose batch comes first (layout 1), which onnxruntime lacks, written with transposes."""
    def rewritten(graph):
        nodes = []
        for n in graph.node:
            for a in n.attribute:
                if a.type == AttributeProto.GRAPH:
                    rewritten(a.g)
            if not any(a.name == "layout" and a.i for a in n.attribute):
                nodes.append(n)
                continue
            kept = [a for a in n.attribute if a.name != "layout"]
            del n.attribute[:]
            n.attribute.extend(kept)
            after = []
            for k in [k for k in (0, 5, 6) if k < len(n.input) and n.input[k]]:  # X, initial_h, initial_c
                nodes.append(helper.make_node("Transpose", [n.input[k]], [f"{n.output[0] or n.output[-1]}_in{k}"], perm=[1, 0, 2]))
                n.input[k] = nodes[-1].output[0]
            for k, o in enumerate(n.output):
                if o:
                    after.append(helper.make_node("Transpose", [o + "_time_first"], [o], perm=[1, 0, 2] if k else [2, 0, 1, 3]))
                    n.output[k] = o + "_time_first"
            nodes += [n, *after]
        del graph.node[:]
        graph.node.extend(nodes)
    if b"layout" not in model.SerializeToString():
        return model
    m = onnx.ModelProto()
    m.CopyFrom(model)
    rewritten(m.graph)
    return m


def to_array(a):
    """What an oracle gave, as an array or a list of arrays."""
    return [np.asarray(x) for x in a] if isinstance(a, list) else np.asarray(a)


def onnxruntime_values(model, feed):
    """Outputs, by onnxruntime without its graph optimisations; None where it cannot."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads, options.inter_op_num_threads = 4, 1, 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(time_first(model).SerializeToString(), options, providers=["CPUExecutionProvider"])
        if any(a.dtype == ml_dtypes.bfloat16 for a in feed.values()):
            return None
        return [to_array(a) for a in session.run(None, feed)]
    except Exception:
        return None


def reference_values(model, feed):
    """Outputs, by onnx.reference; None where it cannot."""
    try:
        return [to_array(a) for a in ReferenceEvaluator(time_first(model), new_ops=corrections.ALL).run(None, feed)]
    except Exception:
        return None


def evaluate(nodes, outputs, arrays, opset):
    """{name: array} of some outputs of nodes; None if neither oracle can say."""
    model, feed = part(nodes, outputs, arrays, opset)
    found = onnxruntime_values(model, feed) or reference_values(model, feed)
    return None if found is None else dict(zip(outputs, found))


# ---- In another float type ----

FLOATS = {TensorProto.FLOAT: np.float32, TensorProto.DOUBLE: np.float64, TensorProto.FLOAT16: np.float16, TensorProto.BFLOAT16: ml_dtypes.bfloat16}
FLOAT_TYPES = [np.dtype(d) for d in FLOATS.values()]


class Converter:
    """Turns all floats of a model into one type."""

    def __init__(self, to):
        self.to, self.dtype = to, FLOATS[to]

    def tensor(self, t):
        if t.data_type in FLOATS:
            t.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(t).astype(self.dtype), t.name))

    def node(self, node):
        for a in node.attribute:
            if a.type == AttributeProto.TENSOR:
                self.tensor(a.t)
            elif a.type == AttributeProto.GRAPH:
                self.graph(a.g)
            elif a.name in ("to", "dtype", "output_dtype") and a.i in FLOATS:
                a.i = self.to
            elif a.name in ("value_float", "value_floats"):
                array = np.array(a.f if a.name == "value_float" else list(a.floats), np.float32)
                a.CopyFrom(helper.make_attribute("value", numpy_helper.from_array(array.astype(self.dtype))))
        if node.op_type == "ConstantOfShape" and not node.attribute:
            node.attribute.append(helper.make_attribute("value", numpy_helper.from_array(np.zeros(1, self.dtype))))

    def graph(self, graph):
        for n in graph.node:
            self.node(n)
        for t in graph.initializer:
            self.tensor(t)
        for v in [*graph.input, *graph.output, *graph.value_info]:
            if v.type.tensor_type.elem_type in FLOATS:
                v.type.tensor_type.elem_type = self.to

    def model(self, model):
        m = onnx.ModelProto()
        m.CopyFrom(model)
        self.graph(m.graph)
        return m

    def feed(self, feed):
        return {n: a.astype(self.dtype) if a.dtype in FLOAT_TYPES else a for n, a in feed.items()}


DOUBLE, SINGLE = Converter(TensorProto.DOUBLE), Converter(TensorProto.FLOAT)


def onnxruntime_in_single(model, feed):
    """Outputs in f32, which has more kernels than the other float types."""
    return onnxruntime_values(SINGLE.model(model), SINGLE.feed(feed))


def of_types(found, like):
    """What was computed in f32, in the widest float type of the operands."""
    widest = max((a.dtype for a in like if a.dtype in FLOAT_TYPES), key=lambda d: d.itemsize, default=np.dtype(np.float32))
    return [a.astype(widest) if a.dtype == np.float32 else a for a in found]


def step_by_step(model, feed):
    """Outputs, each node by onnxruntime, in f32 where it lacks the type, or where it cannot at all by onnx.reference; None where none can."""
    arrays = {**feed, **{t.name: numpy_helper.to_array(t) for t in model.graph.initializer}}
    opset = next(o.version for o in model.opset_import if o.domain == "")
    pieces = []  # what makes a sequence goes with what reads it
    for node in model.graph.node:
        pieces.append(node)
        if node.op_type in ("SplitToSequence", "SequenceConstruct"):
            continue
        names = [o for o in node.output if o]
        one, given = part(pieces, names, arrays, opset)
        pieces = []
        found = onnxruntime_values(one, given)
        if found is None:
            single = onnxruntime_in_single(one, given)
            found = of_types(single, given.values()) if single else reference_values(one, given)
        if found is None or any(isinstance(a, list) for a in found):
            return None
        arrays.update(zip(names, found))
    return [arrays[o.name] for o in model.graph.output]


def shifted(_, x, scale, bias):
    """The largest term of x * s + (bias - mean * s), s = scale / deviation, as onnxruntime computes InstanceNormalization."""
    deviation = np.sqrt(x.reshape(*x.shape[:2], -1).var(-1) + 1e-5)
    return (np.abs(x.reshape(*x.shape[:2], -1)).max(-1, initial=0) * np.abs(scale) / deviation).max(initial=0)


def scaled(_, x, scale, bias, mean, var, *__):
    """The same of BatchNormalization, of the statistics that it is given."""
    s = np.abs(scale) / np.sqrt(np.abs(var) + 1e-5)
    return (np.moveaxis(np.abs(x), 1, -1) * s).max(initial=0) + (np.abs(mean) * s).max(initial=0) + np.abs(bias).max(initial=0)


def summed(result, x, *_):
    """The sum of magnitudes that a result is made of."""
    return np.abs(x).sum() / max(1, result.size)


def averaged(result, x, *_):
    return np.abs(x).sum() / max(1, x.size)


# The largest number inside an operator, where that is larger than what it gives.
INSIDE = {
    "BatchNormalization": scaled,
    "Celu": lambda *_: 1,  # exp(x) - 1
    "Elu": lambda *_: 1,
    "Gelu": lambda _, x: np.abs(x).max(initial=0),
    "InstanceNormalization": shifted,
    "ReduceMean": averaged,
    "ReduceSum": summed,
    "Selu": lambda *_: 1,
}


class Exact:
    """A model in double, by onnx.reference. `values` may be asked for at other inputs and initializers, and with each float, given or the result
    of a node, off by a random relative error, which shows how far rounding may carry."""

    def __init__(self, model):
        self.model = time_first(DOUBLE.model(model))
        self.evaluator = ReferenceEvaluator(self.model, new_ops=corrections.ALL)
        self.noise = None
        for node in self.evaluator.rt_nodes_:
            node.run = self.noisy(node.run, INSIDE.get(node.onnx_node.op_type))
            if node.onnx_node.op_type == "Equal":
                node.run = self.nearly(node.run)

    def noisy(self, run, inside):
        return lambda *args, **kwargs: tuple(self.off(a, inside(a, *args) if inside else 0) for a in run(*args, **kwargs))

    def nearly(self, run):
        """Two floats that differ by a rounding may be equal as well."""
        def equal(a, b, **kwargs):
            if self.noise is None or a.dtype != np.float64:
                return run(a, b, **kwargs)
            rng, size, _ = self.noise
            near = (a != b) & (np.abs(a - b) <= 4 * size * (np.abs(a) + np.abs(b)))
            return (np.where(near, rng.random(near.shape) < 0.5, a == b),)
        return equal

    def off(self, a, inside=0):  # whole numbers are exact: shapes that are computed in floats stay
        if self.noise is None or getattr(a, "dtype", None) != np.float64:
            return a
        rng, size, least = self.noise
        spread = size * (np.abs(a) + 0.1 * np.abs(a).max(initial=0) + inside) + least  # what is summed may be larger than the sum
        moved = a + spread * rng.standard_normal(a.shape)
        return np.where(a == np.rint(a), a, moved)

    def values(self, feed, noise=None):
        self.noise = noise
        recurrent.rounded = self.off if noise else None
        try:
            return [to_array(a) for a in self.evaluator.run(None, {n: self.off(a) for n, a in feed.items()})]
        except Exception:
            return None
        finally:
            self.noise = None
