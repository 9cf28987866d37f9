#!/usr/bin/env python3
"""Disturbs runs of hack at random moments and looks at how they end.

Compressions, healings, imports, evaluations, generations, sweeps and exports of a tiny model run on 1 to 4 ranks, each is met by one fault,
and then:

  - all processes have ended within the deadline (and a grace for the launcher and a busy machine),
  - the exit status is not 0, unless the fault came too late to matter: then the result is the undisturbed one,
  - the message says what is to be said of that fault (rank, operation, file),
  - results that were there before still stand,
  - a second run, in half of the cases with --resume, gives the bytes of an undisturbed run,
  - no process, no file and no shared memory is left.

  faults.py --program build/bin/hack [--mpirun mpirun] [--seed N] [--count N] [--only INDEX] [--json FILE]
            [--slurm FOLDER] [--seconds N]

The same seed tries the same faults; moments fall in parts of the time that the undisturbed run took here. As root the
trials have a /dev/shm of their own. --slurm runs the ranks as steps of the cluster that tests/slurm/cluster.sh has
started in FOLDER. --seconds: begin no more trials after so many. Exit status 1 where a check failed.
"""

import argparse
import collections
import json
import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import jobs
from processes import Processes, limit_files, limit_memory, send

DEADLINE = 4
GRACE = 80   # the launcher's patience with processes that do not answer, and a machine that does other things


def fault_kinds(ranks, has_nodes):
    kinds = ["kill", "memory", "file size", "truncate", "term rank", "twice", "int", "hup", "pause"]
    if ranks > 0:
        kinds += ["kill launcher", "term launcher"]
    if ranks > 1:
        kinds += ["stop", "stop", "kill"]
    if os.geteuid() == 0 and not has_nodes:   # nodes of a cluster do not see what is mounted here
        kinds.append("disk full")
    return kinds


def keep(pipe, path):
    """Appends what comes through a pipe to a file."""
    with pipe, open(path, "ab") as file:
        while piece := os.read(pipe.fileno(), 1 << 16):
            file.write(piece)
            file.flush()


def join(process):
    """Waits for the last of what a process has said; a process of its own that stays behind may hold the pipe."""
    for reader in process.readers:
        reader.join(timeout=5)


class Driver:
    def __init__(self, options, work):
        self.options, self.work = options, pathlib.Path(work)
        self.program = pathlib.Path(options.program).resolve()
        self.inputs = self.work / "inputs"
        jobs.write_inputs(self.inputs)
        self.references = {}
        self.archive = None
        self.archive = self.reference("compress iq4_nl", 1)["folder"] / "a.h5"

    def command(self, job, ranks, folder, model=None, more=()):
        names = {name: self.inputs / name for name in ("model", "factors", "questions", "text")}
        names.update(archive=self.archive, out=folder)
        if model:
            names["model"] = model
        words = [word.format(**names) for word in shlex.split(job.line)]
        command = [str(self.program), *words, "--threads", "1", "--deadline", str(DEADLINE), *more]
        if ranks == 0:
            return command
        if self.options.slurm:
            return ["srun", "--mpi=pmix", "--kill-on-bad-exit=1", "-n", str(ranks), "-N", str(min(ranks, 2)), *command]
        return [self.options.mpirun, "-n", str(ranks), *command]

    def environment(self, mark, folder):
        environment = dict(os.environ, HACK_FAULT_MARK=mark, TMPDIR=str(folder.parent / "session"))
        if self.options.slurm:
            environment["SLURM_CONF"] = str(pathlib.Path(self.options.slurm) / "slurm.conf")
        os.makedirs(environment["TMPDIR"], exist_ok=True)
        return environment

    def start(self, command, mark, folder):
        environment = self.environment(mark, folder)
        # Through pipes: a limit on the size of files is not to meet the messages.
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   env=environment, start_new_session=True)
        process.readers = [threading.Thread(target=keep, args=(pipe, folder.parent / name), daemon=True)
                           for pipe, name in ((process.stdout, "out"), (process.stderr, "err"))]
        for reader in process.readers:
            reader.start()
        return process

    def run(self, command, mark, folder):
        """To its end; returns status and standard output."""
        place = folder.parent
        for name in ("out", "err"):
            (place / name).write_bytes(b"")
        process = self.start(command, mark, folder)
        status = process.wait(timeout=600)
        join(process)
        return status, (place / "out").read_bytes()

    def reference(self, name, ranks):
        """The undisturbed run, made once for each number of ranks."""
        key = (name, ranks)
        if key not in self.references:
            folder = self.work / f"reference {name} {ranks}" / "results"
            folder.mkdir(parents=True)
            begin = time.monotonic()
            status, out = self.run(self.command(jobs.JOBS[name], ranks, folder), f"{os.getpid()}-reference", folder)
            if status != 0:
                sys.exit(f"{name} on {ranks} ranks fails undisturbed:\n" + (folder.parent / "err").read_text())
            self.references[key] = {"folder": folder, "seconds": time.monotonic() - begin,
                                    "answer": jobs.answer_of(jobs.JOBS[name], folder, out)}
        return self.references[key]

    def trial(self, index):
        source = jobs.choose(self.options.seed, index)
        ranks = source.choice([1, 2, 3, 4] if self.options.slurm else [0, 1, 2, 2, 3, 4])
        name = source.choice(sorted(jobs.JOBS))
        kind = source.choice(fault_kinds(ranks, bool(self.options.slurm)))
        result = {"index": index, "job": name, "ranks": ranks, "fault": kind, "moment": round(source.random(), 3)}
        begin = time.monotonic()
        reference = self.reference(name, ranks)
        trial = Trial(self, result, source, reference)
        try:
            trial.disturb()
            trial.check_end()
            trial.check_second_run()
        finally:
            trial.clean()
        result["seconds"] = round(time.monotonic() - begin, 1)
        return result


