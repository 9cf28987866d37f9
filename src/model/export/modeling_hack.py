"""A Llama-shaped model whose compressed matrices stay sums of tiles' terms: it multiplies with them as they are stored
and never rebuilds a matrix.

    model = transformers.AutoModelForCausalLM.from_pretrained(DIRECTORY, trust_remote_code=True)

In place of NAME.weight a compressed matrix has flat tensors, in which terms of equal shape follow each other as a batch
of G terms, each batch with all its first arrays, then all its second ones:

    terms    (T, 8)  first row, first column, height h, width w, structure, rank k, block, scales
    numbers  plain numbers, (G, rows, columns)
    levels   codes of 8 bits: a number is d * level, or d * level + m
    scales   (G, rows, blocks, scales): d, and m where `scales` is 2; a block has `block` numbers, or with 0 the whole row
    sigma    singular values, (G, k)
    marks    bits of the rows that belong to a skeleton, (G, (h + 7) // 8)

    structure          arrays                                            the tile
    0  low rank        U (h, k), V^T (k, w), sigma (k)                   U diag(sigma) V^T
    1  dense           values (h, w)                                     the values
    2  interpolative   coefficients C (h - k, k), skeleton P (k, w),     marked rows are those of P, the others those
                       marks                                             of C P, each from top to bottom
"""

import math

import torch
import transformers
from torch import nn

LOW_RANK, DENSE, INTERPOLATIVE = range(3)
FLOATS = {"numbers": None, "scales": torch.float32, "sigma": torch.float32}
INTEGERS = {"terms": torch.int32, "levels": torch.int8, "marks": torch.uint8}
MOST_AT_ONCE = 1 << 24  # numbers of a batch's inputs, outputs and widened values


