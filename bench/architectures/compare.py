# SPDX-License-Identifier: MIT
# Copyright (c) The gradc authors
"""Compare gradc with torch over many architectures, as both of torch's exporters write them: inference, and every gradient.

    python bench/architectures/compare.py [--gradc build/gradc] [--cache build/architectures] [--jobs 1] [--report] [--markdown FILE] [NAME...]

Weights and data are random, dropout is off. Each file is checked, run and compared with torch in double: outputs within max(1e-3, ten
times the distance of torch's own f32 value); a gradient within max(1e-4, ten times its own, which is that of the farthest of four f32
runs, three of them with inputs moved by 1e-6), and where that is missed, once more with --f64 within 1e-5. The training file is compiled
with AdamW. A line is a name, inference (older exporter / newer one), gradients, seconds and bytes of the object. The words are
  right          within the bounds
  right in f64   the f32 gradient is beyond its bound, the f64 one is not
  as exported    right for the file, by differences of its loss in double (or by onnxruntime's loss), but not what torch does: the exporter's doing
  refused        gradc says what is not supported; `check` said so too
  not exported   torch's exporter fails
  WRONG, CHECK   wrong; `check` and `run` or `compile` disagree
Exported files and results are kept below --cache (15 GB for all); delete a folder there after its architecture was changed. --report runs
nothing and shows the results that are there. Exits 1 when something is WRONG or CHECK.
"""
import argparse, json, logging, os, re, shutil, subprocess, sys, time, traceback, warnings

os.environ["HF_HUB_OFFLINE"] = "1"
warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import torchvision_shim
import numpy as np, onnx, onnxruntime, timm, torch, torchvision, transformers
import language, networks, operators, vision
from reference import EXPORTERS, Subject, versions
from registry import ARCHITECTURES
from zoo import file_name

SECONDS = 600  # of one call of gradc
GOOD = ("right", "right in f64", "as exported", "refused", "not exported")


def distance(a, true):
    """L2, relative; infinite where a is missing, of another shape or no number."""
    if a is None or a.shape != true.shape:
        return np.inf
    norm = np.linalg.norm(true.astype(np.float64))
    d = np.linalg.norm(a.astype(np.float64) - true) / (norm if norm > 1e-12 else 1)
    return float(d) if np.isfinite(d) else np.inf


def loaded(path):
    return np.load(path) if os.path.exists(path) else None


def run_onnxruntime(path, feed):
    """Outputs, or None where it cannot run the file."""
    try:
        options = onnxruntime.SessionOptions()
        options.log_severity_level, options.intra_op_num_threads = 4, 1
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        return session.run(None, {i.name: feed[i.name] for i in session.get_inputs()})
    except Exception:
        return None


