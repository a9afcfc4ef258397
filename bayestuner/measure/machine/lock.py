"""The machine's lock: one BayesTuner at a time, because two on one machine would measure each other.

It is a flock on a file, so the kernel releases it however its holder dies. What the holder writes into the file only serves messages;
whether the lock is held is asked of the kernel.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bayestuner.errors import MachineBusy, RuntimeFolderUnusable
from bayestuner.measure.cgroup.names import process_start
from bayestuner.measure.machine.runtime import ROOT_FOLDER, VARIABLE, make_runtime_folder, runtime_folder

FILE_NAME = "machine.lock"
_POLL_S = 0.2
_GLANCE_S = 0.2
"""How long a process that is not to wait tries all the same, seconds: `holder_of_machine` takes the lock for an instant."""
_DYING_S = 5.0
"""How long it tries where the holder is dead: a job the holder was just starting keeps the lock until it is executed, or dead as well."""


@contextmanager
def machine_lock(study: Path | str, *, wait: bool = False, tell: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold this machine while the body runs.

    Parameters
    ----------
    study : path
        The study or table it is held for; whoever is refused is told.
    wait : bool
        Wait for another holder to end, instead of raising `MachineBusy`.
    tell : callable, optional
        Called once with a sentence where there is somebody to wait for.

    Raises
    ------
    MachineBusy
        Another BayesTuner holds it; the message says which.
    RuntimeFolderUnusable
        There is no folder for the lock's file.
    """
    with ExitStack() as stack:
        own = make_runtime_folder() / FILE_NAME
        shared = _lock_of_root()
        for path in (own,) if shared is None else (shared, own):
            fd = _open(path, stack)
            _take(fd, wait, tell)
            if path == own:
                stack.callback(os.ftruncate, fd, 0)  # runs before the descriptor is closed, which releases the lock
                _sign(fd, study)
        yield


def holder_of_machine() -> str | None:
    """Who holds the machine's lock now, in words; None where nobody does, or where this user can't see it. It creates no file."""
    for path in (_lock_of_root(), runtime_folder() / FILE_NAME):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC) if path is not None else -1
        except OSError:
            continue
        if fd < 0:
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _holder(fd)
        finally:
            os.close(fd)
    return None


def _lock_of_root() -> Path | None:
    """The file of root's lock, where this process isn't root's and the file exists: that lock has to be taken as well."""
    path = ROOT_FOLDER / FILE_NAME
    asked = os.geteuid() != 0 and not os.environ.get(VARIABLE)
    return path if asked and os.access(path, os.R_OK) else None


def _open(path: Path, stack: ExitStack) -> int:
    flags = os.O_RDWR | os.O_CREAT if path.parent == runtime_folder() else os.O_RDONLY  # a flock needs no right to write
    try:
        fd = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        advice = f"make it usable, or set {VARIABLE} to a folder of your own"
        raise RuntimeFolderUnusable(f"the machine's lock {path} can't be opened: {error.strerror}; {advice}") from error
    stack.callback(os.close, fd)
    return fd


def _take(fd: int, wait: bool, tell: Callable[[str], None] | None) -> None:
    told, begun = False, time.monotonic()
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            who = _holder(fd)
        patience_s = _DYING_S if _signer_died(fd) else _GLANCE_S
        if not wait and time.monotonic() > begun + patience_s:
            raise MachineBusy(f"{who} is measuring on this machine, and two at once would measure each other: wait for it, or add --wait")
        if wait and not told and tell is not None:
            tell(f"waiting for {who}")
            told = True
        time.sleep(_POLL_S if wait else _GLANCE_S / 4)


def _sign(fd: int, study: Path | str) -> None:
    pid = os.getpid()
    words = json.dumps({"pid": pid, "start_ticks": process_start(pid) or 0, "study": os.path.abspath(study)})  # noqa: PTH100 - links stay
    os.ftruncate(fd, 0)
    os.pwrite(fd, words.encode(), 0)


def _signature(fd: int) -> tuple[int, int, str]:
    """What the latest holder wrote: its pid, its start time and its study; zeros and an empty text where that can't be read."""
    try:
        said = json.loads(os.pread(fd, 65536, 0))
        return int(said["pid"]), int(said["start_ticks"]), str(said["study"])
    except (ValueError, KeyError, TypeError):
        return 0, 0, ""


def _signer_died(fd: int) -> bool:
    pid, start, _ = _signature(fd)
    return pid != 0 and process_start(pid) != start


def _holder(fd: int) -> str:
    """The process that holds the lock, in words: from what it wrote into the file, or else from the kernel's list of locks."""
    pid, start, study = _signature(fd)
    if pid and process_start(pid) == start:
        return f"another BayesTuner (process {pid}, study {study})"
    listed = _listed_holder(os.fstat(fd).st_ino)
    return "another BayesTuner" + (f" (process {listed})" if listed else "")


def _listed_holder(inode: int) -> int | None:
    try:
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        words = line.split()
        if len(words) > 5 and words[1] == "FLOCK" and words[5].endswith(f":{inode}") and words[4].isdecimal():
            return int(words[4])
    return None
