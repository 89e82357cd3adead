# SPDX-License-Identifier: MIT
# Copyright (c) The gradc authors
"""Writes gate.onnx: a network of three layers that can learn a gate with two inputs, such as exclusive or, with its loss.

    pip install torch==2.13.0 onnx onnxscript && python make_gate.py
"""
import os
import torch, torch.nn as nn


class Gate(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))

    def forward(self, x, y):
        z = self.net(x)
        return torch.sigmoid(z), nn.functional.binary_cross_entropy_with_logits(z, y)


torch.manual_seed(0)
torch.onnx.export(Gate(), (torch.zeros(4, 2), torch.zeros(4, 1)), os.path.join(os.path.dirname(os.path.abspath(__file__)), "gate.onnx"), dynamo=False,
                  opset_version=17, input_names=["x", "y"], output_names=["p", "loss"], training=torch.onnx.TrainingMode.TRAINING)