class Case:
    """One architecture at one gradc."""

    def __init__(self, arguments, name):
        self.gradc, self.folder = arguments.gradc, os.path.join(arguments.cache, name)
        os.makedirs(self.folder, exist_ok=True)
        self.subject = Subject(name, ARCHITECTURES[name])
        s, work = self.subject, self.folder + "/work"
        shutil.rmtree(work, ignore_errors=True)
        os.mkdir(work)
        self.work, self.feed = work, {n: t.numpy() for n, t in zip(s.x_names + s.y_names, s.x + s.y)}
        np.savez(work + "/all.npz", **{"in/" + n: v for n, v in self.feed.items()})
        np.savez(work + "/x.npz", **{"in/" + n: self.feed[n] for n in s.x_names})

    def call(self, *arguments):
        """(exit status, errors)"""
        try:
            p = subprocess.run([self.gradc, *arguments], capture_output=True, text=True, errors="replace", timeout=SECONDS)
        except subprocess.TimeoutExpired:
            return "timeout", [f"{SECONDS} s"]
        return p.returncode, [line for line in p.stderr.splitlines() if "error" in line] or p.stderr.splitlines()[-3:]

    def refusal(self, checked, status, errors, row):
        """What a failed run is: refused, if check said so too and nothing crashed."""
        row["errors"] = errors[:4]
        return "refused" if status == 1 and checked == 1 else "CHECK" if status == 1 else "WRONG"

    def inference(self, exporter):
        s, row = self.subject, {}
        path, row["export"] = s.export("infer", exporter, self.folder)
        if not path:
            return row | {"verdict": "not exported"}
        checked, _ = self.call("check", path)
        out = f"{self.work}/infer.{exporter}"
        status, errors = self.call("run", path, "--inputs", self.work + "/x.npz", "-o", out)
        if status:
            return row | {"verdict": self.refusal(checked, status, errors, row)}
        got = [loaded(f"{out}/{file_name(n)}") for n in s.output_names]
        own = max(distance(a, b) for a, b in zip(s.outputs, s.outputs64))
        row["own"], row["distance"] = own, max(distance(a, b) for a, b in zip(got, s.outputs64))
        bound = max(1e-3, 10 * own)
        if row["distance"] <= bound:
            return row | {"verdict": "CHECK" if checked else "right"}
        theirs = run_onnxruntime(path, self.feed)
        same = theirs is not None and max(distance(a, b) for a, b in zip(got, theirs)) <= bound
        return row | {"verdict": "as exported" if same else "WRONG"}

    def judge(self, folder, exact, own, double):
        """(verdict, [what is beyond its bound or missing]) of a folder of gradients."""
        loss = loaded(f"{folder}/{file_name('loss')}")
        if loss is None or not abs(float(loss) - exact[""]) <= max(1e-4 * abs(exact[""]), 10 * own[""]):
            return "loss", [("loss", None if loss is None else float(loss), float(exact[""]))]
        largest = max([float(np.abs(g).max()) for n, g in exact.items() if n and g is not None and g.size] or [0.0])
        names, faults = self.subject.aliases(), []
        for n, true in exact.items():
            found = [g for g in (loaded(f"{folder}/grad/{file_name(a)}") for a in names.get(n, [n])) if g is not None] if n else []
            if not n or true is None or (not found and np.abs(true).max() <= 1e-9 * largest):
                continue
            if not found:
                faults.append((n, "missing"))
                continue
            got, norm = sum(g.astype(np.float64) for g in found), np.linalg.norm(true)
            bound = max(1e-5 * norm, 1e-9) if double else max(1e-4 * norm, 10 * own.get(n, 0))
            bound = max(bound, (1e-8 if double else 1e-6) * largest * np.sqrt(true.size))
            d = np.linalg.norm(got - true) if got.shape == true.shape else np.inf
            if not d <= bound:
                faults.append((n, float(d), float(bound), float(norm)))
        return ("gradient" if faults else "right"), sorted(faults, key=lambda f: -f[1] if isinstance(f[1], float) else -np.inf)[:6]

    def compare(self, folder, double):
        """The judgement by torch in training mode or, as the newer exporter writes batch normalisation, with its running statistics."""
        modes = (True, False) if self.subject.batch_norm else (True,)
        found = [self.judge(folder, *self.references[m], double) for m in modes]
        return min(found, key=lambda f: ("right", "gradient", "loss").index(f[0]))

    def as_exported(self, path, options, folder):
        """Whether the gradients in double are the loss's derivative along a random direction of all parameters: so the file is differentiated
        rightly, whatever it was exported from."""
        model, rng, slope, values = onnx.load(path), np.random.default_rng(0), 0.0, []
        directions = {}
        for t in model.graph.initializer:
            g = loaded(f"{folder}/grad/{file_name(t.name)}")
            if g is not None:
                directions[t.name] = (onnx.numpy_helper.to_array(t), g, rng.standard_normal(g.shape))
        for sign in (1, -1):
            for t in model.graph.initializer:
                if t.name in directions:
                    w, g, v = directions[t.name]
                    new = (w + sign * 1e-4 * (np.std(w) + 1e-3) * v).astype(w.dtype)
                    slope += sign * float(((new.astype(np.float64) - w) * g).sum())
                    t.CopyFrom(onnx.numpy_helper.from_array(new, t.name))
            onnx.save(model, self.work + "/moved.onnx")
            self.call("run", self.work + "/moved.onnx", "--inputs", self.work + "/all.npz", "--f64", "-o", self.work + "/moved", *options)
            values.append(loaded(f"{self.work}/moved/loss.npy"))
        return None not in values and abs(float(values[0] - values[1]) - slope) <= 1e-3 * abs(slope)

    def gradients(self, exporter):
        s, row = self.subject, {}
        path, row["export"] = s.export("train", exporter, self.folder)
        if not path:
            return row | {"verdict": "not exported"}, None
        options = ["--loss=loss"]
        if exporter == "script":  # which does not say what trains
            held = {t.name for t in onnx.load(path, load_external_data=False).graph.initializer}
            with open(self.work + "/trainable.txt", "w") as f:
                f.writelines(n + "\n" for names in s.aliases().values() for n in names if n in held)
            options.append(f"--trainable=@{self.work}/trainable.txt")
        checked, _ = self.call("check", path, "--train=adamw", *options)
        out, data = f"{self.work}/train.{exporter}", self.work + "/all.npz"
        status, errors = self.call("run", path, "--inputs", data, "--grad", *options, "-o", out)
        if status:
            return row | {"verdict": self.refusal(checked, status, errors, row)}, None
        verdict, row["faults"] = self.compare(out, False)
        if verdict != "right":
            status, row["errors"] = self.call("run", path, "--inputs", data, "--grad", "--f64", *options, "-o", out + ".f64")
            verdict, row["faults64"] = self.compare(out + ".f64", True) if not status else ("WRONG", [])
            if verdict == "right":
                verdict = "right in f64"
            else:
                verdict = "as exported" if self.right_for_the_file(path, options, out, verdict) else "WRONG"
        return row | {"verdict": "CHECK" if checked else verdict}, (path, options)

    def right_for_the_file(self, path, options, out, verdict):
        if verdict == "loss":
            theirs, ours = run_onnxruntime(path, self.feed), loaded(out + "/loss.npy")
            if theirs is None or ours is None or abs(float(theirs[0]) - float(ours)) > 1e-3 * abs(float(ours)):
                return False
        return self.as_exported(path, options, out + ".f64")

    def compile(self, path, options):
        start = time.time()
        status, errors = self.call("compile", path, "--train=adamw", *options, "--weights=file", "-o", self.work + "/net.o")
        size = os.path.getsize(self.work + "/net.o") if not status else 0
        return {"status": status, "seconds": round(time.time() - start, 1), "bytes": size, "errors": errors if status else []}

    def result(self):
        r = {"parameters": sum(p.numel() for p in self.subject.net.parameters())}
        for exporter in EXPORTERS:
            r["inference " + exporter] = self.inference(exporter)
        self.references = {mode: self.subject.exact_and_own(mode) for mode in ((True, False) if self.subject.batch_norm else (True,))}
        for exporter in EXPORTERS:
            r["gradients " + exporter], compiled = self.gradients(exporter)
            if compiled and "compile" not in r:
                r["compile"] = self.compile(*compiled)
                if r["compile"]["status"]:
                    r["gradients " + exporter]["verdict"] = "CHECK"
        shutil.rmtree(self.work)
        return r


