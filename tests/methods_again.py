#!/usr/bin/env python3
"""Runs rows of jobs/results/smollm2-135m-methods.json again and compares perplexities: `hack compress --terms lowrank` with
a row's options, then `hack perplexity --dtype f32 --windows 3`. Hours for all of them; a table that exists is gone on with.

  python3 tests/methods_again.py MODEL --calibration FILE --text FILE --output TABLE.json [--only REGEX] [--threads N]

What a row says after its options (ranks, machine, an earlier build) is not imitated: ranks change nothing without
--refine. Rows of earlier builds and of `hack sweep` are left out. Archives and measured losses lie in TABLE.json.work, which
is made here and stays: later rows find the losses again.
"""
import argparse
import json
import os
import re
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def options_of(row):
    """The row's command-line options; none where it is no run of this build's `hack compress`."""
    text = row["options"]
    if not text.startswith("--") or "earlier build" in text or "did not count" in text:
        return None
    return re.split(r",? \(|, ", text)[0].split()


def run(program, *arguments):
    return subprocess.run([program, *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def again(row, options, given):
    folder = given.output + ".work"
    os.makedirs(folder, exist_ok=True)
    archive, report = os.path.join(folder, "row.h5"), os.path.join(folder, "row.json")
    threads = ["--threads", str(given.threads), "--report", report, "--quiet"]
    begin = time.time()
    run(given.program, "compress", given.model, "--output", archive, "--terms", "lowrank", "--calibration", given.calibration,
        *options, *threads)
    seconds = time.time() - begin
    run(given.program, "perplexity", given.model, "--archive", archive, "--dtype", "f32", "--windows", "3",
        "--text", given.text, *threads)
    with open(report) as file:
        perplexity = json.load(file)["results"]["perplexity"]
    os.remove(archive)
    return {"options": row["options"], "recorded": row["perplexity"], "again": perplexity,
            "ratio": perplexity / row["perplexity"], "seconds": round(seconds, 1)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--calibration", required=True)
    parser.add_argument("--text", required=True)
    parser.add_argument("--output", required=True)
    parser.add_argument("--only", default="")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--program", default=os.path.join(ROOT, "build/bin/hack"))
    given = parser.parse_args()

    table = []
    if os.path.exists(given.output):
        with open(given.output) as file:
            table = json.load(file)
    done = {line["options"] for line in table}
    with open(os.path.join(ROOT, "jobs/results/smollm2-135m-methods.json")) as file:
        rows = json.load(file)["runs"]
    for row in rows:
        options = options_of(row)
        if options is None or row["options"] in done or not re.search(given.only, row["options"]):
            continue
        try:
            line = again(row, options, given)
        except subprocess.CalledProcessError as error:
            sys.exit(f"{row['options']}: {error.stderr.decode()}")
        table.append(line)
        with open(given.output + ".new", "w") as file:
            json.dump(table, file, indent=1)
        os.replace(given.output + ".new", given.output)
        print(f"{line['again']:.6f} (recorded {line['recorded']:.6f}, {line['seconds']:.0f} s): {row['options']}", flush=True)


if __name__ == "__main__":
    main()
