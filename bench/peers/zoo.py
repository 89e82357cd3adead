# SPDX-License-Identifier: MIT
# Copyright (c) The gradc authors
"""Benchmark models: small, real architectures, written for comparing training compilers.
Each entry gives a torch module whose forward returns the scalar loss (training) and a `predict` path (inference)."""
import torch, torch.nn as nn, torch.nn.functional as F, math

def token_loss(logits,y): return F.cross_entropy(logits.reshape(-1,logits.shape[-1]),y.reshape(-1))

class Seed(nn.Module):
    def __init__(s):
        super().__init__(); s.w=nn.Parameter(torch.randn(5,3)); s.b=nn.Parameter(torch.randn(3))
    def predict(s,x): return torch.matmul(x,s.w)+s.b
    loss=staticmethod(F.binary_cross_entropy_with_logits)
    def forward(s,x,y): return s.loss(s.predict(x),y)

class MLP(nn.Module):
    def __init__(s,d=(784,512,512,10)):
        super().__init__(); L=[]
        for i in range(len(d)-1):
            L.append(nn.Linear(d[i],d[i+1]))
            if i<len(d)-2: L.append(nn.ReLU())
        s.net=nn.Sequential(*L)
    def predict(s,x): return s.net(x)
    loss=staticmethod(F.cross_entropy)
    def forward(s,x,y): return s.loss(s.predict(x),y)

class LeNet(nn.Module):
    def __init__(s):
        super().__init__(); s.c1=nn.Conv2d(1,32,3); s.c2=nn.Conv2d(32,64,3); s.f1=nn.Linear(9216,128); s.f2=nn.Linear(128,10)
    def predict(s,x):
        x=F.relu(s.c1(x)); x=F.max_pool2d(F.relu(s.c2(x)),2); return s.f2(F.relu(s.f1(torch.flatten(x,1))))
    loss=staticmethod(F.cross_entropy)
    def forward(s,x,y): return s.loss(s.predict(x),y)

class Block(nn.Module):
    def __init__(s,i,o,st):
        super().__init__()
        s.c1=nn.Conv2d(i,o,3,st,1,bias=False); s.b1=nn.BatchNorm2d(o); s.c2=nn.Conv2d(o,o,3,1,1,bias=False); s.b2=nn.BatchNorm2d(o)
        s.sc=nn.Sequential(nn.Conv2d(i,o,1,st,bias=False),nn.BatchNorm2d(o)) if st!=1 or i!=o else nn.Identity()
    def forward(s,x): return F.relu(s.b2(s.c2(F.relu(s.b1(s.c1(x)))))+s.sc(x))
class ResNet18(nn.Module):
    """CIFAR-style ResNet-18."""
    def __init__(s,w=64):
        super().__init__(); s.c=nn.Conv2d(3,w,3,1,1,bias=False); s.b=nn.BatchNorm2d(w)
        L=[];i=w
        for o,st in ((w,1),(2*w,2),(4*w,2),(8*w,2)): L+= [Block(i,o,st),Block(o,o,1)]; i=o
        s.l=nn.Sequential(*L); s.f=nn.Linear(8*w,10)
    def predict(s,x):
        x=s.l(F.relu(s.b(s.c(x)))); return s.f(x.mean((2,3)))
    loss=staticmethod(F.cross_entropy)
    def forward(s,x,y): return s.loss(s.predict(x),y)

class DWBlock(nn.Module):
    def __init__(s,i,o,st,e=6):
        super().__init__(); h=i*e; s.res=st==1 and i==o
        s.n=nn.Sequential(nn.Conv2d(i,h,1,bias=False),nn.BatchNorm2d(h),nn.ReLU6(),
                          nn.Conv2d(h,h,3,st,1,groups=h,bias=False),nn.BatchNorm2d(h),nn.ReLU6(),nn.Conv2d(h,o,1,bias=False),nn.BatchNorm2d(o))
    def forward(s,x): return x+s.n(x) if s.res else s.n(x)
