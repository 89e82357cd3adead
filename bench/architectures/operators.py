# SPDX-License-Identifier: MIT
# Copyright (c) The gradc authors
"""Networks with operators that are rarer: sampling grids, unpooling, Fourier transforms, folds, sequences of several lengths, losses of detection
and of reinforcement learning."""
import torch, torch.nn as nn, torch.nn.functional as F

from registry import classes, cross_entropy, images, mse, register, token_loss


class SpatialTransformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.l = nn.Sequential(nn.Flatten(), nn.Linear(768, 16), nn.Tanh(), nn.Linear(16, 6))
        self.c = nn.Conv2d(3, 8, 3, padding=1)
        self.o = nn.Linear(8, 10)

    def forward(self, x):
        t = 0.3 * self.l(x).view(-1, 2, 3) + torch.eye(2, 3, dtype=x.dtype)
        g = F.affine_grid(t, x.shape, align_corners=False)
        y = F.grid_sample(x, g, align_corners=False)
        return self.o(F.relu(self.c(y)).mean((2, 3)))


register("stn_gridsample", SpatialTransformer, images(2, 16), classes(), cross_entropy)


class SegNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 8, 3, padding=1)
        self.b = nn.Conv2d(8, 5, 3, padding=1)

    def forward(self, x):
        h, i = F.max_pool2d(F.relu(self.a(x)), 2, return_indices=True)
        return self.b(F.max_unpool2d(h, i, 2))


register("segnet_unpool", SegNet, images(2, 16), lambda: [("y", torch.randint(0, 5, (2, 16, 16)))], cross_entropy)


class FNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(8, 16)
        self.n = nn.LayerNorm(16)
        self.f = nn.Linear(16, 10)

    def forward(self, x):
        h = self.a(x)
        return self.f(self.n(h + torch.fft.fft(torch.fft.fft(h, dim=-1), dim=-2).real).mean(1))


register("fnet_fft", FNet, lambda: [("x", torch.randn(2, 8, 8))], classes(), cross_entropy)


class FoldNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.l = nn.Linear(27, 27)

    def forward(self, x):
        return F.fold(self.l(F.unfold(x, 3, padding=1).transpose(1, 2)).transpose(1, 2), (16, 16), 3, padding=1)


register("unfold_fold", FoldNet, images(2, 16), lambda: [("y", torch.randn(2, 3, 16, 16))], mse)
register("espcn_pixelshuffle", lambda: nn.Sequential(nn.Conv2d(3, 16, 5, padding=2), nn.Tanh(), nn.Conv2d(16, 12, 3, padding=1),
    nn.PixelShuffle(2)), images(2, 12), lambda: [("y", torch.randn(2, 3, 24, 24))], mse)


class AdaptivePools(nn.Module):
    def __init__(self):
        super().__init__()
        self.c = nn.Conv2d(3, 8, 3, padding=1)
        self.o = nn.Linear(72, 10)

    def forward(self, x):
        h = self.c(x)
        p = F.adaptive_avg_pool2d(h, 3)
        q = F.adaptive_max_pool2d(h, (5, 3))
        return self.o(p.flatten(1)) + q.mean((1, 2, 3))[:, None]


register("adaptive_pools", AdaptivePools, images(2, 15), classes(), cross_entropy)


class PackLSTM(nn.Module):
    def __init__(self):
        super().__init__()
        self.r = nn.LSTM(8, 12, batch_first=True)
        self.o = nn.Linear(12, 5)

    def forward(self, x, n):
        h, (a, c) = self.r(nn.utils.rnn.pack_padded_sequence(x, n, batch_first=True))
        return self.o(a[-1])


register("lstm_packed", PackLSTM, lambda: [("x", torch.randn(3, 10, 8)), ("n", torch.tensor([10, 7, 4]))], lambda: [("y", torch.randint(0,
    5, (3,)))], cross_entropy)


