#!/usr/bin/env python3
"""Prints the table that ends the demo, read from the reports of its runs.

Usage: demo_table.py FOLDER     (FOLDER holds compress_low_rank.json, perplexity_dense.json, …)
Needs nothing but Python's own library. Exit status 1 where a report or a field is missing.
"""

import json
import sys
from pathlib import Path


class Report:
    """One report of the program; `report["results.keep"]` reads a field by its path."""

    def __init__(self, path):
        self.path = path
        try:
            self.fields = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise SystemExit(f"demo_table: cannot read {path} ({error})")

    def __getitem__(self, name):
        value = self.fields
        for part in name.split("."):
            if not isinstance(value, dict) or part not in value:
                raise SystemExit(f"demo_table: {self.path} has no field {name}")
            value = value[part]
        if value is None:
            raise SystemExit(f"demo_table: {self.path} has no number in {name} (not a number or infinite)")
        return value


KINDS = ["low_rank", "4_bits", "8_bits"]  # beside the dense model


def row(label, figures, form):
    """One line of the table."""
    return [label, *(format(figure, form) for figure in figures)]


def print_table(head, rows):
    widths = [max(len(line[column]) for line in [head, *rows]) for column in range(len(head))]
    for line in [head, ["-" * width for width in widths], *rows]:
        label, *figures = line
        print(label.ljust(widths[0]), *(f.rjust(w) for f, w in zip(figures, widths[1:])), sep="   ")


def main(folder):
    compress = [Report(folder / f"compress_{kind}.json") for kind in KINDS]
    perplexity = [Report(folder / f"perplexity_{kind}.json") for kind in ["dense", *KINDS]]
    generate = [Report(folder / f"generate_{kind}.json") for kind in ["dense", *KINDS]]

    for kind, report in zip(["dense", *KINDS], generate):
        print(f"text, {kind.replace('_', ' ')}: {report['results.text'].strip()}")
    print()
    dense = compress[0]
    mlp = [dense["results.bytes_dense"], *(r["results.bytes_factors"] for r in compress)]
    model = [dense["results.model_bytes_dense"], *(r["results.model_bytes_factored"] for r in compress)]
    print_table(
        ["", "dense, bf16", *(kind.replace("_", " ") for kind in KINDS)],
        [
            row("MLP weights, bytes", mlp, ",.0f"),
            row("share of 16 bits", [size / mlp[0] for size in mlp], ".4f"),
            row("whole model, bytes", model, ",.0f"),
            row("perplexity", [r["results.perplexity"] for r in perplexity], ".4f"),
            row("KL from dense, nats a token", [0, *(r["results.divergence"] for r in perplexity[1:])], ".4f"),
            row("same most likely token", [1, *(r["results.same_top"] for r in perplexity[1:])], ".2%"),
            row("prompts (evaluation), tokens/s", [r["results.tokens_per_second"] for r in perplexity], ",.1f"),
            row("generation, tokens/s", [r["results.tokens_per_second"] for r in generate], ",.1f"),
        ],
    )
    scored = perplexity[0]
    print()
    print(f"perplexity: protocol {scored['results.protocol']}, context {scored['results.context']}, "
          f"{scored['results.windows']} windows, {scored['results.tokens_scored']:,} tokens scored")
    print("the model came in blocks of 5 bits a number: 4.5 bits are below that, 8 bits say little")
    print(f"archives and reports: {folder}/*.h5, {folder}/*.json; as a page: {folder}/report.html")
    print(f"logs: {folder / 'logs'}/*.log")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]))
