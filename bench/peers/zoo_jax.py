# SPDX-License-Identifier: MIT
# Copyright (c) The gradc authors
"""The zoo's dense and recurrent models again in JAX: name -> () -> (parameters, predict, loss, inputs, (inputs, labels))."""
import math
import jax, jax.numpy as jnp, numpy as np
from jax import lax

R=np.random.RandomState(0)
def r(*s): return jnp.array(R.randn(*s).astype("float32")*.05)
def ce(l,y): return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(l),y[...,None],-1))
def seed():
    p=dict(w=r(5,3),b=r(3)); f=lambda p,x:x@p["w"]+p["b"]
    def loss(p,x,y): z=f(p,x); return jnp.mean(jnp.maximum(z,0)-z*y+jnp.log1p(jnp.exp(-jnp.abs(z))))
    return p,f,loss,(jnp.ones(5),),(jnp.ones(5),jnp.zeros(3))
def mlp():
    d=(784,512,512,10); p=[(r(d[i],d[i+1]),r(d[i+1])) for i in range(3)]
    def f(p,x):
        for i,(w,b) in enumerate(p):
            x=x@w+b
            if i<2: x=jax.nn.relu(x)
        return x
    return p,f,lambda p,x,y:ce(f(p,x),y),(r(1,784),),(r(64,784),jnp.array(R.randint(0,10,64)))
def lenet():
    p=dict(c1=r(32,1,3,3),b1=r(32),c2=r(64,32,3,3),b2=r(64),f1=r(9216,128),g1=r(128),f2=r(128,10),g2=r(10))
    def f(p,x):
        cv=lambda x,w,b:lax.conv_general_dilated(x,w,(1,1),"VALID")+b[:,None,None]
        x=jax.nn.relu(cv(x,p["c1"],p["b1"])); x=jax.nn.relu(cv(x,p["c2"],p["b2"]))
        x=lax.reduce_window(x,-jnp.inf,lax.max,(1,1,2,2),(1,1,2,2),"VALID").reshape(x.shape[0],-1)
        return jax.nn.relu(x@p["f1"]+p["g1"])@p["f2"]+p["g2"]
    return p,f,lambda p,x,y:ce(f(p,x),y),(r(1,1,28,28),),(r(32,1,28,28),jnp.array(R.randint(0,10,32)))
def gpt(L=4,H=4,D=128,T=64,V=65):
    p=dict(te=r(V,D),pe=r(T,D),nf=(jnp.ones(D),jnp.zeros(D)),h=r(D,V),
           bl=[dict(n1=(jnp.ones(D),jnp.zeros(D)),qkv=r(D,3*D),bq=r(3*D),o=r(D,D),bo=r(D),
                    n2=(jnp.ones(D),jnp.zeros(D)),f1=r(D,4*D),g1=r(4*D),f2=r(4*D,D),g2=r(D)) for _ in range(L)])
    mask=jnp.triu(jnp.full((T,T),-1e9),1)
    def ln(x,g): m=x.mean(-1,keepdims=True); v=((x-m)**2).mean(-1,keepdims=True); return (x-m)*lax.rsqrt(v+1e-5)*g[0]+g[1]
    def f(p,x):
        B,T=x.shape; h=p["te"][x]+p["pe"]
        for b in p["bl"]:
            q,k,v=(t.reshape(B,T,H,D//H).transpose(0,2,1,3) for t in jnp.split(ln(h,b["n1"])@b["qkv"]+b["bq"],3,-1))
            a=jax.nn.softmax(q@k.swapaxes(2,3)/math.sqrt(D//H)+mask,-1)@v
            h=h+a.transpose(0,2,1,3).reshape(B,T,D)@b["o"]+b["bo"]
            h=h+jax.nn.gelu(ln(h,b["n2"])@b["f1"]+b["g1"],approximate=False)@b["f2"]+b["g2"]
        return ln(h,p["nf"])@p["h"]
    return p,f,lambda p,x,y:ce(f(p,x),y),(jnp.array(R.randint(0,65,(1,64))),),(jnp.array(R.randint(0,65,(12,64))),jnp.array(R.randint(0,65,(12,64))))
def lstm(V=64,D=64,H=128):
    p=dict(e=r(V,D),wi=r(D,4*H),wh=r(H,4*H),b=r(4*H),f=r(H,V),g=r(V))
    def f(p,x):
        x=p["e"][x]@p["wi"]+p["b"]
        def st(c,xt):
            h,c=c; i,g,ff,o=jnp.split(xt+h@p["wh"],4,-1)
            c=jax.nn.sigmoid(ff)*c+jax.nn.sigmoid(i)*jnp.tanh(g); h=jax.nn.sigmoid(o)*jnp.tanh(c); return (h,c),h
        B=x.shape[0]; _,h=lax.scan(st,(jnp.zeros((B,H)),jnp.zeros((B,H))),x.swapaxes(0,1)); return h.swapaxes(0,1)@p["f"]+p["g"]
    return p,f,lambda p,x,y:ce(f(p,x),y),(jnp.array(R.randint(0,64,(1,32))),),(jnp.array(R.randint(0,64,(16,32))),jnp.array(R.randint(0,64,(16,32))))


ZOO = {f.__name__: f for f in (seed, mlp, lenet, gpt, lstm)}