class ConvLSTM(nn.Module):
    def __init__(self):
        super().__init__()
        self.c = nn.Conv2d(3 + 8, 32, 3, padding=1)
        self.o = nn.Conv2d(8, 3, 1)

    def forward(self, x):
        h = x.new_zeros(x.shape[0], 8, x.shape[3], x.shape[4])
        c = h
        for t in range(x.shape[1]):
            i, f, o, g = self.c(torch.cat([x[:, t], h], 1)).chunk(4, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
        return self.o(h)


register("convlstm", ConvLSTM, lambda: [("x", torch.randn(2, 5, 3, 8, 8))], lambda: [("y", torch.randn(2, 3, 8, 8))], mse)


class CRNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.c = nn.Conv2d(1, 16, 3, padding=1)
        self.b = nn.BatchNorm2d(16)
        self.r = nn.GRU(64, 16, bidirectional=True)
        self.o = nn.Linear(32, 12)

    def forward(self, x):
        h = F.max_pool2d(F.relu(self.b(self.c(x))), 2)
        return self.o(self.r(h.permute(3, 0, 1, 2).flatten(2))[0]).permute(1, 2, 0)


register("crnn_ocr", CRNN, lambda: [("x", torch.randn(2, 1, 8, 24))], lambda: [("y", torch.randint(0, 12, (2, 12)))], cross_entropy)


class Seq2Seq(nn.Module):
    def __init__(self):
        super().__init__()
        self.e = nn.Embedding(30, 16)
        self.g = nn.GRU(16, 16, batch_first=True)
        self.d = nn.GRUCell(32, 16)
        self.w = nn.Linear(16, 16)
        self.o = nn.Linear(32, 30)

    def forward(self, a, b):
        m, h = self.g(self.e(a))
        h = h[0]
        out = []
        for t in range(b.shape[1]):
            w = torch.softmax((self.w(m) * h[:, None]).sum(-1), 1)
            c = (w[..., None] * m).sum(1)
            h = self.d(torch.cat([self.e(b[:, t]), c], 1), h)
            out.append(self.o(torch.cat([h, c], 1)))
        return torch.stack(out, 1)


register("seq2seq_attention", Seq2Seq, lambda: [("a", torch.randint(0, 30, (2, 7))), ("b", torch.randint(0, 30, (2, 5)))], lambda: [("y",
    torch.randint(0, 30, (2, 5)))], token_loss)


class PointNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.t = nn.Sequential(nn.Conv1d(3, 16, 1), nn.ReLU())
        self.tf = nn.Linear(16, 9)
        self.m = nn.Sequential(nn.Conv1d(3, 32, 1), nn.BatchNorm1d(32), nn.ReLU())
        self.o = nn.Linear(32, 10)

    def forward(self, x):
        T = self.tf(self.t(x).max(2)[0]).view(-1, 3, 3) + torch.eye(3, dtype=x.dtype)
        return self.o(self.m(torch.bmm(T, x)).max(2)[0])


register("pointnet", PointNet, lambda: [("x", torch.randn(4, 3, 32))], lambda: [("y", torch.randint(0, 10, (4,)))], cross_entropy)


class EdgeConv(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(6, 16)
        self.o = nn.Linear(16, 10)

    def forward(self, x):
        d = torch.cdist(x, x)
        i = d.topk(4, dim=-1, largest=False)[1]
        n = torch.gather(x[:, None].expand(-1, x.shape[1], -1, -1), 2, i[..., None].expand(-1, -1, -1, 3))
        c = x[:, :, None].expand_as(n)
        return self.o(F.relu(self.a(torch.cat([c, n - c], -1))).max(2)[0].max(1)[0])


register("dgcnn_edgeconv", EdgeConv, lambda: [("x", torch.randn(2, 12, 3))], classes(), cross_entropy)


class YoloHead(nn.Module):
    def __init__(self):
        super().__init__()
        self.b = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.SiLU(), nn.Conv2d(16, 16, 3, 2, 1), nn.SiLU())
        self.h = nn.Conv2d(16, 3 * 9, 1)

    def forward(self, x):
        b, _, hh, ww = x.shape
        p = self.h(self.b(x))
        b, _, h, w = p.shape
        p = p.view(b, 3, 9, h, w).permute(0, 1, 3, 4, 2)
        yv, xv = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
        g = torch.stack([xv, yv], -1).to(p.dtype)
        q = p.sigmoid()
        xy = (q[..., :2] * 2 - 0.5 + g) * 4
        wh = (q[..., 2:4] * 2) ** 2 * torch.tensor([[4.0, 4.0], [8.0, 8.0], [12.0, 6.0]], dtype=p.dtype).view(1, 3, 1, 1, 2)
        return torch.cat([xy, wh, q[..., 4:]], -1).view(b, -1, 9)


def giou_loss(o, y):
    a1, a2 = o[..., :2] - o[..., 2:4] / 2, o[..., :2] + o[..., 2:4] / 2
    b1, b2 = y[..., :2] - y[..., 2:4] / 2, y[..., :2] + y[..., 2:4] / 2
    it = (torch.min(a2, b2) - torch.max(a1, b1)).clamp(min=0).prod(-1)
    un = (a2 - a1).prod(-1) + (b2 - b1).prod(-1) - it
    cv = (torch.max(a2, b2) - torch.min(a1, b1)).prod(-1)
    return (1 - it / un + (cv - un) / cv).mean() + F.binary_cross_entropy(o[..., 4:], (y[..., 4:] > 0.5).to(o.dtype))


register("yolo_head_giou", YoloHead, images(2, 32), lambda: [("y", torch.cat([torch.rand(2, 192, 2) * 32, torch.rand(2, 192, 2) * 12 + 2,
    torch.rand(2, 192, 5)], -1))], giou_loss)


class DuelingQ(nn.Module):
    def __init__(self):
        super().__init__()
        self.n = nn.Sequential(nn.Linear(6, 32), nn.ReLU())
        self.v = nn.Linear(32, 1)
        self.a = nn.Linear(32, 4)

    def forward(self, x, a):
        h = self.n(x)
        A = self.a(h)
        q = self.v(h) + A - A.mean(1, keepdim=True)
        return q.gather(1, a[:, None]).squeeze(1)


register("dueling_dqn", DuelingQ, lambda: [("x", torch.randn(8, 6)), ("a", torch.randint(0, 4, (8,)))], lambda: [("y", torch.randn(8))],
    lambda o, y: F.smooth_l1_loss(o, y))


class ActorCritic(nn.Module):
    def __init__(self):
        super().__init__()
        self.n = nn.Sequential(nn.Linear(6, 32), nn.Tanh())
        self.m = nn.Linear(32, 2)
        self.v = nn.Linear(32, 1)
        self.ls = nn.Parameter(torch.zeros(2))

    def forward(self, x, a):
        h = self.n(x)
        d = torch.distributions.Normal(self.m(h), self.ls.exp().expand(x.shape[0], 2), validate_args=False)
        return d.log_prob(a).sum(-1), self.v(h).squeeze(-1), d.entropy().sum(-1)


def clipped_surrogate(o, old, adv, ret):
    r = (o[0] - old).exp()
    return -torch.min(r * adv, r.clamp(0.8, 1.2) * adv).mean() + 0.5 * F.mse_loss(o[1], ret) - 0.01 * o[2].mean()


register("ppo_actor_critic", ActorCritic, lambda: [("x", torch.randn(8, 6)), ("a", torch.randn(8, 2))], lambda: [("old", torch.randn(8) -
    3), ("adv", torch.randn(8)), ("ret", torch.randn(8))], clipped_surrogate)


class VectorQuantizer(nn.Module):
    def __init__(self):
        super().__init__()
        self.e = nn.Conv2d(1, 4, 4, 2, 1)
        self.d = nn.ConvTranspose2d(4, 1, 4, 2, 1)
        self.c = nn.Embedding(8, 4)

    def forward(self, x):
        z = self.e(x).permute(0, 2, 3, 1)
        f = z.reshape(-1, 4)
        d = (f**2).sum(1, keepdim=True) + (self.c.weight**2).sum(1) - 2 * f @ self.c.weight.t()
        q = self.c(d.argmin(1)).view(z.shape)
        return (self.d(q.permute(0, 3, 1, 2)), z, q)


register("vqvae_nostop", VectorQuantizer, lambda: [("x", torch.rand(2, 1, 8, 8))], lambda: [("y", torch.rand(2, 1, 8, 8))], lambda o, y:
    F.mse_loss(o[0], y) + F.mse_loss(o[1], o[2]))


class SimCLR(nn.Module):
    def __init__(self):
        super().__init__()
        self.n = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 8))

    def forward(self, a, b):
        return (F.normalize(self.n(a), dim=1), F.normalize(self.n(b), dim=1))


