#!/usr/bin/env python3
"""Figures of an evaluation, computed with transformers, to compare with the program's.

Usage: evaluation_twins.py lm-eval MODEL TEXT CONTEXT       word and byte perplexity, bits per byte
       evaluation_twins.py choices MODEL QUESTIONS          acc, acc_norm, acc_bytes of each task
       evaluation_twins.py compare MODEL BASE               the model beside a file of base logits
       evaluation_twins.py base MODEL BASE                  a file of base logits beside the model it was made of

MODEL is a Hugging Face directory, held in f32. Needs torch, transformers and numpy; no part of run.sh: the tests hold
what this has printed.
"""

import json
import math
import re
import sys

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def load(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    return tokenizer, model


def log_probabilities(model, ids):
    """(tokens, vocabulary), float64."""
    with torch.no_grad():
        return torch.log_softmax(model(torch.tensor([ids])).logits[0].double(), -1)


def prefix_of(tokenizer):
    return tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id


def rolling(model, ids, prefix, context):
    """Log-likelihood of ids: as many as `context` inputs at once, each window's first input the token before its first
    target; the last window keeps a full context and scores what is left."""
    row = [prefix] + ids
    total, done = 0.0, 0
    while done < len(ids):
        end = min(done + context, len(ids))
        begin = max(0, end - context)
        logs = log_probabilities(model, row[begin:end])
        for target in range(done, end):
            total += logs[target - begin, ids[target]].item()
        done = end
    return total


def lm_eval(folder, text_file, context):
    tokenizer, model = load(folder)
    text = open(text_file, encoding="utf-8", newline="").read()
    ids = tokenizer.encode(text, add_special_tokens=False)
    likelihood = rolling(model, ids, prefix_of(tokenizer), int(context))
    words, size = len(re.split(r"\s+", text)), len(text.encode("utf-8"))
    print(json.dumps({
        "tokens": len(ids), "words": words, "bytes": size, "nll": -likelihood,
        "word_perplexity": math.exp(-likelihood / words),
        "byte_perplexity": math.exp(-likelihood / size),
        "bits_per_byte": -likelihood / (size * math.log(2)),
    }, indent=1))


def choice_likelihood(tokenizer, model, context, choice):
    continuation = " " + choice
    stripped = context.rstrip()
    continuation = context[len(stripped):] + continuation
    if stripped:
        whole, before = tokenizer.encode(stripped + continuation), tokenizer.encode(stripped)
        ids, scored = whole, len(whole) - len(before)
    else:
        behind = tokenizer.encode(continuation, add_special_tokens=False)
        ids, scored = [prefix_of(tokenizer)] + behind, len(behind)
    logs = log_probabilities(model, ids[:-1])
    return sum(logs[i - 1, ids[i]].item() for i in range(len(ids) - scored, len(ids)))


def choices(folder, questions):
    tokenizer, model = load(folder)
    tasks = {}
    for line in open(questions, encoding="utf-8"):
        item = json.loads(line)
        found = [choice_likelihood(tokenizer, model, item["context"], c) for c in item["choices"]]
        answers = tasks.setdefault(item["task"], {"acc": [], "acc_norm": [], "acc_bytes": [], "sum": 0.0})
        answers["sum"] += sum(found)
        for name, sizes in (("acc", None), ("acc_norm", [len(c) for c in item["choices"]]),
                            ("acc_bytes", [len(c.encode()) for c in item["choices"]])):
            values = np.array(found) / (1 if sizes is None else np.array(sizes))
            answers[name].append(float(np.argmax(values) == item["answer"]))
    for task, answers in tasks.items():
        row = {"task": task, "sum_of_likelihoods": answers.pop("sum")}
        for name, values in answers.items():
            row[name] = np.mean(values)
            row[name + "_stderr"] = np.std(values, ddof=1) / math.sqrt(len(values))
        print(json.dumps(row))


def read_base(path):
    """context, tokens (chunks, context), scale, minimum and codes (chunks, rows[, vocabulary])."""
    data = open(path, "rb").read()
    assert data[:8] == b"_logits_"
    context, vocabulary, chunks = np.frombuffer(data, "<i4", 3, 8)
    tokens = np.frombuffer(data, "<i4", context * chunks, 20).reshape(chunks, context)
    rows, width = context - 1 - context // 2, 2 * ((vocabulary + 1) // 2) + 4
    body = np.frombuffer(data, "<u2", -1, 20 + 4 * context * chunks).reshape(chunks, rows, width)
    numbers = body[:, :, :4].copy().view("<f4")
    return context, tokens, numbers[:, :, 0], numbers[:, :, 1], body[:, :, 4:4 + vocabulary]


def rows_of(model, tokenizer, tokens, context):
    """Log-probabilities of the rows of a chunk and the tokens that followed."""
    ids = tokens.tolist()
    if tokenizer.bos_token_id is not None and tokenizer.encode("a")[0] == tokenizer.bos_token_id:
        ids[0] = tokenizer.bos_token_id
    first = context // 2
    return log_probabilities(model, ids[:-1])[first:].numpy(), tokens[first + 1:]


def base(folder, path):
    tokenizer, model = load(folder)
    context, tokens, scale, minimum, codes = read_base(path)
    worst, off = 0.0, 0
    for chunk, ids in enumerate(tokens):
        logs, _ = rows_of(model, tokenizer, ids, context)
        top = logs.max(1, keepdims=True)
        low = np.maximum(logs.min(1, keepdims=True), top - 16)
        step = (top - low) / 65535
        expected = np.rint((np.maximum(logs, low) - low) / step)
        off = max(off, int(np.abs(expected - codes[chunk]).max()))
        worst = max(worst, np.abs(low[:, 0] - minimum[chunk]).max(), np.abs(step[:, 0] / scale[chunk] - 1).max())
    print(json.dumps({"chunks": len(tokens), "levels_apart": off, "scale_or_minimum_apart": float(worst)}))


def mean(values):
    return float(np.mean(values)), float(np.std(values, ddof=1) / math.sqrt(len(values)))


def compare(folder, path):
    tokenizer, model = load(folder)
    context, tokens, scale, minimum, codes = read_base(path)
    divergence, losses, base_losses, same = [], [], [], []
    for chunk, ids in enumerate(tokens):
        logs, targets = rows_of(model, tokenizer, ids, context)
        base_logs = (scale[chunk][:, None] * codes[chunk].astype("<f4") + minimum[chunk][:, None]).astype(np.float64)
        p = np.where(base_logs > -16, np.exp(base_logs), 0)
        divergence.extend((p * (base_logs - logs)).sum(1))
        rows = np.arange(len(targets))
        losses.extend(-logs[rows, targets])
        base_losses.extend(-base_logs[rows, targets])
        same.extend(logs.argmax(1) == codes[chunk].argmax(1))
    divergence, losses, base_losses = map(np.array, (divergence, losses, base_losses))
    step = np.exp(-losses) - np.exp(-base_losses)
    square, square_error = mean(step ** 2)
    out = {"perplexity": math.exp(losses.mean()), "perplexity_base": math.exp(base_losses.mean()),
           "divergence": mean(divergence), "same_top": mean(np.array(same, float)),
           "ln_perplexity_difference": mean(losses - base_losses),
           "ln_perplexity_correlation": float(np.corrcoef(losses, base_losses)[0, 1]),
           "probability_difference": mean(step),
           "probability_difference_rms": (math.sqrt(square), 0.5 * square_error / math.sqrt(square))}
    for share in (0, 0.1, 1, 5, 10, 50, 90, 95, 99, 99.9, 100):
        out[f"divergence_{share:g}"] = float(np.percentile(divergence, share))
        out[f"probability_difference_{share:g}"] = float(np.percentile(step, share))
    print(json.dumps(out, indent=1))


if __name__ == "__main__":
    commands = {"lm-eval": (lm_eval, 3), "choices": (choices, 2), "compare": (compare, 2), "base": (base, 2)}
    command, count = commands.get(sys.argv[1] if len(sys.argv) > 1 else "", (None, 0))
    if command is None or len(sys.argv) != 2 + count:
        sys.exit(__doc__)
    command(*sys.argv[2:])
