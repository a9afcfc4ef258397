"""What the two ways of starting a process share: where the process is to be, the opened files that this takes, and how a start fails.

`spawn` chooses between the ways, `spawn_native` (the extension) and `spawn_shim` (a small Python program) are the ways.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a process is to be.

    `cgroup` is the v2 folder to be born in, `join` the cgroup.procs files to enter before exec, `cpus` the affinity.
    """

    cgroup: Path | None = None
    join: tuple[Path, ...] = ()
    cpus: tuple[int, ...] | None = None
    address_space_bytes: int | None = None

    def joining(self) -> Placement:
        """The same place, entered through cgroup.procs instead of by birth."""
        return self if self.cgroup is None else replace(self, cgroup=None, join=(*self.join, self.cgroup / "cgroup.procs"))


@dataclass(frozen=True, slots=True)
class Descriptors:
    """What `Placement` names, opened: the v2 folder (-1: none), the files to join, and /dev/null."""

    cgroup: int
    join: Sequence[int]
    null: int


class SpawnFault(Exception):
    """Internal: a step before exec failed. `stage` is that step's name, `path` what it was about."""

    def __init__(self, stage: str, number: int, path: str) -> None:
        super().__init__(stage, number, path)
        self.stage, self.number, self.path = stage, number, path


def dies_with_this_thread() -> bool:
    """Whether a child should be killed with the thread that starts it.

    The kernel ties this to the thread, not to the process: a job started from a worker thread would die when that thread returns. The
    main thread ends with the process, so only there it is asked for; what outlives a killed tuner otherwise is swept at the next start.
    """
    return threading.get_native_id() == os.getpid()
