# SPDX-License-Identifier: MIT
# Copyright (c) The gradc authors
"""Makes a graph that fails smaller, step by step, as long as it fails alike."""
import numpy as np, onnx
from onnx import helper, numpy_helper

import oracle

TRIES = 150


def copy(model):
    m = onnx.ModelProto()
    m.CopyFrom(model)
    return m


def pruned(model, feed):
    """Without nodes, inputs and initializers that no output needs."""
    m, needed = copy(model), {o.name for o in model.graph.output}
    nodes = []
    for n in reversed(m.graph.node):
        if needed & set(n.output):
            nodes.append(n)
            needed.update(oracle.reads(n))
    graph = helper.make_graph(nodes[::-1], m.graph.name, [v for v in m.graph.input if v.name in needed], m.graph.output,
                              [t for t in m.graph.initializer if t.name in needed])
    m.graph.CopyFrom(graph)
    return m, {n: a for n, a in feed.items() if n in needed}


def with_outputs(model, names):
    m = copy(model)
    kept = [o for o in m.graph.output if o.name in names]
    del m.graph.output[:]
    m.graph.output.extend(kept)
    return m


def intermediates(model, feed):
    """{name: array} of all values of the main graph that an oracle can say."""
    arrays = {**feed, **{t.name: numpy_helper.to_array(t) for t in model.graph.initializer}}
    opset = next(o.version for o in model.opset_import if o.domain == "")
    for n in model.graph.node:
        names = [o for o in n.output if o]
        found = oracle.evaluate([n], names, arrays, opset)
        if found and not any(isinstance(a, list) for a in found.values()):
            arrays.update(found)
    return arrays


def cut(model, feed, index, arrays):
    """Without node `index`: its results become inputs."""
    m, f = copy(model), dict(feed)
    for o in m.graph.node[index].output:
        if o and o not in arrays:
            return None
        if o:
            a = arrays[o]
            m.graph.input.append(helper.make_tensor_value_info(o, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape))
            f[o] = a
    del m.graph.node[index]
    kept = [o for o in m.graph.output if any(o.name in n.output for n in m.graph.node)]
    if not kept:
        return None
    return with_outputs(m, {o.name for o in kept}), f


def bypass(model, feed, index, arrays):
    """Without node `index`, one of whose operands stands for its result."""
    node = model.graph.node[index]
    same = [i for i in node.input if i in arrays and node.output[0] in arrays and arrays[i].shape == arrays[node.output[0]].shape
            and arrays[i].dtype == arrays[node.output[0]].dtype]
    if not same or len(node.output) > 1 or any(o.name == node.output[0] for o in model.graph.output):
        return None
    m = copy(model)
    for n in m.graph.node:
        n.input[:] = [same[0] if i == node.output[0] else i for i in n.input]
    del m.graph.node[index]
    return m, feed


def without_attribute(model, feed, index, name):
    m = copy(model)
    kept = [a for a in m.graph.node[index].attribute if a.name != name]
    del m.graph.node[index].attribute[:]
    m.graph.node[index].attribute.extend(kept)
    return m, feed


def candidates(model, feed, arrays):
    """Smaller graphs, the smallest first."""
    names = [o.name for o in model.graph.output]
    if len(names) > 1:
        for n in names:
            yield with_outputs(model, {n}), feed
        for n in names:
            yield with_outputs(model, set(names) - {n}), feed
    for k in reversed(range(len(model.graph.node))):
        yield cut(model, feed, k, arrays)
    for k in range(len(model.graph.node)):
        yield bypass(model, feed, k, arrays)
    for k, n in enumerate(model.graph.node):
        for a in n.attribute:
            if n.op_type != "Constant":
                yield without_attribute(model, feed, k, a.name)


def shrink(model, feed, fails):
    """(model, feed), smaller; fails(model, feed) says whether one still fails."""
    tries, smaller = 0, True
    while smaller and tries < TRIES:
        smaller, arrays = False, intermediates(model, feed)
        for c in candidates(model, feed, arrays):
            if c is None:
                continue
            c = pruned(*c)
            tries += 1
            if tries > TRIES:
                break
            if fails(*c):
                (model, feed), smaller = c, True
                break
    return model, feed
