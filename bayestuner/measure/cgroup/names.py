"""Names of our groups. They say which process made a group, so that what a dead BayesTuner left can be told from what a living one uses.

``bayestuner-<pid>-<start time>-<pid namespace>-<uuid>``. The start time (clock ticks after boot) tells the owner from a later process that
was given the same pid. The pid namespace keeps us from taking an owner in another container, whose pid means nothing here, for dead.
"""

from __future__ import annotations

import os
import re
import uuid
from dataclasses import dataclass
from pathlib import Path

PREFIX = "bayestuner"
SUPERVISOR = "bayestuner-supervisor"
"""Name of the v2 group into which this process moves itself and its neighbours (see `bayestuner.measure.cgroup.delegation`)."""

_NAME = re.compile(rf"{PREFIX}-(\d+)-(\d+)-(\d+)-[0-9a-f]{{32}}")


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that made a group."""

    pid: int
    start_ticks: int
    pid_namespace: int


def process_start(pid: int, proc: Path = Path("/proc")) -> int | None:
    """Start time of a living process in clock ticks after boot; None where it is gone or only a zombie is left."""
    try:
        text = (proc / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the command name before may hold blanks and brackets
    if len(fields) < 20 or fields[0] in "ZX":
        return None
    return int(fields[19])


def pid_namespace(proc: Path = Path("/proc")) -> int:
    """Inode of this process's pid namespace; 0 where it can't be read."""
    try:
        return (proc / "self/ns/pid").stat().st_ino
    except OSError:
        return 0


def new_name(proc: Path = Path("/proc")) -> str:
    """A name for a group that this process makes."""
    pid = os.getpid()
    return f"{PREFIX}-{pid}-{process_start(pid, proc) or 0}-{pid_namespace(proc)}-{uuid.uuid4().hex}"


def owner_of(name: str) -> Owner | None:
    """Who made the group of this name; None for a name that isn't ours."""
    match = _NAME.fullmatch(name)
    return Owner(*(int(part) for part in match.groups())) if match else None


def is_stale(name: str, proc: Path = Path("/proc")) -> bool:
    """Whether a group was made by a BayesTuner of this pid namespace that is dead by now."""
    owner = owner_of(name)
    if owner is None or owner.pid_namespace != pid_namespace(proc):
        return False
    return process_start(owner.pid, proc) != owner.start_ticks
