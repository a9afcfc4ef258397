"""The interface behind which cgroup v2, cgroup v1 and the affinity fallback limit a run.

An `Isolation` is a way of setting limits. For each run it makes a `RunGroup`, in which the job is started by a `Launch` and becomes a
`Child`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType

from bayestuner.errors import BayesTunerError


class GroupFault(BayesTunerError):
    """A group of ours can't be made, limited as asked, joined, emptied or removed; the message says which file and why."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one run; None leaves a thing unlimited. The names are those of the kernel's cgroup files.

    Attributes
    ----------
    cpuset_cpus : tuple of int or None
        The CPUs that may be used.
    cpuset_mems : tuple of int or None
        The NUMA nodes from which memory may be taken.
    memory_max : int or None
        Bytes of memory, without swap.
    pids_max : int or None
        Number of processes and threads: a guard against a job that forks without end, no knob.
    """

    cpuset_cpus: tuple[int, ...] | None = None
    cpuset_mems: tuple[int, ...] | None = None
    memory_max: int | None = None
    pids_max: int | None = 4096


@dataclass(frozen=True, slots=True)
class Credentials:
    """The user a job runs as, by number: user, primary group and supplementary groups. It keeps no capability."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Launch:
    """What to start inside a group.

    Attributes
    ----------
    argv : sequence of str
        Program and arguments; there is no shell.
    env : mapping of str to str
        The whole environment; nothing is inherited.
    cwd : str
        Folder to run in.
    stdout_fd, stderr_fd : int
        Descriptors that become standard output and error; standard input is /dev/null.
    pass_fds : tuple of int
        Further descriptors that stay open in the child, under the same numbers.
    credentials : Credentials or None
        The user to become; None: the user of this process.
    """

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: str
    stdout_fd: int
    stderr_fd: int
    pass_fds: tuple[int, ...] = ()
    credentials: Credentials | None = None


@dataclass(frozen=True, slots=True)
class GroupUsage:
    """Counters of a group since it was made; None where this kind of group has no such counter.

    Attributes
    ----------
    cpu_s : float or None
        CPU time of all its processes, seconds.
    memory_peak_bytes : int or None
        The most memory it held at any time, page cache included.
    oom_kills : int or None
        Processes that the kernel killed because the group's memory limit was reached.
    """

    cpu_s: float | None = None
    memory_peak_bytes: int | None = None
    oom_kills: int | None = None


@dataclass(frozen=True, slots=True)
class MemoryStress:
    """Signs that a memory limit is too small for the files a job reads: counters since the group was made, None where unknown.

    Attributes
    ----------
    refaults : int or None
        Pages of files that the kernel dropped from memory and soon had to read again.
    stall_s : float or None
        Seconds in which at least one process of the group waited for memory.
    """

    refaults: int | None = None
    stall_s: float | None = None


class Child(ABC):
    """A started process; it leads a session of its own, and `pid` is its process id."""

    pid: int

    @abstractmethod
    def poll(self) -> int | None:
        """Return code (negative: killed by that signal) or None while it runs."""

    @abstractmethod
    def wait(self, timeout_s: float) -> int | None:
        """Wait for the end; None after `timeout_s`."""

    @abstractmethod
    def terminate(self) -> None:
        """Send SIGTERM to the process itself; does nothing where it is gone."""


class RunGroup(ABC):
    """The limits of one run, in force, and the processes inside them. A context manager: leaving it kills everything inside and removes it.

    Attributes
    ----------
    limits : Limits
        As asked for.
    actual : Limits
        As read back from the kernel.
    """

    limits: Limits
    actual: Limits

    @abstractmethod
    def launch(self, launch: Launch) -> Child:
        """Start a process that is inside its limits before its first instruction; OSError with the path where exec fails."""

    @abstractmethod
    def usage(self) -> GroupUsage:
        """Counters since the group was made; after `remove`, those of the moment before."""

    def memory_stress(self) -> MemoryStress:
        """Signs of a memory limit that is too small for the files the job reads."""
        return MemoryStress()

    @abstractmethod
    def check_cpus(self) -> None:
        """Raise `GroupFault` where the group no longer has the CPUs that were asked for: one went offline, or somebody took it away.

        The kernel silently moves a job whose CPUs are gone to other CPUs.
        """

    @abstractmethod
    def pids(self) -> tuple[int, ...]:
        """Processes inside, now."""

    @abstractmethod
    def kill(self) -> None:
        """SIGKILL everything inside and wait until it is empty; may be called twice."""

    @abstractmethod
    def remove(self) -> None:
        """Kill, then remove; may be called twice."""

    def __enter__(self) -> RunGroup:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.remove()


class Isolation(ABC):
    """A way of setting limits that was proven to work here (`bayestuner.measure.cgroup.select.open_isolation`).

    Attributes
    ----------
    name : {"cgroup-v2", "cgroup-v1", "affinity"}
    controls : frozenset of str
        Which of "cores" and "memory" it really limits.
    """

    name: str
    controls: frozenset[str]

    @abstractmethod
    def create(self, limits: Limits) -> RunGroup:
        """Make the group and set its limits, each read back; the group's name begins with ``bayestuner``."""

    @abstractmethod
    def sweep(self) -> tuple[str, ...]:
        """Kill and remove groups that a dead BayesTuner left; return their names."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why something can't be used on this machine, and what would make it usable.

    Attributes
    ----------
    what : str
        The thing: ``cgroup-v2``, ``powercap``, ``cpu_frequency``, ...
    reason, remedy : str
        For people: a clause each, without a full stop.
    detail : mapping of str to str
        For cgroup v1: controller -> ``ok``, or why it can't be used.
    """

    what: str
    reason: str
    remedy: str
    detail: Mapping[str, str] = field(default_factory=dict)


class Refused(Exception):
    """A meter, a limit or a knob can't be used here; carries the `Refusal` that says why."""

    def __init__(self, what: str, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.refusal = Refusal(what, reason, remedy)
