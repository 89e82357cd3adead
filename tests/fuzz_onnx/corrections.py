# SPDX-License-Identifier: MIT
# Copyright (c) The gradc authors
"""Operators that onnx.reference lacks, refuses in general, computes in single precision whatever it is given, or (LRN) computes for as many
channels as there are batches."""
import math
import numpy as np
from onnx.reference.op_run import OpRun


def erf(x):
    return np.vectorize(math.erf, otypes=[np.float64])(x).astype(x.dtype).reshape(x.shape)


class Erf(OpRun):
    def _run(self, x):
        return (erf(x),)


class Gelu(OpRun):
    def _run(self, x, approximate="none"):
        if approximate == "tanh":
            return (0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),)
        return (0.5 * x * (1 + erf(x / np.sqrt(np.asarray(2, x.dtype)))),)


class Mean(OpRun):
    def _run(self, *xs):
        return (np.asarray(sum(xs[1:], xs[0]) / np.asarray(len(xs), xs[0].dtype)),)


class GlobalLpPool(OpRun):
    def _run(self, x, p=2):
        axes = tuple(range(2, x.ndim))
        return ((np.abs(x) ** p).sum(axes, keepdims=True) ** (1 / p),)


class GatherElements(OpRun):
    def _run(self, x, index, axis=0):
        at = list(np.indices(index.shape, sparse=True))
        at[axis] = index
        return (x[tuple(at)],)


class ScatterElements(OpRun):
    def _run(self, x, index, updates, axis=0, reduction="none"):
        y, at = x.copy(), [g.ravel() for g in np.indices(index.shape)]
        at[axis] = index.ravel()
        at, values = tuple(at), updates.ravel()
        if reduction == "none":
            y[at] = values
        else:
            {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}[reduction].at(y, at, values)
        return (y,)


class Scatter(ScatterElements):
    def _run(self, x, index, updates, axis=0):
        return super()._run(x, index, updates, axis, "none")


class LRN(OpRun):
    def _run(self, x, alpha=1e-4, beta=0.75, bias=1.0, size=1):
        total, c = np.zeros_like(x), x.shape[1]
        for k in range(c):
            total[:, k] = (x[:, max(0, k - (size - 1) // 2) : min(c, k + size // 2 + 1)] ** 2).sum(1)
        return (x / (bias + alpha / size * total) ** beta,)


ALL = [LRN, Gelu, Erf, Mean, GlobalLpPool, GatherElements, ScatterElements, Scatter]
