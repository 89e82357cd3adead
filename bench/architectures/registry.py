# SPDX-License-Identifier: MIT
# Copyright (c) The gradc authors
"""The list of architectures, and what several of them share: inputs, labels, losses.

An architecture is one call of register(name, make, inputs, labels, loss):
  make      gives the module, with random weights; of group "hf" it takes the implementation of attention, or None for the default
  inputs    gives [(name, tensor)] for forward(), labels those that only the loss takes
  loss      loss(what forward() gives, *labels)
  group     "hf": of the package transformers; "audio": one whose input has no gradient besides
To add one, add a call to the file of its kind."""
import torch, torch.nn as nn, torch.nn.functional as F

ARCHITECTURES = {}


class Architecture:
    def __init__(self, make, inputs, labels, loss, group):
        self.make, self.inputs, self.labels, self.loss, self.group = make, inputs, labels, loss, group


def register(name, make, inputs, labels, loss, group=""):
    assert name not in ARCHITECTURES, name
    ARCHITECTURES[name] = Architecture(make, inputs, labels, loss, group)


def images(n=2, extent=64):
    return lambda: [("x", torch.randn(n, 3, extent, extent))]


def classes(n=2, k=10):
    return lambda: [("y", torch.randint(0, k, (n,)))]


def cross_entropy(out, y):
    return F.cross_entropy(out, y)


def mse(out, y):
    return F.mse_loss(out, y)


def token_loss(out, y):
    return F.cross_entropy(out.reshape(-1, out.shape[-1]), y.reshape(-1))


class WithOutput(nn.Module):
    """A network of whose outputs a function is taken."""

    def __init__(self, net, function):
        super().__init__()
        self.net, self.function = net, function

    def forward(self, *x):
        return self.function(self.net(*x))
