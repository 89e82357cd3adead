# SPDX-License-Identifier: MIT
# Copyright (c) The gradc authors
"""Runs the operator tests of the onnx package through the reader and the evaluator.

    python tests/onnx_nodes.py build/tests/test_onnx [PATTERN]      needs onnx==1.22.0 and numpy

Prints what is wrong, then how many agree, are not supported, or use element types that .npz files do not hold (skipped).
"""
import collections, os, subprocess, sys, tempfile
import numpy as np, onnx
from onnx import numpy_helper

TYPES = "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64".split()
ROOT = os.path.join(os.path.dirname(onnx.__file__), "backend/test/data/node")


def tensor(path):
    t = onnx.TensorProto()
    with open(path, "rb") as f:
        t.ParseFromString(f.read())
    x = numpy_helper.to_array(t)
    if str(x.dtype) not in TYPES:
        raise ValueError(str(x.dtype))
    return x


def values(case, path):
    g, folder, found = onnx.load(f"{ROOT}/{case}/model.onnx").graph, f"{ROOT}/{case}/test_data_set_0", {}
    for kind, key, ports in (("input", "in/", g.input), ("output", "out/", g.output)):
        for k, port in enumerate(ports):
            if os.path.exists(f"{folder}/{kind}_{k}.pb"):
                found[key + port.name] = tensor(f"{folder}/{kind}_{k}.pb")
    np.savez(path, **found)


def main():
    program, pattern, count = sys.argv[1], (sys.argv[2:] or [""])[0], collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        for case in sorted(c for c in os.listdir(ROOT) if pattern in c):
            try:
                values(case, folder + "/v.npz")
            except Exception:
                count["skipped"] += 1
                continue
            r = subprocess.run([program, f"{ROOT}/{case}/model.onnx", folder + "/v.npz"], capture_output=True, text=True, timeout=60)
            how = "agree" if r.returncode == 0 else "crashed" if r.returncode < 0 else "not supported" if "not supported" in r.stdout else "wrong"
            count[how] += 1
            if how in ("crashed", "wrong"):
                print(case, r.stdout.strip()[:200].replace("\n", " | "))
    print(dict(count))


main()