def ntxent(o, y):
    z = torch.cat(o, 0)
    l = (z @ z.t() / 0.2).masked_fill(torch.eye(16, dtype=torch.bool), float("-inf"))
    return F.cross_entropy(l, y)


register("simclr_ntxent", SimCLR, lambda: [("a", torch.randn(8, 8)), ("b", torch.randn(8, 8))], lambda: [("y", (torch.arange(16) + 8) %
    16)], ntxent)


class RadialBasis(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.randn(4, 8, 6) * 0.3)
        self.g = nn.Parameter(torch.linspace(-1, 1, 6), requires_grad=False)
        self.o = nn.Linear(8, 3)

    def forward(self, x):
        b = torch.exp(-(((x[..., None] - self.g) * 3) ** 2))
        return self.o(torch.einsum("bik,iok->bo", b, self.w))


register("kan_rbf_einsum", RadialBasis, lambda: [("x", torch.randn(5, 4))], lambda: [("y", torch.randint(0, 3, (5,)))], cross_entropy,
    "ops")


class Capsule(nn.Module):
    def __init__(self):
        super().__init__()
        self.c = nn.Conv2d(1, 16, 5, 2)
        self.w = nn.Parameter(torch.randn(1, 3, 36 * 4, 6, 4) * 0.2)

    def forward(self, x):
        sq = lambda t: (t**2).sum(-1, keepdim=True) / (1 + (t**2).sum(-1, keepdim=True)) * t / ((t**2).sum(-1, keepdim=True) + 1e-08).sqrt()
        u = sq(self.c(x).view(x.shape[0], 4, 4, 36).permute(0, 3, 1, 2).reshape(x.shape[0], -1, 4))
        uh = (self.w @ u[:, None, :, :, None]).squeeze(-1)
        b = torch.zeros(x.shape[0], 3, uh.shape[2], 1, dtype=x.dtype)
        for k in range(3):
            v = sq((torch.softmax(b, 1) * uh).sum(2))
            b = b + (uh * v[:, :, None]).sum(-1, keepdim=True)
        return (v**2).sum(-1).sqrt()


register("capsule_routing", Capsule, lambda: [("x", torch.randn(2, 1, 16, 16))], lambda: [("y", F.one_hot(torch.tensor([0, 2]),
    3).float())], lambda o, y: (y * F.relu(0.9 - o) ** 2 + 0.5 * (1 - y) * F.relu(o - 0.1) ** 2).sum(1).mean())
