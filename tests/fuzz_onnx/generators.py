# SPDX-License-Identifier: MIT
# Copyright (c) The gradc authors
"""Draws graphs: which generators, of which float type, of which opset."""
import random
import onnx

import elements, layers, shapes
from graph import Graph, Reject

ALL = {**elements.GENERATORS, **shapes.GENERATORS, **layers.GENERATORS}
KINDS = list(ALL)
WEIGHTS = list(ALL.values())
OPSETS = range(7, onnx.defs.onnx_opset_version() + 1)


def grow(g, nodes):
    """Adds that many pieces to the graph."""
    failures = 0
    while nodes and failures < 40:
        try:
            g.rng.choices(KINDS, WEIGHTS)[0](g)
            nodes -= 1
        except Reject:
            failures += 1


def draw(seed):
    """(model, {input: array}) of a seed."""
    rng = random.Random(seed)
    opset = rng.choice(OPSETS) if rng.random() < 0.6 else rng.randint(13, 21)
    dtype = rng.choices(["float32", "float64", "float16", "bfloat16"], [85, 6, 6, 3])[0]
    if dtype == "bfloat16":
        opset = max(opset, 16)
    while True:
        g = Graph(rng, opset, dtype)
        try:
            grow(g, rng.choice([1, 2, 3, 4, 5, 6, 8, 10, 14]))
            if g.nodes:
                return g.model()
        except Reject:
            pass
