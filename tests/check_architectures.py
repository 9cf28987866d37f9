#!/usr/bin/env python3
"""Makes a tiny random model of every architecture that `hack` reads and compares perplexity and greedy ids with
transformers, at several numbers of ranks, and the perplexity of its GGUF file in llama.cpp. Prints and writes a record;
exit status 1 where one is not equal.

  PEERS/bin/python tests/check_architectures.py --output RECORD.json [--ranks LIST] [--program FILE]

PEERS has torch, transformers, tokenizers and llama-cpp-python. Models lie in RECORD.json.work, which is made anew. Two
minutes on two cores.
"""
import argparse
import json
import math
import os
import random
import shutil
import subprocess
import sys
from importlib.metadata import version

import numpy as np
import torch
import transformers
from llama_cpp import Llama
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from machine import machine

CONTEXT, WINDOWS, NEW_TOKENS, BOUND, FILE_BOUND = 128, 3, 30, 1e-4, 1e-3
LLAMA = dict(hidden_size=96, intermediate_size=200, num_hidden_layers=3, num_attention_heads=6, num_key_value_heads=2,
             max_position_embeddings=256, rms_norm_eps=1e-5, tie_word_embeddings=False, bos_token_id=0, eos_token_id=0)
LLAMA3_ROPE = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                   original_max_position_embeddings=32)
YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=64)


def case(family="Llama", scaling=None, theta=10000.0, old=False, dtype=torch.float32, edit=None, **sizes):
    """`old`: config.json as transformers 4 wrote it. `edit`: what is put over it as it stands."""
    return dict(family=family, scaling=scaling, theta=theta, old=old, dtype=dtype, edit=edit or {}, sizes=sizes)


def yarn(**more):
    return dict(YARN, **more)


CASES = {
    "Llama-2: as many key as query heads, untied": case(num_key_value_heads=6, old=True),
    "Llama: one key head for all": case(num_key_value_heads=1),
    "Llama: four query heads and two key heads, tied": case(num_attention_heads=4, tie_word_embeddings=True),
    "Llama: heads wider than their share": case(head_dim=32),
    "Llama: biases in attention and MLP": case(attention_bias=True, mlp_bias=True),
    "Llama: weights in bf16": case(dtype=torch.bfloat16),
    "Llama-3.1: rope llama3, new spelling": case(scaling=LLAMA3_ROPE, theta=500000.0),
    "Llama-3.2: rope llama3, old spelling, tied": case(scaling=LLAMA3_ROPE, theta=500000.0, old=True,
                                                       tie_word_embeddings=True),
    "Llama: rope linear, new spelling": case(scaling=dict(rope_type="linear", factor=4.0)),
    "Llama: rope linear, old spelling": case(scaling=dict(type="linear", factor=4.0), old=True),
    "Llama: rope dynamic, new spelling": case(scaling=dict(rope_type="dynamic", factor=2.0)),
    "Llama: rope dynamic, old spelling": case(scaling=dict(type="dynamic", factor=2.0), old=True),
    "Llama: rope yarn, new spelling": case(scaling=YARN),
    "Llama: rope yarn, old spelling": case(scaling=dict(type="yarn", factor=4.0, original_max_position_embeddings=64),
                                           old=True),
    "Llama: rope yarn, its own betas and attention factor": case(
        scaling=yarn(beta_fast=16.0, beta_slow=2.0, attention_factor=1.25)),
    "Llama: rope yarn, mscale": case(scaling=yarn(mscale=0.7, mscale_all_dim=1.0)),
    "Llama: rope yarn, not truncated": case(scaling=yarn(truncate=False)),
    "Llama: rope in both spellings": case(old=True, scaling=dict(rope_type="linear", factor=4.0), edit=dict(
        rope_parameters=dict(rope_type="default", rope_theta=50000.0))),
    "Mistral: sliding window of 24": case("Mistral", sliding_window=24),
    "Mistral: no window": case("Mistral", sliding_window=None, head_dim=32),
    "Qwen2: biases of q, k and v": case("Qwen2", theta=1000000.0),
    "Qwen2: a sliding window from the second layer on, tied": case(
        "Qwen2", use_sliding_window=True, sliding_window=24, max_window_layers=1, tie_word_embeddings=True),
    "Qwen2: rope yarn": case("Qwen2", scaling=YARN),
    "Qwen3: norms of q and k": case("Qwen3", head_dim=32, theta=1000000.0),
    "Qwen3: norms, tied, biases": case("Qwen3", head_dim=16, tie_word_embeddings=True, attention_bias=True),
}


