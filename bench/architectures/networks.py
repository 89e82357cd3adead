# SPDX-License-Identifier: MIT
# Copyright (c) The gradc authors
"""Networks of other kinds: recurrent, over graphs, generative, for rendering, mixtures of experts."""
import math
import torch, torch.nn as nn, torch.nn.functional as F

from registry import ARCHITECTURES, cross_entropy, images, mse, register, token_loss


class RNNLM(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.e = nn.Embedding(50, 24)
        self.r = getattr(nn, kind)(24, 32, 2, batch_first=True, bidirectional=kind == "LSTM")
        self.o = nn.Linear(64 if kind == "LSTM" else 32, 50)

    def forward(self, i):
        return self.o(self.r(self.e(i))[0])


recurrent_ids = lambda: [("ids", torch.randint(0, 50, (2, 16)))]
recurrent_labels = lambda: [("y", torch.randint(0, 50, (2, 16)))]
register("lstm_bi", lambda: RNNLM("LSTM"), recurrent_ids, recurrent_labels, token_loss)
register("gru", lambda: RNNLM("GRU"), recurrent_ids, recurrent_labels, token_loss)
register("rnn", lambda: RNNLM("RNN"), recurrent_ids, recurrent_labels, token_loss)


class LSTMCellLM(nn.Module):
    def __init__(self):
        super().__init__()
        self.e = nn.Embedding(50, 24)
        self.c = nn.LSTMCell(24, 32)
        self.o = nn.Linear(32, 50)

    def forward(self, i):
        x = self.e(i)
        h = x.new_zeros(x.shape[0], 32)
        c = h
        out = []
        for t in range(8):
            h, c = self.c(x[:, t], (h, c))
            out.append(h)
        return self.o(torch.stack(out, 1))


register("lstmcell_unrolled", LSTMCellLM, recurrent_ids, lambda: [("y", torch.randint(0, 50, (2, 8)))], token_loss)


class TCNBlock(nn.Module):
    def __init__(self, i, o, d):
        super().__init__()
        wn = torch.nn.utils.parametrizations.weight_norm
        self.d = d
        self.a = wn(nn.Conv1d(i, o, 3, dilation=d))
        self.b = wn(nn.Conv1d(o, o, 3, dilation=d))
        self.k = nn.Conv1d(i, o, 1)

    def forward(self, x):
        h = F.relu(self.a(F.pad(x, (2 * self.d, 0))))
        h = F.relu(self.b(F.pad(h, (2 * self.d, 0))))
        return F.relu(h + self.k(x))


register("tcn_weightnorm", lambda: nn.Sequential(TCNBlock(4, 16, 1), TCNBlock(16, 16, 2), TCNBlock(16, 8, 4)), lambda: [("x", torch.randn(2,
    4, 32))], lambda: [("y", torch.randn(2, 8, 32))], mse)


class WaveNet(nn.Module):
    def __init__(self, c=16, n=4):
        super().__init__()
        self.i = nn.Conv1d(1, c, 1)
        self.f = nn.ModuleList((nn.Conv1d(c, 2 * c, 2, dilation=2**k) for k in range(n)))
        self.r = nn.ModuleList((nn.Conv1d(c, c, 1) for _ in range(n)))
        self.s = nn.ModuleList((nn.Conv1d(c, c, 1) for _ in range(n)))
        self.o = nn.Conv1d(c, 32, 1)

    def forward(self, x):
        h, skip = self.i(x), 0
        for k, (f, r, q) in enumerate(zip(self.f, self.r, self.s)):
            a, b = f(F.pad(h, (2**k, 0))).chunk(2, 1)
            g = torch.tanh(a) * torch.sigmoid(b)
            skip = skip + q(g)
            h = h + r(g)
        return self.o(F.relu(skip))


register("wavenet", WaveNet, lambda: [("x", torch.randn(2, 1, 40))], lambda: [("y", torch.randint(0, 32, (2, 40)))], cross_entropy)


class GCN(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(8, 16)
        self.b = nn.Linear(16, 4)

    def forward(self, x, e):
        src, dst = e[0], e[1]

        def conv(h):
            deg = torch.zeros(h.shape[0], dtype=h.dtype).index_add(0, dst, torch.ones(dst.shape[0], dtype=h.dtype)) + 1
            w = (deg[src] * deg[dst]).rsqrt()
            return torch.zeros_like(h).index_add(0, dst, h[src] * w[:, None]) + h / deg[:, None]

        return conv(self.b(F.relu(conv(self.a(x)))))


register("gcn_index_add", GCN, lambda: [("x", torch.randn(20, 8)), ("e", torch.randint(0, 20, (2, 60)))], lambda: [("y", torch.randint(0, 4,
    (20,)))], cross_entropy)


class GAT(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Linear(8, 16, bias=False)
        self.a = nn.Linear(32, 1)
        self.o = nn.Linear(16, 4)

    def forward(self, x, e):
        h = self.w(x)
        src, dst = e[0], e[1]
        l = F.leaky_relu(self.a(torch.cat([h[src], h[dst]], 1)).squeeze(1), 0.2)
        mx = torch.full((x.shape[0],), -1000000000.0, dtype=x.dtype).scatter_reduce(0, dst, l, "amax")
        p = torch.exp(l - mx[dst])
        den = torch.zeros(x.shape[0], dtype=x.dtype).scatter_add(0, dst, p) + 1e-09
        return self.o(torch.zeros_like(h).scatter_add(0, dst[:, None].expand(-1, 16), h[src] * (p / den[dst])[:, None]))


register("gat_scatter", GAT, lambda: [("x", torch.randn(20, 8)), ("e", torch.randint(0, 20, (2, 60)))], lambda: [("y", torch.randint(0, 4,
    (20,)))], cross_entropy)


class DLRM(nn.Module):
    def __init__(self, bag):
        super().__init__()
        self.bag = bag
        self.e = nn.ModuleList((nn.EmbeddingBag(30, 8, mode="sum") if bag else nn.Embedding(30, 8) for _ in range(4)))
        self.b = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 8), nn.ReLU())
        self.t = nn.Sequential(nn.Linear(18, 16), nn.ReLU(), nn.Linear(16, 1))

    def forward(self, x, i):
        d = self.b(x)
        es = [e(i[:, k : k + 1]) if self.bag else e(i[:, k]) for k, e in enumerate(self.e)]
        z = torch.stack([d] + es, 1)
        m = z @ z.transpose(1, 2)
        r, c = torch.tril_indices(5, 5, -1)
        return self.t(torch.cat([d, m[:, r, c]], 1)).squeeze(1)


CLICKS = (lambda: [("x", torch.randn(4, 6)), ("i", torch.randint(0, 30, (4, 4)))], lambda: [("y", torch.randint(0, 2, (4,)).float())],
    lambda o, y: F.binary_cross_entropy_with_logits(o, y))
register("dlrm", lambda: DLRM(False), *CLICKS)
register("dlrm_bag", lambda: DLRM(True), *CLICKS)


class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.e = nn.Sequential(nn.Conv2d(1, 8, 4, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 4, 2, 1), nn.ReLU(), nn.Flatten())
        self.m = nn.Linear(256, 4)
        self.v = nn.Linear(256, 4)
        self.d0 = nn.Linear(4, 256)
        self.d = nn.Sequential(
            nn.Unflatten(1, (16, 4, 4)), nn.ConvTranspose2d(16, 8, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(8, 1, 4, 2, 1)
        )

    def forward(self, x, n):
        h = self.e(x)
        m, v = self.m(h), self.v(h)
        return (self.d(F.relu(self.d0(m + n * torch.exp(0.5 * v)))), m, v)


def elbo(o, y):
    r, m, v = o
    return F.binary_cross_entropy_with_logits(r, y, reduction="sum") / 2 - 0.5 * torch.mean(torch.sum(1 + v - m.pow(2) - v.exp(), 1))


register("vae", VAE, lambda: [("x", torch.rand(2, 1, 16, 16)), ("n", torch.randn(2, 4))], lambda: [("y", torch.rand(2, 1, 16, 16))], elbo,
    "other")


class PatchDiscriminator(nn.Module):
    def __init__(self):
        super().__init__()
        self.n = nn.Sequential(
            nn.Conv2d(3, 16, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(16, 32, 4, 2, 1),
            nn.InstanceNorm2d(32, affine=True),
            nn.LeakyReLU(0.2),
            nn.Conv2d(32, 1, 4, 1, 1),
        )

    def forward(self, x):
        return self.n(x)


register("gan_patch_disc", PatchDiscriminator, images(2, 32), lambda: [("y", torch.rand(2, 1, 7, 7).round())], lambda o, y:
    F.binary_cross_entropy_with_logits(o, y))


def spectral_norm_discriminator():
    f = torch.nn.utils.parametrizations.spectral_norm
    return nn.Sequential(
        f(nn.Conv2d(3, 16, 4, 2, 1)),
        nn.LeakyReLU(0.1),
        f(nn.Conv2d(16, 16, 4, 2, 1)),
        nn.LeakyReLU(0.1),
        nn.Flatten(),
        f(nn.Linear(1024, 1)),
    )


register("gan_spectralnorm_disc", spectral_norm_discriminator, images(2, 32), lambda: [("y", torch.ones(2, 1))], lambda o, y: F.relu(1 - y *
    o).mean())


class RealNVP(nn.Module):
    def __init__(self):
        super().__init__()
        self.n = nn.ModuleList((nn.Sequential(nn.Linear(3, 32), nn.Tanh(), nn.Linear(32, 6)) for _ in range(4)))

    def forward(self, x):
        ld = x.new_zeros(x.shape[0])
        for k, n in enumerate(self.n):
            a, b = x.chunk(2, 1)
            sc, t = n(a).chunk(2, 1)
            sc = torch.tanh(sc)
            b = b * sc.exp() + t
            ld = ld + sc.sum(1)
            x = torch.cat([b, a], 1).flip(1) if k % 2 else torch.cat([b, a], 1)
        return x, ld


register("realnvp", RealNVP, lambda: [("x", torch.randn(8, 6))], lambda: [("y", torch.zeros(8))], lambda o, y: (0.5 * (o[0] ** 2).sum(1) + 3
    * math.log(2 * math.pi) - o[1] + y).mean())


class NerfByProducts(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Sequential(nn.Linear(39, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU())
        self.b = nn.Sequential(nn.Linear(71, 32), nn.ReLU(), nn.Linear(32, 4))

    def transmittance(self, sg, al):
        return torch.cumprod(torch.cat([torch.ones_like(al[:, :1]), 1 - al + 1e-10], 1), 1)[:, :-1]

    def forward(self, o, d):
        t = torch.linspace(0.5, 2, 8, dtype=o.dtype)
        p = o[:, None] + d[:, None] * t[None, :, None]
        e = torch.cat([p] + [f(p * 2**k) for k in range(6) for f in (torch.sin, torch.cos)], -1)
        h = self.b(torch.cat([self.a(e), e], -1))
        rgb, sg = torch.sigmoid(h[..., :3]), F.softplus(h[..., 3])
        al = 1 - torch.exp(-sg * 0.2)
        return ((al * self.transmittance(sg, al))[..., None] * rgb).sum(1)


register("nerf_cumprod", NerfByProducts, lambda: [("o", torch.randn(16, 3)), ("d", F.normalize(torch.randn(16, 3), dim=1))], lambda: [("y",
    torch.rand(16, 3))], mse)


class NerfBySums(NerfByProducts):
    def transmittance(self, sg, al):
        return torch.exp(-(torch.cumsum(sg * 0.2, 1) - sg * 0.2))


register("nerf_cumsum", NerfBySums, ARCHITECTURES["nerf_cumprod"].inputs, ARCHITECTURES["nerf_cumprod"].labels, mse)


class ResidualBlock(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.n1 = nn.GroupNorm(4, i)
        self.c1 = nn.Conv2d(i, o, 3, padding=1)
        self.t = nn.Linear(32, o)
        self.n2 = nn.GroupNorm(4, o)
        self.c2 = nn.Conv2d(o, o, 3, padding=1)
        self.k = nn.Conv2d(i, o, 1)

    def forward(self, x, t):
        h = self.c1(F.silu(self.n1(x))) + self.t(F.silu(t))[:, :, None, None]
        return self.k(x) + self.c2(F.silu(self.n2(h)))


class DiffusionUNet(nn.Module):
    def __init__(self, c=16):
        super().__init__()
        self.i = nn.Conv2d(3, c, 3, padding=1)
        self.r1 = ResidualBlock(c, c)
        self.r2 = ResidualBlock(c, 2 * c)
        self.r3 = ResidualBlock(3 * c, c)
        self.dn = nn.Conv2d(c, c, 3, 2, 1)
        self.n = nn.GroupNorm(4, 2 * c)
        self.at = nn.MultiheadAttention(2 * c, 4, batch_first=True)
        self.te = nn.Sequential(nn.Linear(32, 32), nn.SiLU(), nn.Linear(32, 32))
        self.o = nn.Conv2d(c, 3, 3, padding=1)

    def forward(self, x, t):
        f = torch.exp(-math.log(10000.0) * torch.arange(16, dtype=x.dtype) / 16)
        a = t[:, None].to(x.dtype) * f[None]
        e = self.te(torch.cat([a.sin(), a.cos()], -1))
        h0 = self.r1(self.i(x), e)
        h = self.r2(self.dn(h0), e)
        b, c, hh, w = h.shape
        q = self.n(h).flatten(2).transpose(1, 2)
        h = h + self.at(q, q, q, need_weights=False)[0].transpose(1, 2).reshape(b, c, hh, w)
        h = F.interpolate(h, scale_factor=2, mode="nearest")
        return self.o(self.r3(torch.cat([h, h0], 1), e))


register("diffusion_unet", DiffusionUNet, lambda: [("x", torch.randn(2, 3, 16, 16)), ("t", torch.tensor([3, 70]))], lambda: [("y",
    torch.randn(2, 3, 16, 16))], mse)


class EncoderDecoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.t = nn.Transformer(32, 4, 2, 2, 64, dropout=0.0, batch_first=True)

    def forward(self, a, b):
        return self.t(a, b, tgt_mask=torch.triu(torch.full((6, 6), float("-inf"), dtype=a.dtype), 1))


register("nn_transformer", EncoderDecoder, lambda: [("a", torch.randn(2, 8, 32)), ("b", torch.randn(2, 6, 32))], lambda: [("y",
    torch.randn(2, 6, 32))], mse)


class DenseMoE(nn.Module):
    def __init__(self):
        super().__init__()
        self.g = nn.Linear(16, 4, bias=False)
        self.e = nn.ModuleList((nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16)) for _ in range(4)))

    def forward(self, x):
        w, i = torch.topk(torch.softmax(self.g(x), -1), 2, -1)
        w = w / w.sum(-1, keepdim=True)
        r = torch.zeros(*x.shape[:-1], 4, dtype=x.dtype).scatter(-1, i, w)
        return (torch.stack([e(x) for e in self.e], -1) * r[..., None, :]).sum(-1)


register("moe_topk_dense", DenseMoE, lambda: [("x", torch.randn(2, 8, 16))], lambda: [("y", torch.randn(2, 8, 16))], mse)


class CausalEncoderDecoder(EncoderDecoder):
    def forward(self, a, b):
        return self.t(a, b, tgt_mask=torch.triu(torch.full((6, 6), float("-inf"), dtype=a.dtype), 1), tgt_is_causal=True)


register("nn_transformer_causal", CausalEncoderDecoder, ARCHITECTURES["nn_transformer"].inputs, ARCHITECTURES["nn_transformer"].labels, mse,
    "other")
