#!/usr/bin/env python3
"""Draws loss against stored bytes.

    python3 jobs/plot/loss_bytes.py [--output FOLDER] FOLDER|RUN.json…     from reports, such as the demo's runs/demo
    python3 jobs/plot/loss_bytes.py [--output FOLDER] --records FOLDER     from jobs/results, with llama.cpp beside

Reports: a `perplexity --archive A.h5` and the `compress --output A.h5` that made its archive give a point, a perplexity
without archive the dense model's; so does each row of a sweep. Writes loss_bytes.svg and .png (folder: runs/plot).
"""

import argparse
from pathlib import Path

from canvas import BLUE, GREEN, GREY, ORANGE, PINK, figure, plain_ticks, read_json, save

MARKS = {"low rank": (BLUE, "o"), "quantized": (ORANGE, "s"), "llama.cpp": (GREEN, "D"), "sweep": (PINK, "^")}


def reports_in(paths):
    """Every report among files and folders; other JSON files of a folder are passed over."""
    files = []
    for path in map(Path, paths):
        files += sorted(path.glob("*.json")) if path.is_dir() else [path]
    return [report for report in map(read_json, files) if isinstance(report, dict) and "command" in report]


def kind_of(report):
    """What a compression stores."""
    config = report["config"]
    return "quantized" if config.get("codec") or config.get("terms") == "quantized" else "low rank"


def label_of(report, kind):
    bits = report["results"].get("bits_per_weight")
    if kind == "quantized" and bits:
        codec = report["config"].get("codec")
        return f"{codec if isinstance(codec, str) else 'mix'}, {bits:.1f} bits"
    return f"low rank, {report['results']['keep']:.2f}"


def points_of_reports(reports):
    """(setting, kind, label, share, results) of each point; settings tell apart what does not compare."""
    made = {Path(r["results"]["archive"]).resolve(): r for r in reports if r["command"] == "compress"}
    for report in reports:
        results, config = report["results"], report["config"]
        if report["command"] == "perplexity":
            windows = "1 window" if results["windows"] == 1 else f"{results['windows']} windows"
            setting = f"{Path(config['text']).name}, {windows} of {results['context']}, protocol {results['protocol']}"
            if not config.get("archive"):
                yield setting, "dense", "dense, 16 bits", 1.0, results
            elif (source := made.get(Path(config["archive"]).resolve())) is not None:
                kind = kind_of(source)
                yield setting, kind, label_of(source, kind), source["results"]["keep"], results
        if report["command"] == "sweep":
            for row in results["rows"]:
                for scores in row["evaluation"]:
                    kind = "dense" if row["method"] == "dense" else "sweep"
                    share = 1.0 if kind == "dense" else row["bytes_factors"] / row["bytes_dense"]
                    yield Path(scores["text"]).name, kind, row["method"], share, scores


def label(axes, x, y, text, left=False):
    axes.annotate(text, (x, y), xytext=(-7 if left else 7, 3), textcoords="offset points",
                  ha="right" if left else "left", fontsize=8.5)


def draw_points(axes, points, value):
    """Points of one setting; the dense model's loss as a line across."""
    named = set()
    for kind, text, share, results in points:
        loss = results.get(value, results.get(value + "_after"))  # sweeps say both models' perplexity
        if loss is None:
            continue
        if kind == "dense":
            axes.axhline(loss, color=GREY, linestyle="--", linewidth=1)
            label(axes, 1.0, loss, text, left=True)
            continue
        color, mark = MARKS[kind]
        axes.plot(share, loss, mark, color=color, label=None if kind in named else kind)
        named.add(kind)
        label(axes, share, loss, text, left=share > 0.6)
    axes.set(xlabel="stored bytes ÷ bytes at 16 bits", yscale="log", xlim=(0, 1.05))
    plain_ticks(axes.yaxis)
    if named:
        axes.legend()


def draw_reports(paths, output):
    points = list(points_of_reports(reports_in(paths)))
    if not any(kind != "dense" for _, kind, _, _, _ in points):
        raise SystemExit("loss_bytes: these reports hold no loss of a compressed model; name those of compress and of "
                         "perplexity --archive (jobs/demo.sh leaves them in runs/demo), or of a sweep")
    settings = list(dict.fromkeys(point[0] for point in points))
    values = [("perplexity", "perplexity"), ("divergence", "KL from the dense model, nats a token")]
    values = [value for value in values if any({value[0], value[0] + "_after"} & point[4].keys() for point in points)]
    drawn, axes = figure(len(values), len(settings))
    for row, setting in enumerate(settings):
        for column, (key, title) in enumerate(values):
            one = axes[row * len(values) + column]
            draw_points(one, [point[1:] for point in points if point[0] == setting], key)
            one.set(ylabel=title, title=setting)
    save(drawn, output, "loss_bytes")


