# SPDX-License-Identifier: MIT
# Copyright (c) The gradc authors
"""Random ONNX graphs: gradc against onnxruntime, onnx.reference and differences.

    python tests/fuzz_onnx [--gradc build/gradc] [--out build/fuzz-onnx] [--jobs N] COUNT [SEED]      draws graphs SEED, SEED + 1, …
    python tests/fuzz_onnx [--gradc build/gradc] --file M.onnx [--inputs IN.npz]                      judges one

Graphs are valid ONNX of opset 7 to the newest over the operators that gradc supports. Of each: `check` agrees with `run` and `compile`, outputs are
right, gradients are right (judge.py says how). A failure is written to --out, with a smaller graph that fails alike (shrink.py). Refusals are
counted by reason. Exits 1 when something failed. Needs onnx, onnxruntime, ml_dtypes, numpy.
"""
import argparse, collections, multiprocessing, os, sys, tempfile, time, traceback

os.environ["OMP_NUM_THREADS"] = "1"
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import numpy as np, onnx
import generators, shrink
from judge import Judge, Verdict, operators, typed


def work(arguments, seeds, pipe):
    """Judges seeds in a process of its own, which an oracle may crash."""
    with tempfile.TemporaryDirectory() as folder:
        judge = Judge(arguments.gradc, folder + "/work")
        for seed in seeds:
            pipe.send(("begin", seed))
            used = []
            try:
                model, feed = generators.draw(seed)
                used = sorted(operators(model.graph))
                verdict = judge.judge(model, feed, seed)
                if verdict.failed:
                    keep(arguments, judge, seed, model, feed, verdict)
            except Exception:
                verdict = Verdict("fault of this program", traceback.format_exc().splitlines()[-1], traceback.format_exc())
            pipe.send((seed, verdict.kind, verdict.at, verdict.text, used))
    pipe.send(None)


def keep(arguments, judge, seed, model, feed, verdict):
    base = os.path.join(arguments.out, str(seed))
    write(base, model, feed, verdict)
    if not arguments.no_shrink:
        small, small_feed = shrink.shrink(model, feed, lambda m, f: judge.judge(m, f, seed).kind == verdict.kind)
        write(base + ".small", small, small_feed, judge.judge(small, small_feed, seed))


def write(base, model, feed, verdict):
    onnx.save(model, base + ".onnx")
    np.savez(base + ".npz", **{"in/" + n: a.view("V2") if a.dtype.name == "bfloat16" else a for n, a in feed.items()})
    with open(base + ".txt", "w") as f:
        f.write(f"{verdict.kind}: {verdict.at}\n{verdict.text}\n\n{onnx.printer.to_text(model)}\n")


class Pool:
    """Processes over a range of seeds; one that dies is started again behind the seed that it died of."""

    def __init__(self, arguments):
        self.arguments, self.workers = arguments, {}
        todo = range(arguments.seed, arguments.seed + arguments.count)
        for k in range(arguments.jobs):
            self.start(todo[k :: arguments.jobs])

    def start(self, seeds):
        ours, theirs = multiprocessing.Pipe(duplex=False)
        p = multiprocessing.get_context("fork").Process(target=work, args=(self.arguments, seeds, theirs), daemon=True)
        p.start()
        theirs.close()
        self.workers[ours] = [p, seeds, seeds[0] if seeds else 0]

    def results(self):
        while self.workers:
            for pipe in multiprocessing.connection.wait(list(self.workers)):
                worker = self.workers[pipe]
                try:
                    said = pipe.recv()
                except EOFError:
                    said, seed = None, worker[2]
                    if worker[1] and seed is not None:
                        yield seed, "oracle crashed", f"signal {-(worker[0].exitcode or 0)}", "", []
                        self.start(worker[1][worker[1].index(seed) + 1 :])
                if said is None:
                    del self.workers[pipe]
                elif said[0] == "begin":
                    worker[2] = said[1]
                else:
                    yield said


def report(counts, ways, examples, covered, arguments, seconds):
    print(f"{sum(counts.values())} graphs from seed {arguments.seed} in {seconds:.0f} s: " + ", ".join(f"{n} {k}" for k, n in counts.most_common()))
    for kind in counts:
        if kind == "ok":
            continue
        print(f"{kind}:")
        for at, n in ways[kind].most_common(40):
            print(f"  {n:5d}  {at}  (seed {examples[kind, at]})")
    print("operators: " + " ".join(f"{n}:{k}" for n, k in sorted(covered.items())))


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--gradc", default="build/gradc")
    ap.add_argument("--out", default="build/fuzz-onnx")
    ap.add_argument("--jobs", type=int, default=os.cpu_count())
    ap.add_argument("--no-shrink", action="store_true")
    ap.add_argument("--file")
    ap.add_argument("--inputs")
    ap.add_argument("count", nargs="?", type=int, default=100)
    ap.add_argument("seed", nargs="?", type=int, default=0)
    a = ap.parse_args()
    a.gradc = os.path.abspath(a.gradc)
    if a.file:
        data = np.load(a.inputs or a.file[:-5] + ".npz")
        with tempfile.TemporaryDirectory() as folder:
            v = Judge(a.gradc, folder + "/work").judge(onnx.load(a.file), {n[3:]: typed(data[n]) for n in data.files}, a.seed)
        print(f"{v.kind}: {v.at}\n{v.text}")
        return v.failed
    os.makedirs(a.out, exist_ok=True)
    counts, ways, covered = collections.Counter(), collections.defaultdict(collections.Counter), collections.Counter()
    examples, failed, start = {}, 0, time.time()
    for seed, kind, at, text, used in Pool(a).results():
        counts[kind] += 1
        ways[kind][at] += 1
        examples.setdefault((kind, at), seed)
        covered.update(used)
        if counts.total() % 500 == 0:
            print(f"{counts.total()} graphs, {failed} failed", flush=True)
        if Verdict(kind).failed and kind != "oracle crashed":
            failed += 1
            print(f"seed {seed}: {kind}: {at}\n    " + text[:600].replace("\n", "\n    "), flush=True)
    report(counts, ways, examples, covered, a, time.time() - start)
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
