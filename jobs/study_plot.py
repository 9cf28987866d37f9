#!/usr/bin/env python3
"""Draws a scaling study: speed-up and efficiency over ranks, measured and, dashed, as the model has it.

    python3 jobs/study_plot.py PREFIX.json…      writes PREFIX.svg beside each
"""
import json
import sys

try:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
except ImportError:
    sys.exit("study_plot: matplotlib is missing (apt-get install python3-matplotlib, or pip install matplotlib)")

PHASES = ("factorization", "prefill", "decode", "perplexity")


def draw(path):
    with open(path, encoding="utf-8") as file:
        study = json.load(file)
    measured = [row for row in study["rows"] if "speedup" in row]
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    for color, phase in enumerate(PHASES):
        rows = sorted((row for row in measured if row["phase"] == phase), key=lambda row: row["ranks"])
        if not rows:
            continue
        base, style = rows[0], {"color": f"C{color}"}
        ranks = [row["ranks"] for row in rows]
        left.plot(ranks, [row["speedup"] for row in rows], "o-", label=phase, **style)
        right.plot(ranks, [row["efficiency"] for row in rows], "o-", label=phase, **style)
        larger = sorted((row for row in study.get("larger", []) if row["phase"] == phase), key=lambda row: row["ranks"])
        if larger:
            ranks = ranks[-1:] + [row["ranks"] for row in larger]
            speedup = [rows[-1]["speedup"]] + [row["rate"] / base["rate"] for row in larger]
            left.plot(ranks, speedup, "--", **style)
            right.plot(ranks, [s * base["ranks"] / r for s, r in zip(speedup, ranks)], "--", **style)
    for axes, title in ((left, "speed-up"), (right, "efficiency")):
        axes.set(xscale="log", xlabel="ranks", title=f"{title} (dashed: model)")
        axes.xaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%d"))
        axes.grid(alpha=0.3)
    left.set_yscale("log")
    right.set_ylim(0, 1.1)
    left.legend()
    figure.suptitle(f"{study['key'].get('SCALING', '')} scaling")
    out = path.removesuffix(".json") + ".svg"
    figure.savefig(out)
    print(out)


if len(sys.argv) < 2:
    sys.exit(__doc__.strip())
for argument in sys.argv[1:]:
    draw(argument)
