# SPDX-License-Identifier: MIT
# Copyright (c) The gradc authors
"""Time the zoo in the systems a user would pick instead, on this machine, now.

    python time_peers.py [--peers torch,inductor,ort,openvino,jax] [--models mlp,gpt] [--threads 2] [--seconds 2] [--json FILE]

One line a measurement: peer, model, infer or train, minimum and median in µs. A training step is forward, backward and
an SGD update (gpt2, made only when named: AdamW). Figures are comparable only within one run on one machine; run the compiler's own
`bench` between peers.
Needs torch==2.13.0, onnxruntime, openvino, jax, numpy; ort and openvino read the files that export.py wrote (--zoo DIR).
"""
import argparse, json, os, sys, time
import numpy as np

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))


CONVOLUTIONAL = ("lenet", "resnet18", "mobilenet")  # timed channels-last in torch, its faster layout for them


def measure(f, seconds):
    """(minimum, median) seconds of f() over at least five calls, after two uncounted ones."""
    f(), f()
    times, start = [], time.perf_counter()
    while len(times) < 5 or (time.perf_counter() - start < seconds and len(times) < 20000):
        t = time.perf_counter()
        f()
        times.append(time.perf_counter() - t)
    times.sort()
    return times[0], times[len(times) // 2]


def torch_cases(names, threads, compiled):
    import torch
    from zoo import ZOO
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    for name in names:
        make, infer_inputs, train_inputs = ZOO[name]
        torch.manual_seed(0)
        torch._dynamo.reset()
        model, channels_last = make().eval(), name in CONVOLUTIONAL
        if channels_last:
            model = model.to(memory_format=torch.channels_last)
        layout = lambda ts: [t.to(memory_format=torch.channels_last) if channels_last and t.dim() == 4 else t for t in ts]
        predict = torch.compile(model.predict) if compiled else model.predict
        x = layout(infer_inputs())

        def infer():
            with torch.inference_mode():
                predict(*x)
        yield name, "infer", infer
        model.train()
        xy = layout(train_inputs())
        loss = torch.compile(model) if compiled else model
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True) if name == "gpt2" else torch.optim.SGD(model.parameters(), lr=1e-3)

        def train():
            optimizer.zero_grad()
            loss(*xy).backward()
            optimizer.step()
        yield name, "train", train


def ort_cases(names, threads, zoo):
    import onnxruntime as ort
    for name in names:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        session = ort.InferenceSession(f"{zoo}/{name}.infer.onnx", options, providers=["CPUExecutionProvider"])
        data = np.load(f"{zoo}/{name}.infer.npz")
        feeds = {"x": data["in/x"]}
        yield name, "infer", lambda: session.run(None, feeds)


def openvino_cases(names, threads, zoo):
    import openvino as ov
    core = ov.Core()
    options = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    for name in names:
        request = core.compile_model(f"{zoo}/{name}.infer.onnx", "CPU", options).create_infer_request()
        request.set_tensor("x", ov.Tensor(np.load(f"{zoo}/{name}.infer.npz")["in/x"]))
        yield name, "infer", request.infer


def jax_cases(names, threads):
    os.environ["JAX_PLATFORMS"] = "cpu"
    if threads == 1:
        os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    import jax
    import zoo_jax
    for name in names:
        if name not in zoo_jax.ZOO:
            continue
        params, predict, loss, x, xy = zoo_jax.ZOO[name]()
        forward = jax.jit(predict)
        yield name, "infer", lambda: jax.block_until_ready(forward(params, *x))

        def sgd(params, *xy):
            value, grads = jax.value_and_grad(loss)(params, *xy)
            return jax.tree.map(lambda p, g: p - 1e-3 * g, params, grads), value
        step = jax.jit(sgd, donate_argnums=0)
        box = [params]

        def train():
            box[0] = jax.block_until_ready(step(box[0], *xy))[0]
        yield name, "train", train


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--peers", default="torch,ort,jax")
    ap.add_argument("--models", default="seed,mlp,lenet,resnet18,mobilenet,gpt,lstm")
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--seconds", type=float, default=2)
    ap.add_argument("--zoo", default="zoo")
    ap.add_argument("--json")
    a = ap.parse_args()
    names, rows = a.models.split(","), []
    for peer in a.peers.split(","):
        cases = {"torch": lambda: torch_cases(names, a.threads, False), "inductor": lambda: torch_cases(names, a.threads, True),
                 "ort": lambda: ort_cases(names, a.threads, a.zoo), "openvino": lambda: openvino_cases(names, a.threads, a.zoo),
                 "jax": lambda: jax_cases(names, a.threads)}[peer]
        for name, kind, f in cases():
            first = time.perf_counter()
            f()
            first = time.perf_counter() - first
            low, median = measure(f, a.seconds)
            rows.append(dict(peer=peer, model=name, kind=kind, threads=a.threads, min_us=low * 1e6, median_us=median * 1e6, first_s=first))
            print(f"{peer:9s} {name:10s} {kind:5s} min {low*1e6:12.1f}  median {median*1e6:12.1f}  first {first:7.2f} s", flush=True)
    if a.json:
        json.dump(rows, open(a.json, "w"), indent=1)


if __name__ == "__main__":
    main()