def verdicts(r):
    return [r.get(f"{what} {e}", {}).get("verdict", "WRONG") for what in ("inference", "gradients") for e in EXPORTERS]


def result_path(a, name):
    return f"{a.cache}/{name}.result.json"


def in_child(a, name):
    """Starts a process for an architecture: exporters leave things behind, and networks are large. It writes the result."""
    path = result_path(a, name)
    if os.path.exists(path):
        os.remove(path)
    child = os.fork()
    if child == 0:
        start, null = time.time(), os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)  # the older exporter prints whole graphs
        os.dup2(null, 2)
        try:
            r = Case(a, name).result()
        except BaseException as e:
            r = {"crash": f"{type(e).__name__}: {e}"[:500], "trace": traceback.format_exc()[-1500:]}
        with open(path, "w") as f:
            json.dump(r | {"name": name, "versions": versions(), "seconds": round(time.time() - start, 1)}, f, default=float)
        os._exit(0)
    return child, path


def run_all(a, names):
    waiting, running = names[::-1], {}
    while waiting or running:
        while waiting and len(running) < a.jobs:
            child, path = in_child(a, waiting.pop())
            running[child] = path
        child, status = os.wait()
        path = running.pop(child)
        if not os.path.exists(path):
            with open(path, "w") as f:
                json.dump({"name": os.path.basename(path)[: -len(".result.json")], "crash": f"the process ended with {status}"}, f)
        print(line(json.load(open(path))), flush=True)


