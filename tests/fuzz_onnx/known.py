# SPDX-License-Identifier: MIT
# Copyright (c) The gradc authors
"""Known faults of onnxruntime, by kind: there onnx.reference and the specification say otherwise, and gradc agrees with them."""


from onnx import helper


def attribute(node, name, default=None):
    return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)


def nested(node):
    """The operators of a node and of the bodies in it."""
    yield node.op_type
    for a in node.attribute:
        for inner in a.g.node:
            yield from nested(inner)


def describe(node, arrays):
    """What a node on which the oracles differ is to be blamed for: of a loop or branch, an operator of its body that is known."""
    if node.op_type == "ReduceMean" and arrays[node.input[0]].size == 0:
        return "ReduceMean of nothing"
    if node.op_type == "Resize" and attribute(node, "coordinate_transformation_mode") == b"half_pixel_symmetric":
        return "Resize half_pixel_symmetric"
    return next((op for op in nested(node) if op in ONNXRUNTIME), node.op_type)


# what describe() says: why onnxruntime is wrong
ONNXRUNTIME = {
    "Sigmoid": "of -17 and less it is off by some 1e-8, which is a quarter of the value; the same inside recurrent layers",
    "Resize half_pixel_symmetric": "at some extents onnxruntime's nearest element is another one",
    "ReduceMean of nothing": "is 0 / 0; onnxruntime gives 0",
    "MeanVarianceNormalization": "of equal elements the variance is a difference of roundings, and where that is negative onnxruntime gives NaN",
    "GroupNormalization": "its variance is a difference of squares in f32, whatever the type, as in the standard's function",
    "InstanceNormalization": "of a channel of one element the deviation is 0; onnxruntime makes some roundings, which the small variance magnifies",
}


def fault(at):
    return at in ONNXRUNTIME


# Not drawn:
# - Split with an output that has no name: onnxruntime crashes;
# - a body of Loop or Scan that gives one value as two results: onnxruntime never writes one of the two;
# - auto_pad SAME_UPPER or SAME_LOWER of a window shorter than its stride, where the padding that the specification computes is negative: onnxruntime
#   takes it for none in Conv and ConvTranspose (whose result is then too short), crops in pools, and differently for UPPER and LOWER; gradc never
#   crops, as TensorFlow, and ConvTranspose's result has extent × stride elements, as the specification says;
# - a window of MaxPool that sees padding alone: -inf in gradc and torch, the lowest float in onnxruntime, NaN in onnx.reference;
# - the mask of Dropout before opset 12, of which the specification does not say what it is: false in onnxruntime, true in gradc.
