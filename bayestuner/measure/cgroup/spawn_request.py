"""What the two ways of starting a process share: what the process is confined to, the opened files this takes, and how a start fails.

The ways are `spawn_native` (the C extension) and `spawn_shim` (a small Python program); `spawn` chooses between them.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Confinement:
    """What a process is confined to before its first instruction.

    Attributes
    ----------
    cgroup : Path or None
        Folder of the cgroup v2 group in which the process is created.
    join : tuple of Path
        cgroup.procs files of groups that the process enters by itself before it executes the program.
    cpus : tuple of int or None
        Its CPU affinity; None leaves it as it is.
    address_space_bytes : int or None
        Limit on its address space (RLIMIT_AS); None: no limit.
    """

    cgroup: Path | None = None
    join: tuple[Path, ...] = ()
    cpus: tuple[int, ...] | None = None
    address_space_bytes: int | None = None

    def by_joining(self) -> Confinement:
        """The same, but the v2 group is entered through its cgroup.procs file: for kernels that can't create a process inside a group."""
        return self if self.cgroup is None else replace(self, cgroup=None, join=(*self.join, self.cgroup / "cgroup.procs"))


@dataclass(frozen=True, slots=True)
class Descriptors:
    """The files of a `Confinement`, opened: `cgroup` is its v2 folder (-1: none), `join` its cgroup.procs files; `null` is /dev/null."""

    cgroup: int
    join: Sequence[int]
    null: int


class SpawnFault(Exception):
    """Internal: a step of the start failed. `stage` names the step, `number` is the error number, `path` the file it was about."""

    def __init__(self, stage: str, number: int, path: str) -> None:
        super().__init__(stage, number, path)
        self.stage, self.number, self.path = stage, number, path


def dies_with_this_thread() -> bool:
    """Whether a child should be killed with the thread that starts it.

    The kernel kills such a child when the thread that started it ends, not when the process does: a job started from a worker thread would
    die when that thread returns. The main thread ends with the process, so only children of the main thread are tied to it. Other jobs that
    outlive a killed tuner are removed at its next start.
    """
    return threading.get_native_id() == os.getpid()
