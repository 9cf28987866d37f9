#!/usr/bin/env python3
"""Texts of `hack generate` with a draft beside those without, id by id.

Usage: draft_texts.py --program build/bin/hack [--model MODEL --draft A.h5 --text TEXT] [--mpirun mpirun] [--ranks 1,2,3]
                      [--prompts 20] [--tokens 200] [--json FILE]

Without a model a tiny one is made, with a draft of four bits. Prompts are lines of the text. Exit status 1 where a text
differs, or a draft proposed nothing. Python 3 without extra packages; minutes, and no part of run.sh.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent / "faults"))
import tiny_files  # noqa: E402


def make_tiny(options, work):
    tiny_files.write_model(work / "model", context=512)
    tiny_files.write_text(work / "text", 2 * options.prompts)
    options.model, options.draft, options.text = work / "model", work / "draft.h5", work / "text"
    subprocess.run([options.program, "compress", options.model, "--output", options.draft, "--codec", "q4_0",
                    "--method", "plain", "--tile", "32", "--threads", "1", "--quiet"], check=True,
                   stdout=subprocess.DEVNULL)


def generate(options, work, ranks, prompt, more):
    launcher = [options.mpirun, "-n", str(ranks)] if ranks > 1 else []
    subprocess.run([*launcher, options.program, "generate", options.model, "--prompt", prompt, "--max-tokens",
                    str(options.tokens), "--threads", "1", "--quiet", "--report", work / "report.json", *more],
                   check=True, stdout=subprocess.DEVNULL)
    return json.loads((work / "report.json").read_text())["results"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True)
    parser.add_argument("--mpirun", default="mpirun")
    parser.add_argument("--ranks", default="1,2,3")
    for name in ("model", "draft", "text", "json"):
        parser.add_argument(f"--{name}")
    for name, value in (("prompts", 20), ("tokens", 200)):
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(prefix="hack-draft-") as folder:
        work = pathlib.Path(folder)
        if not options.model:
            make_tiny(options, work)
        lines = pathlib.Path(options.text).read_text(encoding="utf8").splitlines()
        prompts = [line[:200] for line in lines if len(line) > 40][:options.prompts]
        for ranks in [int(word) for word in options.ranks.split(",")]:
            row = {"ranks": ranks, "prompts": len(prompts), "tokens": 0, "equal": 0, "proposed": 0, "accepted": 0}
            for prompt in prompts:
                plain = generate(options, work, ranks, prompt, [])
                drafted = generate(options, work, ranks, prompt, ["--draft", options.draft, "--draft-tokens", "4"])
                row["tokens"] += len(plain["ids"])
                row["equal"] += plain["ids"] == drafted["ids"]
                for key in ("proposed", "accepted"):
                    row[key] += drafted["draft"][key]
            rows.append(row)
            print("{ranks} ranks: {equal} of {prompts} texts equal, {tokens} tokens, {accepted} of {proposed} proposed "
                  "accepted".format(**row), flush=True)
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps({"rows": rows}, indent=1) + "\n")
    return 0 if rows and all(row["equal"] == row["prompts"] and row["proposed"] > 0 for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
