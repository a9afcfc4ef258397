"""What the limits of a run are, behind one interface for cgroup v2, cgroup v1 and the affinity fallback."""

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
    """Limits of one run; None leaves a thing unlimited."""

    cpuset_cpus: tuple[int, ...] | None = None
    cpuset_mems: tuple[int, ...] | None = None
    memory_max: int | None = None  # bytes
    pids_max: int | None = 4096


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who a job runs as; without any capability."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Launch:
    """What to run inside a group: argv without a shell, the whole environment, and which descriptors to hand over.

    `pass_fds` keep their numbers in the child; stdin is /dev/null. Without `credentials` the job runs as whoever starts it.
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
    """Counters of a group since it was made; None where this kind of group can't know."""

    cpu_s: float | None = None
    memory_peak_bytes: int | None = None
    oom_kills: int | None = None


@dataclass(frozen=True, slots=True)
class MemoryStress:
    """Signs that a memory limit is too small for the files a job reads; counters since the group was made, None where unknown.

    Attributes
    ----------
    refaults : int or None
        Pages of files that were pushed out and soon read again.
    stall_s : float or None
        Time in which some process of the group waited for memory.
    """

    refaults: int | None = None
    stall_s: float | None = None


class Child(ABC):
    """A launched process, led by `pid`; it is the leader of its own session."""

    pid: int

    @abstractmethod
    def poll(self) -> int | None:
        """Return code (negative: killed by that signal) or None while it runs."""

    @abstractmethod
    def wait(self, timeout_s: float) -> int | None:
        """Wait for the end; None after `timeout_s`."""

    @abstractmethod
    def terminate(self) -> None:
        """Send SIGTERM to the leader; does nothing where it is gone."""


class RunGroup(ABC):
    """The limits of one run, in force. A context manager: leaving it kills everything inside and removes it."""

    limits: Limits
    actual: Limits  # read back from the kernel

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
    def check(self) -> None:
        """Raise `GroupFault` where the CPUs are no longer those that were asked for: one went offline, or somebody took it away.

        The kernel moves a job whose CPUs are gone to others without a word.
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
    """A way of setting limits that was proven to work here (`bayestuner.measure.cgroup.select.open_isolation`)."""

    name: str  # "cgroup-v2", "cgroup-v1" or "affinity"
    controls: frozenset[str]  # of {"cores", "memory"}: what is really limited

    @abstractmethod
    def create(self, limits: Limits) -> RunGroup:
        """Make the group and set its limits, each read back; the group's name begins with ``bayestuner``."""

    @abstractmethod
    def sweep(self) -> tuple[str, ...]:
        """Kill and remove groups that a dead BayesTuner left; return their names."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why something can't be used here, and what would make it usable."""

    what: str
    reason: str
    remedy: str
    detail: Mapping[str, str] = field(default_factory=dict)
