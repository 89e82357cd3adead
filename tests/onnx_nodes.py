# SPDX-License-Identifier: MIT
# Copyright (c) The gradc authors
"""Runs the operator tests of the onnx package through the reader and the evaluator, and through compiled code.

    python tests/onnx_nodes.py build/tests/test_onnx [--gradc build/gradc] [PATTERN]      needs onnx==1.22.0 and numpy

Prints what is wrong, and with -v why what is refused is; then how many agree (to 2e-5; "nearly": to 1e-3, which the package asks for, as some of its
values have four digits), are refused by the reader with a message, draw random numbers of numpy's, differ for a reason (otherwise), or use element
types that .npz files do not hold (skipped). With --gradc what agrees is also compiled and run. Exits 1 when something is wrong or crashed.
"""
import argparse, collections, os, re, subprocess, sys, tempfile
import numpy as np, onnx
from onnx import numpy_helper

TYPES = "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64".split()
ROOT = os.path.join(os.path.dirname(onnx.__file__), "backend/test/data/node")
# Whose values divide by scale x length - 1; the operator's formula, torch and onnxruntime divide by the resized length - 1.
OTHERWISE = "resize_downsample_scales_linear_align_corners", "resize_downsample_scales_cubic_align_corners"
RANDOM = "test_training_dropout"  # the values are what numpy's generator drops


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


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=120)


def word(case, status, said):
    """What the reader and the evaluator made of a case."""
    if status < 0:
        return "crashed"
    if status == 0:
        return "agree"
    differs = re.search(r"out/\S* is (.*), (\S+) apart from (.*)", said)
    if not differs:
        return "wrong" if said.startswith("WRONG out/") or "nothing to compare" in said else "refused"
    if RANDOM in case and "zero_ratio" not in case:
        return "random"
    if any(x in case for x in OTHERWISE):
        return "otherwise"
    same_type = differs[1] == differs[3].split("|")[0].split(" (")[0].strip()
    return "nearly" if same_type and float(differs[2]) <= 1e-3 else "wrong"


def compiled(gradc, case, data):
    """What compiled code gives for a case that agrees."""
    r = run(gradc, "run", f"{ROOT}/{case}/model.onnx", "--inputs", data, "--expect", data)
    if r.returncode not in (0, 1):
        return "compiled code crashed", r
    return ("compiled", r) if r.returncode == 0 else ("compiled code wrong", r)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("program")
    ap.add_argument("pattern", nargs="?", default="")
    ap.add_argument("--gradc")
    ap.add_argument("-v", "--verbose", action="store_true")
    a = ap.parse_args()
    count, bad = collections.Counter(), 0
    with tempfile.TemporaryDirectory() as folder:
        for case in sorted(c for c in os.listdir(ROOT) if a.pattern in c):
            data = folder + "/v.npz"
            try:
                values(case, data)
            except Exception:
                count["skipped"] += 1
                continue
            r = run(a.program, f"{ROOT}/{case}/model.onnx", data)
            how = word(case, r.returncode, r.stdout)
            count[how] += 1
            if how in ("crashed", "wrong") or (a.verbose and how != "agree"):
                print(case, how, r.stdout.strip()[:200].replace("\n", " | "))
            bad += how in ("crashed", "wrong")
            if a.gradc and how == "agree":
                how, r = compiled(a.gradc, case, data)
                count[how] += 1
                if how != "compiled":
                    bad += 1
                    print(case, how, r.returncode, r.stderr.strip()[-200:].replace("\n", " | "))
    print(dict(count))
    return bad > 0


if __name__ == "__main__":
    sys.exit(main())
