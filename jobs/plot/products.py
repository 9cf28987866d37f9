#!/usr/bin/env python3
"""Draws `hack bench apply`: time against rank with the crossover to the dense product, and the roofline.

    python3 jobs/plot/products.py [--output FOLDER] RUN.json…      (reports of hack bench apply)
    python3 jobs/plot/products.py [--output FOLDER] --records FOLDER     from jobs/results

Writes time_rank and roofline (from records: time_rank alone) as .svg and .png; default folder: runs/plot.
"""

import argparse
from pathlib import Path

from canvas import COLORS, GREY, figure, plain_ticks, read_json, save


def draw_times(axes, curves, dense, title):
    """Curves {name: [(rank, milliseconds)]}, the dense product as a line, and where a curve crosses it."""
    axes.axhline(dense, color=GREY, linestyle="--", label="dense")
    for number, (color, (name, points)) in enumerate(zip(COLORS, sorted(curves.items()))):
        points = sorted(points)
        axes.plot([r for r, _ in points], [t for _, t in points], "o-", color=color, label=name)
        for (r0, t0), (r1, t1) in zip(points, points[1:]):
            if t0 < dense <= t1:
                rank = r0 + (dense - t0) / (t1 - t0) * (r1 - r0)
                axes.plot(rank, dense, "x", color=color, markersize=9, markeredgewidth=2)
                axes.annotate(f"rank {rank:.0f}", (rank, dense), xytext=(0, -18 if number % 2 else 9),
                              textcoords="offset points", ha="left" if number % 2 else "right", fontsize=9, color=color)
                break
    axes.set(xlabel="rank of a tile of 128 × 128", ylabel="milliseconds", title=title)
    axes.set_ylim(bottom=0)
    axes.legend()


def rows_of(paths):
    reports = [read_json(path) for path in paths]
    for path, report in zip(paths, reports):
        if report.get("command") != "bench" or not any(row.get("part") == "apply" for row in report["results"]["rows"]):
            raise SystemExit(f"products: {path} is no report of hack bench apply; make one with --report FILE")
    return reports


def draw_ranks(reports, output):
    settings = {}
    for report in reports:
        for row in report["results"]["rows"]:
            curves, dense = settings.setdefault((row["tokens"], row["type"]), ({}, []))
            if row["kind"] == "dense" and row["codec"] == row["type"]:
                dense.append(row["seconds"] * 1e3)
            elif row["kind"] != "dense":
                curves.setdefault(f"{row['kind']}, {row['codec']}", []).append((row["rank"], row["seconds"] * 1e3))
    settings = {setting: rows for setting, rows in settings.items() if rows[0] and rows[1]}
    if not settings:
        raise SystemExit("products: these reports time no ranks beside a dense product; give bench apply "
                         "--ranks 16,32,64")
    drawn, axes = figure(len(settings), width=4.6)
    for one, ((tokens, kind), (curves, dense)) in zip(axes, sorted(settings.items())):
        draw_times(one, curves, dense[0], f"{tokens} token{'' if tokens == 1 else 's'}, {kind}")
    save(drawn, output, "time_rank")


def draw_roofline(reports, output):
    drawn, axes = figure(1, width=6.4, height=4.4)
    axes = axes[0]
    low, high = 1e9, 0
    for report in reports:
        for row in report["results"]["rows"]:
            row["intensity"] = row["gigaflops"] / row["gigabytes_per_second"]
            low, high = min(low, row["intensity"]), max(high, row["intensity"])
    low, high = low / 1.5, high * 1.5
    for report in reports:
        bandwidth = report["results"]["bandwidth"] * 1e-9
        for kind in sorted({row["type"] for row in report["results"]["rows"]}):
            peak = max(row["limit"] for row in report["results"]["rows"] if row["type"] == kind)
            edge = peak / bandwidth
            roof = [low * bandwidth, min(edge, high) * bandwidth, min(peak, high * bandwidth)]
            axes.plot([low, min(edge, high), high], roof, color=GREY, linewidth=1.2)
            axes.annotate(f"{bandwidth:.0f} GB/s, {peak:.0f} GFLOP/s in {kind}", (min(edge, high), peak), xytext=(0, 5),
                          textcoords="offset points", ha="center", fontsize=9)
    kinds = {}
    for report in reports:
        for row in report["results"]["rows"]:
            name = row["kind"] if row["kind"] != "dense" or row["codec"] == row["type"] else "dense, few bits"
            kinds.setdefault(name, []).append((row["intensity"], row["gigaflops"]))
    for color, (name, points) in zip(COLORS, sorted(kinds.items())):
        axes.plot([x for x, _ in points], [y for _, y in points], "o", color=color, label=name, alpha=0.8)
    axes.set(xscale="log", yscale="log", xlabel="operations a byte of weights", ylabel="GFLOP/s", title="Roofline")
    plain_ticks(axes.xaxis)
    plain_ticks(axes.yaxis)
    axes.legend(loc="lower right")
    save(drawn, output, "roofline")


def draw_records(records, output):
    """512 tokens times gate of Llama-3.1-8B's shape, with AMX and with AVX512_BF16."""
    first = {}  # what was measured again with a later version stands behind
    for row in read_json(Path(records) / "xeon-amx-inference.json")["factored_prefill"]:
        first.setdefault((row["instructions"], row["kind"], row["rank"]), row)
    rows = list(first.values())
    sets = list(dict.fromkeys(row["instructions"] for row in rows))
    drawn, axes = figure(len(sets), width=4.6)
    for one, instructions in zip(axes, sets):
        curves, dense = {}, None
        for row in (row for row in rows if row["instructions"] == instructions):
            name = {"factors": "two factors", "pivoted": "row interpolative"}.get(row["kind"])
            if name is None:
                dense = row["milliseconds"]
            else:
                curves.setdefault(name, []).append((row["rank"], row["milliseconds"]))
        draw_times(one, curves, dense, f"512 tokens, bf16, {instructions.upper()}")
    save(drawn, output, "time_rank")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", metavar="RUN.json")
    parser.add_argument("--records", help="folder of the repository's records")
    parser.add_argument("--output", default="runs/plot", help="folder of the pictures")
    options = parser.parse_args()
    if options.records:
        draw_records(options.records, options.output)
    elif options.runs:
        reports = rows_of(options.runs)
        draw_ranks(reports, options.output)
        draw_roofline(reports, options.output)
    else:
        parser.error("name reports or --records")


if __name__ == "__main__":
    main()
