#!/usr/bin/env python3
"""Prints the table that ends the demo, read from the reports of its five runs.

Usage: demo_table.py FOLDER     (FOLDER holds compress.json, perplexity_dense.json, … and smollm2.h5)
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


def row(label, dense, compressed, form):
    """One line: both figures and their ratio."""
    ratio = f"{compressed / dense:.4f}" if dense else "-"
    return label, format(dense, form), format(compressed, form), ratio


def print_table(head, rows):
    widths = [max(len(line[column]) for line in [head, *rows]) for column in range(len(head))]
    for line in [head, ["-" * width for width in widths], *rows]:
        label, *figures = line
        print(label.ljust(widths[0]), *(f.rjust(w) for f, w in zip(figures, widths[1:])), sep="   ")


def main(folder):
    compress = Report(folder / "compress.json")
    perplexity = [Report(folder / f"perplexity_{kind}.json") for kind in ("dense", "compressed")]
    generate = [Report(folder / f"generate_{kind}.json") for kind in ("dense", "compressed")]
    archive = folder / "smollm2.h5"

    for kind, report in zip(("dense", "compressed"), generate):
        print(f"text, {kind}: {report['results.text'].strip()}")
    print()
    print_table(
        ["", "dense", "compressed", "ratio"],
        [
            row("MLP weights, bytes", compress["results.bytes_dense"], compress["results.bytes_factors"], ",.0f"),
            row("whole model, bytes", compress["results.model_bytes_dense"],
                compress["results.model_bytes_factored"], ",.0f"),
            row("perplexity", *(r["results.perplexity"] for r in perplexity), ".4f"),
            row("evaluation, tokens/s", *(r["results.tokens_per_second"] for r in perplexity), ",.1f"),
            row("generation, tokens/s", *(r["results.tokens_per_second"] for r in generate), ",.1f"),
        ],
    )
    scored = perplexity[0]
    print()
    print(f"perplexity: protocol {scored['results.protocol']}, context {scored['results.context']}, "
          f"{scored['results.windows']} windows, {scored['results.tokens_scored']:,} tokens scored")
    print(f"relative error of the compressed weights: {compress['results.relative_error']:.4f}")
    print(f"archive: {archive} ({archive.stat().st_size:,} bytes)")
    print(f"reports: {folder}/*.json")
    print(f"logs:    {folder / 'logs'}/*.log")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]))
