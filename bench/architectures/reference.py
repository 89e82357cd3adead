# SPDX-License-Identifier: MIT
# Copyright (c) The gradc authors
"""An architecture with its random weights and data, what torch computes of it, and its files by both of torch's exporters."""
import contextlib, copy, importlib.metadata, io, json, os, signal, time
import numpy as np, torch, torch.nn as nn

EXPORTERS = ("script", "dynamo")  # torch's older exporter and its newer one
KINDS = ("infer", "train")
EXPORT_SECONDS = 600
PACKAGES = ("torch", "torchvision", "timm", "transformers", "onnxscript")


def versions():
    return {p: importlib.metadata.version(p) for p in PACKAGES}


def listed(outputs):
    return list(outputs) if isinstance(outputs, (tuple, list)) else [outputs]


def double(tensors):
    return [t.double() if t.is_floating_point() else t for t in tensors]


def moved(tensors, seed):
    """The same inputs, floats off by about 1e-6 of their size."""
    g = torch.Generator().manual_seed(seed)
    return [t * (1 + 1e-6 * torch.randn(t.shape, generator=g)) if t.is_floating_point() else t for t in tensors]


def is_batch_norm(module):
    return isinstance(module, nn.modules.batchnorm._BatchNorm)


def without_dropout(net):
    """Random numbers of torch and of gradc differ, so nothing is dropped."""
    for m in net.modules():
        if isinstance(m, (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)) or type(m).__name__ == "StochasticDepth":
            m.p = 0.0
        for name, value in list(vars(m).items()):
            if isinstance(value, float) and "drop" in name.lower():
                setattr(m, name, 0.0)


def perturb(net, all_matrices):
    """Moves parameters that start as zeros or ones, which would hide an error in what they are multiplied with."""
    with torch.no_grad():
        for p in net.parameters():
            spread = p.std().item() if p.numel() > 1 else 0.0
            if p.is_floating_point() and (spread < 1e-4 or (all_matrices and p.dim() > 1)):
                p.add_(torch.randn_like(p) * 0.1)


def warm_up(net, x):
    """Running statistics of batch normalisation that are of some batches."""
    norms = [m for m in net.modules() if is_batch_norm(m)]
    net.train()
    for m in norms:
        m.momentum, m.usual_momentum = 0.5, m.momentum
    with torch.no_grad():
        for _ in range(3):
            net(*[torch.randn_like(t) if t.is_floating_point() else t for t in x])
    for m in norms:
        m.momentum = m.usual_momentum


class LossAndOutputs(nn.Module):
    def __init__(self, model, loss, inputs):
        super().__init__()
        self.model, self.loss, self.inputs = model, loss, inputs

    def forward(self, *tensors):
        out = self.model(*tensors[: self.inputs])
        return self.loss(out, *tensors[self.inputs :]), *listed(out)


