#!/usr/bin/env python3
"""Holds the machine code of hot kernels to what hot_kernels.cuh says of them.

    check_sass.py LIST CUBIN…          LIST: what print_hot_kernels prints; cubins of hot_kernels.cu, one an architecture
    check_sass.py --write FILE …       the same, and writes the tables of docs/gpu-machine-code.md

Exit status 77: no disassembler is installed. The first of nvdisasm on the PATH, beside nvcc, and in Python's package
nvidia-cuda-nvdisasm is taken; HACK_NVDISASM names another.
"""

import collections
import glob
import json
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import disassembly  # noqa: E402
import in_flight  # noqa: E402

SPILLS = {"LDL", "STL"}
# Branches; BRA.DIV before a sum over lanes is not one: it is taken where lanes of a warp have come apart, which those
# of these kernels have not. The loop's own is the one that closes it. Calls are divisions, or whatever was not inlined.
BRANCHES = {"BRA", "BRX", "JMP", "RET", "EXIT", "CALL", "BSSY", "BREAK"}
NOT_IN_STREAMS = {"S2R", "S2UR", "BAR", "MUFU", "SHFL"}
REGISTERS = 65536  # of a multiprocessor
SHARED = {80: 164 * 1024, 90: 228 * 1024, 100: 228 * 1024}  # likewise, 1 KiB of it taken for each block
MULTIPLY = {"FFMA", "HMMA", "FMUL"}


def is_wide_load(instruction):
    return instruction.name == "LDG" and "128" in instruction.modifiers


def is_load(kernel, instruction):
    """Of weights: 16 bytes, or, of codecs whose blocks are no whole loads of these, any."""
    return instruction.name == "LDG" if kernel.get("runs") else is_wide_load(instruction)


def loads_of(kernel, loop):
    """Loads of 16 bytes of a turn of the loop, or runs of a block."""
    return kernel.get("runs") or sum(map(is_wide_load, loop))


def hot_loop(kernel, function):
    """The innermost loop that loads weights and multiplies most."""
    loops = [loop for loop in function.loops() if any(is_load(kernel, i) for i in loop)]
    return max(loops, key=lambda loop: sum(i.name in MULTIPLY for i in loop), default=[])


def tile_loops(kernel, function):
    """The innermost loops that load weights and multiply more than scales: of right rows and of left rows."""
    return [loop for loop in function.loops()
            if any(is_load(kernel, i) for i in loop) and sum(i.name in MULTIPLY for i in loop) >= 32]


def body_of(loop):
    """Without what closes it: a branch back under a condition, or a way out under one before the branch."""
    exits = not loop[-1].guard and len(loop) > 1 and loop[-2].guard and loop[-2].name in ("BRA", "CALL")
    return loop[:-2] if exits else loop[:-1]


def faults_of_stream(kernel, loop):
    loads = [i for i in loop if i.name == "LDG"]
    wide = loads_of(kernel, loads)
    if not loads or wide == 0:
        return ["no loop with loads of 16 bytes"]
    faults = []
    narrow = len(loads) - wide
    if not kernel.get("runs") and narrow > (wide if kernel["has_scales"] else 0):
        faults.append(f"{narrow} loads of weights of less than 16 bytes in the loop")
    count = len(loop) / wide
    if count > kernel["instructions"]:
        faults.append(f"{count:.1f} instructions for a load of 16 bytes, {kernel['instructions']} are allowed")
    branches = [i.text for i in body_of(loop) if i.name in BRANCHES and "DIV" not in i.modifiers]
    if branches:
        faults.append(f"branches in the loop: {branches[0]}")
    forbidden = set(NOT_IN_STREAMS)
    if kernel["kind"] == "tiles":
        # The sum over lanes; and one special register, which some compilers read again, for all loads of a long turn.
        forbidden -= {"SHFL"}
        if sum(i.name in ("S2R", "S2UR") for i in loop) <= 1:
            forbidden -= {"S2R", "S2UR"}
    others = sorted({i.name for i in loop if i.name in forbidden})
    if others:
        faults.append(f"{', '.join(others)} in the loop")
    narrow_shared = sum(i.name == "LDS" and "128" not in i.modifiers for i in loop)
    if narrow_shared:
        faults.append(f"{narrow_shared} reads of shared memory of less than 16 bytes in the loop")
    return faults