def line(axes, rows, kind, name, hollow=False):
    """Points (share, loss) joined in order of their bytes."""
    color, mark = MARKS[kind]
    rows = sorted(rows)
    axes.plot([x for x, _ in rows], [y for _, y in rows], mark + "-", color=color, label=name, linewidth=1,
              markerfacecolor="white" if hollow else color)


def low_rank_rows(methods, refined):
    """Perplexities of low rank by budget: with the defaults, and with the last refined run of each budget."""
    found = {}
    for run in methods["runs"]:
        words = run["options"].split()
        is_default = "(defaults: floor 0.9)" in run["options"]
        is_refined = words[2:4] in (["--refine", "120"], ["--refine", "120,"]) and "Zen 4" in run["options"]
        if words[0] == "--keep" and (is_refined if refined else is_default):
            found[float(words[1])] = run["perplexity"]
    return list(found.items())


def draw_mlp(axes, records):
    bits = read_json(records / "smollm2-135m-few-bits.json")
    methods = read_json(records / "smollm2-135m-methods.json")
    line(axes, low_rank_rows(methods, False), "low rank", "low rank")
    line(axes, low_rank_rows(methods, True), "low rank", "low rank, refined", hollow=True)
    best = {}
    for row in bits["rows"] + bits["budgets"]["rows"]:
        if "by losses themselves" in row.get("options", ""):
            continue
        share = round(row["bits_per_weight"] / 16, 3)
        best[share] = min(best.get(share, 1e9), row["perplexity"])
    line(axes, list(best.items()), "quantized", "quantized")
    peers = [row for row in methods["bytes_and_perplexity"]["rows"] if row["options"].startswith("Q8_0")]
    line(axes, [(row["share_of_bf16"], row["perplexity"]) for row in peers], "llama.cpp", "llama.cpp, Q8_0")
    dense = bits["dense"]["perplexity"]
    axes.axhline(dense, color=GREY, linestyle="--", linewidth=1)
    label(axes, 0.0, dense, "dense")
    for codec, bits_a_weight in (("2.6 bits", 2.597), ("3.35 bits", 3.35), ("4.5 bits", 4.503), ("8.5 bits", 8.503)):
        share = round(bits_a_weight / 16, 3)
        label(axes, share, best[share], codec)
    axes.set(title="SmolLM2-135M, gate, up and down", xlabel="stored bytes ÷ bytes at 16 bits",
             ylabel="perplexity, WikiText-2", xlim=(0, 1.02), yscale="log", ylim=(21.5, 170))
    plain_ticks(axes.yaxis, [23, 25, 30, 40, 60, 100, 150])
    axes.legend()


def draw_whole_model(axes, records):
    rows = read_json(records / "smollm2-135m-few-bits.json")["whole_model"]["rows"]
    ours = [row for row in rows if "llama.cpp" not in row]
    peers = [row for row in rows if "llama.cpp" in row]
    for kind, name, some in (("quantized", "hack, one budget for all matrices", ours),
                             ("llama.cpp", "llama.cpp", peers)):
        color, mark = MARKS[kind]
        axes.plot([row["bytes"] / 1e6 for row in some], [row["kl_of_the_first_window"] for row in some], mark,
                  color=color, label=name)
    for row in peers:
        label(axes, row["bytes"] / 1e6, row["kl_of_the_first_window"], row["llama.cpp"],
              left=row["bytes"] > 0.97 * max(peer["bytes"] for peer in peers))
    axes.set(title="SmolLM2-135M, the whole model (16 bits: 269 MB)", xlabel="stored MB",
             ylabel="KL from the dense model, nats a token", yscale="log", xlim=(86, 114), ylim=(0.008, 0.35))
    plain_ticks(axes.yaxis, [0.01, 0.02, 0.05, 0.1, 0.2])
    axes.legend()


def draw_records(records, output):
    drawn, axes = figure(2)
    draw_mlp(axes[0], Path(records))
    draw_whole_model(axes[1], Path(records))
    save(drawn, output, "loss_bytes")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", metavar="RUN", help="reports, or folders of reports")
    parser.add_argument("--records", help="folder of the repository's records")
    parser.add_argument("--output", default="runs/plot", help="folder of the pictures")
    options = parser.parse_args()
    if options.records:
        draw_records(options.records, options.output)
    elif options.runs:
        draw_reports(options.runs, options.output)
    else:
        parser.error("name reports or --records")


if __name__ == "__main__":
    main()