class Subject:
    """An architecture, made."""

    def __init__(self, name, architecture):
        self.name, self.architecture, self.transformer = name, architecture, architecture.group in ("hf", "audio")
        torch.manual_seed(0)
        self.net = self.build()
        inputs, labels = architecture.inputs(), architecture.labels()
        self.x, self.y = [t for _, t in inputs], [t for _, t in labels]
        self.x_names, self.y_names = [n for n, _ in inputs], [n for n, _ in labels]
        self.batch_norm = any(is_batch_norm(m) for m in self.net.modules())
        if self.batch_norm:
            warm_up(self.net, self.x)
        self.net.eval()
        self.outputs, self.outputs64 = self.forward(torch.float32), self.in_double(self.forward)
        self.output_names = [f"o{i}" for i in range(len(self.outputs))]

    def build(self, attention=None):
        torch.manual_seed(0)
        net = self.architecture.make(attention) if self.transformer else self.architecture.make()
        without_dropout(net)
        perturb(net, self.transformer)
        return net

    def forward(self, dtype):
        with torch.no_grad():
            net = copy.deepcopy(self.net).to(dtype)
            return [t.numpy() for t in listed(net(*(double(self.x) if dtype is torch.float64 else self.x)))]

    def gradients(self, dtype, training, x=None):
        """{name: array or None}: loss (under ""), parameters, float inputs."""
        net = copy.deepcopy(self.net).to(dtype).train(training)
        cast = double if dtype is torch.float64 else list
        x, y = cast(x or self.x), cast(self.y)
        x = [t.clone().requires_grad_(t.is_floating_point() and self.architecture.group != "audio") for t in x]
        loss = self.architecture.loss(net(*x), *[t.clone() for t in y])
        loss.backward()
        found = {"": loss.detach()} | {n: p.grad for n, p in net.named_parameters()} | {n: t.grad for n, t in zip(self.x_names, x)}
        return {n: None if g is None else g.numpy() for n, g in found.items()}

    def in_double(self, compute, *more):
        """compute(f64, …), or where torch has no f64 of an operator, its f32 values as f64."""
        try:
            return compute(torch.float64, *more)
        except RuntimeError:
            found = compute(torch.float32, *more)
        wide = lambda a: None if a is None else a.astype(np.float64)
        return {n: wide(a) for n, a in found.items()} if isinstance(found, dict) else [wide(a) for a in found]

    def exact_and_own(self, training):
        """Gradients in double, and of each the distance of the farthest of four f32 runs, three of them with inputs moved by 1e-6."""
        exact, own = self.in_double(self.gradients, training), {}
        for seed in (None, 0, 1, 2):
            run = self.gradients(torch.float32, training, None if seed is None else moved(self.x, seed))
            for n, true in exact.items():
                if true is not None and run[n] is not None:
                    own[n] = max(own.get(n, 0.0), float(np.linalg.norm(run[n].astype(np.float64) - true)))
        return exact, own

    def aliases(self):
        """{parameter: the names it may have in a training file}: one that is shared has several."""
        first, names = {}, {}
        for n, p in self.net.named_parameters():
            first[id(p)], names[n] = n, []
        for n, p in self.net.named_parameters(remove_duplicate=False):
            names[first[id(p)]].append("model." + n)
        return names

    def export(self, kind, exporter, folder):
        """(path, what there is to say): the file of FOLDER, made if it is not there; path None where the exporter fails, and why."""
        path, notes = f"{folder}/{kind}.{exporter}.onnx", f"{folder}/{kind}.{exporter}.json"
        if os.path.exists(notes):
            with open(notes) as f:
                said = json.load(f)
            if said["versions"] == versions():
                return (path if "error" not in said else None), said
        start, said = time.time(), {}
        for attention in (None, "eager") if self.transformer else (None,):
            try:
                self.export_as(kind, exporter, attention, path)
                said = {"attention": attention} if attention else {}
                break
            except Exception as e:
                said = {"error": causes(e)}
        said |= {"versions": versions(), "seconds": round(time.time() - start, 1)}
        with open(notes, "w") as f:
            json.dump(said, f, indent=1)
        return (path if "error" not in said else None), said

    def export_as(self, kind, exporter, attention, path):
        net = copy.deepcopy(self.net)
        if attention:
            net = self.build(attention)
            net.load_state_dict(self.net.state_dict())
        if kind == "infer":
            module, tensors, names, outputs = net.eval(), self.x, self.x_names, self.output_names
        else:
            module = LossAndOutputs(net, self.architecture.loss, len(self.x)).train()
            tensors, names, outputs = self.x + self.y, self.x_names + self.y_names, ["loss", *self.output_names]
        options = dict(input_names=names, output_names=outputs)
        with time_limit(EXPORT_SECONDS), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            if exporter == "dynamo":
                torch.onnx.export(module, tuple(tensors), dynamo=True, optimize=kind == "infer", verbose=False, **options).save(path)
                return
            if kind == "train":
                options |= dict(do_constant_folding=False, training=torch.onnx.TrainingMode.TRAINING)
            torch.onnx.export(module, tuple(tensors), path, dynamo=False, opset_version=17, **options)


def causes(e):
    """An exception and what it came from, in a line."""
    said = []
    while e is not None:
        said.append(f"{type(e).__name__}: {' '.join(str(e).split())[:300]}")
        e = e.__cause__
    return " <- ".join(said)


@contextlib.contextmanager
def time_limit(seconds):
    def stop(*_):
        raise TimeoutError(f"{seconds} s")

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
