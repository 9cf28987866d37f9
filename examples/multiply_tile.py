#!/usr/bin/env python3
"""Multiplies a tile of a factor archive with ones, on what is stored. Needs h5py and numpy, nothing of HACK.

    hack compress MODEL --output A.h5 --method plain --keep 0.8
    python3 multiply_tile.py A.h5 [MATRIX [TILE]]     a name and a number; the first ones where they are left out

docs/archive-format.md says what lies where. Read here are terms of plain numbers: f32, bf16 and f16."""
import sys
import h5py
import numpy as np

BYTES = {"f32": 4, "bf16": 2, "f16": 2}


def array_of(data, codec, rows, cols):
    """Takes an array (rows, cols) off the front of a term's bytes: (array, rest)."""
    numbers, rest = np.split(data, [BYTES[codec] * rows * cols])
    if codec == "bf16":  # the upper half of a binary32
        return (numbers.view("<u2").astype("<u4") << 16).view("<f4").reshape(rows, cols), rest
    return numbers.view("<f4" if codec == "f32" else "<f2").astype("f4").reshape(rows, cols), rest


def size_of(structure, codec, h, w, k):
    """Bytes of a term; a term of rank 0 has none."""
    if structure == "dense":
        return BYTES[codec] * h * w
    if structure == "low_rank":
        return BYTES[codec] * k * (h + w) + 4 * k
    return BYTES[codec] * k * (h + w - k) + (h + 7) // 8 * (0 < k < h)


def multiply(structure, codec, h, w, k, data, x):
    """What a term makes of x (w): y (h), by k (h + w) multiplications in place of h w where its rank is k."""
    if structure == "dense":
        return array_of(data, codec, h, w)[0] @ x
    if structure == "low_rank":
        u, data = array_of(data, codec, h, k)
        vt, sigma = array_of(data, codec, k, w)
        return u @ (sigma.view("<f4") * (vt @ x))
    c, data = array_of(data, codec, h - k, k)
    p, marks = array_of(data, codec, k, w)
    is_kept = np.unpackbits(marks, bitorder="little")[:h] == 1 if 0 < k < h else np.full(h, k > 0)
    y = np.empty(h, "f4")
    y[is_kept] = p @ x  # the skeleton rows, of which all others are combinations
    y[~is_kept] = c @ y[is_kept]
    return y


file = h5py.File(sys.argv[1], "r")
structures, codecs = (file.attrs[name].decode().split() for name in ("structures", "codecs"))
matrix = file["matrices"][sys.argv[2] if len(sys.argv) > 2 else sorted(file["matrices"])[0]]
terms = [(structures[s], codecs[c], int(h), int(w), int(k)) for s, c, k, (row, col, h, w)
         in zip(matrix["structure"], matrix["codec"], matrix["rank"], matrix["extent"][()])]  # one a tile, as a rule
number = int(sys.argv[3]) if len(sys.argv) > 3 else 0
if any(codec not in BYTES for _, codec, *_ in terms[: number + 1]):
    sys.exit("this example reads plain numbers (f32, bf16, f16), and the archive has others")
begin = sum(size_of(*term) for term in terms[:number])
data = matrix["bytes"][begin : begin + size_of(*terms[number])]
y = multiply(*terms[number], data, np.ones(terms[number][3], "f4"))
print(f"{terms[number][0]} tile of rank {terms[number][4]}: {len(y)} numbers, norm {np.linalg.norm(y):.6f}")
