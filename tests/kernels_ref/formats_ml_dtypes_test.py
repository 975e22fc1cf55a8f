"""E4M3 and E5M2 codes of `ospsim codec` against the casts of ml_dtypes, which do not saturate."""

import subprocess
import sys

import ml_dtypes
import numpy as np

FORMATS = {"e4m3": ml_dtypes.float8_e4m3fn, "e5m2": ml_dtypes.float8_e5m2}


def codec(program, direction, patterns, digits, *options):
    text = "".join(f"{p:0{digits}x}\n" for p in patterns.tolist())
    command = [program, "codec", direction, *options]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    return np.array([int(line, 16) for line in done.stdout.split()], dtype=np.uint32)


def float_patterns():
    """Random float32 patterns, half of them near one, and every midpoint of codes with neighbours."""
    rng = np.random.default_rng(1)
    anywhere = rng.integers(0, 1 << 32, 200_000, dtype=np.uint32)
    near = rng.integers(0, 1 << 32, 200_000, dtype=np.uint32) & np.uint32(0x807FFFFF)
    near |= rng.integers(127 - 20, 127 + 18, near.size, dtype=np.uint32) << np.uint32(23)
    boundaries = []
    for dtype in FORMATS.values():
        values = np.arange(128, dtype=np.uint8).view(dtype).astype(np.float64)
        values = values[np.isfinite(values)]
        edges = np.concatenate([values, (values[1:] + values[:-1]) / 2, [464, 61440, 65536]])
        bits = edges.astype(np.float32).view(np.uint32).astype(np.int64)
        bits = np.clip(bits[:, None] + np.arange(-2, 3), 0, None).ravel().astype(np.uint32)
        boundaries += [bits, bits | np.uint32(0x80000000)]
    return np.concatenate([anywhere, near, *boundaries])


def main(program):
    sources = {
        "f32": (float_patterns(), 8, np.uint32, np.float32),
        "bf16": (np.arange(1 << 16, dtype=np.uint32), 4, np.uint16, ml_dtypes.bfloat16),
        "f16": (np.arange(1 << 16, dtype=np.uint32), 4, np.uint16, np.float16),
    }
    failures = 0
    for name, dtype in FORMATS.items():
        is_nan = np.isnan(np.arange(256, dtype=np.uint8).view(dtype).astype(np.float32))
        for source, (patterns, digits, integer, real) in sources.items():
            options = ("--format", name, "--rounding", "rne", "--overflow", "ieee", "--from", source)
            ours = codec(program, "encode", patterns, digits, *options)
            with np.errstate(all="ignore"):
                theirs = patterns.astype(integer).view(real).astype(dtype).view(np.uint8)
            # Which of its NaN codes a NaN becomes is not the format's business.
            wrong = (ours != theirs) & ~(is_nan[ours] & is_nan[theirs])
            failures += np.count_nonzero(wrong)
            for i in np.flatnonzero(wrong)[:5]:
                print(f"{name} from {source}: {patterns[i]:0{digits}x} -> {ours[i]:02x}, "
                      f"ml_dtypes {theirs[i]:02x}")
        codes = np.arange(256, dtype=np.uint32)
        ours = codec(program, "decode", codes, 2, "--format", name).view(np.float32)
        theirs = codes.astype(np.uint8).view(dtype).astype(np.float32)
        if not np.array_equal(ours, theirs, equal_nan=True):
            failures += 1
            print(f"{name}: decoded values differ")
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
