#!/usr/bin/env python3
"""Makes small faults in the sources, one at a time, and looks whether the tests nearest to them notice.

  mutants.py --build FOLDER --record FILE [--seed N] [--count N] [--more N] [--seconds N]

A mutant changes one operator, constant or condition on one line of src/svd (the archive's code among it) or src/comm.
With --covered FILE (lines that ran, from line_coverage.py --json) other lines are left alone. Each mutant is built with the
test programs of its folder (the table NEAREST). Sources are changed where they lie and put back: give the script a clone
of its own. It refuses to begin where git sees a change in them, as after a kill. A mutant is killed where it does not build, or a test fails or runs into its limit; it survives
where all of them pass.

The record is written after each mutant. The same command goes on after those that it has; --more bounds how many are
tried now. The same seed gives the same mutants while the sources stay as they are. Exit status 1 where the sources do not
pass by themselves.
"""

import argparse
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDERS = ("src/svd", "src/comm")
LIMIT = 300   # seconds of a test program; a mutant may loop without end

# Test programs nearest to a source, by the longest of these prefixes; `RANKS` is how many ranks they are started on.
NEAREST = {
    "src/comm": ["test_collectives", "test_journal", "test_shared_reduction", "test_task_dealer"],
    "src/comm/journal": ["test_journal", "test_changed_files"],
    "src/svd": ["test_factored_matrix", "test_compress", "test_layer_factors"],
    "src/svd/archive": ["test_factor_archive", "test_selected_factors", "test_changed_files"],
    "src/svd/choose": ["test_rank_policy", "test_allocation", "test_codec_choice", "test_compress"],
    "src/svd/fit": ["test_activation_aware", "test_compress"],
    "src/svd/pipeline": ["test_compress", "test_tile_deal", "test_layer_factors", "test_activation_aware"],
    "src/svd/quantize": ["test_row_quantizer"],
    "src/svd/refine": ["test_mlp_refiner", "test_refinable_codes"],
    "src/svd/tile": ["test_tile_encoder", "test_encode_rows", "test_tile_grid", "test_factored_matrix",
                     "test_factor_archive"],
    "src/svd/train": ["test_refinable_codes", "test_model_gradient"],
}
RANKS = {"test_collectives": (1, 3), "test_journal": (1, 2), "test_shared_reduction": (2, 3), "test_task_dealer": (2, 3),
         "test_compress": (1, 2), "test_factor_archive": (1, 3), "test_layer_factors": (1, 2),
         "test_selected_factors": (1, 2), "test_mlp_refiner": (1, 2)}

# What is changed into what. Each place on a line is one mutant.
CHANGES = [
    (r" == ", " != "), (r" != ", " == "),
    (r" <= ", " < "), (r" >= ", " > "),
    (r"(?<![<>\w] )(?<=[\w)\]]) < (?=[\w(-])", " <= "), (r"(?<=[\w)\]]) > (?=[\w(-])", " >= "),
    (r" && ", " || "), (r" \|\| ", " && "),
    (r"(?<=[\w)\]]) \+ (?=[\w(])", " - "), (r"(?<=[\w)\]]) - (?=[\w(])", " + "),
    (r"(?<=[\w)\]]) \* (?=[\w(])", " + "), (r"(?<=[\w)\]]) / (?=[\w(])", " * "), (r"(?<=[\w)\]]) % (?=[\w(])", " / "),
    (r" \+= ", " -= "), (r" -= ", " += "),
    (r"\+\+(?=\w)", "--"),
    (r"(?<=\()!(?=\w)", ""), (r"(?<=if \()(?=[\w(].*\))", "!"),
    (r"\btrue\b", "false"), (r"\bfalse\b", "true"),
    (r"(?<=[ ({\[])0(?=[;,)\]}])", "1"), (r"(?<=[ ({\[])1(?=[;,)\]} ])", "2"), (r"(?<=[ ({\[])2(?=[;,)\]} ])", "3"),
    (r"std::max\b", "std::min"), (r"std::min\b", "std::max"),
    (r"\breturn (?=[\w(].*;)(?!true|false)", "return !"),
]
# Lines that say nothing of what is computed: messages, includes, declarations, comments, contracts.
LEFT_ALONE = re.compile(r"^\s*(//|#|\"|namespace|using|template|class|struct|case .*:$|HACK_EXPECT|static_assert|\}|\w+:$)"
                        r"|validate\(|fail\(|throw |const_cast|operator|<<|>>|reserve\(|#include")


def is_in_message(line, at):
    return line[:at].count('"') % 2 == 1


def comment_of(line):
    return line.index(" //") if " //" in line else len(line)


def sources():
    return sorted(path.relative_to(ROOT).as_posix() for folder in FOLDERS for path in (ROOT / folder).rglob("*.cpp")
                  if "gpu" not in path.name and "peer" not in path.name)


