# SPDX-License-Identifier: MIT
# Copyright (c) The gradc authors
"""Measure the rows of ir/tuning.def: each at half and at twice its value, as ratios of time to that with its current value.

    python bench/tuning.py ZOO [--gradc build-tunable/gradc] [--rows NAME ...] [--values V ...] [--models NAME ...] [--rounds 2]

ZOO holds the files of bench/peers/export.py; missing ones are exported. gradc is a build with GRADC_TUNABLE, in which the environment changes
values: `./run tuning` builds it. A model whose plan and schedules are the same with both values has the same code and is not timed. The others are
timed alternately; a figure is the minimum of all rounds with the other value over that with the row's own, on one thread: `step` of a training
file, `forward` of one for inference. Ratios between 0.98 and 1.02 are noise on most machines. Rows that only code generation reads (PARALLEL_CALL,
PARALLEL_PHASE) are not seen here.
"""
import argparse, hashlib, json, os, re, subprocess

from zoo import HERE, export_missing

ROW = re.compile(r"^TUNING\((\w+), ([^,]+),", re.M)


def rows(source):
    return {name: eval(value) for name, value in ROW.findall(open(source).read())}


class Refused(Exception):
    """A value that gradc does not accept."""


class Gradc:
    def __init__(self, a):
        self.a, self.plans = a, {}

    def call(self, tuning, verb, model, *options):
        train = ["--train=adamw", "--loss=loss"] if ".train." in model else []
        p = subprocess.run([self.a.gradc, verb, model, "-q", *train, *options], capture_output=True, env={**os.environ, "GRADC_TUNING": tuning})
        if p.returncode:
            raise Refused(f"{model}: {p.stderr.decode().splitlines()[-1]}")
        return p.stdout

    def plan(self, tuning, model):
        """A hash of what determines the code."""
        if (tuning, model) not in self.plans:
            text = self.call(tuning, "dump", model, "--after=plan") + self.call(tuning, "dump", model, "--after=schedule", "--cpu=native")
            self.plans[tuning, model] = hashlib.sha256(text).digest()
        return self.plans[tuning, model]

    def least(self, tuning, model):
        entry = "step" if ".train." in model else "forward"
        return json.loads(self.call(tuning, "bench", model, "--threads=1", "--json", f"--entries={entry}"))[entry]["min_us"]


def ratio(g, tuning, model, rounds):
    own, other = [], []
    for _ in range(rounds):
        own.append(g.least("", model))
        other.append(g.least(tuning, model))
    return min(other) / min(own)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("zoo")
    ap.add_argument("--gradc", default=HERE + "/../build-tunable/gradc")
    ap.add_argument("--rows", nargs="*")
    ap.add_argument("--values", nargs="*", type=int)
    ap.add_argument("--models", nargs="*", default=["mlp.train", "lenet.train", "gpt.train", "lstm.train", "mobilenet.train", "resnet18.infer",
                                                    "mobilenet.infer"])
    ap.add_argument("--rounds", type=int, default=2)
    a = ap.parse_args()
    export_missing("script", a.zoo, {m.split(".")[0] for m in a.models})
    all_rows, g = rows(HERE + "/../ir/tuning.def"), Gradc(a)
    for name in a.rows or all_rows:
        value = all_rows[name]
        for other in a.values or sorted({max(1, value // 2), value * 2} - {value}):
            tuning, found = f"{name}={other}", []
            try:
                for model in a.models:
                    path = f"{a.zoo}/{model}.onnx"
                    if g.plan("", path) != g.plan(tuning, path):
                        found.append(f"{model} {ratio(g, tuning, path, a.rounds):.2f}")
            except Refused as e:
                found.append(str(e))
            print(f"{name} {other} over {value}: {', '.join(found) or 'the same code'}", flush=True)


if __name__ == "__main__":
    main()
