#!/usr/bin/env python3
"""Looks at memory and descriptors over long runs: an evaluation of many windows, a text of many tokens, of a tiny model.

  long_runs.py --program build/bin/hack [--mpirun mpirun] [--windows 2000] [--tokens 20000] [--ranks 1,2] [--json FILE]

A run's first tenth, by windows or tokens, is its warm-up. From there to its end the resident memory of each
rank may grow by 1 % beside the answer itself (losses of windows on rank 0, ids of tokens), and the number of open files
not at all. Exit status 1 where it did.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import tiny_files
from processes import Processes

CONTEXT = 48
WINDOW_BYTES = 4 * (CONTEXT - 1)   # losses in f32, which rank 0 alone keeps
TOKEN_BYTES = 2 * 4                # ids of what was generated and of what was seen


def sample(process):
    """Resident bytes and open files of a process; None where it has ended."""
    try:
        pages = int(pathlib.Path(f"/proc/{process}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGESIZE"), len(os.listdir(f"/proc/{process}/fd"))
    except (OSError, IndexError):
        return None


def size_of(path):
    return path.stat().st_size if path.exists() else 0


def watch(command, ranks, program, work, progress):
    """Runs a command; returns its status and, for each rank, samples with the size of the file that grows meanwhile."""
    mark = f"{os.getpid()}-long"
    processes = Processes(mark, program)
    series, found_ranks = {}, {}
    with open(work / "out", "wb") as out, open(work / "err", "wb") as err:
        run = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                               env=dict(os.environ, HACK_FAULT_MARK=mark))
        while run.poll() is None:
            if len(found_ranks) < ranks:
                found_ranks = processes.ranks()
            for rank, process in found_ranks.items():
                found = sample(process)
                if found and found[0] > 0:
                    series.setdefault(rank, []).append((size_of(progress), *found))
            time.sleep(0.005)
    return run.returncode, series


def judge(name, series, answers):
    """A row for each rank: memory and files after the warm-up and at the end. answers: bytes on rank 0, on others."""
    rows = []
    for rank, samples in sorted(series.items()):
        whole, answer = samples[-1][0], answers[rank > 0]
        samples = [s for s in samples if 0.1 * whole <= s[0] <= 0.99 * whole]
        if len(samples) < 2:
            sys.exit(f"{name}: too short to be watched")
        warm = samples[0]
        last = max(samples[-10:], key=lambda s: s[1])
        grown = last[1] - warm[1] - answer
        # A file that is being appended to is open for a moment.
        files_before, files = (min(s[2] for s in part) for part in (samples[:10], samples[-10:]))
        rows.append({"run": name, "rank": rank, "samples": len(samples),
                     "resident_after_warm_up": warm[1], "resident_at_end": last[1], "answer_bytes": answer,
                     "growth": round(grown / warm[1], 5), "files_after_warm_up": files_before,
                     "files_at_end": files,
                     "flat": grown <= 0.01 * warm[1] and files <= files_before})
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True)
    parser.add_argument("--mpirun", default="mpirun")
    parser.add_argument("--windows", type=int, default=2000)
    parser.add_argument("--tokens", type=int, default=20000)
    parser.add_argument("--ranks", default="1,2")
    parser.add_argument("--json")
    options = parser.parse_args()
    program = pathlib.Path(options.program).resolve()
    rows = []
    with tempfile.TemporaryDirectory(prefix="hack-long-") as folder:
        work = pathlib.Path(folder)
        tiny_files.write_model(work / "model", hidden=32, intermediate=64, layers=1,
                               context=options.tokens + 64)
        tiny_files.write_text(work / "text", options.windows * CONTEXT // 60 + 100)
        for ranks in [int(word) for word in options.ranks.split(",")]:
            launcher = [options.mpirun, "-n", str(ranks)] if ranks > 1 else []
            runs = {f"{options.windows} windows": (
                        ["perplexity", str(work / "model"), "--text", str(work / "text"), "--context", str(CONTEXT),
                         "--windows", str(options.windows), "--records", str(work / f"losses-{ranks}"), "--quiet"],
                        (int(0.9 * options.windows) * WINDOW_BYTES, 0), work / f"losses-{ranks}"),
                    f"{options.tokens} tokens": (
                        ["generate", str(work / "model"), "--prompt", "the lamp", "--max-tokens", str(options.tokens),
                         "--quiet"], 2 * (int(0.9 * options.tokens) * TOKEN_BYTES,), work / "out")}
            for name, (arguments, answers, progress) in runs.items():
                status, series = watch([*launcher, str(program), *arguments, "--threads", "1"], ranks, program,
                                       work, progress)
                if status != 0 or len(series) != ranks:
                    sys.exit(f"{name} on {ranks} ranks ends with {status}: " + (work / "err").read_text())
                for row in judge(name, series, answers):
                    rows.append({"ranks": ranks, **row})
                    print("{run} on {ranks} ranks, rank {rank}: {resident_after_warm_up} bytes, at the end "
                          "{resident_at_end} ({growth:+.2%}); {files_after_warm_up} files, at the end {files_at_end}"
                          .format(**rows[-1]), "" if rows[-1]["flat"] else " NOT FLAT", flush=True)
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps({"rows": rows}, indent=1) + "\n")
    return 0 if all(row["flat"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