class Trial:
    def __init__(self, driver, result, source, reference):
        self.driver, self.result, self.source, self.reference = driver, result, source, reference
        self.job = jobs.JOBS[result["job"]]
        self.place = driver.work / f"trial {result['index']}"
        self.folder = self.place / "results"
        self.folder.mkdir(parents=True)
        self.mark = f"{os.getpid()}-{result['index']}"
        self.processes = Processes(self.mark, driver.program)
        self.problems = result.setdefault("problems", [])
        self.is_mounted = False
        self.model = driver.inputs / "model"
        self.shared_memory = set(os.listdir("/dev/shm"))
        self.earlier = None

    def expect(self, holds, problem):
        if not holds:
            self.problems.append(problem)

    def prepare(self):
        fault = self.result["fault"]
        if fault == "truncate":
            shutil.copytree(self.model, self.place / "model")
            self.model = self.place / "model"
        if fault == "disk full":
            size = self.source.choice([16, 64, 128, 256, 512])
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", str(self.folder)], check=True)
            self.is_mounted = True
        if self.job.earlier and self.job.output and self.source.random() < 0.5:
            self.earlier = b"an earlier result"
            (self.folder / self.job.output).write_bytes(self.earlier)

    def disturb(self):
        self.prepare()
        command = self.driver.command(self.job, self.result["ranks"], self.folder, self.model)
        for name in ("out", "err"):
            (self.place / name).write_bytes(b"")
        self.launcher = self.driver.start(command, self.mark, self.folder)
        time.sleep(self.result["moment"] * self.reference["seconds"])
        self.moment = time.monotonic()
        self.result["met"] = self.inject(self.result["fault"])
        patience = DEADLINE + GRACE + 3 * self.reference["seconds"]
        try:
            status = self.launcher.wait(timeout=patience)
        except subprocess.TimeoutExpired:
            status = "still running"
            self.problems.append(f"the launcher still runs {patience:.0f} s later")
        all_ended = self.processes.wait_for_none(DEADLINE + GRACE)
        self.expect(all_ended, f"processes are left: {len(self.processes.all())}")
        self.processes.kill_all()
        join(self.launcher)
        self.result["status"] = status
        self.result["seconds_to_end"] = round(time.monotonic() - self.moment, 1)

    def inject(self, fault):
        """Whether the fault met a running program."""
        ranks = self.processes.ranks()
        victim = self.source.choice(sorted(ranks)) if ranks else None
        self.result["rank"] = victim
        if fault == "twice":
            return self.start_again()
        if fault == "truncate":
            path = self.model / "model.safetensors"
            os.truncate(path, self.source.randrange(path.stat().st_size))
            return bool(ranks)
        if fault == "disk full":
            return True
        if fault in ("kill launcher", "term launcher"):
            self.result["in MPI_Init"] = self.processes.are_in_mpi_init()
            return send(self.launcher.pid, signal.SIGKILL if fault == "kill launcher" else signal.SIGTERM)
        if not ranks:
            return False
        process = ranks[victim]
        if fault == "pause":
            met = send(process, signal.SIGSTOP)
            time.sleep(1)
            return send(process, signal.SIGCONT) and met
        if fault == "memory":
            self.result["begun in MPI_Init"] = self.processes.are_in_mpi_init()
            return limit_memory(process, self.source.choice([0, 1 << 16, 1 << 20, 1 << 22]))
        if fault == "file size":
            size = self.source.choice([0, 100, 4096, 50000, 200000])
            return any([limit_files(each, size) for each in ranks.values()])
        signals = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP, "term rank": signal.SIGTERM, "int": signal.SIGINT,
                   "hup": signal.SIGHUP}
        return send(process, signals[fault])

    def start_again(self):
        """The same job once more while the first runs."""
        more = ["--resume"] if self.job.resumes and self.source.random() < 0.5 else []
        command = self.driver.command(self.job, self.result["ranks"], self.folder, self.model, more)
        with tempfile.TemporaryFile() as err:
            environment = self.driver.environment(self.mark, self.folder)
            ended = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=err,
                                   env=environment, timeout=600)
            err.seek(0)
            said = err.read().decode(errors="replace")
        self.result["second status"] = ended.returncode
        if ended.returncode != 0:
            self.expect("another run is writing it" in said or "holds files already" in said,
                        f"the second run says: {said[-300:]}")
        return self.launcher.poll() is None

    def words(self):
        """What is to be said: one of each line's words."""
        fault = self.result["fault"]
        if fault == "stop":
            return [["waited", "signal"]]
        if fault == "kill" and self.result["ranks"] > 0 and not self.driver.options.slurm:
            return [["signal 9", "rank"]]
        if fault in ("disk full", "file size"):
            return [["hack: "], ["cannot write", "cannot be written", "No space", "too large", "H5"]]
        if fault == "memory":
            # Of MPI_Init and of libraries that end the process it is Open MPI and the launcher that tell.
            return [["hack: ", "signal", "Exit code", "exit code", "MPI_Init", "MPI_INIT", "_init failed"]]
        if fault == "truncate":
            return [["model.safetensors"], ["rank "] if self.result["ranks"] > 1 else ["hack: "]]
        return []

    def check_end(self):
        status = self.result["status"]
        err = (self.place / "err").read_text(errors="replace")
        if self.is_mounted:
            self.keep_from_mount()
        answer = jobs.answer_of(self.job, self.folder, (self.place / "out").read_bytes())
        if status == 0:
            self.expect(answer == self.reference["answer"], "ended with 0 and another result")
        elif status != "still running":
            for words in self.words():
                self.expect(any(word in err for word in words), f"none of {words} is said")
            if self.earlier is not None:
                path = self.folder / self.job.output
                # A rank that dies after the last rename cannot take the result back.
                stands = path.exists() and path.read_bytes() in (self.earlier, self.reference["answer"])
                self.expect(stands, "the earlier result does not stand")
        if self.result["fault"] in ("term rank", "int", "hup", "twice", "pause", "truncate") and status != 0:
            kept = (".parts", ".heal", ".unhealed")   # what --resume goes on from
            strays = [stray for stray in jobs.strays_of(self.job, self.folder) if not stray.endswith(kept)]
            self.expect(not strays, f"files are left at once: {strays}")
        if self.result.get("begun in MPI_Init") and status != 0 and "hack: " not in err:
            # It ended there, said by others than the program: nothing can have been begun.
            strays = jobs.strays_of(self.job, self.folder)
            self.expect(not strays, f"files are left of a run that ended in MPI_Init: {strays}")
        if self.result["fault"] == "pause":
            self.expect(status == 0, f"a pause of a second ended the run with {status}")
        left = sorted(set(os.listdir("/dev/shm")) - self.shared_memory)
        if left and self.result.get("in MPI_Init"):   # MPI's own; nobody else can know of it then
            self.result["left by MPI_Init"] = left
            for name in left:
                os.unlink(f"/dev/shm/{name}")
            left = []
        self.expect(not left, f"shared memory is left: {left}")
        if self.problems:
            self.result["said"] = err[-2000:]

    def keep_from_mount(self):
        """Moves the results off the full disk."""
        kept = self.place / "kept"
        shutil.copytree(self.folder, kept)
        subprocess.run(["umount", str(self.folder)], check=True)
        self.is_mounted = False
        for path in kept.iterdir():
            shutil.move(str(path), str(self.folder / path.name))

    def check_second_run(self):
        fault = self.result["fault"]
        if fault == "truncate":
            self.model = self.driver.inputs / "model"
        more = []
        if self.job.resumes and self.source.random() < 0.5:
            more = ["--resume"]
        if self.job.output == "m/model.safetensors":
            shutil.rmtree(self.folder / "m", ignore_errors=True)   # a directory is to be new
        self.result["second run"] = "resumed" if more else "anew"
        command = self.driver.command(self.job, self.result["ranks"], self.folder, self.model, more)
        first = (self.place / "err").read_text(errors="replace")
        status, out = self.driver.run(command, self.mark, self.folder)
        said = (self.place / "err").read_text(errors="replace")
        self.expect(status == 0, f"the second run ends with {status}: {said[-500:]}")
        if status == 0:
            same = jobs.answer_of(self.job, self.folder, out) == self.reference["answer"]
            self.expect(same, "the second run gives another result")
        strays = jobs.strays_of(self.job, self.folder)
        self.expect(not strays, f"files are left: {strays}")
        self.expect(self.processes.wait_for_none(5), "processes are left after the second run")
        if self.problems and "said" not in self.result:
            self.result["said"] = first[-2000:]

    def clean(self):
        self.processes.kill_all()
        if self.is_mounted:
            subprocess.run(["umount", "-l", str(self.folder)])
        if not self.problems:
            shutil.rmtree(self.place, ignore_errors=True)


