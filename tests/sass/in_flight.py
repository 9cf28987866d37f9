"""Bytes of weights in flight on each multiprocessor, at the shapes of an 8B model, and what the memory needs.

Little's law: a memory of bandwidth B and latency L is busy with B · L bytes on their way. Bandwidths are the vendor's; the
latency is that of a loaded memory, an assumption, not measured here.
"""

import re

# name, multiprocessors, bytes a second, seconds
MACHINES = {
    80: ("A100 80 GB", 108, 2.04e12, 0.6e-6),
    90: ("H200", 132, 4.8e12, 0.8e-6),
    100: ("B200", 148, 8.0e12, 0.8e-6),
}

# Matrices of Llama-3.1-8B that a kernel is launched for: name, rows.
PLAIN = [("o, down", 4096), ("head", 128256)]
PAIRS = [("gate and up", 14336)]
HEADS = [("q, k, v", 6144)]
# In tiles of 128: name, tile rows of all matrices of the launch, columns.
TILES = [("gate and up", 2 * 112, 4096), ("down", 32, 14336)]
COLUMNS_OF_RUN, BLOCKS_WANTED = 1024, 3  # TileRuns'



def runs_of(tile_rows, columns, multiprocessors):
    """Blocks of a product with tiles, as tile_runs.cpp shares them out: tile rows of one matrix where there are two."""
    of_one = tile_rows // 2 if tile_rows == TILES[0][1] else tile_rows
    wanted = -(-BLOCKS_WANTED * multiprocessors // of_one)
    of_run = min(-(-columns // wanted), COLUMNS_OF_RUN) // 128
    return tile_rows * -(-columns // 128 // max(of_run, 1))


def matrices_of(kernel):
    if kernel["kind"] == "tiles":
        return TILES
    return PAIRS if "Gated" in kernel["kernel"] else HEADS if "Heads" in kernel["kernel"] else PLAIN


# Kernels whose rows of the table may stay below what is needed: of codes below eight bits, which are bound by
# instructions, as the page says.
MAY_BE_SHORT = re.compile("Q[2-6]|Iq4")


def needed(architecture):
    _, multiprocessors, bandwidth, latency = MACHINES[architecture]
    return bandwidth * latency / multiprocessors


def in_flight(kernel, registers, architecture, matrix, blocks_of):
    """Bytes on their way to a multiprocessor, of the blocks that run on it at once: as many as fit, or as there are."""
    multiprocessors = MACHINES[architecture][1]
    if kernel["kind"] == "tiles":
        launched = runs_of(matrix[1], matrix[2], multiprocessors) / multiprocessors
    else:
        launched = -(-matrix[1] // kernel["rows_of_block"]) / multiprocessors
    blocks = min(blocks_of(kernel, registers, architecture), launched)
    return blocks * (kernel["threads"] // 32) * kernel["bytes_of_warp"]


def table(kernels, registers_of, blocks_of):
    """Rows of the page's table, and which of them are too low without being known to be."""
    rows, short = [], []
    for kernel in kernels:
        if not kernel["bytes_of_warp"]:
            continue
        for matrix in matrices_of(kernel):
            name = matrix[0]
            cells = []
            for architecture in sorted(MACHINES):
                registers = registers_of.get((kernel["kernel"], architecture))
                if registers is None:
                    cells.append("–")
                    continue
                bytes_there = in_flight(kernel, registers, architecture, matrix, blocks_of)
                is_short = bytes_there < needed(architecture)
                cells.append(f"{bytes_there / 1000:.0f}{' (short)' if is_short else ''}")
                if is_short and architecture < 100 and not MAY_BE_SHORT.search(kernel["kernel"]):
                    short.append(f"{kernel['kernel']}, sm_{architecture}, {name}: {bytes_there / 1000:.0f} kB in flight, "
                                 f"{needed(architecture) / 1000:.0f} are needed")
            rows.append(f"| `{kernel['kernel']}` | {name} | " + " | ".join(cells) + " |")
    return rows, short
