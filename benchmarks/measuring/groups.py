"""Starting a process inside a real cgroup, and changing a limit: the extension, BayesTuner without it, and what plain Python offers."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from bayestuner.measure.cgroup import spawn as spawning
from bayestuner.measure.cgroup.files import CgroupFiles, _write_without_extension
from bayestuner.measure.cgroup.group import FolderGroup
from bayestuner.measure.cgroup.hierarchy import discover
from bayestuner.measure.cgroup.isolation import Launch, Limits
from bayestuner.measure.cgroup.v1 import V1Isolation
from bayestuner.measure.cgroup.v2 import V2Isolation

PROGRAM = "/bin/true"


@contextmanager
def group() -> Iterator[FolderGroup]:
    """A real group: of cgroup v1 with its memory controller where that is here, else of v2 without limits."""
    places = discover()
    if "memory" in places.v1:
        made = V1Isolation(places.v1).create(Limits(memory_max=1 << 30))
    elif places.v2 is not None:
        made = V2Isolation(places.v2.folder, places.v2.mount.point, frozenset()).create(Limits(pids_max=None))
    else:
        raise OSError("no cgroup hierarchy is here")
    with made:
        assert isinstance(made, FolderGroup)
        yield made


@contextmanager
def unified_group() -> Iterator[FolderGroup]:
    """A real group of cgroup v2, without limits."""
    place = discover().v2
    if place is None:
        raise OSError("no cgroup v2 hierarchy is here")
    with V2Isolation(place.folder, place.mount.point, frozenset()).create(Limits(pids_max=None)) as made:
        assert isinstance(made, FolderGroup)
        yield made


def launch_ns(group: FolderGroup) -> float:
    """Nanoseconds until our own launcher has the program running inside, then waits for its end."""
    null = os.open(os.devnull, os.O_RDWR)
    try:
        begun = time.perf_counter_ns()
        child = group.launch(Launch([PROGRAM], {}, "/", null, null))
        taken = time.perf_counter_ns() - begun
    finally:
        os.close(null)
    child.wait(60)
    return taken


def launch_without_extension_ns(group: FolderGroup) -> float:
    """The same through the launcher that is a Python program."""
    with mock.patch.object(spawning, "extension_is_built", return_value=False):
        return launch_ns(group)


def popen_ns(group: FolderGroup) -> float:
    """subprocess with a preexec_fn that joins: plain Python's way, which may deadlock in a program with threads."""
    joins = [str(folder / "cgroup.procs") for folder in group.folders]

    def join() -> None:
        for path in joins:
            fd = os.open(path, os.O_WRONLY)
            os.write(fd, b"0")
            os.close(fd)

    begun = time.perf_counter_ns()
    with subprocess.Popen([PROGRAM], env={}, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, preexec_fn=join) as child:  # noqa: PLW1509
        taken = time.perf_counter_ns() - begun
        child.wait(60)
    return taken


SPAWNS: Mapping[str, Callable[[FolderGroup], float]] = {
    "BayesTuner": launch_ns,
    "BayesTuner without the extension": launch_without_extension_ns,
    "subprocess, preexec_fn": popen_ns,
}


def limit_file(group: FolderGroup) -> tuple[Path, tuple[str, str]]:
    """A limit of this group, and two values to set it to in turns."""
    for name, values in (("memory.limit_in_bytes", ("1073741824", "536870912")), ("cgroup.max.depth", ("100", "200"))):
        for folder in group.folders:
            if (folder / name).exists():
                return folder / name, values
    raise OSError("this group has no limit to change")


def write_python(path: Path, value: str) -> None:
    """What a script does."""
    with open(path, "w") as file:  # noqa: PTH123
        file.write(value)


LIMITS: Mapping[str, Callable[[Path, str], None]] = {
    "BayesTuner": CgroupFiles().write,
    "BayesTuner without the extension": lambda path, value: _write_without_extension(str(path), value),
    "open, write, close in Python": write_python,
}
