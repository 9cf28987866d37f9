#!/usr/bin/env python3
"""Draws a scaling study: speed-up and efficiency over ranks, measured, as the model has it, and ideal.

    python3 jobs/plot/scaling.py [--output FOLDER] PREFIX.json…   (of `hack study`; writes scaling-PREFIX.svg and .png)
"""

import argparse
from pathlib import Path

from canvas import COLORS, GREY, figure, plain_ticks, read_json, save

PHASES = ("factorization", "prefill", "decode", "perplexity")


def draw_phase(axes, study, phase, color):
    """One phase's lines on both axes; the most ranks it has."""
    rows = sorted((row for row in study["rows"] if row["phase"] == phase and "speedup" in row),
                  key=lambda row: row["ranks"])
    if not rows:
        return 1
    speedup, efficiency = axes
    ranks = [row["ranks"] for row in rows]
    speedup.plot(ranks, [row["speedup"] for row in rows], "o-", label=phase, color=color)
    efficiency.plot(ranks, [row["efficiency"] for row in rows], "o-", label=phase, color=color)
    base, weak = rows[0], study.get("key", {}).get("SCALING") == "weak"
    if weak:
        return max(ranks)
    # Beyond what was measured a dashed line; where it was, what the model said of it beforehand as hollow marks.
    for name, style, start in (("larger", "--", [(base["ranks"], 1.0)]), ("held_out", "D", [])):
        points = start + sorted((row["ranks"], row["rate"] / base["rate"]) for row in study.get(name, [])
                                if row["phase"] == phase)
        if len(points) == len(start):
            continue
        ranks += [r for r, _ in points]
        speedup.plot([r for r, _ in points], [t for _, t in points], style, color=color, markerfacecolor="white")
        efficiency.plot([r for r, _ in points], [t * base["ranks"] / r for r, t in points], style, color=color,
                        markerfacecolor="white")
    return max(ranks)


def draw(study, output, name, title=""):
    """Writes the picture of one study."""
    drawn, axes = figure(2, height=3.7)
    most = max(draw_phase(axes, study, phase, COLORS[i]) for i, phase in enumerate(PHASES))
    if most < 2:
        raise SystemExit(f"scaling: {name} has phases on one number of ranks alone; give the study more "
                         "(--ranks 1,2,…)")
    axes[0].plot([1, most], [1, most], ":", color=GREY, label="ideal")
    axes[1].axhline(1, linestyle=":", color=GREY)
    measured = {row["ranks"] for row in study["rows"] if "speedup" in row}
    ticks = sorted(measured | {2**i for i in range(12) if 2**i <= most})
    for one, text in zip(axes, ("speed-up", "efficiency")):
        one.set(xscale="log", xlabel="ranks", ylabel=text)
        plain_ticks(one.xaxis, ticks)
    axes[0].set_yscale("log")
    plain_ticks(axes[0].yaxis)
    axes[1].set_ylim(0, 1.15)
    axes[0].legend()
    scaling = study.get("key", {}).get("SCALING", "")
    drawn.suptitle(title or f"{scaling} scaling (dashed, hollow: model)".strip(), fontsize=11)
    save(drawn, output, name)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="+", metavar="PREFIX.json")
    parser.add_argument("--output", default="runs/plot", help="folder of the pictures")
    options = parser.parse_args()
    for path in options.studies:
        study = read_json(path)
        if "rows" not in study:
            raise SystemExit(f"scaling: {path} is no study's table; name the PREFIX.json that hack study writes")
        draw(study, options.output, f"scaling-{Path(path).stem}")


if __name__ == "__main__":
    main()
