# SPDX-License-Identifier: MIT
# Copyright (c) The gradc authors
"""docs/from-pytorch.md is true: its blocks are run in their order as they stand, then once more for each exporter with plain SGD and without
dropout, beside the same steps in torch; and what the page says that exporters lose is lost.

    python tests/pytorch_guide.py BUILD        needs torch, onnx, onnxscript, safetensors; cmake, cc and pkg-config
"""
import contextlib, glob, io, logging, os, re, subprocess, sys, tempfile, warnings
import numpy as np, torch, torch.nn as nn, torch.nn.functional as F

warnings.filterwarnings("ignore")
logging.getLogger("torch.onnx").setLevel(logging.ERROR)
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PAGE = open(os.path.join(ROOT, "docs", "from-pytorch.md")).read()
OLD = dict(dynamo=False, training=torch.onnx.TrainingMode.TRAINING, do_constant_folding=False)
NEW = dict(dynamo=True, optimize=False, verbose=False)


def shell(text):
    p = subprocess.run(["sh", "-euc", text], capture_output=True, text=True)
    if p.returncode:
        sys.exit(f"{text}\nends with {p.returncode}:\n{p.stdout}{p.stderr}")
    return p


def blocks(change=lambda text: text):
    """Runs the page in the current folder; gives what its Python has defined."""
    names = {}
    for language, text in re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.S | re.M):
        text = change(text)
        if language == "python":
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile(text, "docs/from-pytorch.md", "exec"), names)
        elif language == "c":
            open("train.c", "w").write(text)
        else:
            said = shell(text)
            if "warning:" in said.stderr and "gradc check" not in text:
                sys.exit(f"{text}\nwarns:\n{said.stderr}")
    return names


@contextlib.contextmanager
def folder():
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as where:
        os.chdir(where)
        yield where
        os.chdir(before)


def as_written():
    with folder():
        names = blocks()
        logits, x = names["logits"].detach().numpy(), names["x"]
        np.save("input.npy", x.numpy())
        # The weights that came back, exported once more for inference, are those that gradc saved.
        export(names["net"].eval(), (x,), dict(dynamo=True, verbose=False), ["x"], ["logits"])
        shell("gradc run model.onnx -i x=input.npy -o out")
        assert np.allclose(np.load("out/logits.npy"), logits, atol=1e-5)
        tied_weights(names)
    print("the page runs as it stands")


def tied_weights(names):
    """Each exporter's file has a name of its own for them, and goes back; a file without them is noticed."""
    found = set()
    for name in ("tied-old", "tied-new"):
        shell(f"gradc compile {name}.onnx --weights=file --prefix=tied")
        found |= set(names["load_file"]("tied.safetensors"))
        due, back = names["tied"], names["WithLoss"](names["Tied"]())
        names["bring_back"](back, "tied.safetensors")
        assert all(torch.equal(v, back.state_dict()[k]) for k, v in due.state_dict().items())
    assert found == {"net.emb.weight", "net.head.weight"}
    from safetensors.torch import save_file
    save_file({"net.emb.weight": due.net.emb.weight.clone()}, "part.safetensors")
    try:
        names["bring_back"](names["module"], "part.safetensors")
    except KeyError:
        return
    sys.exit("bring_back takes another module's weights")


def step_by_step(exporter):
    """The weights and statistics after the page's training are torch's."""
    def change(text):
        other = {"old": "compile new.onnx", "new": "compile old.onnx"}[exporter]
        if other in text:
            return ""
        for was, becomes in (("nn.Dropout(0.2)", "nn.Dropout(0.0)"), ("net.drop.p = 0.2", "net.drop.p = 0.0"), ("adamw:lr=1e-3", "sgd:lr=0.1")):
            text = text.replace(was, becomes)
        return text

    with folder():
        names = {}
        exec(compile(change(PAGE.split("```python\n")[1].split("```")[0]), "docs/from-pytorch.md", "exec"), names)
        made = blocks(change)
        trained = made["load_file"]("trained.safetensors")
        # Torch starts where the file does: the export of the file that was compiled moved the statistics, so that they come from the file.
        module = names["module"]
        module.load_state_dict(initial(f"{exporter}.onnx"), strict=False)
        sgd = torch.optim.SGD(module.train().parameters(), lr=0.1)
        for x, y in zip(made["xs"], made["ys"]):
            sgd.zero_grad()
            module(x, y)[0].backward()
            sgd.step()
        due = {k: v for k, v in module.state_dict().items() if not k.endswith("num_batches_tracked")}
        assert sorted(due) == sorted(trained), (sorted(due), sorted(trained))
        worst = max((float((trained[k] - v).norm() / v.norm()), k) for k, v in due.items())
        assert worst[0] < 1e-4, worst
    print(f"{len(due)} tensors after {len(made['xs'])} steps of {exporter}.onnx are torch's: {worst[0]:.1e} apart, {worst[1]}")


