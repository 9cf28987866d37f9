#!/usr/bin/env python3
"""Times a step of `hack heal` and the same step in torch, in turn, on one machine.

Usage: heal_twin.py --program build/bin/hack --model MODEL --torch-model DIR --archive A.h5 --text TEXT
                    [--tokens 1024] [--rounds 3] [--threads 2] [--types f32,bf16] [--json FILE]

DIR is a Hugging Face directory of MODEL's shapes, the archive one of tiles with one term each. A step is the forward pass of the dense
model, the forward pass of the compressed one, KL(dense ‖ compressed), its gradient in all factors, clipping and Adam.
torch multiplies the tiles' factors of the archive's shapes to whole matrices, with random numbers in them, and keeps
activations for the way back; bf16 is torch.autocast around both models with the dense model's weights in bf16.
Processor time counts all threads: it says less of other programs on the machine than the clock. A step of hack is the
difference of runs of three steps and of one. Needs torch, transformers, h5py and numpy; no part of run.sh.
"""

import argparse
import contextlib
import json
import os
import pathlib
import resource
import statistics
import subprocess
import tempfile
import time

import h5py

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # threads that wait for a busy core shall not be counted
import torch
from transformers import AutoModelForCausalLM


class TiledLinear(torch.nn.Module):
    """W of tiles (P; C P), all of one rank in one batched product; tiles at the edges are as large as the others."""

    def __init__(self, shape, ranks, tile):
        super().__init__()
        self.shape, self.tile = shape, tile
        self.grid = ranks.shape
        ranks = torch.from_numpy(ranks.astype("int64")).flatten()
        self.order, self.left, self.right = [], torch.nn.ParameterList(), torch.nn.ParameterList()
        for rank in sorted(set(ranks.tolist())):
            places = (ranks == rank).nonzero().flatten()
            self.order.append(places)
            self.left.append(torch.nn.Parameter(0.01 * torch.randn(len(places), tile - rank, rank)))
            self.right.append(torch.nn.Parameter(0.01 * torch.randn(len(places), rank, tile)))
        self.back = torch.argsort(torch.cat(self.order))

    def forward(self, x):
        tiles = torch.cat([torch.cat((right, left @ right), 1) for left, right in zip(self.left, self.right)])[self.back]
        rows, cols = self.grid
        whole = tiles.reshape(rows, cols, self.tile, self.tile).permute(0, 2, 1, 3)
        whole = whole.reshape(rows * self.tile, cols * self.tile)[:self.shape[0], :self.shape[1]]
        return torch.nn.functional.linear(x, whole)


class TorchStep:
    def __init__(self, options, narrow):
        load = lambda dtype: AutoModelForCausalLM.from_pretrained(options.torch_model, dtype=dtype)
        self.teacher = load(torch.bfloat16 if narrow else torch.float32).eval().requires_grad_(False)
        self.student = load(torch.float32).requires_grad_(False)
        self.narrow = narrow
        with h5py.File(options.archive) as archive:
            for name, group in archive["matrices"].items():
                parent = self.student.get_submodule(name.removesuffix(".weight").rpartition(".")[0])
                last = name.removesuffix(".weight").rpartition(".")[2]
                shape = getattr(parent, last).weight.shape
                ranks = group["rank"][()]
                setattr(parent, last, TiledLinear(shape, ranks.reshape(-(-shape[0] // options.tile), -1), options.tile))
        self.parameters = [p for p in self.student.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.parameters, lr=6e-5, betas=(0.9, 0.98), weight_decay=0)
        self.ids = torch.randint(0, self.student.config.vocab_size, (1, options.tokens))

    def run(self):
        casts = torch.autocast("cpu", torch.bfloat16) if self.narrow else contextlib.nullcontext()
        with casts:
            with torch.no_grad():
                p = torch.log_softmax(self.teacher(self.ids).logits[0].float(), -1)
            q = torch.log_softmax(self.student(self.ids).logits[0].float(), -1)
            loss = (p.exp() * (p - q)).sum(-1).mean()
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()


def time_torch(step):
    wall, used = time.perf_counter(), time.process_time()
    step.run()
    return time.perf_counter() - wall, time.process_time() - used


def children_seconds():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run_heal(options, work, steps):
    """Wall seconds a step as the program reports them, and processor seconds of the whole run."""
    before = children_seconds()
    subprocess.run([options.program, "heal", options.model, "--archive", options.archive, "--output", work / "out.h5",
                    "--text", work / "text", "--heal", str(steps), "--heal-batch", str(options.tokens),
                    "--heal-context", str(options.tokens), "--threads", str(options.threads), "--quiet",
                    "--report", work / "report.json"], check=True, stdout=subprocess.DEVNULL)
    report = json.loads((work / "report.json").read_text())["results"]
    for name in ("out.h5", "report.json"):
        (work / name).unlink()
    return report, children_seconds() - before


def time_heal(options, work):
    _, one = run_heal(options, work, 1)
    report, three = run_heal(options, work, 3)
    return report["seconds_a_step"], (three - one) / 2


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("program", "model", "torch-model", "archive", "text"):
        parser.add_argument(f"--{name}", required=True)
    for name, value in (("tokens", 1024), ("rounds", 3), ("threads", 2), ("tile", 128)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--types", default="f32,bf16")
    parser.add_argument("--json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    steps = {f"torch {name}": TorchStep(options, name == "bf16") for name in options.types.split(",")}
    for step in steps.values():
        step.run()
    found = {name: [] for name in ("hack", *steps)}
    with tempfile.TemporaryDirectory(prefix="hack-heal-") as folder:
        work = pathlib.Path(folder)
        # A few windows: one of them is judged before and behind the steps.
        text = pathlib.Path(options.text).read_text(encoding="utf8")
        (work / "text").write_text(text[:options.tokens * 5 * 5], encoding="utf8")
        for _ in range(options.rounds):
            found["hack"].append(time_heal(options, work))
            for name, step in steps.items():
                found[name].append(time_torch(step))
    rows = [{"program": name, "seconds": statistics.median(wall for wall, _ in times),
             "processor_seconds": statistics.median(used for _, used in times)} for name, times in found.items()]
    for row in rows:
        print("{program:12} {seconds:7.2f} s, {processor_seconds:6.2f} s of processors, a step".format(**row))
    if options.json:
        record = {"tokens": options.tokens, "threads": options.threads, "rounds": options.rounds, "rows": rows}
        pathlib.Path(options.json).write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