def line(r):
    v, c = verdicts(r), r.get("compile", {"seconds": 0, "bytes": 0})
    return f"{r['name']:24s} {v[0]} / {v[1]} | {v[2]} / {v[3]} | {c['seconds']} s, {c['bytes'] // 1000} kB  {r.get('crash', '')}"


def reason(r):
    """Why something is not plainly right, in a few words."""
    said = []
    for what in ("inference", "gradients"):
        for e in EXPORTERS:
            row = r.get(f"{what} {e}", {})
            if row.get("verdict") == "refused":
                said += [error.split("error: ")[-1] for error in row["errors"][:1]]
            elif row.get("verdict") == "not exported":
                error = re.sub(r"\x1b\[\d+m", "", row["export"]["error"]).split(" <- ")[-1]  # the innermost
                said.append(f"{e}: {error[:110]}")
    return "; ".join(dict.fromkeys(s.replace("|", "\\|") for s in said)) + (r.get("crash") or "")


def markdown(results, path):
    with open(path, "w") as f:
        f.write("| architecture | parameters | inference | gradients | seconds | object, kB | |\n|---|---|---|---|---|---|---|\n")
        for r in results:
            v, c = verdicts(r), r.get("compile", {"seconds": "", "bytes": 0})
            pair = [v[k] if v[k] == v[k + 1] else f"{v[k]} / {v[k + 1]}" for k in (0, 2)]
            cells = [r["name"], f"{r.get('parameters', 0) / 1e6:.2f} M", *pair, c["seconds"], c["bytes"] // 1000 or "", reason(r)]
            f.write("| " + " | ".join(str(x) for x in cells) + " |\n")


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--gradc", default="build/gradc")
    ap.add_argument("--cache", default="build/architectures")
    ap.add_argument("--jobs", type=int, default=1)
    ap.add_argument("--report", action="store_true", help="of results that are there")
    ap.add_argument("--markdown", help="file for a table")
    ap.add_argument("names", nargs="*", metavar="NAME")
    a = ap.parse_args()
    a.gradc, a.cache = os.path.abspath(a.gradc), os.path.abspath(a.cache)
    unknown = [n for n in a.names if n not in ARCHITECTURES]
    if unknown:
        sys.exit(f"unknown: {', '.join(unknown)}; known: {', '.join(ARCHITECTURES)}")
    os.makedirs(a.cache, exist_ok=True)
    torch.set_num_threads(1)
    names = a.names or list(ARCHITECTURES)
    if not a.report:
        run_all(a, names)
    paths = [p for p in (result_path(a, n) for n in names) if os.path.exists(p)]
    results = [json.load(open(p)) for p in paths]
    if a.report:
        print("\n".join(line(r) for r in results))
    if a.markdown:
        markdown(results, a.markdown)
    good = sum(all(v in GOOD for v in verdicts(r)) for r in results)
    print(f"{good} of {len(results)} are right, or refused by name")
    return good != len(names)


if __name__ == "__main__":
    sys.exit(main())
