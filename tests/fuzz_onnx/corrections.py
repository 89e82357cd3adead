# SPDX-License-Identifier: MIT
# Copyright (c) The gradc authors
"""Operators that onnx.reference lacks, refuses in general, or has wrong: Erf, Gelu and DynamicQuantizeLinear are in single precision whatever they
are given, MeanVarianceNormalization and GroupNormalization take the square of the mean from the mean of the squares, LRN is of as many channels as
there are batches, ConvTranspose mixes up groups, a Loop without a condition never runs, one that stacks matrices joins them, a Scan knows no axes,
OneHot takes no depth of one element, DequantizeLinear begins with opset 19, BatchNormalization before opset 14 mixes in the batch's statistics."""
import math
import numpy as np
from onnx.reference.op_run import OpRun
from onnx.reference.ops.op_dequantize_linear import DequantizeLinear_25

import recurrent


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


class DynamicQuantizeLinear(OpRun):
    def _run(self, x):
        high, low = max(x.max(), 0), min(x.min(), 0)
        scale = np.asarray((high - low) / 255 if high != low else 1, x.dtype)
        zero = np.rint(np.clip(-low / scale, 0, 255))
        return np.clip(np.rint(x / scale) + zero, 0, 255).astype(np.uint8), scale, np.asarray(zero, np.uint8)


class DequantizeLinear(DequantizeLinear_25):
    pass


class Mean(OpRun):
    def _run(self, *xs):
        return (np.asarray(sum(xs[1:], xs[0]) / np.asarray(len(xs), xs[0].dtype)),)


class MeanVarianceNormalization(OpRun):
    def _run(self, x, axes=(0, 2, 3)):
        centred = x - x.mean(tuple(axes), keepdims=True)
        return (centred / (np.sqrt((centred**2).mean(tuple(axes), keepdims=True)) + np.asarray(1e-9, x.dtype)),)


class GroupNormalization(OpRun):
    def _run(self, x, scale, bias, epsilon=1e-5, num_groups=1, stash_type=1):
        def by_channel(v):  # before opset 21 there is one for each group
            return np.repeat(v, x.shape[1] // v.size).reshape(-1, *[1] * (x.ndim - 2))
        groups = x.reshape(x.shape[0], num_groups, -1)
        centred = groups - groups.mean(-1, keepdims=True)
        y = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + np.asarray(epsilon, x.dtype))
        return (y.reshape(x.shape) * by_channel(scale) + by_channel(bias),)


class OneHot(OpRun):
    def _run(self, index, depth, values, axis=-1):
        n = int(depth.ravel()[0])
        hot = (index[..., None] % n == np.arange(n)) & (index[..., None] >= -n) & (index[..., None] < n)
        return (np.moveaxis(np.where(hot, values[1], values[0]), -1, axis),)


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


