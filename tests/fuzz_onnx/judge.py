# SPDX-License-Identifier: MIT
# Copyright (c) The gradc authors
"""Runs a graph through gradc and judges what it gives.

Outputs are compared with onnxruntime's and with onnx.reference's in double. A float may be off by a relative 1e-5 in the L2 norm (TOLERANCE,
by the narrowest float type in the graph), or by ten times what the value in double moves when each node's result is off by a rounding;
where that is much, the graph is ill-conditioned and says nothing. gradc must agree with onnxruntime, or with onnx.reference where
onnxruntime is known to be wrong (known.py); onnx.reference alone may be wrong. Gradients, computed in double, are compared along a random
direction of all inputs and parameters with differences of the value in double, onnx.reference's or, where that cannot say, gradc's own;
at a kink, where the differences to both sides are not alike, there is nothing to compare."""
import json, os, random, re, shutil, subprocess
import ml_dtypes, numpy as np, onnx
from onnx import AttributeProto, TensorProto, helper, numpy_helper

import known, oracle

TOLERANCE = {"float64": 1e-7, "float32": 1e-5, "float16": 4e-3, "bfloat16": 3e-2}
ROUNDING = {"float64": 2.0**-50, "float32": 2.0**-22, "float16": 2.0**-10, "bfloat16": 2.0**-7}
STASHED = {"GroupNormalization", "LayerNormalization", "RMSNormalization"}  # computed in f32, whatever their type (stash_type)
LEAST = {"float64": 0.0, "float32": 1e-38, "float16": 2.0**-24, "bfloat16": 1e-38}  # below which numbers become 0
NARROWEST = ("bfloat16", "float16", "float32", "float64")
SECONDS = 120


class Verdict:
    """kind: "ok", "refused", "unclear" (nothing to compare), "invalid" (the generator's fault), or what failed. `at`: by what it is counted."""

    def __init__(self, kind, at="", text=""):
        self.kind, self.at, self.text = kind, at, text

    failed = property(lambda self: self.kind not in ("ok", "refused", "unclear", "invalid"))


class Failed(Exception):
    def __init__(self, kind, at, text=""):
        self.verdict = Verdict(kind, at, text)


def plain(text):
    """A message without what differs from graph to graph."""
    text = re.sub(r"^.*?(error|warning): ", "", text.strip())
    return re.sub(r"-?\d+(\.\d+)?", "N", re.sub(r"'[^']*'", "'…'", re.sub(r"(bool|bf?|[iuf])\d*\[[^\]]*\]", "TYPE", text)))[:140]


def element_names(model):
    """Float types that occur in the graph."""
    found = set()

    def walk(graph):
        for v in [*graph.input, *graph.output]:
            found.add(v.type.tensor_type.elem_type)
        found.update(t.data_type for t in graph.initializer)
        for n in graph.node:
            for a in n.attribute:
                if a.name in ("to", "dtype", "output_dtype"):
                    found.add(a.i)
                if a.type == AttributeProto.TENSOR:
                    found.add(a.t.data_type)
                if a.type == AttributeProto.GRAPH:
                    walk(a.g)
    walk(model.graph)
    names = {TensorProto.BFLOAT16: "bfloat16", TensorProto.FLOAT16: "float16", TensorProto.FLOAT: "float32", TensorProto.DOUBLE: "float64"}
    return {names[t] for t in found if t in names}


def operators(graph):
    found = set()
    for n in graph.node:
        found.add(n.op_type)
        for a in n.attribute:
            if a.type == AttributeProto.GRAPH:
                found |= operators(a.g)
    return found


def size(a):
    """What distances from a are relative to: its L2 norm, 1 of zeros."""
    if a.dtype.kind in "biu":
        return 1
    a = a.astype(np.float64)
    norm = np.linalg.norm(a[np.isfinite(a)])
    return norm if norm > 1e-30 else 1