def prose(seed, words):
    draw = random.Random(seed)
    parts = ["la", "ke", "mor", "ti", "sun", "ra", "vel", "do", "pin", "gar", "est", "ing", "er", "on", "wa", "ter"]
    known = ["".join(draw.choice(parts) for _ in range(draw.randint(1, 3))) for _ in range(250)]
    return " ".join(draw.choice(known) + draw.choice(["", "", "", ",", "."]) for _ in range(words))


def tokenizer():
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.train_from_iterator([prose(1, 4000)], trainers.BpeTrainer(
        vocab_size=500, special_tokens=["<|end|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False))
    return made


def write_model(folder, words, how):
    """A directory with random weights that are large enough for the logits to depend on every part."""
    torch.manual_seed(1)
    config = getattr(transformers, how["family"] + "Config")(
        **{**LLAMA, "vocab_size": words.get_vocab_size(), **how["sizes"]})
    config.rope_parameters = dict(how["scaling"] or {"rope_type": "default"}, rope_theta=how["theta"])
    config.rope_parameters.setdefault("rope_type", config.rope_parameters.pop("type", "default"))
    model = getattr(transformers, how["family"] + "ForCausalLM")(config).float().eval()
    with torch.no_grad():
        for name, values in model.named_parameters():
            if "norm" in name:
                values.uniform_(0.5, 1.5)
            else:
                values.normal_(0, 0.15 if values.dim() == 2 else 0.3)
    model.to(how["dtype"]).save_pretrained(folder)
    words.save(os.path.join(folder, "tokenizer.json"))
    path = os.path.join(folder, "config.json")
    with open(path) as file:
        written = json.load(file)
    if how["old"]:
        del written["rope_parameters"]
        written.update(rope_theta=how["theta"], rope_scaling=how["scaling"])
        written["torch_dtype"] = written.pop("dtype")
    written.update(how["edit"])
    with open(path, "w") as file:
        json.dump(written, file, indent=1)


def transformers_figures(folder, ids, prompt):
    """Perplexity over windows and greedy ids behind the prompt, in f32."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    model.generation_config.eos_token_id = None
    loss = 0.0
    with torch.inference_mode():
        for begin in range(0, CONTEXT * WINDOWS, CONTEXT):
            window = torch.tensor([ids[begin : begin + CONTEXT]])
            logits = model(window).logits[0, :-1].double()
            loss += torch.nn.functional.cross_entropy(logits, window[0, 1:], reduction="sum").item()
        asked = torch.tensor([prompt])
        out = model.generate(asked, attention_mask=torch.ones_like(asked), max_new_tokens=NEW_TOKENS, do_sample=False,
                             pad_token_id=0)
    return math.exp(loss / (CONTEXT - 1) / WINDOWS), out[0, len(prompt) :].tolist()


def llama_cpp_perplexity(program, folder, ids):
    """Perplexity of the model's GGUF file over the same windows, or why there is no such file."""
    file = folder + ".gguf"
    done = subprocess.run([program, "export", folder, "--format", "gguf", "--type", "f32", "--output", file],
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    said = done.stderr.strip().splitlines()
    if done.returncode:
        return said[-1].split(file + ": ")[-1]
    for line in said:
        if line.startswith("llama.cpp "):  # it knows less than the file says
            return line
    model = Llama(file, n_ctx=CONTEXT, n_batch=CONTEXT, n_ubatch=CONTEXT, logits_all=True, type_k=0, type_v=0,
                  n_threads=1, n_threads_batch=1, verbose=False, yarn_attn_factor=-1.0, yarn_beta_fast=-1.0,
                  yarn_beta_slow=-1.0)  # these as the file has them
    loss = 0.0
    for begin in range(0, CONTEXT * WINDOWS, CONTEXT):
        window = ids[begin : begin + CONTEXT]
        model.reset()
        model.eval(window)
        logits = torch.from_numpy(np.array(model.scores[: CONTEXT - 1], np.float64))
        loss += torch.nn.functional.cross_entropy(logits, torch.tensor(window[1:]), reduction="sum").item()
    return math.exp(loss / (CONTEXT - 1) / WINDOWS)


def results_of(program, ranks, work, command, *arguments):
    report = os.path.join(work, "report.json")
    launcher = ["mpirun", "-n", str(ranks)] if ranks > 1 else []
    line = [*launcher, program, command, *arguments, "--dtype", "f32", "--products", "exact", "--quiet", "--report",
            report]
    done = subprocess.run(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace")
    if done.returncode:
        sys.exit(f"{' '.join(line)}\n{done.stderr}")
    with open(report) as file:
        return json.load(file)["results"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", required=True)
    parser.add_argument("--ranks", default="1,2,3")
    parser.add_argument("--program", default="build/bin/hack")
    given = parser.parse_args()
    work = given.output + ".work"
    shutil.rmtree(work, ignore_errors=True)
    os.makedirs(work)
    words, text, prompt = tokenizer(), prose(2, 1500), prose(3, 12)
    text_file = os.path.join(work, "text.txt")
    with open(text_file, "w") as file:
        file.write(text)
    ids = words.encode(text).ids
    rows = []
    for name, how in CASES.items():
        folder = os.path.join(work, f"model-{len(rows)}")
        write_model(folder, words, how)
        theirs, greedy = transformers_figures(folder, ids, words.encode(prompt).ids)
        row = {"model": name, "transformers": theirs, "hack": {}, "greedy_ids_equal": {}}
        for ranks in map(int, given.ranks.split(",")):
            scored = results_of(given.program, ranks, work, "perplexity", folder, "--text", text_file, "--context",
                                str(CONTEXT), "--windows", str(WINDOWS))
            row["hack"][ranks] = scored["perplexity"]
            new = results_of(given.program, ranks, work, "generate", folder, "--prompt", prompt, "--max-tokens",
                             str(NEW_TOKENS))["ids"]
            row["greedy_ids_equal"][ranks] = new == greedy
        row["apart"] = max(abs(ours / theirs - 1) for ours in row["hack"].values())
        row["llama.cpp"] = llama_cpp_perplexity(given.program, folder, ids)
        row["holds"] = row["apart"] <= BOUND and all(row["greedy_ids_equal"].values())
        if isinstance(row["llama.cpp"], float):
            row["file_apart"] = abs(row["llama.cpp"] / theirs - 1)
            row["holds"] = row["holds"] and row["file_apart"] <= FILE_BOUND
        rows.append(row)
        print(json.dumps(row), flush=True)
    record = {"what": f"tiny random models: perplexity of {WINDOWS} windows of {CONTEXT} tokens and {NEW_TOKENS} "
                      "greedy ids by transformers, and by hack at each number of ranks; in llama.cpp the GGUF file "
                      "in f32, or why not; apart: as a share",
              "command": " ".join(["tests/check_architectures.py", *map(os.path.basename, sys.argv[1:])]),
              "machine": machine(),
              "versions": {m: version(m) for m in ("transformers", "torch", "tokenizers", "llama_cpp_python")},
              "bound": BOUND, "rows": rows}
    with open(given.output, "w") as file:
        json.dump(record, file, indent=2)
        file.write("\n")
    sys.exit(0 if all(row["holds"] for row in rows) else 1)


main()