class ConvTranspose(OpRun):
    def _run(self, x, w, b=None, auto_pad="NOTSET", dilations=None, group=1, kernel_shape=None, output_padding=None, output_shape=None, pads=None,
             strides=None):
        n, extent, window = x.ndim - 2, x.shape[2:], w.shape[2:]
        stride, dilation, extra = (v or [d] * n for v, d in ((strides, 1), (dilations, 1), (output_padding, 0)))
        full = [(e - 1) * s + (k - 1) * d + 1 + o for e, s, k, d, o in zip(extent, stride, window, dilation, extra)]
        w = w.reshape(group, w.shape[0] // group, *w.shape[1:])
        y = np.zeros((x.shape[0], group, w.shape[2], *full), x.dtype)
        x = x.reshape(x.shape[0], group, -1, *extent)
        for at in np.ndindex(*window):
            places = tuple(slice(a * d, a * d + (e - 1) * s + 1, s) for a, d, e, s in zip(at, dilation, extent, stride))
            y[(slice(None),) * 3 + places] += np.einsum("bgi...,gio->bgo...", x, w[(slice(None),) * 3 + at])
        y = y.reshape(y.shape[0], -1, *full)
        low, high = [0] * n, [0] * n
        if auto_pad.startswith("SAME"):
            total = [f - e * s for f, e, s in zip(full, extent, stride)]
            low = [t // 2 if auto_pad == "SAME_UPPER" else t - t // 2 for t in total]
            high = [t - a for t, a in zip(total, low)]
        elif auto_pad == "NOTSET" and pads:
            low, high = pads[:n], pads[n:]
        y = y[(slice(None),) * 2 + tuple(slice(a, f - c) for a, c, f in zip(low, high, full))]
        return (y if b is None else y + b.reshape(-1, *[1] * n),)


class BatchNormalization(OpRun):
    def _run(self, x, scale, bias, mean, var, epsilon=1e-5, momentum=0.9, training_mode=0, spatial=1):
        axes, wide = tuple(k for k in range(x.ndim) if k != 1), lambda a: a.reshape(-1, *[1] * (x.ndim - 2))
        m, v = (x.mean(axes), x.var(axes)) if training_mode else (mean, var)
        y = (x - wide(m)) / np.sqrt(wide(v) + epsilon) * wide(scale) + wide(bias)
        return (y, mean * momentum + m * (1 - momentum), var * momentum + v * (1 - momentum))[: len(self.onnx_node.output)]


class LRN(OpRun):
    def _run(self, x, alpha=1e-4, beta=0.75, bias=1.0, size=1):
        total, c = np.zeros_like(x), x.shape[1]
        for k in range(c):
            total[:, k] = (x[:, max(0, k - (size - 1) // 2) : min(c, k + size // 2 + 1)] ** 2).sum(1)
        return (x / (bias + alpha / size * total) ** beta,)


def run_body(body, context, values):
    """What a body gives, with values for its inputs in order and whatever is outside of it."""
    given = dict(zip(body.input_names, values))
    return body.run(None, {**{n: a for n, a in context.items() if n not in given}, **given})


class Loop(OpRun):
    def need_context(self):
        return True

    def _run(self, most=None, go=None, *states, context=None, body=None, attributes=None):
        body, n, states, ys, i = self.body, len(states), list(states), None, 0
        ys = [[] for _ in range(len(body.output_names) - 1 - n)]
        while (go is None or bool(np.all(go))) and (most is None or i < int(most)):
            go, *results = run_body(body, context, [np.array(i, np.int64), np.array(True), *states])
            states = results[:n]
            for y, r in zip(ys, results[n:]):
                y.append(r)
            i += 1
        return tuple(states + [np.stack(y) for y in ys])


class Scan(OpRun):
    def need_context(self):
        return True

    def _run(self, *operands, context=None, body=None, num_scan_inputs=None, scan_input_axes=None, scan_input_directions=None,
             scan_output_axes=None, scan_output_directions=None, attributes=None):
        n = len(operands) - self.num_scan_inputs
        states, xs = list(operands[:n]), []
        entry = lambda numbers, k: numbers[k] if numbers and k < len(numbers) else 0
        for k, x in enumerate(operands[n:]):
            x = np.moveaxis(x, entry(self.scan_input_axes, k), 0)
            xs.append(x[::-1] if entry(self.scan_input_directions, k) else x)
        ys = [[] for _ in range(len(self.body.output_names) - n)]
        for i in range(len(xs[0])):
            results = run_body(self.body, context, [*states, *[x[i] for x in xs]])
            states = results[:n]
            for y, r in zip(ys, results[n:]):
                y.append(r)
        stacked = [np.stack(y[::-1] if entry(self.scan_output_directions, k) else y) for k, y in enumerate(ys)]
        return tuple(states + [np.moveaxis(y, 0, entry(self.scan_output_axes, k)) for k, y in enumerate(stacked)])


ALL = [*recurrent.ALL, BatchNormalization, ConvTranspose, Loop, Scan, LRN, Gelu, Erf, Mean, MeanVarianceNormalization, GroupNormalization, OneHot,
       GlobalLpPool, GatherElements, ScatterElements, Scatter, DynamicQuantizeLinear, DequantizeLinear]