def initial(path):
    import onnx
    from onnx import numpy_helper
    return {t.name: torch.from_numpy(numpy_helper.to_array(t).copy()) for t in onnx.load(path).graph.initializer}


def export(module, inputs, options, names, outputs):
    """To model.onnx; the exporters print from C++ too."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        kept = os.dup(1)
        os.dup2(nowhere.fileno(), 1)
        try:
            torch.onnx.export(module, inputs, "model.onnx", input_names=names, output_names=outputs, **options)
        finally:
            os.dup2(kept, 1)
            os.close(kept)


class Layers(nn.Module):
    """What exporters change: normalisation behind a convolution, dropout, copies, and a matrix of a product that is no Gemm."""
    def __init__(self):
        super().__init__()
        torch.manual_seed(2)
        self.conv, self.norm, self.drop = nn.Conv1d(2, 4, 3), nn.BatchNorm1d(4), nn.Dropout(0.5)
        self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 6)
        self.b.load_state_dict(self.a.state_dict())

    def forward(self, x):
        return self.b(torch.tanh(self.a(self.drop(self.norm(self.conv(x)))))).sum()


def what_the_arguments_do():
    """The table of the page, and the remarks below it."""
    import onnx
    x = torch.randn(3, 2, 8)

    def graph(options, train=True, frozen=False):
        module = Layers().train(train)
        if frozen:
            module.norm.eval()
        export(module, (x,), options, ["x"], ["y"])
        g = onnx.load("model.onnx").graph
        norms = [sum(a.i for a in n.attribute if a.name == "training_mode") for n in g.node if n.op_type == "BatchNormalization"]
        return dict(norms=norms, drops=sum(n.op_type == "Dropout" for n in g.node), names={t.name for t in g.initializer}, module=module)

    def without(options, *names):
        return {k: v for k, v in options.items() if k not in names}

    with folder():
        whole = {"conv.weight", "a.weight", "b.weight", "norm.weight", "norm.running_mean"}
        g = graph(OLD)
        assert g["norms"] == [1] and g["drops"] == 1 and whole <= g["names"]
        moved = initial("model.onnx")["norm.running_mean"]
        assert moved.abs().max() > 0 and torch.equal(moved, g["module"].norm.running_mean), "the older exporter runs the model once"
        g = graph(without(OLD, "training"))
        assert 1 not in g["norms"] and not g["drops"] and "b.weight" not in g["names"]
        g = graph(without(OLD, "do_constant_folding"))
        assert g["norms"] == [1] and "a.weight" not in g["names"], "the matrix is transposed and renamed"
        assert graph(OLD, frozen=True)["norms"] == [1], "TRAINING trains every layer"
        assert graph(OLD | dict(training=torch.onnx.TrainingMode.PRESERVE), frozen=True)["norms"] == [0]
        g = graph(NEW)
        assert g["norms"] == [0] and g["drops"] == 1 and whole <= g["names"]
        assert graph(NEW, train=False)["drops"] == 0
        g = graph(without(NEW, "optimize"))
        assert not g["norms"] and "b.weight" not in g["names"]
    print("the exporters' arguments do what the page says")


class Product(nn.Module):
    def __init__(self, f):
        super().__init__()
        torch.manual_seed(1)
        self.f, self.w, self.v = f, nn.Parameter(torch.randn(3)), nn.Parameter(torch.randn(3))

    def forward(self, x):
        return self.f(x, self.w, self.v)


class Sign(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return torch.sign(x)

    @staticmethod
    def backward(ctx, g):
        return g


def without_grad(x, w, v):
    with torch.no_grad():
        a = x * w
    return (a * v * w).sum()


def smooth(x, w, v, **more):
    return F.cross_entropy((x * w * v)[None] * torch.ones(2, 1), torch.tensor([0, 2]), **more)


def accumulated(x, w, v):
    return (torch.zeros(3).index_put((torch.tensor([0, 0, 1]),), w * x, accumulate=True) * v * v).sum()


def scattered(x, w, v):
    return (torch.zeros(3).scatter_add(0, torch.tensor([0, 0, 1]), w * x) * v * v).sum()


def added(x, w, v):
    return (torch.zeros(3).index_add(0, torch.tensor([0, 0, 1]), w * x) * v * v).sum()


def written_out(x, w, v, s=0.2):
    z = (x * w * v)[None] * torch.ones(2, 1)
    return (1 - s) * F.cross_entropy(z, torch.tensor([0, 2])) - s * F.log_softmax(z, 1).mean()


# Of w: what becomes of its gradient, "same", "other", "zero", or "loss": the loss is another one already; "no": there is no export.
LOST = {
    "plain": (lambda x, w, v: (x * w * v).sum(), "same", "same"),
    "detach": (lambda x, w, v: ((x * w).detach() * v * w).sum(), "other", "other"),
    "no_grad": (without_grad, "other", "other"),
    "straight-through": (lambda x, w, v: (x * (w + (w.round() - w).detach()) * v).sum(), "zero", "zero"),
    "autograd.Function": (lambda x, w, v: (Sign.apply(w) * x * v).sum(), "zero", "zero"),
    "fake_quantize": (lambda x, w, v: (torch.fake_quantize_per_tensor_affine(w, 0.1, 0, -128, 127) * x * v).sum(), "same", "same"),
    "label_smoothing": (lambda x, w, v: smooth(x, w, v, label_smoothing=0.2), "no", "loss"),
    "label_smoothing, written out": (written_out, "same", "same"),
    "index_put, accumulating": (accumulated, "loss", "same"),
    "scatter_add": (scattered, "same", "same"),
    "index_add": (added, "loss", "same"),
}


def fate(module, x, options):
    loss = module(x)
    loss.backward()
    try:
        export(module, (x,), options, ["x"], ["loss"])
    except Exception:
        return "no"
    shell("rm -rf out && gradc run model.onnx -i x=x.npy --train --grad -o out -Wno-everything")
    got, due = np.load(glob.glob("out/grad/w*.npy")[0]), module.w.grad.numpy()  # w.1 where the older exporter needs the name itself
    if abs(np.load("out/loss.npy") - loss.item()) > 1e-5:
        return "loss"
    return "same" if np.allclose(got, due, atol=1e-5) else "zero" if not got.any() else "other"


def what_is_lost():
    with folder():
        x = torch.randn(3)
        np.save("x.npy", x.numpy())
        for name, (f, *dues) in LOST.items():
            for options, due in zip((OLD, NEW), dues):
                is_now = fate(Product(f).train(), x, options)
                assert is_now == due, f"{name}, dynamo={options['dynamo']}: {is_now}, not {due}"
        for options in (OLD, NEW):
            frozen = Product(LOST["plain"][0])
            frozen.w.requires_grad = False
            export(frozen, (x,), options, ["x"], ["loss"])
            assert " w f32[3]: trains" in shell("gradc info model.onnx --train -Wno-everything").stdout
            assert " w f32[3]: does not train" in shell("gradc info model.onnx --train --freeze=w -Wno-everything").stdout
    print(f"{len(LOST) + 1} constructions are kept and lost as the page says")


def main():
    build = os.path.abspath(sys.argv[1])
    with tempfile.TemporaryDirectory() as prefix:
        shell(f"cmake --install {build} --prefix {prefix}")
        os.environ["PATH"] = f"{prefix}/bin:" + os.environ["PATH"]
        os.environ["PKG_CONFIG_PATH"] = os.path.dirname(glob.glob(f"{prefix}/**/gradc-rt.pc", recursive=True)[0])
        as_written()
        step_by_step("old")
        step_by_step("new")
        what_the_arguments_do()
        what_is_lost()


if __name__ == "__main__":
    main()
