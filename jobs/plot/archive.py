"""Reads factor archives with h5py and numpy, by docs/archive-format.md."""

import json
from pathlib import Path

try:
    import h5py
    import numpy as np
except ImportError as error:
    raise SystemExit(f"plot: this Python has no {error.name}; bash jobs/setup.sh --plots installs Debian's")

IQ4_NL = np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], np.float32)
Q3_64 = np.array([-64, -39, -22, -7, 7, 22, 39, 64], np.float32)
Q2_64 = np.array([-63, -21, 21, 63], np.float32)

# codec: numbers of a block, bytes of a block's codes, of its scales; a block of 1 is a number by itself.
BLOCKS = {"f32": (1, 4, 0), "bf16": (1, 2, 0), "f16": (1, 2, 0), "q8_0": (32, 32, 2), "q5_1": (32, 20, 4),
          "q5_0": (32, 20, 2), "q4_1": (32, 16, 4), "q4_0": (32, 16, 2), "iq4_nl": (32, 16, 2), "q3_64": (64, 24, 2),
          "q2_64": (64, 16, 2)}


def row_bytes(codec, n):
    """Bytes of a row of n numbers."""
    if codec == "int8":
        return n + 2
    block, codes, scales = BLOCKS[codec]
    return -(-n // block) * (codes + scales)


def widened(codes, bits, block):
    """Codes (rows, blocks, bytes) of blocks as integers (rows, blocks, numbers)."""
    if bits == 8:
        return codes.view(np.int8).astype(np.float32)
    planes = 8 // (4 if bits >= 4 else 2)  # codes that share a byte
    width = 8 // planes
    low = np.concatenate([codes[..., :16] >> (width * plane) & (2**width - 1) for plane in range(planes)], axis=-1)
    if bits in (3, 5):
        high = np.unpackbits(codes[..., 16:], axis=-1, bitorder="little")
        low = low | high << width
    return low[..., :block]


def decoded(data, codec, rows, cols):
    """Takes an array off the front of the bytes: (array in f32, rest)."""
    if codec in ("f32", "f16", "bf16"):
        size = BLOCKS[codec][1] * rows * cols
        part = data[:size].copy()
        if codec == "bf16":
            values = (part.view("<u2").astype(np.uint32) << 16).view(np.float32)
        else:
            values = part.view("<f4" if codec == "f32" else "<f2").astype(np.float32)
        return values.reshape(rows, cols), data[size:]
    if codec == "int8":
        codes = data[: rows * cols].view(np.int8).reshape(rows, cols)
        scales = (data[rows * cols : rows * (cols + 2)].copy().view("<u2").astype(np.uint32) << 16).view(np.float32)
        return codes * scales[:, None], data[rows * (cols + 2) :]
    block, code_bytes, scale_bytes = BLOCKS[codec]
    blocks = -(-cols // block)
    size = rows * blocks * code_bytes
    codes = data[:size].reshape(rows, blocks, code_bytes)
    scales = data[size : size + rows * blocks * scale_bytes].copy().view("<u2").reshape(rows, blocks, -1)
    values = {
        "q8_0": lambda: widened(codes, 8, block),
        "q5_1": lambda: widened(codes, 5, block).astype(np.float32),
        "q5_0": lambda: widened(codes, 5, block).astype(np.float32) - 16,
        "q4_1": lambda: widened(codes, 4, block).astype(np.float32),
        "q4_0": lambda: widened(codes, 4, block).astype(np.float32) - 8,
        "iq4_nl": lambda: IQ4_NL[widened(codes, 4, block)],
        "q3_64": lambda: Q3_64[widened(codes, 3, block)],
        "q2_64": lambda: Q2_64[widened(codes, 2, block)],
    }[codec]()
    if block == 64:  # the sign and the last five bits are the shift of the levels
        words = scales[..., :1]
        shift = (words & 31).astype(np.float32) - np.where(words & 0x8000, 32, 0)
        values = (values + shift) / 64
        scales = words & 0x7FE0
    values = values * scales[..., :1].copy().view("<f2").astype(np.float32)
    if scale_bytes == 4:
        values = values + scales[..., 1:2].copy().view("<f2").astype(np.float32)
    return values.reshape(rows, -1)[:, :cols], data[size + rows * blocks * scale_bytes :]


class Term:
    """One term of a matrix: where it lies, what it is, how many bytes it takes."""

    def __init__(self, extent, structure, codec, rank):
        self.row, self.col, self.rows, self.cols = map(int, extent)
        self.structure, self.codec, self.rank = structure, codec, int(rank)

    @property
    def bytes(self):
        h, w, k = self.rows, self.cols, self.rank
        if self.structure == "dense":
            return h * row_bytes(self.codec, w)
        if k == 0:
            return 0
        if self.structure == "low_rank":
            return h * row_bytes(self.codec, k) + k * row_bytes(self.codec, w) + 4 * k
        return (h - k) * row_bytes(self.codec, k) + k * row_bytes(self.codec, w) + ((h + 7) // 8 if k < h else 0)

    def values(self, data):
        """What it stands for, (rows, cols)."""
        h, w, k = self.rows, self.cols, self.rank
        if self.structure == "dense":
            return decoded(data, self.codec, h, w)[0]
        if k == 0:
            return np.zeros((h, w), np.float32)
        if self.structure == "low_rank":
            left, data = decoded(data, self.codec, h, k)
            right, data = decoded(data, self.codec, k, w)
            return left * data.copy().view("<f4") @ right
        coefficients, data = decoded(data, self.codec, h - k, k)
        skeleton, data = decoded(data, self.codec, k, w)
        marked = np.unpackbits(data, bitorder="little")[:h].astype(bool) if k < h else np.ones(h, bool)
        out = np.empty((h, w), np.float32)
        out[marked], out[~marked] = skeleton, coefficients @ skeleton
        return out


class Matrix:
    """A matrix of an archive: its terms, and its tiles' figures as arrays over the grid of tiles."""

    def __init__(self, group, structures, codecs):
        self.group = group
        self.rows, self.cols = int(group.attrs["rows"]), int(group.attrs["cols"])
        self.tile = int(group.attrs["tile_rows"]), int(group.attrs["tile_cols"])
        self.energy, self.discarded = group["energy"][()], group["discarded"][()]
        self.terms = [Term(e, structures[s], codecs[c], k) for e, s, c, k in
                      zip(group["extent"][()], group["structure"][()], group["codec"][()], group["rank"][()])]

    def over_tiles(self, value):
        """Sums value(term) over the terms of each tile; terms of the whole matrix are left out."""
        grid = np.zeros(self.energy.shape)
        for term in self.terms:
            if (term.rows, term.cols) != (self.rows, self.cols) or grid.size == 1:
                grid[term.row // self.tile[0], term.col // self.tile[1]] += value(term)
        return grid

    def numbers(self):
        """Numbers of each tile; those at the edges are clipped."""
        heights = np.minimum(self.tile[0], self.rows - self.tile[0] * np.arange(self.energy.shape[0]))
        widths = np.minimum(self.tile[1], self.cols - self.tile[1] * np.arange(self.energy.shape[1]))
        return heights[:, None] * widths[None, :]

    def dense(self):
        """The matrix, multiplied out."""
        data, out, at = self.group["bytes"][()], np.zeros((self.rows, self.cols), np.float32), 0
        for term in self.terms:
            out[term.row : term.row + term.rows, term.col : term.col + term.cols] += term.values(
                data[at : at + term.bytes])
            at += term.bytes
        return out


class Archive:
    """A factor archive; names of matrices in the order of their layers."""

    def __init__(self, path):
        try:
            self.file = h5py.File(path, "r")
            self.structures = self._words("structures")
            self.codecs = self._words("codecs")
        except (OSError, KeyError) as error:
            raise SystemExit(f"plot: {path} is no factor archive ({error}); name a file that hack compress wrote")
        self.names = sorted(self.file["matrices"], key=place_of)

    def _words(self, name):
        words = self.file.attrs[name]
        return (words.decode() if isinstance(words, bytes) else str(words)).rstrip("\0").split()

    def matrix(self, name):
        if name not in self.file["matrices"]:
            raise SystemExit(f"plot: the archive has no matrix {name}; it has {self.names[0]} and "
                             f"{len(self.names) - 1} more")
        return Matrix(self.file["matrices"][name], self.structures, self.codecs)


def place_of(name):
    """(layer, kind) of a tensor: model.layers.12.mlp.gate_proj.weight -> (12, "gate")."""
    parts = name.split(".")
    layer = next((int(part) for part in parts if part.isdigit()), -1)
    return layer, parts[-2].removesuffix("_proj") if len(parts) > 1 else name


def read_tensor(model, name):
    """A matrix of a Hugging Face directory, in f32."""
    for path in sorted(Path(model).glob("*.safetensors")):
        with open(path, "rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(size))
            if name not in header:
                continue
            begin, end = header[name]["data_offsets"]
            file.seek(8 + size + begin)
            data, kind = file.read(end - begin), header[name]["dtype"]
        if kind == "BF16":
            values = (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
        else:
            values = np.frombuffer(data, {"F32": "<f4", "F16": "<f2"}[kind]).astype(np.float32)
        return values.reshape(header[name]["shape"])
    raise SystemExit(f"plot: {model} holds no safetensors file with {name}; of a GGUF file, make a directory first: "
                     "hack export MODEL.gguf --format hf --output DIRECTORY")
