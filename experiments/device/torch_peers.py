"""What PyTorch takes for the same work on the same device: peers for ospsim-device's rows.

Writes the same JSON lines, one object a line, to stdout.  python3 torch_peers.py [--quick]
"""

import datetime
import json
import math
import statistics
import sys

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

QUICK = "--quick" in sys.argv[1:]
HEADS, HEAD_DIM = (8, 128) if QUICK else (40, 128)
UNPADDED, PADDED = (128, 80) if QUICK else (80640, 75600)
REPETITIONS = 2 if QUICK else 20
PART = "peers"
ceilings = {}
failed = False


def write(kind, **fields):
    print(json.dumps({"part": PART, "kind": kind, **fields}), flush=True)


def measure_ms(start):
    start()
    events = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(REPETITIONS)]
    for before, after in events:
        before.record()
        start()
        after.record()
    torch.cuda.synchronize()
    return [before.elapsed_time(after) for before, after in events]


def row(name, sizes, by, flops, bytes_, formula, times_ms, method, error, tolerance):
    global failed
    time_ms = statistics.median(times_ms)
    error = error if math.isfinite(error) else sys.float_info.max  # JSON has no NaN
    passed = error <= tolerance
    failed = failed or not passed
    write("row", name=name, **sizes, by=by, repetitions=len(times_ms), time_ms=time_ms, time_ms_min=min(times_ms),
          time_ms_max=max(times_ms), formula=formula, flops=flops, bytes=bytes_, tflops_per_s=flops / time_ms * 1e-9,
          gb_per_s=bytes_ / time_ms * 1e-6,
          fraction_of_product=flops / time_ms * 1e-9 / ceilings["bf16_tflops_per_s"],
          fraction_of_copy=bytes_ / time_ms * 1e-6 / ceilings["copy_gb_per_s"], times_ms=times_ms,
          check="passed" if passed else "failed", check_method=method, error=error, tolerance=tolerance)


def normal(*shape):
    return torch.randn(*shape, device="cuda", dtype=torch.bfloat16)


def measure_ceilings():
    n = 256 if QUICK else 8192
    elements = 1 << 20 if QUICK else 1 << 30
    a, b = normal(n, n), normal(n, n)
    source = normal(elements)
    target = torch.empty_like(source)
    ceilings["copy_gb_per_s"] = 4 * elements / min(measure_ms(lambda: target.copy_(source))) * 1e-6
    ceilings["bf16_tflops_per_s"] = 2 * n**3 / min(measure_ms(lambda: a @ b.T)) * 1e-9
    write("ceilings", **ceilings, e4m3_tflops_per_s=0)


def attention(name, batches, heads, queries, keys):
    """q, k, v as ospsim-device has them: [batch, row, head, channel]."""
    q, k, v = (normal(batches, rows, heads, HEAD_DIM).transpose(1, 2) for rows in (queries, keys, keys))
    flops = 4 * batches * queries * keys * heads * HEAD_DIM
    bytes_ = 2 * batches * heads * HEAD_DIM * (2 * queries + 2 * keys)
    some = torch.randperm(queries, device="cuda")[:16]
    scores = (q[-1, -1, some].double() @ k[-1, -1].double().T / math.sqrt(HEAD_DIM)).softmax(-1)
    exact = scores @ v[-1, -1].double()
    rounded = (scores.bfloat16().double() @ v[-1, -1].double()).bfloat16().double()
    tolerance = (2 * (rounded - exact).norm() / exact.norm()).item()
    for backend in (SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION):
        by = f"PyTorch {torch.__version__}, scaled_dot_product_attention, {backend.name}"
        try:
            with sdpa_kernel(backend):
                o = torch.nn.functional.scaled_dot_product_attention(q, k, v)
                times_ms = measure_ms(lambda: torch.nn.functional.scaled_dot_product_attention(q, k, v))
        except RuntimeError as error:
            print(f"{name}, {backend.name}: {error}", file=sys.stderr)
            continue
        error = ((o[-1, -1, some].double() - exact).norm() / exact.norm()).item()
        row(name, {"batches": batches, "heads": heads, "queries": queries, "keys": keys}, by, flops, bytes_,
            "4 pairs heads head_dim", times_ms,
            "relative L2 of sampled queries against double precision, at most twice that of double precision with "
            "weights and result rounded to bf16", error, tolerance)


def moves_and_norms():
    dim = HEADS * HEAD_DIM
    x, residual = normal(UNPADDED, dim), normal(UNPADDED, dim)
    sizes = {"rows": UNPADDED, "dim": dim}
    order = torch.randperm(UNPADDED, device="cuda")
    got = torch.empty_like(x)
    times_ms = measure_ms(lambda: torch.index_select(x, 0, order, out=got))
    row("rows gathered", sizes, f"PyTorch {torch.__version__}, index_select", 0, 4 * UNPADDED * dim + 8 * UNPADDED,
        "rows (4 dim + 8)", times_ms, "rows that differ", float((got[7] != x[order[7]]).sum()), 0)
    scale, shift, gate = (torch.randn(dim, device="cuda") for _ in range(3))

    def eager(a, r):
        s = a + (gate * r).bfloat16()
        n = torch.nn.functional.layer_norm(s.float(), (dim,), eps=1e-6)
        return s, (n * (1 + scale) + shift).bfloat16()

    for by, function in (("eager", eager), ("torch.compile", torch.compile(eager))):
        try:
            times_ms = measure_ms(lambda: function(x, residual))
            s, y = function(x, residual)
        except Exception as error:  # the compiler needs a C compiler, which a machine may lack
            print(f"residual, norm, modulate, {by}: {error}", file=sys.stderr)
            continue
        exact = torch.nn.functional.layer_norm(s[:8].double(), (dim,), eps=1e-6) * (1 + scale.double()) + shift.double()
        error = ((y[:8].double() - exact).norm() / exact.norm()).item()
        row("residual, norm, modulate", sizes, f"PyTorch {torch.__version__}, {by}", 0, 8 * UNPADDED * dim,
            "2 rows dim tensors read and written", times_ms, "relative L2 of 8 rows against double precision", error,
            2**-8)


def main():
    write("run", quick=QUICK, device=torch.cuda.get_device_name(), driver="see the other parts", cuda_driver="",
          cuda_runtime=torch.version.cuda, git_commit="", git_dirty=False,
          compiler=f"PyTorch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}",
          date=datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"))
    torch.manual_seed(1)
    measure_ceilings()
    for tokens in (PADDED, UNPADDED):
        attention("full attention", 1, HEADS, tokens, tokens)
    attention("sub-sequences, one of 1", 4, HEADS, UNPADDED // 4, UNPADDED // 4)
    attention("cross-attention, one text", 1, HEADS, UNPADDED, 512)
    moves_and_norms()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
