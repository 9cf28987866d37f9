#!/usr/bin/env python3
"""Writes docs/gpu-figures.md: what run.sh has measured, what the hardware would allow, and what was expected.

    figures.py [RUN.json] [--output FILE.md]       without RUN.json: expectations alone
"""

import argparse
import json
import os

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
MODEL = os.path.join(ROOT, "jobs", "results", "gpu-model.json")
PAGE = os.path.join(ROOT, "docs", "gpu-figures.md")
HEAD = """# GPU figures

`bash tests/gpu/run.sh` measures these within nine minutes of one GPU; `python3 tests/gpu/figures.py RUN.json` writes this
page from what it leaves. *Expected* is a model of one NVIDIA H200
([gpu-model.json](../jobs/results/gpu-model.json) says of each how it is made), written down before anything ran, so that
the first run shows where it is wrong.

"""


def number(value, unit):
    if value is None:
        return "–"
    for size, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g} {prefix}{unit}"
    return f"{value * 1e6:.3g} µs" if unit == "s" else f"{value:.3g} {unit}"


def page(expected, run):
    measured = {figure["name"]: figure for figure in run["figures"]} if run else {}
    lines = [HEAD + (f"Measured on: {run['gpu']}.\n" if run else "Nothing has been measured: no GPU was at hand.\n"),
             "| what | measured | limit | share | expected | measured to expected |", "| --- | --- | --- | --- | --- | --- |"]
    for figure in expected["figures"]:
        name, unit = figure["name"], figure["unit"]
        found = measured.pop(name, {})
        value, limit = found.get("value"), found.get("limit")
        share = f"{value / limit:.2f}" if value and limit else "–"
        ratio = f"{value / figure['model']:.2f}" if value else "–"
        lines.append(f"| {name} | {number(value, unit)} | {number(limit, unit)} | {share} | {number(figure['model'], unit)} | "
                     f"{ratio} |")
    for name, found in measured.items():
        lines.append(f"| {name} | {number(found['value'], found['unit'])} | {number(found['limit'], found['unit'])} | – | – | – |")
    if run:
        lines += ["", "| part | outcome | seconds | |", "| --- | --- | --- | --- |"]
        lines += [f"| {p['part']} | {p['outcome']} | {p['seconds']} | {p['detail']} |" for p in run["parts"]]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?")
    parser.add_argument("--output", default=PAGE)
    arguments = parser.parse_args()
    with open(MODEL, encoding="utf-8") as file:
        expected = json.load(file)
    run = None
    if arguments.run:
        with open(arguments.run, encoding="utf-8") as file:
            run = json.load(file)
    with open(arguments.output, "w", encoding="utf-8") as file:
        file.write(page(expected, run))


if __name__ == "__main__":
    main()