class MobileNet(nn.Module):
    """MobileNetV2 at 96x96, width 0.35 (the visual-wake-words size)."""
    def __init__(s,nc=10):
        super().__init__(); cfg=[(8,1,1,1),(8,2,2,6),(16,3,2,6),(24,4,2,6),(32,3,1,6),(56,3,2,6),(112,1,1,6)]
        i=16; L=[nn.Conv2d(3,i,3,2,1,bias=False),nn.BatchNorm2d(i),nn.ReLU6()]
        for o,n,st,e in cfg:
            for k in range(n): L.append(DWBlock(i,o,st if k==0 else 1,e)); i=o
        L+=[nn.Conv2d(i,1280,1,bias=False),nn.BatchNorm2d(1280),nn.ReLU6()]
        s.n=nn.Sequential(*L); s.f=nn.Linear(1280,nc)
    def predict(s,x): return s.f(s.n(x).mean((2,3)))
    loss=staticmethod(F.cross_entropy)
    def forward(s,x,y): return s.loss(s.predict(x),y)

class GPT(nn.Module):
    def __init__(s,L=4,H=4,D=128,T=64,V=65):
        super().__init__(); s.H=H; s.T=T
        s.te=nn.Embedding(V,D); s.pe=nn.Parameter(torch.randn(T,D)*.02)
        s.bl=nn.ModuleList(nn.ModuleDict(dict(n1=nn.LayerNorm(D),qkv=nn.Linear(D,3*D),o=nn.Linear(D,D),
                                              n2=nn.LayerNorm(D),f1=nn.Linear(D,4*D),f2=nn.Linear(4*D,D))) for _ in range(L))
        s.nf=nn.LayerNorm(D); s.h=nn.Linear(D,V,bias=False)
        s.register_buffer("mask",torch.triu(torch.full((T,T),-1e9),1))
    def predict(s,x):
        B,T=x.shape; h=s.te(x)+s.pe
        for b in s.bl:
            D=h.shape[-1]
            q,k,v=(t.reshape(B,T,s.H,D//s.H).transpose(1,2) for t in b["qkv"](b["n1"](h)).split(D,2))
            a=torch.softmax(q@k.transpose(2,3)*(1/math.sqrt(D//s.H))+s.mask,-1)@v
            h=h+b["o"](a.transpose(1,2).reshape(B,T,D)); h=h+b["f2"](F.gelu(b["f1"](b["n2"](h))))
        return s.h(s.nf(h))
    loss=staticmethod(token_loss)
    def forward(s,x,y): return s.loss(s.predict(x),y)

class LSTM(nn.Module):
    def __init__(s,V=64,D=64,H=128):
        super().__init__(); s.e=nn.Embedding(V,D); s.l=nn.LSTM(D,H,batch_first=True); s.f=nn.Linear(H,V)
    def predict(s,x): return s.f(s.l(s.e(x))[0])
    loss=staticmethod(token_loss)
    def forward(s,x,y): return s.loss(s.predict(x),y)

class GPT2(GPT):
    """GPT-2 124M: the same network at 12 layers, 768 wide, vocabulary 50257, head tied to the embedding. Made only when named."""
    def __init__(s): super().__init__(12,12,768,64,50257); s.h.weight=s.te.weight

def ids(*s,n): return torch.randint(0,n,s)
ZOO={ # name: (make, inference inputs, training inputs)
 "seed":(Seed,lambda:(torch.ones(5),),lambda:(torch.ones(5),torch.zeros(3))),
 "mlp":(MLP,lambda:(torch.randn(1,784),),lambda:(torch.randn(64,784),ids(64,n=10))),
 "lenet":(LeNet,lambda:(torch.randn(1,1,28,28),),lambda:(torch.randn(32,1,28,28),ids(32,n=10))),
 "resnet18":(ResNet18,lambda:(torch.randn(1,3,32,32),),lambda:(torch.randn(16,3,32,32),ids(16,n=10))),
 "mobilenet":(MobileNet,lambda:(torch.randn(1,3,96,96),),lambda:(torch.randn(16,3,96,96),ids(16,n=10))),
 "gpt":(GPT,lambda:(ids(1,64,n=65),),lambda:(ids(12,64,n=65),ids(12,64,n=65))),
 "gpt2":(GPT2,lambda:(ids(1,64,n=50257),),lambda:(ids(4,64,n=50257),ids(4,64,n=50257))),
 "lstm":(LSTM,lambda:(ids(1,32,n=64),),lambda:(ids(16,32,n=64),ids(16,32,n=64))),
}
