"""The processes of a trial, known by a mark in their environment, and what may be done to them."""

import os
import pathlib
import resource
import signal
import time


class Processes:
    """Everything that carries the mark, found in /proc: also what the launcher has lost sight of."""

    def __init__(self, mark, program):
        self.mark = f"HACK_FAULT_MARK={mark}".encode()
        self.program = str(program)

    def all(self):
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                if self.mark not in (entry / "environ").read_bytes().split(b"\0"):
                    continue
                state = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0]
            except (OSError, IndexError):
                continue
            if state not in "ZX":
                found.append(int(entry.name))
        return found

    def ranks(self):
        """Processes that run the program, by rank."""
        found = {}
        for process in self.all():
            try:
                if os.readlink(f"/proc/{process}/exe") != self.program:
                    continue
                environment = pathlib.Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
            except OSError:
                continue
            names = dict(pair.split(b"=", 1) for pair in environment if b"=" in pair)
            rank = names.get(b"OMPI_COMM_WORLD_RANK", names.get(b"PMIX_RANK", b"0"))
            found[int(rank)] = process
        return found

    def are_in_mpi_init(self):
        """Whether a rank has not come out of MPI_Init: MPI's shared memory has a name still, and there is none to
        remove it where the launcher is killed in that moment."""
        for process in self.ranks().values():
            try:
                maps = pathlib.Path(f"/proc/{process}/maps").read_text().splitlines()
            except OSError:
                continue
            named = [line for line in maps if "_segment." in line and not line.endswith("(deleted)")]
            if named or not any("_segment." in line for line in maps):
                return True
        return False

    def wait_for_none(self, seconds):
        """Whether all ended within so many seconds."""
        end = time.monotonic() + seconds
        while self.all():
            if time.monotonic() > end:
                return False
            time.sleep(0.1)
        return True

    def kill_all(self):
        for process in self.all():
            send(process, signal.SIGKILL)


def send(process, number):
    """Whether the process was there."""
    try:
        os.kill(process, number)
        return True
    except ProcessLookupError:
        return False


def limit_memory(process, more):
    """Lets a process have `more` bytes beside those that it has: what it asks for beyond is refused."""
    try:
        pages = int(pathlib.Path(f"/proc/{process}/statm").read_text().split()[0])
        size = pages * resource.getpagesize() + more
        resource.prlimit(process, resource.RLIMIT_AS, (size, size))
        return True
    except (OSError, ProcessLookupError):
        return False


def limit_files(process, size):
    """No file of the process may grow beyond `size` bytes."""
    try:
        resource.prlimit(process, resource.RLIMIT_FSIZE, (size, size))
        return True
    except (OSError, ProcessLookupError):
        return False