def places(covered):
    """All mutants there are: (file, line from 0, begin, end, text in its place)."""
    found = []
    for name in sources():
        for number, line in enumerate((ROOT / name).read_text().splitlines()):
            if LEFT_ALONE.search(line) or (covered is not None and number + 1 not in covered.get(name, ())):
                continue
            for pattern, by in CHANGES:
                for match in re.finditer(pattern, line):
                    is_negated = by == "return !" and ("bool" not in line and "==" not in line and "<" not in line)
                    is_code = match.start() < comment_of(line) and not is_in_message(line, match.start())
                    if is_code and not is_negated:
                        found.append((name, number, match.start(), match.end(), by))
    return found


def nearest(name):
    return NEAREST[max((prefix for prefix in NEAREST if name.startswith(prefix)), key=len)]


class Workshop:
    """The sources, and a build of them."""

    def __init__(self, build):
        self.build = build
        changed = subprocess.run(["git", "-C", ROOT, "diff", "--name-only", "HEAD", "--", *FOLDERS], check=True,
                                 capture_output=True, text=True).stdout.split()
        if changed:
            sys.exit(f"{', '.join(changed)} differ from the last commit; put them back by: git checkout -- {' '.join(FOLDERS)}")

    def make(self, programs):
        """Whether the programs build."""
        return subprocess.run(["ninja", "-C", str(self.build), *programs], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL).returncode == 0

    def first_failure(self, programs):
        """The first command that fails, or nothing."""
        environment = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1",
                           OMPI_MCA_rmaps_base_oversubscribe="1", OMPI_MCA_mpi_yield_when_idle="1")
        for program in programs:
            for ranks in RANKS.get(program, (1,)):
                command = [str(self.build / "tests" / program), "--gtest_brief=1", "--gtest_fail_fast"]
                if ranks > 1:
                    command = ["mpirun", "-n", str(ranks), *command]
                process = subprocess.Popen(command, cwd=self.build / "tests", env=environment, start_new_session=True,
                                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                           stderr=subprocess.DEVNULL)
                try:
                    status = process.wait(timeout=LIMIT)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, 9)
                    process.wait()
                    return f"{program} on {ranks}: no end in {LIMIT} s"
                if status != 0:
                    return f"{program} on {ranks}: status {status}"
        return None

    def try_one(self, place):
        name, number, begin, end, by = place
        original = (ROOT / name).read_text()
        lines = original.splitlines(keepends=True)
        before = lines[number]
        lines[number] = before[:begin] + by + before[end:]
        result = {"file": name, "line": number + 1, "before": before.strip(), "after": lines[number].strip()}
        start = time.monotonic()
        try:
            (ROOT / name).write_text("".join(lines))
            if not self.make(nearest(name)):
                result["outcome"], result["by"] = "killed", "the compiler"
            else:
                failure = self.first_failure(nearest(name))
                result["outcome"] = "killed" if failure else "survived"
                result["by"] = failure or ", ".join(nearest(name))
        finally:
            (ROOT / name).write_text(original)
        result["seconds"] = round(time.monotonic() - start, 1)
        return result


def write(path, record):
    results = record["mutants"]
    record["tried"] = len(results)
    record["killed"] = sum(result["outcome"] == "killed" for result in results)
    record["survivors"] = [f"{r['file']}:{r['line']}: {r['after']}" for r in results if r["outcome"] == "survived"]
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(record, indent=1) + "\n")
    part.replace(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--record", type=pathlib.Path, required=True)
    parser.add_argument("--covered", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--more", type=int, default=10**9)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    options = parser.parse_args()
    covered = None
    if options.covered:
        covered = {name: set(lines) for name, lines in json.loads(options.covered.read_text()).items()}
    all_places = places(covered)
    chosen = random.Random(options.seed).sample(all_places, min(options.count, len(all_places)))
    record = {"seed": options.seed, "count": len(chosen), "of": len(all_places), "mutants": []}
    if options.record.exists():
        earlier = json.loads(options.record.read_text())
        if any(earlier[key] != record[key] for key in ("seed", "count", "of")):
            sys.exit(f"{options.record} is of other mutants (the sources, --seed, --count or --covered differ); name another")
        record["mutants"] = earlier["mutants"]
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))   # puts the sources back
    start = time.monotonic()
    workshop = Workshop(options.build.resolve())
    sound = set()
    for place in chosen[len(record["mutants"]):][:options.more]:
        if time.monotonic() - start > options.seconds:
            break
        programs = tuple(nearest(place[0]))
        if programs not in sound:
            if not workshop.make(programs):
                sys.exit(f"the sources do not build in {workshop.build}")
            failure = workshop.first_failure(programs)
            if failure:
                sys.exit(f"the tests fail without a mutant: {failure}")
            sound.add(programs)
        result = workshop.try_one(place)
        record["mutants"].append(result)
        write(options.record, record)
        print("{outcome:8} {file}:{line} in {seconds} s by {by}\n    {before}\n    {after}".format(**result), flush=True)
    for programs in sound:
        workshop.make(programs)   # of the sources as they are
    write(options.record, record)
    print(f"{record['tried']} of {record['count']} mutants tried, {record['killed']} killed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
