"""What is disturbed: command lines on a tiny model, the files that they write, and what has to be equal at the end."""

import csv
import io
import pathlib
import random

import tiny_files

CALIBRATION = "--tile 32 --calibration {text} --calibration-context 64 --calibration-windows 12 " \
              "--allocation-tokens 64 --allocation-windows 4 --quiet"


class Job:
    def __init__(self, line, output, resumes=False, earlier=True, others=()):
        self.line = line            # of hack, with the inputs' names in braces and {out}, the folder of results
        self.output = output        # in that folder; None: the answer on standard output
        self.resumes = resumes      # whether --resume may be added
        self.earlier = earlier      # whether the output may be there before
        self.others = others        # files that stay beside it, as shell patterns


JOBS = {
    "compress plain": Job("compress {model} --output {out}/a.h5 --topk 0.5 --tile 32 --method plain --quiet", "a.h5",
                          resumes=True),
    "compress low rank": Job("compress {model} --output {out}/a.h5 --terms lowrank --keep 0.8 " + CALIBRATION, "a.h5",
                             resumes=True, others=("*.records",)),
    "compress low rank, refined": Job(
        "compress {model} --output {out}/a.h5 --terms lowrank --keep 0.8 --refine 8 " + CALIBRATION, "a.h5",
        resumes=True, others=("*.records",)),
    "compress iq4_nl": Job("compress {model} --output {out}/a.h5 --codec iq4_nl " + CALIBRATION, "a.h5", resumes=True,
                           others=("*.records",)),
    "compress iq4_nl, refined": Job("compress {model} --output {out}/a.h5 --codec iq4_nl --refine 8 " + CALIBRATION,
                                    "a.h5", resumes=True, others=("*.records",)),
    "compress mixed codecs": Job("compress {model} --output {out}/a.h5 --keep 0.3 " + CALIBRATION, "a.h5", resumes=True,
                                 others=("*.records",)),
    "heal": Job("heal {model} --archive {archive} --output {out}/h.h5 --text {text} --heal 12 --heal-batch 256 "
                "--heal-context 64 --quiet", "h.h5", resumes=True),
    "compress iq4_nl, healed": Job(
        "compress {model} --output {out}/a.h5 --codec iq4_nl --heal 8 --heal-batch 256 --heal-context 64 " + CALIBRATION,
        "a.h5", resumes=True, others=("*.records",)),
    "import": Job("import {factors} --base {model} --output {out}/i.h5 --quiet", "i.h5"),
    "evaluate": Job("evaluate {model} --archive {archive} --tasks {questions} --records {out}/losses --quiet", None,
                    others=("losses",)),
    "perplexity": Job("perplexity {model} --archive {archive} --text {text} --context 64 --windows 40 --quiet "
                      "--records {out}/losses --per-token {out}/tokens.csv", "tokens.csv", others=("losses",)),
    "generate": Job("generate {model} --archive {archive} --prompt 'the lamp' --max-tokens 100 --quiet", None),
    "sweep": Job("sweep {model} --text {text} --keep 0.6,0.8 --methods plain --output {out}/s.csv --quiet", "s.csv",
                 earlier=False, others=("s.csv.records",)),
    "export gguf": Job("export {model} --archive {archive} --format gguf --output {out}/m.gguf --quiet", "m.gguf"),
    "export hf": Job("export {model} --archive {archive} --format hf --output {out}/m --quiet",
                     "m/model.safetensors", earlier=False, others=("m",)),
}


def without_seconds(text):
    """A table of hack sweep without the times that it took."""
    rows = list(csv.reader(io.StringIO(text)))
    at = rows[0].index("seconds") if rows and "seconds" in rows[0] else None
    return [row[:at] + row[at + 1:] if at is not None else row for row in rows]


def answer_of(job, folder, out):
    """What has to be the same after a fault and a second run as in an undisturbed one."""
    if job.output is None:
        return out
    path = pathlib.Path(folder) / job.output
    if not path.exists():
        return None
    if job.output.endswith("s.csv"):
        return without_seconds(path.read_text())
    return path.read_bytes()


def strays_of(job, folder):
    """Files in the folder of results that no undisturbed run leaves there."""
    folder = pathlib.Path(folder)
    known = {folder / job.output} if job.output else set()
    for pattern in job.others:
        known.update(folder.glob(pattern))
    strays = [path for path in folder.iterdir() if path not in known]
    return sorted(str(path.relative_to(folder)) for path in strays) + sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*.hack-*") if path not in strays)


def write_inputs(folder):
    folder = pathlib.Path(folder)
    model = tiny_files.write_model(folder / "model")
    tiny_files.write_low_rank(folder / "factors", model)
    tiny_files.write_questions(folder / "questions", 60)
    tiny_files.write_text(folder / "text", 300)


def choose(seed, index):
    """The source of random numbers of one trial: a trial can be made again alone."""
    return random.Random(seed * 1000003 + index)
