# SPDX-License-Identifier: MIT
# Copyright (c) The gradc authors
"""One optimizer step of a compiled model, linked and called as an app does: how much it subtracted from each parameter."""
import ctypes, json, os, re, struct, subprocess
import numpy as np

RATE = 2.0**40  # so large that rounding in the subtraction from the parameter is negligible, even for gradients of 1e-10


class Options(ctypes.Structure):  # gradc_rt_options
    _fields_ = [("model", ctypes.c_uint64), ("size", ctypes.c_uint32), ("threads", ctypes.c_uint32), ("seed", ctypes.c_uint64),
                ("pool", ctypes.c_void_p), ("spin_us", ctypes.c_uint32), ("flags", ctypes.c_uint32)]


def safetensors(path):
    with open(path, "rb") as f:
        size = struct.unpack("<Q", f.read(8))[0]
        head, data = json.loads(f.read(size)), f.read()
    return {name: np.frombuffer(data[t["data_offsets"][0]:t["data_offsets"][1]], {"F32": "<f4", "F64": "<f8"}[t["dtype"]]).reshape(t["shape"])
            for name, t in head.items() if name != "__metadata__" and t["dtype"] in ("F32", "F64")}


def gradients(gradc, model, values, options, threads, where):
    """Compiles with plain SGD, takes one step and gives (parameter before - after) / rate, by name. Raises when something fails."""
    subprocess.run([gradc, "compile", model, "-q", "-Wno-everything", f"--train=sgd:lr={RATE}", "--emit=shared", "--entries=step",
                    "--prefix=net", *options, "-o", os.path.join(where, "net.o")], check=True)
    header = open(os.path.join(where, "net.h")).read()
    net = ctypes.CDLL(os.path.join(where, "libnet.so"))
    size = int(re.search(r"ARENA_BYTES \(\(size_t\)(\d+)\)", header)[1])
    options = Options(int(re.search(r"OPTIONS \{UINT64_C\((0x\w+)\)", header)[1], 16), ctypes.sizeof(Options), threads, 0, None, 50, 0)
    room = ctypes.create_string_buffer(size + 64)
    ctx = ctypes.c_void_p()
    members = re.search(r"typedef struct net_inputs \{(.*?)\} net_inputs;", header, re.S)[1]
    inputs = [np.ascontiguousarray(values[f"in/{name}"]) for name in re.findall(r'/\* "([^"]*)"', members)]
    pointers = (ctypes.c_void_p * len(inputs))(*[x.ctypes.data for x in inputs])
    at = ctypes.c_void_p((ctypes.addressof(room) + 63) // 64 * 64)
    states = []

    def must(status):
        if status:
            raise RuntimeError(f"a call failed with status {status}")

    def save():
        path = os.path.join(where, "net.safetensors")
        must(net.net_save(ctx, path.encode(), 0))
        states.append(safetensors(path))

    must(net.net_init(ctypes.byref(ctx), at, ctypes.c_size_t(size), ctypes.byref(options)))
    save()
    must(net.net_step(ctx, pointers, None, None))
    save()
    net.net_fini(ctx)
    before, after = states
    return {name: (before[name].astype(np.float64) - after[name]) / RATE for name in before}
