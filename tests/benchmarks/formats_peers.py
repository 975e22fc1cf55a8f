"""Times the casts of other libraries beside ours, on one core, in turns.

Usage: formats_peers.py FORMATS_BENCHMARK [REPETITIONS]

FORMATS_BENCHMARK is the built program of that name. Compared is what is installed of ml_dtypes, en_dtypes (HiF8) and
PyTorch: encoding 64 Mi standard normal numbers from float32 and bfloat16, and decoding them. Medians.
"""

import json
import os
import statistics
import subprocess
import sys
import time

import numpy as np

ELEMENTS = 64 << 20
program = sys.argv[1]
repetitions = int(sys.argv[2]) if len(sys.argv) > 2 else 7
os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

x = np.tile(np.random.default_rng(1).standard_normal(1 << 20, dtype=np.float32), ELEMENTS >> 20)
peers = {}  # (ours, theirs) -> function

try:
    import ml_dtypes

    bf16 = x.astype(ml_dtypes.bfloat16)
    for name, dtype in (("e4m3", ml_dtypes.float8_e4m3fn), ("e5m2", ml_dtypes.float8_e5m2)):
        codes = x.astype(dtype)
        peers[f"encoding<float, Format::{name}>", "ml_dtypes"] = lambda d=dtype: x.astype(d)
        peers[f"encoding<Bfloat16, Format::{name}>", "ml_dtypes"] = lambda d=dtype: bf16.astype(d)
        peers[f"decoding<float, Format::{name}>", "ml_dtypes"] = lambda c=codes: c.astype(np.float32)
        peers[f"decoding<Bfloat16, Format::{name}>", "ml_dtypes"] = lambda c=codes: c.astype(ml_dtypes.bfloat16)
except ImportError:
    print("ml_dtypes is not installed")

try:
    import en_dtypes

    hif8 = x.astype(en_dtypes.hifloat8)
    peers["encoding<float, Format::hif8>", "en_dtypes"] = lambda: x.astype(en_dtypes.hifloat8)
    peers["decoding<float, Format::hif8>", "en_dtypes"] = lambda: hif8.astype(np.float32)
except ImportError:
    print("en_dtypes is not installed")

try:
    import torch

    torch.set_num_threads(1)
    tensors = {"float": torch.from_numpy(x), "Bfloat16": torch.from_numpy(x).bfloat16()}
    for name, dtype in (("e4m3", torch.float8_e4m3fn), ("e5m2", torch.float8_e5m2)):
        for ours, tensor in tensors.items():
            out, back = torch.empty(ELEMENTS, dtype=dtype), torch.empty_like(tensor)
            codes = tensor.to(dtype)
            peers[f"encoding<{ours}, Format::{name}>", "PyTorch"] = lambda o=out, t=tensor: o.copy_(t)
            peers[f"decoding<{ours}, Format::{name}>", "PyTorch"] = lambda b=back, c=codes: b.copy_(c)
except ImportError:
    print("PyTorch is not installed")


def seconds(f):
    start = time.perf_counter()
    f()
    return time.perf_counter() - start


def our_seconds(name):
    """Of one run of several iterations, as Google Benchmark chooses."""
    command = [program, f"--benchmark_filter=^{name}/real_time$", "--benchmark_format=json", "--benchmark_min_time=0.2"]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(out)["benchmarks"][0]["real_time"] * 1e-3


ours, theirs = {}, {}
for _ in range(repetitions):
    for key in dict.fromkeys(key for key, _ in peers):
        ours.setdefault(key, []).append(our_seconds(key))
    for key, f in peers.items():
        theirs.setdefault(key, []).append(seconds(f))

print(f"{'':38} {'G elements/s':>12}  {'peer':>10} {'its':>7} {'ratio':>7}")
for (key, peer), times in theirs.items():
    mine, other = ELEMENTS / statistics.median(ours[key]) * 1e-9, ELEMENTS / statistics.median(times) * 1e-9
    print(f"{key:38} {mine:12.2f}  {peer:>10} {other:7.3f} {mine / other:7.1f}")
