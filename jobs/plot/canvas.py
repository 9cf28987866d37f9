"""What all pictures share: matplotlib, colours, and files of both kinds."""

import json
import sys
from pathlib import Path

try:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
except ImportError:
    raise SystemExit(
        "plot: this Python has no matplotlib; bash jobs/setup.sh --plots installs Debian's, or make one of your own: "
        "python3 -m venv runs/venv && runs/venv/bin/pip install matplotlib h5py, and put runs/venv/bin first in PATH"
    )

# Okabe and Ito's colours: readers who see few colours can tell them apart.
BLUE, ORANGE, GREEN, PINK, GREY = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#5d6670"
COLORS = [BLUE, ORANGE, GREEN, PINK, "#8a6d00", GREY]

matplotlib.rcParams.update({
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "axes.grid": True,
    "axes.prop_cycle": matplotlib.cycler(color=COLORS),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": "white",
    "font.size": 10.5,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "savefig.dpi": 160,
    # The same figures give the same bytes.
    "svg.hashsalt": "hack",
})


def read_json(path):
    """A report or a record."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SystemExit(f"plot: {path} cannot be read ({error})")


def figure(columns=1, rows=1, width=5.2, height=3.9):
    """A figure and its axes, a list even where it is one."""
    drawn, axes = pyplot.subplots(rows, columns, figsize=(width * columns, height * rows), layout="constrained",
                                  squeeze=False)
    return drawn, [one for row in axes for one in row]


def plain_ticks(axis, marks=None):
    """Marks a logarithmic axis at `marks`, or at a few round numbers of each decade, and writes them as numbers."""
    if marks is None:
        low, high = axis.get_view_interval()
        near = (1, 1.5, 2, 3, 4, 5, 6, 8) if high < 5 * low else (1, 2, 5) if high < 500 * low else (1,)
        axis.set_major_locator(matplotlib.ticker.LogLocator(subs=near, numticks=12))
    else:
        axis.set_major_locator(matplotlib.ticker.FixedLocator(marks))
    axis.set_minor_locator(matplotlib.ticker.NullLocator())
    axis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda value, _: f"{value:g}"))


def save(drawn, output, name):
    """Writes OUTPUT/NAME.png and .svg, whole or not at all, and says so."""
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    for kind in ("png", "svg"):
        part = folder / f".{name}.part.{kind}"
        drawn.savefig(part, metadata={"Date": None} if kind == "svg" else {"Software": None})
        part.replace(folder / f"{name}.{kind}")
    pyplot.close(drawn)
    print(f"{folder / name}.svg, .png", file=sys.stderr)
