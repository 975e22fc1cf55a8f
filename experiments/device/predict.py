"""Predicts the seconds of one video on one device from assumed rates: 100 forward passes of 40 blocks.

Prints, for 720P and 768P, Wan2.1 and OSP-Next arranged step by step; then the attention rate that would explain
the paper's time for the dense model, and what the sparse one would take at that rate.  python3 predict.py
"""

DIM, FFN_DIM, TEXT, BLOCKS, FULL_BLOCKS, FORWARDS = 5120, 13824, 512, 40, 8, 100
PRODUCTS, ATTENTION, CROSS_ATTENTION, MOVES = 700e12, 600e12, 480e12, 3.65e12  # FLOP/s and bytes/s, assumed
PASSES_OF_A_BLOCK, PASSES_OF_REARRANGING_ALONE = 18, 3  # over the hidden state, read or written


def block(rows, pairs, texts=1, alone=False, attention=ATTENTION):
    products = (8 + 4) * rows * DIM**2 + 4 * rows * DIM * FFN_DIM + 4 * TEXT * texts * DIM**2
    passes = PASSES_OF_A_BLOCK + (PASSES_OF_REARRANGING_ALONE if alone else 0)
    return (4 * pairs * DIM / attention + products / PRODUCTS + 4 * rows * TEXT * DIM / CROSS_ATTENTION
            + passes * 2 * rows * DIM / MOVES)


def video(tokens, sparse, attention=ATTENTION):
    full = block(tokens, tokens**2, attention=attention)
    return FORWARDS * (FULL_BLOCKS * full + (BLOCKS - FULL_BLOCKS) * sparse)


for name, tokens, padded, lengths, paper in (("720P", 75600, 80640, [19320, 19320, 18480, 18480], (946, 620)),
                                             ("768P", 80640, 80640, [20160] * 4, (1061, 645))):
    pairs = sum(length**2 for length in lengths)
    dense = FORWARDS * BLOCKS * block(tokens, tokens**2)
    print(f"{name}: Wan2.1 {dense:.0f} s")
    for step, rows, texts, alone in (("as the paper arranges it", padded, 4, True), ("padding left out", tokens, 4, True),
                                     ("and the text once", tokens, 1, True), ("and moves fused", tokens, 1, False)):
        seconds = video(tokens, block(rows, pairs, texts, alone))
        print(f"  OSP-Next {step}: {seconds:.0f} s, {dense / seconds:.2f}x")
    in_attention = FORWARDS * BLOCKS * 4 * tokens**2 * DIM / ATTENTION
    rate = ATTENTION * in_attention / (paper[0] - (dense - in_attention))
    sparse = video(tokens, block(padded, pairs, 4, True, rate), rate)
    print(f"  the paper's {paper[0]} s: attention at {rate / 1e12:.0f} TFLOP/s; OSP-Next would then take {sparse:.0f} s, "
          f"the paper's {paper[1]} s are {100 * (1 - sparse / paper[1]):.0f} % more than that accounts for")
