# SPDX-License-Identifier: MIT
# Copyright (c) The gradc authors
"""Time matrix products whose accumulators are wider than their operands, as ratios to f32's.

    python bench/contractions.py [--gradc build/gradc] [--size 512] [--rounds 3] [--cpu LEVEL ...]

Levels that this processor does not have are left out. Types alternate; a figure is the minimum of all rounds, on one thread.
"""
import argparse, json, os, subprocess, tempfile

LEVELS = ["x86-64", "x86-64-v2", "x86-64-v3", "x86-64-v3+avxvnni", "x86-64-v3+avxvnniint8", "x86-64-v4", "x86-64-v4+avx512vnni",
          "x86-64-v4+avx512bf16"]
# name: types of the operands and of the sum, and whether the right one is transposed
KINDS = {"f32": ("f32", "f32", "f32", False), "i8 x i8": ("i8", "i8", "i32", False), "u8 x i8, transposed": ("u8", "i8", "i32", True),
         "bf16": ("bf16", "bf16", "f32", False)}


def text(m, n, k, lhs, rhs, total, transposed):
    return f"""gir 1
module "product"

entry @forward(
    input %x : {lhs}[{m},{k}],
    input %w : {rhs}[{n if transposed else k},{k if transposed else n}]
) {{
    %y = dot_general %x, %w lhs_contract=[1] rhs_contract=[{int(transposed)}] accumulate={total} : {total}[{m},{n}]
    return (
        output "y" %y
    )
}}
"""


def least(a, file, cpu):
    """µs of a call, or None where the level does not run."""
    p = subprocess.run([a.gradc, "bench", file, f"--cpu={cpu}", "--threads=1", "--json"], capture_output=True, text=True)
    return None if p.returncode else json.loads(p.stdout)["forward"]["min_us"]


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--gradc", default="build/gradc")
    ap.add_argument("--size", type=int, default=512)
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--cpu", nargs="*", default=LEVELS)
    a = ap.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files = {}
        for i, (name, kind) in enumerate(KINDS.items()):
            files[name] = os.path.join(folder, f"product{i}.gir")
            open(files[name], "w").write(text(a.size, a.size, a.size, *kind))
        print(f"| level | f32 µs | GFLOP/s | {' | '.join(list(KINDS)[1:])} |\n|{'---|' * (len(KINDS) + 2)}")
        for cpu in a.cpu:
            times = {name: [] for name in files}
            for _ in range(a.rounds):
                for name, file in files.items():
                    times[name].append(least(a, file, cpu))
            if None in times["f32"]:
                continue
            best = {name: min(t) for name, t in times.items()}
            ratios = " | ".join(f"{best['f32'] / best[name]:.2f}" for name in list(KINDS)[1:])
            print(f"| {cpu} | {best['f32']:.0f} | {2 * a.size ** 3 / best['f32'] / 1000:.0f} | {ratios} |", flush=True)


if __name__ == "__main__":
    main()