def own_shared_memory():
    """Starts this again with a /dev/shm and mounts that nobody else sees, where that is allowed."""
    if os.geteuid() != 0 or os.environ.get("HACK_FAULTS_APART"):
        return
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode != 0:
        return
    os.environ["HACK_FAULTS_APART"] = "1"
    script = 'mount -t tmpfs tmpfs /dev/shm && exec "$0" "$@"'
    os.execvp("unshare", ["unshare", "--mount", "bash", "-c", script, sys.executable, *sys.argv])


def table_of(results):
    rows = collections.defaultdict(lambda: [0, 0, 0, 0])
    for result in results:
        row = rows[result["fault"]]
        row[0] += 1
        row[1] += bool(result["met"]) and result["status"] != 0
        row[2] += result["second run"] == "resumed"
        row[3] += bool(result["problems"])
    lines = ["| fault | tried | ended the run | then resumed | failed checks |", "| --- | --: | --: | --: | --: |"]
    lines += [f"| {fault} | {row[0]} | {row[1]} | {row[2]} | {row[3]} |" for fault, row in sorted(rows.items())]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True)
    parser.add_argument("--mpirun", default="mpirun")
    parser.add_argument("--slurm")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--only", type=int)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--json")
    options = parser.parse_args()
    if not options.slurm:
        own_shared_memory()
    work = tempfile.mkdtemp(prefix="hack-faults-")
    begin = time.monotonic()
    driver = Driver(options, work)
    results = []
    for index in [options.only] if options.only is not None else range(options.count):
        if time.monotonic() - begin > options.seconds:
            break
        result = driver.trial(index)
        results.append(result)
        print("{index:4} {fault:14} at {moment:5} of {job} on {ranks}: status {status}".format(**result),
              *result["problems"], sep="\n       ", flush=True)
    failed = [result for result in results if result["problems"]]
    print(table_of(results))
    print(f"{len(results)} faults, {len(failed)} with problems" + (f", kept in {work}" if failed else ""))
    if options.json:
        record = {"seed": options.seed, "launcher": "srun" if options.slurm else "mpirun", "deadline": DEADLINE,
                  "grace": GRACE, "faults": results}
        pathlib.Path(options.json).write_text(json.dumps(record, indent=1) + "\n")
    if not failed:
        shutil.rmtree(work, ignore_errors=True)
    return 1 if failed or not results else 0


if __name__ == "__main__":
    sys.exit(main())
