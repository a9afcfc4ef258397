"""The process that runs a trial, identified so that another process can tell whether it is still alive.

A process of another container has a pid that means nothing here. Whoever has a study open for writing therefore also holds a shared lock
on a file in its folder, which the kernel releases however the process ends, and which holds across containers.
"""

from __future__ import annotations

import fcntl
import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LOCK_NAME = "study.lock"
_locks: dict[str, tuple[Path, int | None]] = {}  # by token
_open_tokens: set[str] = set()  # of the studies that are open in this process


@dataclass(frozen=True, slots=True)
class Owner:
    """A process that has a study open.

    Attributes
    ----------
    pid : int
    start_ticks : int
        Start time, field 22 of /proc/PID/stat: it tells a process from a later one with the same pid. 0 where there is no /proc.
    boot_id : str
        Identifies the boot: the same pid may have belonged to another process before it.
    token : str
        Tells apart two studies that one process has opened.
    pid_namespace : int
        Inode of the pid namespace; 0 where it is not known.
    folder : Path or None
        Of the study; it is not stored.
    """

    pid: int
    start_ticks: int
    boot_id: str
    token: str
    pid_namespace: int = 0
    folder: Path | None = None

    @classmethod
    def this_process(cls, folder: Path | None = None) -> Owner:
        """Make the owner for a study that this process opens; `release` it when the study is closed.

        Parameters
        ----------
        folder : Path, optional
            Where the lock is held; None for a study that is only read.
        """
        owner = cls(os.getpid(), _start_ticks(os.getpid()), _boot_id(), uuid.uuid4().hex, _pid_namespace(), folder)
        _open_tokens.add(owner.token)
        if folder is not None:
            _locks[owner.token] = folder, _hold(folder)
        return owner

    @classmethod
    def from_json(cls, given: dict[str, Any], folder: Path | None = None) -> Owner:
        """Read what `as_dict` wrote, of a study in `folder`."""
        plain = int(given["pid"]), int(given["start_ticks"]), str(given["boot_id"]), str(given["token"])
        return cls(*plain, int(given.get("pid_namespace", 0)), folder)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {"pid": self.pid, "start_ticks": self.start_ticks, "boot_id": self.boot_id, "token": self.token,
                "pid_namespace": self.pid_namespace}  # fmt: skip

    def release(self) -> None:
        """Say that this process no longer has the study open."""
        _open_tokens.discard(self.token)
        _, fd = _locks.pop(self.token, (None, None))
        if fd is not None:
            os.close(fd)

    def is_alive(self) -> bool:
        """True while the process lives and has the study open."""
        if self.boot_id != _boot_id():
            return False
        if self.pid_namespace not in (0, _pid_namespace()):  # in another container: its pid means nothing here
            return self.folder is not None and _others_hold(self.folder)
        if self.pid == os.getpid() and self.start_ticks == _start_ticks(self.pid):
            return self.token in _open_tokens
        if self.start_ticks:
            return _start_ticks(self.pid) == self.start_ticks
        return _exists(self.pid)


def _hold(folder: Path) -> int | None:
    """Take the shared lock of a study's folder; None where the file system has no locks."""
    try:
        fd = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH)
    except OSError:
        os.close(fd)
        return None
    return fd


def _others_hold(folder: Path) -> bool:
    """Whether a process other than this one has the study open for writing."""
    held = [fd for where, fd in _locks.values() if where == folder and fd is not None]
    try:
        fd = held[0] if held else os.open(folder / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        if held:
            fcntl.flock(fd, fcntl.LOCK_SH)  # where the exclusive lock was refused, the shared one is gone too
        else:
            os.close(fd)
    return False


def _pid_namespace() -> int:
    try:
        return Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        return 0


def _start_ticks(pid: int) -> int:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    fields = stat.rpartition(")")[2].split()  # the name in brackets may hold spaces
    state, start = fields[0], fields[19]
    return 0 if state in ("Z", "X") else int(start)  # a zombie runs nothing


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
