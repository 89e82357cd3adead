# SPDX-License-Identifier: MIT
# Copyright (c) The gradc authors
"""Writes cnn.onnx: a small convolutional network for Fashion-MNIST, its weights as torch initialises them.

    pip install torch==2.13.0 onnx onnxscript && python make_cnn.py [FILE]

Inputs x (64 images of 1x28x28, brightness 0 to 1) and y (64 labels), outputs logits and loss. The same file is for training,
which needs the loss, and for prediction, which does not.
"""
import os, sys
import torch, torch.nn as nn, torch.nn.functional as F

BATCH = 64


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.dense1 = nn.Linear(32 * 7 * 7, 64)
        self.dense2 = nn.Linear(64, 10)

    def forward(self, x, y):
        h = F.max_pool2d(F.relu(self.conv1(x)), 2)
        h = F.max_pool2d(F.relu(self.conv2(h)), 2)
        h = F.relu(self.dense1(h.flatten(1)))
        logits = self.dense2(h)
        return logits, F.cross_entropy(logits, y)


if __name__ == "__main__":
    path = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "cnn.onnx")
    torch.manual_seed(0)
    torch.onnx.export(Net(), (torch.zeros(BATCH, 1, 28, 28), torch.zeros(BATCH, dtype=torch.int64)), path, dynamo=False, opset_version=17,
                      input_names=["x", "y"], output_names=["logits", "loss"], training=torch.onnx.TrainingMode.TRAINING, do_constant_folding=False)
    print(f"wrote {path}, {os.path.getsize(path)} bytes")
