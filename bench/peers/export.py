# SPDX-License-Identifier: MIT
"""Write the zoo as ONNX files with reference values from torch.

    python export.py DIR [NAME...]

For each model NAME: DIR/NAME.infer.onnx (x -> logits), DIR/NAME.train.onnx (x, y -> loss, logits), DIR/NAME.trainable.txt
(one parameter a line), and DIR/NAME.{infer,train}.npz: in/<name>, out/<name> and, for train, grad/<parameter> as torch
computes them in f32, with out64/ and grad64/ beside them, computed in f64. Judge an f32 result by its distance to the
f64 one, measured against torch's own f32 distance: deep nets with batch norm amplify rounding a thousandfold, and rounding
decides on which side of a kink a few ReLUs are. So grad/ holds, for each parameter, of four f32 runs (one as it is, three
with inputs moved by about 1e-6) the gradient that is farthest from the f64 one: a yardstick, not a value to meet.
Needs torch==2.13.0, onnx, onnxscript, numpy; gpt2 has 124M parameters and is written only when named.
"""
import copy, os, sys, warnings
import numpy as np, onnx, torch, torch.nn as nn
from zoo import ZOO

warnings.filterwarnings("ignore")


def plain_names(path):
    """The wrapper's `model.` goes from the initializers' names, so that they are torch's own."""
    m = onnx.load(path)
    for t in m.graph.initializer:
        t.name = t.name.removeprefix("model.")
    for n in m.graph.node:
        n.input[:] = [i.removeprefix("model.") for i in n.input]
        n.output[:] = [o.removeprefix("model.") for o in n.output]
    onnx.save(m, path)


class Predict(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, *x):
        return self.model.predict(*x)


def onnx_file(module, inputs, names, outputs, path, training):
    kind = torch.onnx.TrainingMode
    torch.onnx.export(module, inputs, path, dynamo=False, opset_version=17, input_names=names, output_names=outputs,
                      do_constant_folding=not training, training=kind.TRAINING if training else kind.EVAL)
    plain_names(path)


class LossAndLogits(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x, y):
        logits = self.model.predict(x)
        return self.model.loss(logits, y), logits


def double(tensors):
    return [t.double() if t.is_floating_point() else t for t in tensors]


def gradients(model, inputs):
    """Loss, logits and parameter gradients; leaves the model's state as it was."""
    state = {k: v.clone() for k, v in model.state_dict().items()}
    model.zero_grad()
    logits = model.predict(inputs[0])
    loss = model.loss(logits, inputs[1])
    loss.backward()
    grads = {k: p.grad.numpy() for k, p in model.named_parameters()}
    model.load_state_dict(state)
    return loss.detach().numpy(), logits.detach().numpy(), grads


def moved(tensors, seed):
    """The same inputs, floats off by about 1e-6 of their size."""
    g = torch.Generator().manual_seed(seed)
    return [t * (1 + 1e-6 * torch.randn(t.shape, generator=g)) if t.is_floating_point() else t for t in tensors]


def farthest(runs, exact):
    """Of several gradients of each parameter, the one farthest from the exact one."""
    return {k: max((r[k] for r in runs), key=lambda g: np.linalg.norm(g - e)) for k, e in exact.items()}


def yardstick(model, inputs, grads, exact):
    """Of four f32 runs, `grads` the first of them, the gradients farthest from the exact ones."""
    return farthest([grads] + [gradients(model, moved(inputs, seed))[2] for seed in range(3)], exact)


def export(name, folder):
    make, infer_inputs, train_inputs = ZOO[name]
    torch.manual_seed(0)
    model = make()
    model.eval()
    x = infer_inputs()
    with torch.no_grad():
        y = model.predict(*x)
    onnx_file(Predict(model), x, ["x"], ["logits"], f"{folder}/{name}.infer.onnx", False)
    model.eval()  # exporting leaves the wrapper's mode in it
    with torch.no_grad():
        y64 = copy.deepcopy(model).double().predict(*double(x))
    np.savez(f"{folder}/{name}.infer.npz", **{"in/x": x[0].numpy(), "out/logits": y.numpy(), "out64/logits": y64.numpy()})

    model.train()
    xy = train_inputs()
    onnx_file(LossAndLogits(model), xy, ["x", "y"], ["loss", "logits"], f"{folder}/{name}.train.onnx", True)
    loss, logits, grads = gradients(model, xy)
    loss64, logits64, grads64 = gradients(copy.deepcopy(model).double(), double(xy))
    if name != "gpt2":  # has no kinks
        grads = yardstick(model, xy, grads, grads64)
    np.savez(f"{folder}/{name}.train.npz", **{"in/x": xy[0].numpy(), "in/y": xy[1].numpy(), "out/loss": loss, "out/logits": logits,
             "out64/loss": loss64, "out64/logits": logits64}, **{f"grad/{k}": g for k, g in grads.items()},
             **{f"grad64/{k}": g for k, g in grads64.items()})
    with open(f"{folder}/{name}.trainable.txt", "w") as f:
        f.writelines(k + "\n" for k, _ in model.named_parameters())


if __name__ == "__main__":
    folder, names = sys.argv[1], sys.argv[2:] or [n for n in ZOO if n != "gpt2"]
    os.makedirs(folder, exist_ok=True)
    for name in names:
        export(name, folder)
        print("wrote", name, flush=True)
