# SPDX-License-Identifier: MIT
# Copyright (c) The gradc authors
"""Compile the zoo, run it, and compare every output and every gradient with torch's values in double.

    python bench/zoo.py [--gradc build/gradc] [--script DIR] [--dynamo DIR] [--models mlp,gpt] [--seconds 5]

--script and --dynamo are folders that peers/export.py and export_dynamo.py wrote; files that are missing are exported. Each file
is run in f32 and in double, with one thread and with two, which must give the same bytes. A line shows the tensor that comes nearest to
its limit: its distance to torch's f64 value in the L2 norm, relative to the norm of that value, beside the distance that torch's own f32
value has (of gradients, the farthest of four runs). The limit is max(1e-5, ten times torch's own), in double 1e-7; where the true value
is zero (largest below 1e-10), 1e-5 absolute. A training file is also compiled with SGD and linked; one step, on two threads, must take
the gradients from the parameters ("step"). gpt2, only when named: in f32. Exits 1 when a tensor is beyond its limit or missing, threads
differ, or compiling takes longer than --seconds.
"""
import argparse, filecmp, os, subprocess, sys, tempfile, time
import numpy as np
import step

HERE = os.path.dirname(os.path.abspath(__file__))
DEFAULT = "seed,mlp,lenet,resnet18,mobilenet,gpt,lstm"
EXPORTERS = {"script": os.path.join(HERE, "peers", "export.py"), "dynamo": os.path.join(HERE, "export_dynamo.py")}


def file_name(name):
    """gradc's name for the file of a tensor."""
    plain = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
    return "".join(chr(c) if c in plain else "%%%02X" % c for c in name.encode()) + ".npy"


def distance(a, true):
    """L2, relative unless the true value is zero; infinite when a is missing, has another shape or is not finite."""
    if a is None or a.shape != true.shape:
        return np.inf
    a, true = a.astype(np.float64), true.astype(np.float64)
    if not true.size:
        return 0.0
    zero = np.max(np.abs(true)) < 1e-10
    d = np.linalg.norm(a - true) / (1 if zero else np.linalg.norm(true))
    return d if np.isfinite(d) else np.inf


def limit(key, data, double):
    """(the distance allowed for tensor out/NAME or grad/NAME, the true value, the distance of torch's own f32 value)"""
    kind, name = key.split("/", 1)
    true, own = data[f"{kind}64/{name}"], distance(data[key], data[f"{kind}64/{name}"])
    if true.size and np.max(np.abs(true)) < 1e-10:
        return 1e-5, true, own
    return (1e-7 if double else max(1e-5, 10 * own)), true, own


def compare(folder, data, double):
    """The tensor nearest to its limit, or beyond it: (distance / limit, name, distance, torch's own, limit)."""
    worst = (-1.0, "", 0.0, 0.0, 0.0)
    for key in data.files:
        kind, name = key.split("/", 1)
        if kind not in ("out", "grad"):
            continue
        path = os.path.join(folder, *(["grad"] if kind == "grad" else []), file_name(name))
        allowed, true, own = limit(key, data, double)
        d = distance(np.load(path) if os.path.exists(path) else None, true)
        worst = max(worst, (d / allowed, name, d, own, allowed))
    return worst


def same_files(a, b):
    def listing(top):
        return sorted(os.path.relpath(os.path.join(folder, f), top) for folder, _, files in os.walk(top) for f in files)
    names = listing(a)
    return names == listing(b) and not any(filecmp.cmpfiles(a, b, names, shallow=False)[1:])


