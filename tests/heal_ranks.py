#!/usr/bin/env python3
"""Steps of `hack heal` on two data-parallel ranks beside those of two programs of one rank each, measured in turn.

Usage: heal_ranks.py --program build/bin/hack --model MODEL --archive A.h5 --text TEXT [--mpirun mpirun]
                     [--tokens 1024] [--steps 3] [--rounds 3] [--json FILE]

A step takes a window on each rank, one thread a rank: the two ranks share what they find and take one step together, the
two programs take one each. The ratio is that of the steps done in the same time; 1 were a sum of gradients that costs
nothing. Python 3 without extra packages; minutes, on a machine that does nothing else, and no part of run.sh.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import tempfile


def command(options, work, name, ranks):
    launcher = [options.mpirun, "-n", str(ranks)] if ranks > 1 else []
    return [*launcher, options.program, "heal", options.model, "--archive", options.archive, "--output",
            work / f"{name}.h5", "--text", work / "text", "--heal", str(options.steps), "--heal-batch",
            str(ranks * options.tokens), "--heal-context", str(options.tokens), "--tensor-parallel", "1", "--threads",
            "1", "--quiet", "--report", work / f"{name}.json"]


def run(options, work, names, ranks):
    """Starts programs of so many ranks at once; the mean seconds of their steps."""
    started = [subprocess.Popen(command(options, work, name, ranks), stdout=subprocess.DEVNULL) for name in names]
    if any([program.wait() != 0 for program in started]):
        raise SystemExit("hack heal has failed")
    seconds = [json.loads((work / f"{name}.json").read_text())["results"]["seconds_a_step"] for name in names]
    for name in names:
        (work / f"{name}.h5").unlink()
    return statistics.mean(seconds)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("program", "model", "archive", "text"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--mpirun", default="mpirun")
    for name, value in (("tokens", 1024), ("steps", 3), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--json")
    options = parser.parse_args()
    together, alone = [], []
    with tempfile.TemporaryDirectory(prefix="hack-heal-") as folder:
        work = pathlib.Path(folder)
        # Eight windows: two of them are judged before and behind the steps.
        text = pathlib.Path(options.text).read_text(encoding="utf8")
        (work / "text").write_text(text[:options.tokens * 5 * 8], encoding="utf8")
        for _ in range(options.rounds):
            alone.append(run(options, work, ("first", "second"), 1))
            together.append(run(options, work, ("both",), 2))
    ratio = statistics.median(one / two for one, two in zip(alone, together))
    print(f"a step takes {statistics.median(together):.2f} s on two ranks, {statistics.median(alone):.2f} s in each of two "
          f"programs: {ratio:.3f} of their steps")
    if options.json:
        record = {"tokens": options.tokens, "steps": options.steps, "seconds_together": together,
                  "seconds_alone": alone, "ratio": ratio}
        pathlib.Path(options.json).write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