def faults_of(kernel, function, registers, architecture):
    """What of a kernel's machine code is not as it is meant to be."""
    faults = []
    spills = sum(i.name in SPILLS for i in function.instructions)
    if spills:
        faults.append(f"{spills} accesses to local memory")
    names = collections.Counter(i.name for i in function.instructions)
    if kernel["kind"] == "stream":
        faults += faults_of_stream(kernel, hot_loop(kernel, function))
    if kernel["kind"] == "tiles":
        loops = tile_loops(kernel, function)
        if len(loops) != 2:
            faults.append(f"{len(loops)} loops with loads of 16 bytes, of right rows and of left rows, 2 are meant")
        for loop in loops:
            faults += faults_of_stream(kernel, loop)
    if kernel["kind"] == "product" and not names["HMMA"]:
        faults.append("no instruction of tensor cores")
    if kernel["kind"] == "wide" and not any(map(is_wide_load, function.instructions)):
        faults.append("no load of 16 bytes")
    blocks = blocks_of(kernel, registers, architecture)
    if blocks < kernel["blocks"]:
        faults.append(f"{blocks} blocks of a multiprocessor, {kernel['blocks']} are meant")
    return faults


def blocks_of(kernel, registers, architecture):
    """Blocks that fit a multiprocessor by registers, which warps get by 256, shared memory and threads."""
    of_warp = (registers * 32 + 255) // 256 * 256
    by_registers = REGISTERS // of_warp // (kernel["threads"] // 32)
    by_shared = SHARED[architecture] // (kernel["shared_bytes"] + 1024)
    return min(by_registers, by_shared, 2048 // kernel["threads"], 32)


def find_disassembler():
    nvcc = shutil.which("nvcc") or "/usr/local/cuda/bin/nvcc"
    candidates = [os.environ.get("HACK_NVDISASM"), shutil.which("nvdisasm"),
                  os.path.join(os.path.dirname(os.path.realpath(nvcc)), "nvdisasm")]
    for folder in sys.path:
        candidates += sorted(glob.glob(os.path.join(folder, "nvidia", "*", "bin", "nvdisasm")))
    return next((c for c in candidates if c and os.access(c, os.X_OK)), None)


def find_function(functions, kernel):
    part = disassembly.mangled(kernel)
    found = [f for name, f in functions.items() if part in name and "run" in name]
    if len(found) != 1:
        raise SystemExit(f"{kernel}: {len(found)} functions with {part} in their names")
    return found[0]


def row_of(kernel, function, registers, architecture):
    loops = {"stream": [hot_loop(kernel, function)], "tiles": tile_loops(kernel, function)}.get(kernel["kind"], [])
    counts = [len(loop) / max(loads_of(kernel, loop), 1) for loop in loops]
    count = ", ".join(f"{count:.1f}" for count in counts) or "–"
    limit = kernel["instructions"] or "–"
    products = sum(i.name == "HMMA" for i in function.instructions) or "–"
    blocks = blocks_of(kernel, registers, architecture)
    return (f"| `{kernel['kernel']}` | sm_{architecture} | {count} | {limit} | {products} | {registers} | "
            f"{kernel['shared_bytes']} | {blocks * kernel['threads'] // 32} |")


def main(arguments):
    page = None
    if arguments and arguments[0] == "--write":
        page, arguments = arguments[1], arguments[2:]
    disassembler = find_disassembler()
    if disassembler is None:
        print("skipped: no nvdisasm (a part of the CUDA Toolkit, and Python's package nvidia-cuda-nvdisasm)")
        return 77
    with open(arguments[0], encoding="utf-8") as file:
        kernels = [json.loads(line) for line in file]
    if not kernels or len(arguments) < 2:
        raise SystemExit("no kernels, or no cubins of them: nothing would be checked")
    rows, failed, registers_of = [], 0, {}
    for path in arguments[1:]:
        architecture = int(re.search(r"(\d+)\.cubin$", path).group(1))
        text = subprocess.run([disassembler, "-c", path], check=True, capture_output=True, text=True).stdout
        functions = disassembly.read(text)
        with open(path, "rb") as file:
            registers = disassembly.registers(file.read())
        for kernel in kernels:
            function = find_function(functions, kernel["kernel"])
            own = registers[function.name]
            registers_of[kernel["kernel"], architecture] = own
            rows.append(row_of(kernel, function, own, architecture))
            for fault in faults_of(kernel, function, own, architecture):
                print(f"{kernel['kernel']}, sm_{architecture}: {fault}")
                failed += 1
    flights, short = in_flight.table(kernels, registers_of, blocks_of)
    for fault in short:
        print(fault)
    if page:
        write(page, rows, flights)
    print(f"{len(kernels)} kernels, {len(arguments) - 1} architectures, {failed + len(short)} faults")
    return 1 if failed or short else 0


def write(page, rows, flights):
    with open(page, encoding="utf-8") as file:
        text = file.read()
    for name, lines in (("kernels", rows), ("in flight", flights)):
        begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->\n"
        head, rest = text.split(begin)
        table, tail = rest.split(end)
        heading = "\n".join(table.splitlines()[:2])
        text = f"{head}{begin}{heading}\n" + "\n".join(lines) + f"\n{end}{tail}"
    with open(page, "w", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
