#!/usr/bin/env python3
"""Draws what an archive holds: layer by layer, and one matrix tile by tile.

    python3 jobs/plot/tiles.py ARCHIVE.h5 [--matrix NAME] [--report RUN.json] [--output FOLDER]

layers: mean rank, bits a weight, relative error of each matrix, and from the compression's own report the error on the
calibration text's inputs, which says how sensitive the model is there. tiles: the same for each tile of one matrix (the
first that was compressed unless named). Writes .svg and .png; default folder: runs/plot.
"""

import argparse
from pathlib import Path

import numpy as np

from archive import Archive, place_of
from canvas import figure, read_json, save


def relative_error(matrix):
    energy = matrix.energy.sum()
    return np.sqrt(max(matrix.discarded.sum(), 0) / energy) if energy > 0 else 0.0


def bits_of(matrix):
    return 8 * sum(term.bytes for term in matrix.terms) / (matrix.rows * matrix.cols)


def draw_grid(drawn, axes, grid, title, xlabel, ylabel):
    image = axes.imshow(grid, aspect="auto", cmap="viridis", interpolation="nearest")
    axes.set(title=title, xlabel=xlabel, ylabel=ylabel)
    axes.grid(False)
    drawn.colorbar(image, ax=axes)


def draw_layers(archive, report, output):
    weighted = {}
    if report:
        weighted = {row["name"]: row.get("weighted_relative_error") for row in read_json(report)["results"]["matrices"]}
    kinds = list(dict.fromkeys(place_of(name)[1] for name in archive.names))
    layers = sorted({place_of(name)[0] for name in archive.names})
    titles = ["mean rank of tiles", "bits a weight", "relative error of the weights"]
    if any(value is not None for value in weighted.values()):
        titles.append("relative error on the text's inputs")
    grids = np.full((len(titles), len(kinds), len(layers)), np.nan)
    for name in archive.names:
        matrix = archive.matrix(name)
        layer, kind = place_of(name)
        at = kinds.index(kind), layers.index(layer)
        figures = [matrix.over_tiles(lambda term: term.rank).mean(), bits_of(matrix), relative_error(matrix)]
        figures.append(weighted.get(name))
        for grid, value in zip(grids, figures):
            grid[at] = np.nan if value is None else value
    drawn, axes = figure(1, len(titles), width=8, height=1.1 + 0.25 * len(kinds))
    for one, grid, title in zip(axes, grids, titles):
        draw_grid(drawn, one, grid, title, "layer" if title == titles[-1] else "", "")
        one.set_yticks(range(len(kinds)), kinds)
        step = max(1, len(layers) // 15)
        one.set_xticks(range(0, len(layers), step), layers[::step])
    save(drawn, output, "layers")


def draw_tiles(archive, name, output):
    matrix = archive.matrix(name)
    numbers = matrix.numbers()
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.where(matrix.energy > 0, np.sqrt(np.maximum(matrix.discarded, 0) / matrix.energy), 0)
    panels = [
        ("rank", matrix.over_tiles(lambda term: term.rank)),
        ("bits a weight", matrix.over_tiles(lambda term: 8 * term.bytes) / numbers),
        ("relative error", error),
        ("share of the matrix's squared error, %", 100 * matrix.discarded / max(matrix.discarded.sum(), 1e-300)),
    ]
    drawn, axes = figure(2, 2, width=4.6, height=3.2)
    for one, (title, grid) in zip(axes, panels):
        draw_grid(drawn, one, grid, title, "tile column", "tile row")
    kinds = sorted({f"{term.structure} {term.codec}" for term in matrix.terms})
    drawn.suptitle(f"{name}: {', '.join(kinds)}", fontsize=10)
    save(drawn, output, "tiles")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", metavar="ARCHIVE.h5")
    parser.add_argument("--matrix", help="which matrix is drawn tile by tile")
    parser.add_argument("--report", help="report of the compression that made the archive")
    parser.add_argument("--output", default="runs/plot", help="folder of the pictures")
    options = parser.parse_args()
    archive = Archive(Path(options.archive))
    draw_layers(archive, options.report, options.output)
    draw_tiles(archive, options.matrix or archive.names[0], options.output)


if __name__ == "__main__":
    main()
