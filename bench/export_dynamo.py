# SPDX-License-Identifier: MIT
# Copyright (c) The gradc authors
"""Write the zoo once more as torch's newer exporter sees it: peers/export.py with dynamo=True.

    python bench/export_dynamo.py DIR [NAME...]

For each model NAME: DIR/NAME.{infer,train}.onnx and .npz, named as peers/export.py names them, parameters as they are called in the
file (`model.fc.weight`). Training files are exported with optimize=False, so that no parameter is merged into another.
This exporter writes batch normalisation in its inference form whatever the model's mode, so the values are of that form.
"""
import copy, logging, os, sys, warnings
import numpy as np, torch

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "peers"))
from export import LossAndLogits, Predict, double, gradients, yardstick
from zoo import ZOO

warnings.filterwarnings("ignore")
logging.getLogger("torch.onnx").setLevel(logging.ERROR)


def onnx_file(module, inputs, names, outputs, path, optimize):
    torch.onnx.export(module, inputs, dynamo=True, optimize=optimize, verbose=False, input_names=names, output_names=outputs).save(path)


def export(name, folder):
    make, infer_inputs, train_inputs = ZOO[name]
    torch.manual_seed(0)
    model = make().eval()
    x, xy = infer_inputs(), train_inputs()
    double_model = copy.deepcopy(model).double()
    onnx_file(Predict(model), x, ["x"], ["logits"], f"{folder}/{name}.infer.onnx", True)
    with torch.no_grad():
        y, y64 = model.predict(*x), double_model.predict(*double(x))
    np.savez(f"{folder}/{name}.infer.npz", **{"in/x": x[0].numpy(), "out/logits": y.numpy(), "out64/logits": y64.numpy()})
    onnx_file(LossAndLogits(copy.deepcopy(model).train()), xy, ["x", "y"], ["loss", "logits"], f"{folder}/{name}.train.onnx", False)
    values = {"in/x": xy[0].numpy(), "in/y": xy[1].numpy()}
    single, exact = gradients(model, xy), gradients(double_model, double(xy))
    single = (*single[:2], yardstick(model, xy, single[2], exact[2]))
    for width, (loss, logits, grads) in (("", single), ("64", exact)):
        values.update({f"out{width}/loss": loss, f"out{width}/logits": logits}, **{f"grad{width}/model.{k}": g for k, g in grads.items()})
    np.savez(f"{folder}/{name}.train.npz", **values)


if __name__ == "__main__":
    folder, names = sys.argv[1], sys.argv[2:] or [n for n in ZOO if n != "gpt2"]
    os.makedirs(folder, exist_ok=True)
    for name in names:
        export(name, folder)
        print("wrote", name, flush=True)
