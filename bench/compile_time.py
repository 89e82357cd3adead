# SPDX-License-Identifier: MIT
# Copyright (c) The gradc authors
"""How compile time scales: processor seconds of `gradc compile` for n and 4 n nodes, and the ratio.

    python bench/compile_time.py [--gradc build/gradc] [--runs 3]

Graphs of each kind are written as ONNX files with n and 4 n pieces, and compiled without and with --train=adamw. A line has the minimum of all
runs, which alternate between the two sizes. The aim is to be about linear: ratios up to 5.
"""
import argparse, os, resource, subprocess, tempfile
import numpy as np, onnx
from onnx import TensorProto, helper, numpy_helper


class Graph:
    def __init__(self):
        self.nodes, self.weights = [], []

    def node(self, op, inputs, outputs=1, **attributes):
        names = [f"v{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, domain="", **attributes))
        return names if outputs > 1 else names[0]

    def weight(self, value):
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(value, name))
        return name

    def save(self, path, shape, result):
        loss = self.node("ReduceMean", [result], keepdims=0)
        g = helper.make_graph(self.nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
                              [helper.make_tensor_value_info(loss, TensorProto.FLOAT, [])], self.weights)
        onnx.save(helper.make_model(g, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path)


def chain(n, path):
    """Layers one after the other: Gemm, Gelu, Add."""
    g, rng, x = Graph(), np.random.default_rng(1), "x"
    for _ in range(n):
        y = g.node("Gemm", [x, g.weight(rng.standard_normal((16, 16), np.float32)), g.weight(np.zeros(16, np.float32))])
        x = g.node("Add", [g.node("Gelu", [y]), x])
    g.save(path, [4, 16], x)


def elementwise(n, path):
    """A parameter in each step of a long expression."""
    g, x = Graph(), "x"
    for i in range(n):
        x = g.node("Mul" if i % 2 else "Add", [x, g.weight(np.full(4, 0.5, np.float32))])
    g.save(path, [2, 4], x)


def slices(n, path):
    """Split into n pieces, each scaled, and concatenated."""
    g = Graph()
    pieces = g.node("Split", ["x"], n, axis=0, num_outputs=n)
    g.save(path, [n, 4], g.node("Concat", [g.node("Mul", [p, g.weight(np.full(4, 0.5, np.float32))]) for p in pieces], axis=0))


KINDS = {"chain": (chain, 160), "elementwise": (elementwise, 1000), "slices": (slices, 500)}


def compiled(gradc, path, options, folder):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([gradc, "compile", path, "-q", "-Wno-everything", "-o", os.path.join(folder, "m.o"), *options], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--gradc", default="build/gradc")
    ap.add_argument("--runs", type=int, default=3)
    a = ap.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for kind, (make, n) in KINDS.items():
            paths = [os.path.join(folder, f"{kind}{k}.onnx") for k in (1, 4)]
            for k, path in zip((1, 4), paths):
                make(n * k, path)
            for options in ([], ["--train=adamw"]):
                least = [min(t) for t in zip(*[[compiled(a.gradc, p, options, folder) for p in paths] for _ in range(a.runs)])]
                print(f"{kind:12} {' '.join(options):14} n = {n:5}: {least[0]:6.2f} s   {4 * n:5}: {least[1]:6.2f} s   "
                      f"ratio {least[1] / least[0]:.2f}")


if __name__ == "__main__":
    main()
