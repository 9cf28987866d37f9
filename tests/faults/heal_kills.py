#!/usr/bin/env python3
"""Kills trainings of a tiny model at random moments, goes on with each, and compares its archive with an undisturbed one.

  heal_kills.py --program build/bin/hack [--mpirun mpirun] [--seed 1] [--count 10] [--ranks 1,2,3] [--json FILE]

A trial kills a training again and again, each time behind another random share of the undisturbed run's time, until one
run comes to its end; a kill takes one rank (the launcher ends the others) or, with one rank, the program. All but the
first run have --resume. Exit status 1 where an archive has other bytes, a state is left behind, or no kill has come in
time.
"""

import argparse
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

import tiny_files
from processes import Processes

MOST_KILLS = 3  # of a trial; the run behind them goes to its end


class Training:
    def __init__(self, options, work, ranks, tensor):
        self.program = pathlib.Path(options.program).resolve()
        self.work, self.ranks = work, ranks
        self.launcher = [options.mpirun, "-n", str(ranks)] if ranks > 1 else []
        self.line = ["heal", work / "model", "--archive", work / "a.h5", "--text", work / "text", "--heal", "100",
                     "--heal-rate", "3e-3", "--heal-batch", "192", "--heal-context", "64", "--tensor-parallel",
                     str(tensor), "--threads", "1", "--quiet", "--deadline", "120"]

    def run(self, output, resume=False, kill_behind=None, source=None):
        """The run's status, whether it was killed before its end, and its seconds."""
        mark = f"{os.getpid()}-{output}-{time.monotonic_ns()}"
        processes, begin = Processes(mark, self.program), time.monotonic()
        command = [*self.launcher, self.program, *self.line, "--output", self.work / output,
                   *(["--resume"] if resume else [])]
        with open(self.work / "messages", "wb") as messages:
            run = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=messages, stderr=messages,
                                   env=dict(os.environ, HACK_FAULT_MARK=mark))
            killed = False
            if kill_behind is not None:
                try:
                    run.wait(kill_behind)
                except subprocess.TimeoutExpired:
                    ranks = processes.ranks()
                    if ranks:
                        killed = True
                        os.kill(ranks[source.choice(sorted(ranks))], signal.SIGKILL)
            status = run.wait()
        while processes.all():
            time.sleep(0.02)
        return status, killed and status != 0, time.monotonic() - begin

    def fail(self, words):
        sys.exit(f"{words} on {self.ranks} ranks: " + (self.work / "messages").read_text())


def trial(training, source, expected, seconds):
    """One training, killed up to MOST_KILLS times: how often, and what is wrong."""
    output = training.work / "killed.h5"
    kills = 0
    while True:
        behind = source.uniform(0.05, 0.95) * seconds if kills < MOST_KILLS else None
        status, killed, _ = training.run(output.name, resume=kills > 0, kill_behind=behind, source=source)
        if not killed:
            break
        kills += 1
        if output.exists():
            break  # killed behind its end
    wrong = []
    if not killed and status != 0:
        training.fail("a run that goes on fails")
    if output.read_bytes() != expected:
        wrong.append("other bytes")
    if not killed and list(training.work.glob("killed.h5?*")):
        wrong.append("files left behind")
    for path in training.work.glob("killed.h5*"):
        subprocess.run(["rm", "-rf", path], check=True)
    return kills, wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True)
    parser.add_argument("--mpirun", default="mpirun")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--ranks", default="1,2,3", help="rank counts, taken in turn")
    parser.add_argument("--json")
    options = parser.parse_args()
    source = random.Random(options.seed)
    rank_counts = [int(word) for word in options.ranks.split(",")]
    undisturbed, rows = {}, []
    with tempfile.TemporaryDirectory(prefix="hack-heal-") as folder:
        work = pathlib.Path(folder)
        tiny_files.write_model(work / "model")
        tiny_files.write_text(work / "text", 120)
        subprocess.run([options.program, "compress", work / "model", "--output", work / "a.h5", "--terms", "lowrank",
                        "--keep", "0.6", "--tile", "32", "--calibration", work / "text", "--calibration-context", "64",
                        "--allocation", "even", "--threads", "1", "--quiet"], check=True, stdout=subprocess.DEVNULL)
        for number in range(options.count):
            ranks = rank_counts[number % len(rank_counts)]
            tensor = source.choice([t for t in range(1, ranks + 1) if ranks % t == 0])
            training = Training(options, work, ranks, tensor)
            if (ranks, tensor) not in undisturbed:
                status, _, seconds = training.run(f"whole-{ranks}-{tensor}.h5")
                if status != 0:
                    training.fail("the undisturbed run fails")
                undisturbed[ranks, tensor] = (work / f"whole-{ranks}-{tensor}.h5").read_bytes(), seconds
            kills, wrong = trial(training, source, *undisturbed[ranks, tensor])
            rows.append({"ranks": ranks, "tensor_parallel": tensor, "kills": kills, "wrong": wrong})
            print(f"{number + 1}: {ranks} ranks, tensor x data {tensor} x {ranks // tensor}, killed {kills} times: "
                  + (", ".join(wrong) or "the same bytes"), flush=True)
    if options.json:
        record = {"seed": options.seed, "trials": rows}
        pathlib.Path(options.json).write_text(json.dumps(record, indent=1) + "\n")
    return 0 if not any(row["wrong"] for row in rows) and any(row["kills"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