def apart(a, b):
    """How far a is from b: L2; 1 where integers differ, infinite where shapes, NaN or infinities do."""
    if a.shape != b.shape:
        return np.inf
    if a.dtype.kind in "biu" and b.dtype.kind in "biu":
        return float(not np.array_equal(a, b))
    a, b = a.astype(np.float64), b.astype(np.float64)
    finite = np.isfinite(a) & np.isfinite(b)
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return np.inf
    return float(np.linalg.norm(a[finite] - b[finite]))


def distance(a, b):
    return apart(a, b) / size(b)


def saved(a):
    return a.view("V2") if a.dtype == ml_dtypes.bfloat16 else a


def typed(a):
    """NumPy's files know no bfloat16: V2."""
    return a.view(ml_dtypes.bfloat16) if a.dtype == np.dtype("V2") else a


def loaded(path):
    return typed(np.load(path))


def running_statistics(graph):
    """Whether running statistics are used, to which no gradient flows (as in torch), though ONNX has them as results of the input."""
    made, used = set(), {o.name for o in graph.output}
    for n in graph.node:
        used.update(oracle.reads(n))
        if n.op_type == "BatchNormalization":
            made.update(n.output[1:])
        if any(running_statistics(a.g) for a in n.attribute if a.type == AttributeProto.GRAPH):
            return True
    return bool(made & used)


