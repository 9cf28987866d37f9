#!/usr/bin/env python3
"""Exports a compressed model in every form and compares what other programs make of it with what `hack` makes of the
archive: transformers of dense and factored directories, llama.cpp of GGUF files; bytes of quantised tensors with the
archive's codes and scales. Prints and writes a record; exit status 1 where a figure is beyond its bound.

  PEERS/bin/python tests/check_exports.py MODEL --text FILE --output RECORD.json [--windows N] [--threads N] [--program FILE]

MODEL is a Hugging Face directory. PEERS has numpy, h5py, torch, transformers, gguf and llama-cpp-python. Files lie in
RECORD.json.work, which is made anew. Minutes on two cores. The record is written after each comparison.
"""
import argparse
import filecmp
import json
import math
import os
import shutil
import subprocess
import sys
from importlib.metadata import version

import h5py
import numpy as np

from machine import machine

CONTEXT = 512
LOW_RANK = ["--keep", "0.8", "--terms", "lowrank", "--method", "plain"]
# What is compressed how, and how far perplexities may be apart, as a share.
EXACT, FILE_EXACT, FILE_QUANTISED = 1e-4, 1e-3, 5e-3
BLOCKS = {"q8_0": 32, "q4_0": 16}  # bytes of a block's codes; two of its scale


class Check:
    def __init__(self, given):
        self.given, self.work, self.rows = given, given.output + ".work", []
        shutil.rmtree(self.work, ignore_errors=True)
        os.makedirs(self.work)
        printed = self.hack("tokenize", given.model, "--text", given.text)
        self.ids = [int(line) for line in printed.split()[: CONTEXT * given.windows]]

    def file(self, name):
        return os.path.join(self.work, name)

    def hack(self, *arguments, ranks=1):
        launcher = ["mpirun", "-n", str(ranks)] if ranks > 1 else []
        command = [*launcher, self.given.program, *arguments]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            sys.exit(f"{' '.join(command)}\n{done.stderr}")
        return done.stdout

    def ours(self, model, archive=None, exact=True):
        """Perplexity of `hack`."""
        report = self.file("report.json")
        more = ["--archive", archive] if archive else []
        more += ["--dtype", "f32", "--products", "exact"] if exact else ["--products", "exact"]
        self.hack("perplexity", model, *more, "--text", self.given.text, "--context", str(CONTEXT), "--windows",
                  str(self.given.windows), "--quiet", "--report", report)
        with open(report) as file:
            return json.load(file)["results"]["perplexity"]

    def windows(self):
        return [self.ids[w * CONTEXT : (w + 1) * CONTEXT] for w in range(self.given.windows)]

    def transformers(self, directory):
        """Perplexity of transformers in f32, and the number of parameters of its compressed matrices."""
        import torch
        from transformers import AutoModelForCausalLM

        torch.set_num_threads(self.given.threads)
        model = AutoModelForCausalLM.from_pretrained(directory, trust_remote_code=True, dtype=torch.float32).eval()
        loss = 0.0
        with torch.inference_mode():
            for window in self.windows():
                x = torch.tensor([window])
                logits = model(x).logits[0, :-1].double()
                loss += torch.nn.functional.cross_entropy(logits, x[0, 1:], reduction="sum").item()
        kept = ("numbers", "levels", "sigma")
        count = sum(t.numel() for name, t in model.state_dict().items() if name.rsplit(".", 1)[-1] in kept)
        return math.exp(loss / (CONTEXT - 1) / self.given.windows), count

    def llama_cpp(self, file):
        """Perplexity of llama.cpp, keys and values in f32."""
        from llama_cpp import Llama

        model = Llama(file, n_ctx=CONTEXT, n_batch=CONTEXT, n_ubatch=CONTEXT, logits_all=True, type_k=0, type_v=0,
                      n_threads=self.given.threads, n_threads_batch=self.given.threads, verbose=False)
        loss = 0.0
        for window in self.windows():
            model.reset()
            model.eval(window)
            logits = np.asarray(model.scores[: CONTEXT - 1], np.float64)
            top = logits.max(axis=1, keepdims=True)
            log_sums = top[:, 0] + np.log(np.exp(logits - top).sum(axis=1))
            loss += float((log_sums - logits[np.arange(CONTEXT - 1), window[1:]]).sum())
        return math.exp(loss / (CONTEXT - 1) / self.given.windows)

    def compare(self, what, ours, theirs, bound):
        apart = abs(theirs / ours - 1)
        self.note(what, ours, theirs, apart <= bound, apart=apart, bound=bound)

    def equal(self, what, ours, theirs):
        self.note(what, ours, theirs, ours == theirs)

    def note(self, what, ours, theirs, holds, **more):
        self.rows.append({"what": what, "hack": ours, "other": theirs, **more, "holds": holds})
        print(json.dumps(self.rows[-1]), flush=True)
        record = {"what": f"exports of a compressed model in other programs; windows of {CONTEXT}: {self.given.windows}",
                  "command": " ".join(["tests/check_exports.py", *(os.path.basename(os.path.normpath(word))
                                                                  for word in sys.argv[1:])]),
                  "machine": machine(), "model": os.path.basename(os.path.normpath(self.given.model)),
                  "versions": {m: version(m) for m in ("transformers", "torch", "llama_cpp_python", "gguf")},
                  "rows": self.rows}
        with open(self.given.output, "w") as file:
            json.dump(record, file, indent=2)
            file.write("\n")

    def compress(self, name, how):
        archive = self.file(name + ".h5")
        self.hack("compress", self.given.model, "--output", archive, *how, "--quiet")
        return archive

    def export(self, archive, form, name, ranks=1, number_type="f32"):
        output = self.file(name)
        self.hack("export", self.given.model, "--archive", archive, "--format", form, "--output", output, "--type",
                  number_type, "--quiet", ranks=ranks)
        return output


