"""The process that runs a trial, identified so that another process can tell whether it is still alive."""

from __future__ import annotations

import os
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

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
    """

    pid: int
    start_ticks: int
    boot_id: str
    token: str

    @classmethod
    def this_process(cls) -> Owner:
        """Make the owner for a study that this process opens; `release` it when the study is closed."""
        owner = cls(os.getpid(), _start_ticks(os.getpid()), _boot_id(), uuid.uuid4().hex)
        _open_tokens.add(owner.token)
        return owner

    @classmethod
    def from_json(cls, given: dict[str, Any]) -> Owner:
        """Read what `as_dict` wrote."""
        return cls(int(given["pid"]), int(given["start_ticks"]), str(given["boot_id"]), str(given["token"]))

    def as_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return asdict(self)

    def release(self) -> None:
        """Say that this process no longer has the study open."""
        _open_tokens.discard(self.token)

    def is_alive(self) -> bool:
        """True while the process lives and has the study open."""
        if self.boot_id != _boot_id():
            return False
        if self.pid == os.getpid() and self.start_ticks == _start_ticks(self.pid):
            return self.token in _open_tokens
        if self.start_ticks:
            return _start_ticks(self.pid) == self.start_ticks
        return _exists(self.pid)


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
