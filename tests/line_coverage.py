#!/usr/bin/env python3
"""Sums up what gcov counted: lines that ran, by folder.

    python3 tests/line_coverage.py BUILD [--files] [--json FILE]

BUILD is a build with --coverage whose programs have run. A line counts once, however many sources include it, and has
run if it ran in one of them. With --files the twenty files with most lines that did not run follow; with
--json the lines of each file that ran are written, for tests/mutants.
"""
import collections
import json
import os
import subprocess
import sys

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), ".."))
FOLDERS = ("kernels/", "src/", "jobs/")


def count(build):
    """Whether each line of each file ran: {file: {line: bool}}."""
    notes = [os.path.join(folder, name) for folder, _, names in os.walk(build) for name in names
             if name.endswith(".gcno") and os.path.exists(os.path.join(folder, name[:-5] + ".gcda"))]
    ran = collections.defaultdict(dict)
    for start in range(0, len(notes), 64):
        reports = subprocess.run(["gcov", "--json-format", "--stdout"] + notes[start:start + 64], check=True,
                                 stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
        for report in reports.splitlines():  # one object file each
            add(ran, json.loads(report))
    return ran


def add(ran, report):
    for source in report["files"]:
        path = os.path.realpath(os.path.join(report["current_working_directory"], source["file"]))
        path = os.path.relpath(path, ROOT)
        if path.startswith(FOLDERS):
            lines = ran[path]
            for line in source["lines"]:
                number = line["line_number"]
                lines[number] = lines.get(number, False) or line["count"] > 0


def print_table(title, rows):
    print(f"{title:44} {'lines':>7} {'ran':>7} {'share':>7}")
    for name, lines, run in rows:
        print(f"{name:44} {lines:7} {run:7} {100 * run / max(lines, 1):6.1f}%")


def main():
    ran = count(sys.argv[1])
    if not ran:
        sys.exit("no counts: build with the preset coverage and run tests first")
    sums = {path: (len(lines), sum(lines.values())) for path, lines in ran.items()}
    folders = collections.defaultdict(lambda: [0, 0])
    for path, (lines, run) in sums.items():
        for name in (os.path.dirname(path), "total"):
            folders[name][0] += lines
            folders[name][1] += run
    total = folders.pop("total")
    print_table("folder", [(name, *folders[name]) for name in sorted(folders)] + [("total", *total)])
    if "--json" in sys.argv[2:-1]:
        with open(sys.argv[sys.argv.index("--json") + 1], "w") as file:
            json.dump({path: sorted(n for n, did in lines.items() if did) for path, lines in sorted(ran.items())}, file)
    if "--files" in sys.argv[2:]:
        worst = sorted(sums, key=lambda path: sums[path][1] - sums[path][0])[:20]
        print_table("\nfile", [(path, *sums[path]) for path in worst])


if __name__ == "__main__":
    main()