def numbers_of(archive):
    """Numbers of all factors and values of an archive, singular values among them."""
    count = 0
    with h5py.File(archive, "r") as file:
        structures = file.attrs["structures"].decode().split()
        for matrix in file["matrices"].values():
            for (row, col, h, w), structure, k in zip(matrix["extent"][()].tolist(), matrix["structure"][()],
                                                      matrix["rank"][()].tolist()):
                form = structures[structure]
                count += h * w if form == "dense" else k * (h + w + 1) if form == "low_rank" else k * (h + w - k)
    return count


def blocks_of(matrix, codec):
    """The bytes of GGML's blocks of a matrix whose tiles are one dense term each: (rows, bytes of a row)."""
    rows, cols = int(matrix.attrs["rows"]), int(matrix.attrs["cols"])
    size, data, begin = BLOCKS[codec], matrix["bytes"][()], 0
    out = np.zeros((rows, cols // 32, size + 2), np.uint8)
    for row, col, h, w in matrix["extent"][()].tolist():
        blocks = w // 32
        codes = data[begin : begin + h * blocks * size].reshape(h, blocks, size)
        begin += codes.size
        scales = data[begin : begin + h * blocks * 2].reshape(h, blocks, 2)
        begin += scales.size
        out[row : row + h, col // 32 : col // 32 + blocks] = np.concatenate((scales, codes), axis=2)
    return out.reshape(rows, -1)


def check_low_rank(check):
    for storage in ("factors", "interpolative"):
        archive = check.compress(storage, [*LOW_RANK, "--storage", storage])
        ours = check.ours(check.given.model, archive)
        factored = check.export(archive, "hf-factored", storage + "-factored")
        two = check.export(archive, "hf-factored", storage + "-factored-2", ranks=2)
        files = sorted(os.listdir(factored))
        same = files == sorted(os.listdir(two)) and "model.safetensors" in files and all(
            filecmp.cmp(os.path.join(factored, f), os.path.join(two, f), shallow=False) for f in files)
        check.equal(f"factored directory, {storage}: written by two ranks as by one", True, same)
        theirs, count = check.transformers(factored)
        check.compare(f"factored directory, {storage}: transformers", ours, theirs, EXACT)
        check.equal(f"factored directory, {storage}: numbers of the terms", numbers_of(archive), count)
        if storage == "factors":
            continue
        dense = check.export(archive, "hf", storage)
        check.compare("dense directory, f32: transformers", ours, check.transformers(dense)[0], EXACT)
        check.compare("dense directory, f32: hack", ours, check.ours(dense), EXACT)
        shutil.rmtree(dense)
        file = check.export(archive, "gguf", storage + ".gguf")
        check.compare("GGUF, low rank multiplied out to f32: llama.cpp", ours, check.llama_cpp(file), FILE_EXACT)
        os.remove(file)


def check_codec(check, codec):
    import gguf

    archive = check.compress(codec, ["--codec", codec, "--method", "plain"])
    ours = check.ours(check.given.model, archive)
    file = check.export(archive, "gguf", codec + ".gguf")
    check.compare(f"GGUF, {codec}: llama.cpp (tokens in int8)", ours, check.llama_cpp(file), FILE_QUANTISED)
    check.compare(f"GGUF, {codec}: hack", check.ours(check.given.model, archive, exact=False),
                  check.ours(file, exact=False), EXACT)
    tensors = {t.name: t for t in gguf.GGUFReader(file).tensors}
    names = {"gate_proj": "ffn_gate", "up_proj": "ffn_up", "down_proj": "ffn_down"}
    equal = 0
    with h5py.File(archive, "r") as stored:
        for name, matrix in stored["matrices"].items():
            _, _, layer, _, module, _ = name.split(".")
            found = tensors[f"blk.{layer}.{names[module]}.weight"].data
            equal += np.array_equal(found.reshape(int(matrix.attrs["rows"]), -1), blocks_of(matrix, codec))
        check.equal(f"GGUF, {codec}: tensors equal byte for byte", len(stored["matrices"]), equal)
    again = check.file(codec + "-again.gguf")
    check.hack("export", file, "--format", "gguf", "--output", again, "--quiet")
    read = {t.name: t for t in gguf.GGUFReader(again).tensors}
    same = sum(name in read and read[name].tensor_type == tensor.tensor_type and
               np.array_equal(read[name].data, tensor.data) for name, tensor in tensors.items())
    check.equal(f"GGUF, {codec}: tensors that hack reads and writes again byte for byte", len(tensors), same)
    factored = check.export(archive, "hf-factored", codec + "-factored")
    check.compare(f"factored directory, {codec}: transformers", ours, check.transformers(factored)[0], EXACT)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--text", required=True)
    parser.add_argument("--output", required=True)
    parser.add_argument("--windows", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1, help="of transformers and llama.cpp")
    parser.add_argument("--program", default="build/bin/hack")
    check = Check(parser.parse_args())
    check_low_rank(check)
    for codec in BLOCKS:
        check_codec(check, codec)
    sys.exit(0 if all(row["holds"] for row in check.rows) else 1)


main()
