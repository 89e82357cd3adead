# SPDX-License-Identifier: MIT
# Copyright (c) The gradc authors
"""Time gradc and the systems a user would pick instead, in one run, taking turns.

    python bench/speed.py --zoo DIR [--gradc build/gradc] [--models mlp,gpt] [--peers torch,ort,openvino,jax] [--threads 2] [--seconds 2] [--rounds 2]

For each model, each system runs in a process of its own, gradc between them: peers through peers/time_peers.py, gradc through
`gradc bench --json` on the files that peers/export.py wrote to DIR (missing ones are exported). Inference is one call of forward; a training step
is forward, backward and an SGD update (gpt2: AdamW). A line shows the minimum and the median time in µs, and each peer's as ratios to
gradc's: above 1 gradc is faster. Figures are comparable only within one run on one machine.
"""
import argparse, json, os, subprocess, sys, tempfile

from zoo import HERE, export_missing

MODELS = "seed,mlp,lenet,resnet18,mobilenet,gpt,lstm"


def gradc(a, model, kind):
    """{min_us, median_us} of one entry, or None."""
    base = f"{a.zoo}/{model}.{kind}"
    command = [a.gradc, "bench", f"{base}.onnx", "--inputs", f"{base}.npz", "--json", f"--threads={a.threads}"]
    if kind == "train":
        command += ["--train=adamw" if model == "gpt2" else "--train=sgd", f"--trainable=@{a.zoo}/{model}.trainable.txt"]
    p = subprocess.run(command, capture_output=True, text=True)
    if p.returncode:
        print(p.stderr.strip())
        return None
    return json.loads(p.stdout)["step" if kind == "train" else "forward"]


def peer(a, name, model):
    """{kind: {min_us, median_us}}"""
    with tempfile.NamedTemporaryFile(suffix=".json") as f:
        command = [sys.executable, "-W", "ignore", os.path.join(HERE, "peers", "time_peers.py"), "--peers", name, "--models", model,
                   "--threads", str(a.threads), "--seconds", str(a.seconds), "--zoo", a.zoo, "--json", f.name]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return {row["kind"]: row for row in json.load(open(f.name))}


def merge(old, new):
    """The better of two measurements."""
    return new if old is None else old if new is None else {k: min(old[k], new[k]) for k in ("min_us", "median_us")}


def measure(a, model):
    """{(system, kind): {min_us, median_us}}"""
    best = {}
    for _ in range(a.rounds):
        for name in a.peers.split(","):
            for kind in ("infer", "train"):
                best["gradc", kind] = merge(best.get(("gradc", kind)), gradc(a, model, kind))
            for kind, row in peer(a, name, model).items():
                best[name, kind] = merge(best.get((name, kind)), row)
    return best


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--gradc", default="build/gradc")
    ap.add_argument("--zoo", required=True)
    ap.add_argument("--models", default=MODELS)
    ap.add_argument("--peers", default="torch,ort,openvino,jax")
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--seconds", type=float, default=2, help="for each measurement of a peer")
    ap.add_argument("--rounds", type=int, default=2)
    ap.add_argument("--json", help="file for the figures")
    a = ap.parse_args()
    a.gradc = os.path.abspath(a.gradc)
    peers, rows = a.peers.split(","), []
    export_missing("script", a.zoo, a.models.split(","))
    print(f"{a.threads} threads, µs: least / median; then how many times gradc's least and median\n{'':16s} {'gradc':>19s}" +
          "".join(f"  {p:>19s} {'×':>11s}" for p in peers))
    for model in a.models.split(","):
        best = measure(a, model)
        for kind in ("infer", "train"):
            ours = best.get(("gradc", kind))
            line = f"{model + ' ' + kind:16s} " + (f"{ours['min_us']:9.2f}/{ours['median_us']:9.2f}" if ours else f"{'failed':>19s}")
            for p in peers:
                t = best.get((p, kind))
                line += f"  {t['min_us']:9.1f}/{t['median_us']:9.1f}" if t else f"  {'':19s}"
                line += f" {t['min_us'] / ours['min_us']:5.2f}/{t['median_us'] / ours['median_us']:5.2f}" if t and ours else f" {'':11s}"
            print(line, flush=True)
            rows += [dict(system=s, model=model, kind=kind, threads=a.threads, **{k: best[s, kind][k] for k in ("min_us", "median_us")})
                     for s in ["gradc", *peers] if best.get((s, kind))]
    if a.json:
        with open(a.json, "w") as f:
            json.dump(rows, f, indent=1)


if __name__ == "__main__":
    main()
