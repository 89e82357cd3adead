# SPDX-License-Identifier: MIT
# Copyright (c) The gradc authors
"""Time matrix products f32[m,k] x f32[k,n] as tiles, as blocks that are packed, and as blocks that are not.

    python bench/products.py [--gradc build-tunable/gradc] [--cpu native ...] [--rounds 2] [MxNxK ...]

gradc is a build with GRADC_TUNABLE (`cmake --preset tunable`). Prints the rate of tiles, the times of blocks relative to theirs, and which of
them the cost model chooses. A figure is the minimum of all rounds, in which the kinds alternate, on one thread.
"""
import argparse, json, os, re, subprocess, sys, tempfile

from contractions import text
from zoo import HERE

SHAPES = [f"{m}x{n}x{k}" for m in (4, 16, 64, 256) for n in (48, 96, 256, 1000, 1024) for k in (64, 512, 2048)]
BLOCKS = "PACK_M=1 PACK_K=1 PACK_N=1 BLOCK_COST=1 BLOCK_PACK=0"
TUNING = {"tile": "PACK_K=2147483647", "packed": BLOCKS, "unpacked": BLOCKS}


def call(a, tuning, *options):
    return subprocess.run([a.gradc, *options], capture_output=True, text=True, env={**os.environ, "GRADC_TUNING": tuning})


def schedule(a, tuning, file, cpu):
    p = call(a, tuning, "dump", file, f"--cpu={cpu}", "--blas=none", "--after=schedule")
    if p.returncode:
        sys.exit(p.stderr)
    return p.stdout


def least(a, kind, file, cpu):
    """In µs; infinite where blocks must be packed."""
    wish, asked = file + ".schedule", schedule(a, TUNING[kind], file, cpu)
    if kind != "tile":
        asked = re.sub(r"^( +0 .*?)( pack)?  //", r"\1 pack  //" if kind == "packed" else r"\1  //", asked, flags=re.M)
    open(wish, "w").write(asked)
    p = call(a, TUNING[kind], "bench", file, f"--cpu={cpu}", f"--schedule={wish}", "--threads=1", "--blas=none", "--json")
    return json.loads(p.stdout)["forward"]["min_us"] if not p.returncode else float("inf")


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--gradc", default=HERE + "/../build-tunable/gradc")
    ap.add_argument("--cpu", nargs="*", default=["native"])
    ap.add_argument("--rounds", type=int, default=2)
    ap.add_argument("shapes", nargs="*", default=SHAPES)
    a = ap.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = folder + "/product.gir"
        for cpu in a.cpu:
            for shape in a.shapes:
                m, n, k = map(int, shape.split("x"))
                open(file, "w").write(text(m, n, k, "f32", "f32", "f32", False))
                best = dict.fromkeys(TUNING, float("inf"))
                for _ in range(a.rounds):
                    for kind in TUNING:
                        best[kind] = min(best[kind], least(a, kind, file, cpu))
                own = re.search(r"^ +0 (\w+).*", schedule(a, "", file, cpu), re.M)
                chosen = "tile" if own[1] == "tile" else "packed" if " pack" in own[0] else "unpacked"
                print(f"{cpu} {shape}: tile {2e-3 * m * n * k / best['tile']:.1f} GFLOP/s; packed {best['packed'] / best['tile']:.2f}, "
                      f"unpacked {best['unpacked'] / best['tile']:.2f}; chosen: {chosen}", flush=True)


if __name__ == "__main__":
    main()
