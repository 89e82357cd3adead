# SPDX-License-Identifier: MIT
# Copyright (c) The gradc authors
"""RNN, GRU and LSTM as the specification has them. onnx.reference knows one direction at most, and neither clip, activations nor lengths."""
import numpy as np
from onnx.reference.op_run import OpRun

ACTIVATIONS = {"Tanh": np.tanh, "Sigmoid": lambda x: 1 / (1 + np.exp(-x)), "Relu": lambda x: np.maximum(x, 0), "Softsign": lambda x: x / (1 + abs(x)),
               "HardSigmoid": lambda x: np.clip(np.float32(0.2) * x + 0.5, 0, 1)}


rounded = None  # what each step's state goes through, where one wants to know how far rounding may carry


class Cell:
    """One direction."""

    def __init__(self, names, clip, w, r, b):
        self.act = [ACTIVATIONS[n] for n in names]
        self.clip, self.w, self.r = clip or np.inf, w, r
        self.b = np.zeros(2 * len(w)) if b is None else b

    def gates(self, x, count):
        """x·W and both biases of each gate."""
        h = self.r.shape[1]
        parts = [slice(k * h, (k + 1) * h) for k in range(count)]
        wide = x @ self.w.T
        return [(wide[:, p], self.r[p].T, self.b[: len(self.w)][p], self.b[len(self.w) :][p]) for p in parts]

    def apply(self, k, x):
        return self.act[k](np.clip(x, -self.clip, self.clip))


class RNNCell(Cell):
    def step(self, x, h, c):
        a, r, wb, rb = self.gates(x, 1)[0]
        return self.apply(0, a + h @ r + wb + rb), c


class GRUCell(Cell):
    linear_before_reset = 0

    def step(self, x, h, c):
        (az, rz, wz, bz), (ar, rr, wr, br), (an, rn, wn, bn) = self.gates(x, 3)
        z, reset = self.apply(0, az + h @ rz + wz + bz), self.apply(0, ar + h @ rr + wr + br)
        inner = reset * (h @ rn + bn) if self.linear_before_reset else (reset * h) @ rn + bn
        return (1 - z) * self.apply(1, an + inner + wn) + z * h, c


class LSTMCell(Cell):
    input_forget, p = 0, None

    def step(self, x, h, c):
        a, n = [x + h @ r + wb + rb for x, r, wb, rb in self.gates(x, 4)], h.shape[1]
        pi, po, pf = (0, 0, 0) if self.p is None else (self.p[k * n : (k + 1) * n] for k in range(3))
        i = self.apply(0, a[0] + pi * c)
        f = 1 - i if self.input_forget else self.apply(0, a[2] + pf * c)
        c = f * c + i * self.apply(1, a[3])
        return self.apply(0, a[1] + po * c) * self.act[2](c), c


class Recurrent(OpRun):
    cell, defaults = None, ()

    def _run(self, x, w, r, b=None, lengths=None, h0=None, c0=None, p=None, **attributes):
        steps, batch, d, h = x.shape[0], x.shape[1], w.shape[0], r.shape[2]
        lengths = np.full(batch, steps) if lengths is None else lengths
        names, n = list(attributes.get("activations") or list(self.defaults) * d), len(self.defaults)
        y, last, cells = np.zeros((steps, d, batch, h)), np.zeros((d, batch, h)), np.zeros((d, batch, h))
        for k in range(d):
            cell = self.cell(names[k * n : (k + 1) * n], attributes.get("clip"), w[k], r[k], None if b is None else b[k])
            cell.linear_before_reset, cell.input_forget = attributes.get("linear_before_reset"), attributes.get("input_forget")
            cell.p = None if p is None else p[k]
            hidden = np.zeros((batch, h)) if h0 is None else h0[k]
            state = np.zeros((batch, h)) if c0 is None else c0[k]
            backward = k == 1 or attributes.get("direction") == "reverse"
            for t in range(steps):
                at = np.where(backward, lengths - 1 - t, t)  # of each sequence
                live, rows = (t < lengths)[:, None], np.arange(batch)
                at = np.clip(at, 0, steps - 1)
                new, newer = cell.step(x[at, rows], hidden, state)
                if rounded:
                    new, newer = rounded(new, 1), rounded(newer, 1)  # gates are about 1: 1 - z may cancel
                hidden, state = np.where(live, new, hidden), np.where(live, newer, state)
                y[at[live[:, 0]], k, rows[live[:, 0]]] = new[live[:, 0]]
            last[k], cells[k] = hidden, state
        outputs = [a.astype(x.dtype) for a in (y, last, cells)]
        return tuple(outputs[: len(self.onnx_node.output)])


class RNN(Recurrent):
    cell, defaults = RNNCell, ("Tanh",)


class GRU(Recurrent):
    cell, defaults = GRUCell, ("Sigmoid", "Tanh")


class LSTM(Recurrent):
    cell, defaults = LSTMCell, ("Sigmoid", "Tanh", "Tanh")


ALL = [RNN, GRU, LSTM]