class Judge:
    def __init__(self, gradc, folder):
        self.gradc, self.folder = gradc, folder

    def call(self, *arguments):
        """(exit status, what it said); fails where gradc crashed."""
        try:
            p = subprocess.run([self.gradc, *arguments], capture_output=True, text=True, errors="replace", timeout=SECONDS)
        except subprocess.TimeoutExpired:
            raise Failed("timeout", arguments[0], f"{SECONDS} s")
        if p.returncode not in (0, 1):
            said = p.stderr.strip().splitlines()[-1:] or [""]
            raise Failed("crash", f"{arguments[0]}: {plain(said[0])}", f"exit {p.returncode}: {p.stderr[-400:]}")
        return p.returncode, p.stderr, p.stdout

    def judge(self, model, feed, seed):
        """The verdict on a model; `seed` draws what is left open."""
        self.rng, self.model, self.feed = random.Random(seed), model, feed
        shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(self.folder)
        try:
            onnx.checker.check_model(model, full_check=True)
        except Exception as e:
            return Verdict("invalid", plain(str(e).splitlines()[0] + " " + str(e)[-100:]), str(e))
        try:
            return self.judged()
        except Failed as f:
            return f.verdict

    def judged(self):
        path = self.path = self.folder + "/m.onnx"
        onnx.save(self.model, path)
        np.savez(self.folder + "/in.npz", **{"in/" + n: saved(a) for n, a in self.feed.items()})
        self.floats = element_names(self.model)
        self.narrowest = next((n for n in NARROWEST if n in self.floats), "float32")
        self.level = f"-O{self.rng.choice([0, 0, 2])}"
        self.checked, _, table = self.call("check", path, "--json", *self.dimensions())
        status, said, _ = self.call("run", path, "--inputs", self.folder + "/in.npz", "-o", self.folder + "/out", self.level)
        if status:
            return self.refusal(said)
        if self.checked and "baked in" not in said:  # what only values decide, `run` has and `check` has not
            raise Failed("check refuses what runs", "", table[-600:])
        unclear = self.outputs()
        if self.rng.random() < 0.15:
            self.compiles()
        if self.floats <= {"float32", "float64"}:
            unclear = self.gradients() or unclear
        return Verdict("unclear", unclear) if unclear else Verdict("ok")

    def dimensions(self):
        """Options that bind symbolic dimensions as the data does."""
        bound = {}
        for v in self.model.graph.input:
            for k, d in enumerate(v.type.tensor_type.shape.dim):
                if d.dim_param and v.name in self.feed:
                    bound[d.dim_param] = self.feed[v.name].shape[k]
        return [f"--dim={n}={k}" for n, k in bound.items()]

    def refusal(self, said):
        errors = [line for line in said.splitlines() if "error: " in line]
        if not errors:
            raise Failed("refused without a word", "", said[-400:])
        if not self.checked:
            raise Failed("check accepts what does not run", plain(errors[0]), "\n".join(errors[:4]))
        return Verdict("refused", plain(errors[0]), errors[0])

    def compiles(self):
        status, _, _ = self.call("check", self.path, "--train", *self.dimensions())
        if status == 0:
            status, said, _ = self.call("compile", self.path, "--train", *self.dimensions(), self.level, "-o", self.folder + "/m.o")
            errors = [line for line in said.splitlines() if "error: " in line]
            if status and not any("loss" in e for e in errors):  # without one scalar output there is none
                raise Failed("check accepts what does not compile", plain(errors[0]), "\n".join(errors[:4]))

    # ---- Outputs ----

    def noise(self, exact, feed, values):
        """How far rounding may carry each output."""
        worst = [0.0] * len(values)
        for k in range(16):  # enough to meet a jump that is near
            moved = exact.values(feed, (np.random.default_rng(k), self.rounding, LEAST[self.narrowest]))
            for i, v in enumerate(values):
                worst[i] = np.inf if moved is None else max(worst[i], distance(moved[i], v))
        return worst

    def noise_in_single(self, values):
        """The same where only onnxruntime's kernels for f32 can tell."""
        worst = [0.0] * len(values)
        for k in range(4):
            rng = np.random.default_rng(k)
            factor = {n: 1 + self.rounding * rng.uniform(-1, 1, a.shape) for n, a in self.feed.items() if a.dtype.kind == "f"}
            feed = {n: (a * factor[n]).astype(a.dtype) if n in factor else a for n, a in self.feed.items()}
            moved = oracle.onnxruntime_in_single(self.model, feed)
            for i, v in enumerate(values):
                worst[i] = np.inf if moved is None else max(worst[i], distance(moved[i], v))
        return worst

    def outputs(self):
        """Compares outputs; gives a word where there was nothing to compare."""
        names = [o.name for o in self.model.graph.output]
        got = [loaded(f"{self.folder}/out/{n}.npy") for n in names]
        base, self.rounding = TOLERANCE[self.narrowest], ROUNDING[self.narrowest]
        theirs = oracle.onnxruntime_values(self.model, self.feed)
        if theirs is None or operators(self.model.graph) & STASHED:
            base, self.rounding = max(base, TOLERANCE["float32"]), max(self.rounding, ROUNDING["float32"])
        theirs = theirs or oracle.onnxruntime_in_single(self.model, self.feed) or oracle.step_by_step(self.model, self.feed)
        try:
            exact, feed = oracle.Exact(self.model), oracle.DOUBLE.feed(self.feed)
            true = exact.values(feed)
        except Exception:
            true = None
        double = bool(true)
        if not true:  # a function whose constants are of f32
            true = oracle.reference_values(self.model, self.feed)
        self.exact, self.true, self.got = (exact if double else None), true, got
        if theirs is None and true is None:
            return "no oracle"
        noise = None
        for i, name in enumerate(names):
            near = [v is not None and distance(got[i], v[i]) <= base for v in (theirs, true)]
            if all(near) or (near[0] and true is None) or (near[1] and theirs is None):
                continue
            if noise is None:
                noise = self.noise(exact, feed, true) if double else self.noise_in_single(theirs) if theirs else [0.0] * len(names)
            if noise[i] > 1e-2:
                self.exact = None
                return "ill-conditioned"
            moves = 10 * noise[i] * size((true or theirs)[i])
            near = [v is not None and apart(got[i], v[i]) <= base * size(v[i]) + moves for v in (theirs, true)]
            if not any(near):
                raise Failed("wrong", self.operators(), self.sayings(name, got[i], theirs and theirs[i], true and true[i]))
            if near[1] and theirs is not None and not near[0]:
                at = self.culprit()
                if not known.fault(at):
                    raise Failed("onnxruntime disagrees", at, self.sayings(name, got[i], theirs[i], true[i]))
            if not near[1]:  # onnx.reference is wrong
                self.exact = None
        return ""

    def sayings(self, name, got, theirs, true):
        with np.printoptions(precision=7, threshold=40):
            return f"{name}:\ngradc {got.dtype}{list(got.shape)} {got}\nonnxruntime {theirs}\nonnx.reference {true}"

    def operators(self):
        return " ".join(sorted(operators(self.model.graph) - {"Constant"})[:12])

    def culprit(self):
        """The first node on whose result the oracles differ, or all operators."""
        arrays = {**self.feed, **{t.name: numpy_helper.to_array(t) for t in self.model.graph.initializer}}
        opset = next(o.version for o in self.model.opset_import if o.domain == "")
        for node in self.model.graph.node:
            names = [o for o in node.output if o]
            model, feed = oracle.part([node], names, arrays, opset)
            theirs = oracle.onnxruntime_values(model, feed) or oracle.onnxruntime_in_single(model, feed)
            ours = oracle.reference_values(oracle.DOUBLE.model(model), oracle.DOUBLE.feed(feed)) or oracle.reference_values(model, feed)
            if theirs is None and ours is None:
                break
            if theirs and ours and any(distance(a, b) > 1e-5 for a, b in zip(theirs, ours) if not isinstance(a, list)):
                return known.describe(node, arrays)
            arrays.update(zip(names, oracle.of_types(theirs, feed.values()) if theirs else ours))
        return self.operators()

    # ---- Gradients ----

    def gradients(self):
        graph = self.model.graph
        rng = np.random.default_rng(self.rng.randrange(2**31))
        if running_statistics(graph):
            return "running statistics have no gradient"
        if "DequantizeLinear" in operators(graph):
            return "quantisation passes gradients straight through"
        real = [i for i, a in enumerate(self.got) if a.dtype.kind == "f" and a.size and np.isfinite(a).all()]
        if not real:
            return ""
        cotangents = {graph.output[i].name: rng.standard_normal(self.got[i].shape) for i in real}
        options = ["--train"] if self.rng.random() < 0.4 else []
        wide = ["--f64"] if "float32" in self.floats else []
        for n, c in cotangents.items():
            path = f"{self.folder}/cotangent.{n}.npy"
            kind = np.float64 if wide else next(a.dtype for a, o in zip(self.got, graph.output) if o.name == n)
            np.save(path, np.asarray(c, kind))
            options.append(f"--cotangent={n}={path}")
        out = self.folder + "/grad"
        status, said, _ = self.call("run", self.path, "--inputs", self.folder + "/in.npz", "--grad", *wide, "-o", out, self.level, *options)
        if status:
            errors = [line for line in said.splitlines() if "error: " in line] or [said]
            checked, _, table = self.call("check", self.path, "--json", "--train", *self.dimensions())
            if not checked and not json.loads(table)["backward_gaps"]:  # a gap matters to training where parameters are behind it
                raise Failed("check --train accepts what has no gradient", plain(errors[0]), "\n".join(errors[:4]))
            return f"no gradient: {plain(errors[0])}"
        values = {graph.output[i].name: loaded(f"{out}/{graph.output[i].name}.npy") for i in real}
        found = {f[:-4]: loaded(f"{out}/grad/{f}") for f in sorted(os.listdir(out + "/grad"))} if os.path.isdir(out + "/grad") else {}
        missing = [n for n, a in self.feed.items() if a.dtype.kind == "f" and n not in found]
        if missing:
            raise Failed("an input without a gradient", "", " ".join(missing))
        return self.differences(cotangents, values, found, rng, wide)

    def sure_in_double(self, values):
        """Whether onnx.reference can say what the graph gives near its inputs; fails where gradc's own values in double are wrong."""
        names = [o.name for o in self.model.graph.output]
        if {"Resize", "Upsample"} & operators(self.model.graph):
            return False  # gradc's positions follow from f32 arithmetic in double too
        for n, v in values.items() if self.exact else []:
            true = self.true[names.index(n)]
            if not distance(v, true) <= 1e-7:
                noise = self.noise(self.exact, oracle.DOUBLE.feed(self.feed), self.true)[names.index(n)]
                if distance(v, true) <= 10 * noise < 1e-2:  # the file's own roundings, of constants or casts
                    continue
                if distance(self.got[names.index(n)], true) <= TOLERANCE[self.narrowest]:
                    raise Failed("wrong in double", self.operators(), self.sayings(n, v, None, true))
                return False
        return self.exact is not None

    def own_values(self, feed, wide):
        """What gradc itself gives in double."""
        path, out = self.folder + "/moved.npz", self.folder + "/moved"
        np.savez(path, **{"in/" + n: a for n, a in feed.items()})
        status, _, _ = self.call("run", self.path, "--inputs", path, "-o", out, "-O0", *wide)
        return None if status else [loaded(f"{out}/{o.name}.npy") for o in self.model.graph.output]

    def differences(self, cotangents, values, found, rng, wide):
        """Compares the gradients along a direction with differences of the value in double: onnx.reference's, or gradc's own."""
        graph = self.model.graph
        independent = self.sure_in_double(values)
        start = {**({t.name: numpy_helper.to_array(t) for t in graph.initializer} if independent else {}), **self.feed}
        start = {n: a.astype(np.float64) for n, a in start.items() if n in found}
        names = [o.name for o in graph.output]
        feed = oracle.DOUBLE.feed(self.feed)
        direction = {n: rng.standard_normal(a.shape) for n, a in start.items()}
        if not start:
            return ""

        def along(h, only=None, direction=direction):
            moved = {n: a + h * direction[n] if only in (None, n) else a for n, a in start.items()}
            moved = {**feed, **moved}
            got = self.exact.values(moved) if independent else self.own_values(moved, wide)
            if got is None:
                return np.nan
            return sum(float((cotangents[n] * got[names.index(n)]).sum()) for n in cotangents)

        size = sum(float(np.abs(cotangents[n] * v).sum()) for n, v in values.items())
        slopes = {n: float((found[n] * direction[n]).sum()) for n in start}
        scale = sum(float(np.abs(found[n] * direction[n]).sum()) for n in start)

        def differ(slope, only=None):
            """None where they agree, else the difference, or "kink"."""
            for h in (1e-5, 1e-6, 1e-4, 1e-7):
                d = (along(h, only) - along(-h, only)) / (2 * h)
                if abs(d - slope) <= 1e-5 * max(scale, abs(d)) + 1e-14 * size / h:
                    return None
            here, sides = along(0, only), []
            for h in (1e-6, 4e-6):  # at a step both sides may look alike, but grow as h shrinks
                sides += [(along(h, only) - here) / h, (here - along(-h, only)) / h]
            mean, spread = sum(sides) / 4, max(sides) - min(sides)
            smooth = spread <= 1e-4 * max(scale, abs(sides[0])) + 1e-9 * size and spread < abs(slope - mean)
            return f"{slope} and not {mean}" if smooth and not bent(only) else "kink"

        def bent(only):
            """Whether both sides differ along another direction: of several kinks, those of one direction may cancel."""
            for k in range(8):
                other = {n: np.random.default_rng(k).standard_normal(a.shape) for n, a in start.items()}
                slope = sum(float((found[n] * other[n]).sum()) for n in start if only in (None, n))
                here, h = along(0, only), 1e-6
                sides = [(along(h, only, other) - here) / h, (here - along(-h, only, other)) / h]
                spread = abs(sides[0] - sides[1])
                if spread > 1e-6 * scale + 1e-9 * size and spread >= abs(slope - sum(sides) / 2):
                    return True
            return False

        if not all(np.isfinite(g).all() for g in found.values()):
            finite = np.isfinite(along(1e-6) + along(-1e-6))
            bad = [n for n, g in found.items() if not np.isfinite(g).all()]
            if finite and differ(0.0) != "kink":
                raise Failed("gradient is no number", self.operators(), " ".join(bad))
            return "gradient is no number at a kink"
        how = differ(sum(slopes.values()))
        if how is None:
            return ""
        if how == "kink":
            return "kink"
        each = {n: differ(s, n) for n, s in slopes.items()}
        wrong = {n: d for n, d in each.items() if d not in (None, "kink")}
        raise Failed("gradient", self.operators(), f"{how}; {wrong}")
