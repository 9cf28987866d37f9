#!/usr/bin/env python3
"""Draws a matrix before and after compression, and the singular values of its kind in every layer.

    python3 jobs/plot/weights.py MODEL_DIRECTORY ARCHIVE.h5 [--matrix NAME] [--layers 0,10,20] [--output FOLDER]

weights: heat maps of the matrix before, after, and of the difference. spectra: singular values layer by layer, before
and after. MODEL_DIRECTORY holds safetensors; of a GGUF file, `hack export MODEL.gguf --format hf --output DIRECTORY`
makes one. Writes .svg and .png; default folder: runs/plot.
"""

import argparse
from pathlib import Path

import numpy as np

from archive import Archive, place_of, read_tensor
from canvas import figure, plain_ticks, pyplot, save

PIXELS = 320  # of a heat map's longer side


def shrunk(matrix):
    """Mean absolute values of blocks, few enough to be drawn."""
    step = max(1, -(-max(matrix.shape) // PIXELS))
    rows, cols = (size // step * step for size in matrix.shape)
    return np.abs(matrix[:rows, :cols]).reshape(rows // step, step, cols // step, step).mean(axis=(1, 3))


def draw_weights(before, after, name, output):
    maps = [("before", shrunk(before)), ("after", shrunk(after)), ("difference", shrunk(after - before))]
    drawn, axes = figure(3, width=4.2, height=4.0)
    most = np.quantile(maps[0][1], 0.999)
    for one, (title, values) in zip(axes, maps):
        image = one.imshow(values, aspect="auto", cmap="magma", vmin=0, vmax=most, interpolation="nearest",
                           extent=(0, before.shape[1], before.shape[0], 0))
        one.set(title=title, xlabel="input")
        one.grid(False)
    axes[0].set_ylabel("output")
    drawn.colorbar(image, ax=axes, label="|weight|, mean of a block")
    error = np.linalg.norm(after - before) / max(np.linalg.norm(before), 1e-30)
    drawn.suptitle(f"{name}, difference ÷ matrix (Frobenius): {error:.3f}", fontsize=10)
    save(drawn, output, "weights")


def singular_values(matrix):
    """In falling order, from the Gram matrix of the shorter side: ten times faster, right to 1e-7 of the largest."""
    short = matrix.astype(np.float64) if matrix.shape[0] < matrix.shape[1] else matrix.astype(np.float64).T
    return np.sqrt(np.maximum(np.linalg.eigvalsh(short @ short.T)[::-1], 0))


def draw_spectra(pairs, kind, output):
    """pairs: (layer, matrix before, matrix after)."""
    drawn, axes = figure(2, width=5.2)
    colors = pyplot.get_cmap("viridis")(np.linspace(0, 0.9, len(pairs)))
    for (layer, before, after), color in zip(pairs, colors):
        for one, matrix in zip(axes, (before, after)):
            values = singular_values(matrix)
            one.plot(np.arange(1, len(values) + 1), np.maximum(values, values[0] * 1e-7), color=color, linewidth=1,
                     label=f"layer {layer}")
    for one, title in zip(axes, ("before", "after")):
        one.set(title=f"{kind}, {title}", xlabel="number", ylabel="singular value", yscale="log")
        plain_ticks(one.yaxis)
    low = min(one.get_ylim()[0] for one in axes)
    high = max(one.get_ylim()[1] for one in axes)
    for one in axes:
        one.set_ylim(low, high)
    axes[1].legend(fontsize=8, ncols=2)
    save(drawn, output, "spectra")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", metavar="MODEL_DIRECTORY")
    parser.add_argument("archive", metavar="ARCHIVE.h5")
    parser.add_argument("--matrix", help="which matrix is drawn (default: the first)")
    parser.add_argument("--layers", help="comma list of layers whose singular values are drawn (default: about six)")
    parser.add_argument("--output", default="runs/plot", help="folder of the pictures")
    options = parser.parse_args()
    archive = Archive(Path(options.archive))
    name = options.matrix or archive.names[0]
    draw_weights(read_tensor(options.model, name), archive.matrix(name).dense(), name, options.output)
    kind = place_of(name)[1]
    same = [other for other in archive.names if place_of(other)[1] == kind]
    if options.layers:
        wanted = {int(layer) for layer in options.layers.split(",")}
        same = [other for other in same if place_of(other)[0] in wanted]
    else:
        same = same[:: max(1, len(same) // 6)]
    pairs = [(place_of(other)[0], read_tensor(options.model, other), archive.matrix(other).dense()) for other in same]
    draw_spectra(pairs, kind, options.output)


if __name__ == "__main__":
    main()