class Zoo:
    def __init__(self, arguments):
        self.gradc, self.seconds, self.bad, self.rows = os.path.abspath(arguments.gradc), arguments.seconds, 0, 0

    def run(self, *arguments):
        """(exit status, output, seconds)"""
        start = time.perf_counter()
        p = subprocess.run([self.gradc, *arguments], capture_output=True, text=True, errors="replace")
        return p.returncode, p.stderr.strip(), time.perf_counter() - start

    def compile_seconds(self, model, options, where):
        status, said, seconds = self.run("compile", model, *options, "-o", os.path.join(where, "model.o"))
        if status:
            print(said)
        return seconds if not status else np.inf

    def row(self, title, width, worst, same, seconds, why=""):
        ratio, name, d, own, allowed = worst
        faults = [(why, bool(why)), ("BEYOND", ratio > 1), ("THREADS DIFFER", not same), ("DOES NOT COMPILE", seconds == np.inf),
                  ("SLOW TO COMPILE", seconds > self.seconds)]
        verdict = next((word for word, is_so in faults if is_so), "ok")
        self.rows += 1
        self.bad += verdict != "ok"
        print(f"{title:24s} {width:4s} {d:9.2e} {own:9.2e} {allowed:9.2e}  {seconds:6.2f} s  {verdict:8s} {name}", flush=True)

    def check(self, title, base, trainable, doubles=(False, True)):
        """All runs of one file."""
        model, values = base + ".onnx", base + ".npz"
        data, train = np.load(values), base.endswith(".train")
        options = ["--grad"] if train else []
        options += [f"--trainable=@{trainable}"] if train and trainable else []
        with tempfile.TemporaryDirectory() as where:
            seconds = self.compile_seconds(model, ["--train=sgd", *options[1:]] if train else [], where)
            for double in doubles:
                out, why = [], ""
                for threads in (1, 2):
                    out.append(os.path.join(where, f"{threads}{double}"))
                    status, said, _ = self.run("run", model, "--inputs", values, *options, "--output", out[-1], "--expect", values,
                                               f"--threads={threads}", *(["--f64"] if double else []))
                    if not os.path.isdir(out[-1]):
                        os.mkdir(out[-1])
                    if status:
                        why = f"EXIT {status}"
                        print(said)
                self.row(title, "f64" if double else "f32", compare(out[0], data, double), same_files(*out), seconds, why)
            if train:
                self.check_step(title, model, data, options[1:], where)

    def check_step(self, title, model, data, options, where):
        worst, why = (-1.0, "", 0.0, 0.0, 0.0), ""
        try:
            got = step.gradients(self.gradc, model, data, options, 2, where)
            for key in data.files:
                if key.startswith("grad/"):
                    allowed, true, own = limit(key, data, False)
                    d = distance(got.get(key[5:]), true)
                    worst = max(worst, (d / allowed, key[5:], d, own, allowed))
        except (RuntimeError, subprocess.CalledProcessError) as e:
            why = str(e)
        self.row(title, "step", worst, True, 0, why)


def export_missing(exporter, folder, names):
    missing = [n for n in names if not all(os.path.exists(f"{folder}/{n}.{kind}.{ext}") for kind in ("infer", "train") for ext in ("onnx", "npz"))]
    if missing:
        subprocess.run([sys.executable, "-W", "ignore", EXPORTERS[exporter], folder, *missing], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--gradc", default="build/gradc")
    ap.add_argument("--script", help="folder of files of torch's older exporter")
    ap.add_argument("--dynamo", help="folder of files of its newer one")
    ap.add_argument("--models", default=DEFAULT)
    ap.add_argument("--seconds", type=float, default=5, help="limit on compiling")
    a = ap.parse_args()
    zoo, names = Zoo(a), a.models.split(",")
    print(f"{'file':24s} {'':4s} {'ours':>9s} {'torch f32':>9s} {'limit':>9s}  {'compile':>8s}  {'verdict':8s} tensor nearest to its limit")
    for exporter, folder in (("script", a.script), ("dynamo", a.dynamo)):
        if not folder:
            continue
        export_missing(exporter, folder, [n for n in names if not (exporter == "dynamo" and n == "gpt2")])
        for name in names:
            if exporter == "dynamo" and name == "gpt2":
                continue
            trainable = f"{folder}/{name}.trainable.txt"
            zoo.seconds = np.inf if name == "gpt2" else a.seconds
            for kind in ("train",) if name == "gpt2" else ("infer", "train"):
                title = f"{name}.{kind}" + (" (dynamo)" if exporter == "dynamo" else "")
                zoo.check(title, f"{folder}/{name}.{kind}", trainable if os.path.exists(trainable) else None,
                          (False,) if name == "gpt2" else (False, True))
    print(f"{zoo.rows - zoo.bad} of {zoo.rows} agree")
    return zoo.bad > 0 or not zoo.rows


if __name__ == "__main__":
    sys.exit(main())