class Batch:
    """Terms of equal shape, and where their arrays lie."""

    def __init__(self, first, count, shape, used):
        self.first, self.count = first, count
        self.height, self.width, self.structure, self.rank, self.block, self.scale_count = shape
        h, w, k = self.height, self.width, self.rank
        shapes = {LOW_RANK: [(h, k), (k, w)], DENSE: [(h, w)], INTERPOLATIVE: [(h - k, k), (k, w)]}
        self.arrays = [(rows, cols, *self.place(rows, cols, used)) for rows, cols in shapes[self.structure]]
        self.sigma = used["sigma"]
        if self.structure == LOW_RANK:
            used["sigma"] += count * k
        self.marks = used["marks"]
        if self.structure == INTERPOLATIVE and k < h:
            used["marks"] += count * ((h + 7) // 8)

    def place(self, rows, cols, used):
        """Takes an array of each term: (blocks of a row, first number, first scale)."""
        kind = "levels" if self.scale_count else "numbers"
        blocks = math.ceil(cols / self.block) if self.block else 1
        found = (blocks, used[kind], used["scales"])
        used[kind] += self.count * rows * cols
        used["scales"] += self.count * rows * blocks * self.scale_count
        return found


class HackLinear(nn.Module):
    """y = W x + b where W (rows, cols) is a sum of terms."""

    def __init__(self, rows, cols, sizes, bias):
        super().__init__()
        self.rows, self.cols, self._batches = rows, cols, None
        for name, dtype in FLOATS.items():
            empty = torch.empty(sizes[name], dtype=dtype) if name in sizes else None
            self.register_parameter(name, None if empty is None else nn.Parameter(empty))
        for name, dtype in INTEGERS.items():
            shape = (sizes[name], 8) if name == "terms" else (sizes.get(name, 0),)
            self.register_buffer(name, torch.empty(shape, dtype=dtype) if name in sizes else None)
        self.register_parameter("bias", nn.Parameter(torch.empty(rows)) if bias else None)

    def batches(self):
        """The terms' table, read once."""
        if self._batches is None:
            self._batches, first, table = [], 0, self.terms.tolist()
            used = dict.fromkeys(("numbers", "levels", "scales", "sigma", "marks"), 0)
            for last in range(1, len(table) + 1):
                if last == len(table) or table[last][2:] != table[first][2:]:
                    self._batches.append(Batch(first, last - first, table[first][2:], used))
                    first = last
        return self._batches

    def array(self, batch, which, part):
        """An array of some terms of a batch: (terms, rows, columns)."""
        rows, cols, blocks, start, first_scale = batch.arrays[which]
        size, count = rows * cols, part.stop - part.start
        flat = self.levels if batch.scale_count else self.numbers
        values = flat[start + part.start * size : start + part.stop * size].view(count, rows, cols)
        if not batch.scale_count:
            return values
        size = rows * blocks * batch.scale_count
        scales = self.scales[first_scale + part.start * size : first_scale + part.stop * size]
        scales = scales.view(count, rows, blocks, batch.scale_count)
        wide = scales.repeat_interleave(batch.block or cols, dim=2)[:, :, :cols]
        values = values.to(scales.dtype) * wide[..., 0]
        return values + wide[..., 1] if batch.scale_count == 2 else values

    def order(self, batch, part):
        """Where each row of a tile is among its skeleton rows, followed by the others: (terms, h)."""
        h, count = batch.height, part.stop - part.start
        size = (h + 7) // 8
        bits = self.marks[batch.marks + part.start * size : batch.marks + part.stop * size].view(count, size, 1)
        bits = (bits >> torch.arange(8, dtype=torch.uint8, device=bits.device)) & 1
        is_kept = bits.view(count, 8 * size)[:, :h].long()
        return torch.where(is_kept == 1, is_kept.cumsum(1) - 1, batch.rank + (1 - is_kept).cumsum(1) - 1)

    def add_part(self, batch, part, x, y):
        """Adds what some terms of a batch make of x (tokens, cols) to y (tokens, rows)."""
        table = self.terms[batch.first + part.start : batch.first + part.stop].long()
        columns = table[:, 1:2] + torch.arange(batch.width, device=x.device)
        tiles = x[:, columns].transpose(0, 1)  # (terms, tokens, w)

        def times(which, inputs):
            return torch.bmm(inputs, self.array(batch, which, part).to(x.dtype).transpose(1, 2))

        if batch.structure == DENSE:
            out = times(0, tiles)
        elif batch.structure == LOW_RANK:
            sigma = self.sigma[batch.sigma + part.start * batch.rank : batch.sigma + part.stop * batch.rank]
            out = times(0, (times(1, tiles) * sigma.view(-1, 1, batch.rank)).to(x.dtype))
        else:
            out = times(1, tiles)
            if batch.rank < batch.height:
                out = torch.cat((out, times(0, out)), dim=2)
                out = out.gather(2, self.order(batch, part).unsqueeze(1).expand_as(out))
        first_rows, which = torch.unique(table[:, 0], return_inverse=True)
        sums = torch.zeros(len(first_rows), *out.shape[1:], dtype=y.dtype, device=y.device)
        sums.index_add_(0, which, out.to(y.dtype))
        y[:, first_rows[:, None] + torch.arange(batch.height, device=x.device)] += sums.transpose(0, 1)

    def forward(self, x):
        flat = x.reshape(-1, self.cols)
        y = torch.zeros(flat.shape[0], self.rows, device=x.device, dtype=torch.promote_types(x.dtype, torch.float32))
        for batch in self.batches():
            of_one = flat.shape[0] * (batch.width + batch.height) + batch.height * batch.width
            step = max(1, MOST_AT_ONCE // of_one)
            for start in range(0, batch.count, step):
                self.add_part(batch, slice(start, min(batch.count, start + step)), flat, y)
        if self.bias is not None:
            y = y + self.bias
        return y.to(x.dtype).view(*x.shape[:-1], self.rows)


class Terms:
    """Puts the compressed matrices of a model in place, as config.hack_matrices lists them."""

    _keep_in_fp32_modules_strict = ["scales", "sigma"]

    def __init__(self, config):
        super().__init__(config)
        for name, sizes in config.hack_matrices.items():
            parent, _, child = name.rpartition(".")
            old = self.get_submodule(name)
            new = HackLinear(old.out_features, old.in_features, sizes, old.bias is not None)
            setattr(self.get_submodule(parent) if parent else self, child, new)


for _name in ("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM"):
    if hasattr(transformers, _name):
        globals()["Hack" + _name] = type("Hack" + _name, (Terms, getattr(transformers, _name)), {"__module__": __name__})
