"""What a run's group has in common in cgroup v1 and v2: starting processes inside it, emptying it, removing it, checking its limits."""

from __future__ import annotations

import errno
import signal
import time
from abc import abstractmethod
from collections.abc import Iterable
from pathlib import Path

from bayestuner.measure.cgroup.child import PidChild
from bayestuner.measure.cgroup.cpulist import parse_list
from bayestuner.measure.cgroup.files import CgroupFiles, explain, subtree
from bayestuner.measure.cgroup.isolation import Child, GroupFault, GroupUsage, Launch, Limits, RunGroup
from bayestuner.measure.cgroup.killing import send_to_members, wait_until
from bayestuner.measure.cgroup.spawn import spawn
from bayestuner.measure.cgroup.spawn_request import Confinement

EMPTY_TIMEOUT_S = 20.0
"""How long processes may take to die of SIGKILL before `FolderGroup.kill` gives up."""

RMDIR_TIMEOUT_S = 10.0
"""How long the kernel may go on calling an emptied group busy before `FolderGroup.remove` gives up."""

_GONE = (errno.ENOENT, errno.ENODEV)
_PAGE_BYTES_MAX = 65536  # the largest page of any supported architecture; kernels round limits down to whole pages


class FolderGroup(RunGroup):
    """A group that is one folder in each of its hierarchies.

    Parameters
    ----------
    name : str
        Its folder's name everywhere.
    folders : iterable of Path
        Its folders, each once.
    limits : Limits
        What was asked for.
    files : CgroupFiles
        How the folders' files are read and written.
    proc : Path
        Where procfs is mounted.
    """

    def __init__(self, name: str, folders: Iterable[Path], limits: Limits, files: CgroupFiles, proc: Path) -> None:
        self.name = name
        self.folders = tuple(dict.fromkeys(folders))
        self.limits = limits
        self.actual = Limits(pids_max=None)
        self.files = files
        self._proc = proc
        self._children: list[PidChild] = []
        self._last_usage = GroupUsage()
        self._removed = False

    @abstractmethod
    def _confinement(self) -> Confinement:
        """Where a process of this group has to be started."""

    @abstractmethod
    def _effective_cpus(self) -> Path | None:
        """The file in which the kernel says which CPUs the group really has; None where CPUs aren't limited."""

    @abstractmethod
    def _read_usage(self) -> GroupUsage:
        """The group's counters, now."""

    @abstractmethod
    def _kill_once(self) -> None:
        """Send SIGKILL to what is inside now; may miss processes that are being forked meanwhile, so `kill` calls it again."""

    def launch(self, launch: Launch) -> Child:
        """Start a process that is inside its limits before its first instruction; OSError with the path where exec fails."""
        if self._removed:
            raise GroupFault(f"group {self.name} has been removed: make a new one for each run")
        child = spawn(launch, self._confinement())
        self._children.append(child)
        return child

    def usage(self) -> GroupUsage:
        """Counters since the group was made; after `remove`, those of the moment before."""
        if not self._removed:
            self._last_usage = self._read_usage()
        return self._last_usage

    def check_cpus(self) -> None:
        """Raise `GroupFault` where the CPUs in force are no longer those that were asked for."""
        asked, where = self.limits.cpuset_cpus, self._effective_cpus()
        text = None if asked is None or where is None or self._removed else self._read_if_there(where)
        if asked is not None and where is not None and text is not None:
            require_cpus(asked, parse_list(text), where)

    def pids(self) -> tuple[int, ...]:
        """Processes inside, now; those in groups that the job made below its own are inside as well.

        The kernel doesn't list the processes of a threaded group (EOPNOTSUPP): they are listed by the group above it that isn't threaded.
        """
        found: set[int] = set()
        for folder in self.folders:
            for path in subtree(folder):
                try:
                    found.update(int(line) for line in self.files.read(path / "cgroup.procs").split())
                except OSError as error:
                    if error.errno not in (*_GONE, errno.EOPNOTSUPP):
                        raise
        return tuple(sorted(found - {0}))  # 0: a process of another pid namespace

    def kill(self) -> None:
        """SIGKILL everything inside and wait until it is empty; may be called twice."""
        pause_s, deadline = 0.002, time.monotonic() + EMPTY_TIMEOUT_S
        while self._reap() and (pids := self.pids()):
            if time.monotonic() > deadline:
                raise GroupFault(f"group {self.name}: processes {pids} did not die within {EMPTY_TIMEOUT_S:.0f} s of SIGKILL")
            self._kill_once()
            if not self._emptied(pause_s):
                pause_s = min(2 * pause_s, 0.25)
        for child in self._children:
            child.send(signal.SIGKILL)  # a privileged job can have moved itself out of its group
            child.wait(1.0)

    def _emptied(self, timeout_s: float) -> bool:
        return wait_until(lambda: self._reap() and not self.pids(), timeout_s, last_pause_s=0.01)

    def _reap(self) -> bool:
        """Take the status of children that ended, so that no zombie of ours counts as a process of the group. Always True."""
        for child in self._children:
            child.poll()
        return True

    def _belongs(self, pid: int) -> bool:
        """Whether a process is still in this group; the group's name is unique, so finding it in the process's path is enough."""
        try:
            return self.name in (self._proc / str(pid) / "cgroup").read_text()
        except OSError:
            return False

    def _send_to_all(self, number: signal.Signals) -> None:
        send_to_members(self.pids(), number, self._belongs)

    def remove(self) -> None:
        """Kill, then remove; may be called twice."""
        if self._removed:
            return
        self.kill()
        try:
            self.usage()
        finally:
            for folder in reversed(self.folders):
                self._remove_folder(folder)
            self._removed = True

    def _remove_folder(self, folder: Path) -> None:
        problem: list[OSError] = []

        def removed() -> bool:
            problem.clear()
            for path in subtree(folder):
                try:
                    self.files.remove(path)
                except OSError as error:
                    if error.errno not in _GONE:
                        problem.append(error)
            return not problem

        if not wait_until(removed, RMDIR_TIMEOUT_S):
            raise GroupFault(f"a group of ours can't be removed: {explain(problem[0])}")

    def _read_if_there(self, path: Path) -> str | None:
        """The text of a file; None where it doesn't exist, as on older kernels or after somebody else removed the group."""
        try:
            return self.files.read(path)
        except OSError as error:
            if error.errno in (*_GONE, errno.EOPNOTSUPP):
                return None
            raise


def require_memory(asked: int, got: int, where: Path) -> None:
    """Raise `GroupFault` where the kernel holds another memory limit than was asked for; rounded down to a page is right."""
    if not asked - _PAGE_BYTES_MAX < got <= asked:
        raise GroupFault(f"{where} holds {got} bytes after {asked} were asked for")


def require_ancestors(asked: int, allowed: int, where: Path) -> None:
    """Raise `GroupFault` where a group above ours has a lower memory limit: the run would die of a limit that isn't the one measured."""
    if allowed < asked - _PAGE_BYTES_MAX:
        advice = "lower the largest memory of the job"
        raise GroupFault(f"a memory limit of {asked} bytes was asked for, but {where} allows only {allowed}: {advice}")


def require_cpus(asked: tuple[int, ...], got: tuple[int, ...], where: Path) -> None:
    """Raise `GroupFault` where the kernel silently gave the group other CPUs than were asked for."""
    if set(asked) != set(got):
        reason = "the others are offline or not given to this group"
        raise GroupFault(f"{where} holds CPUs {got} after {tuple(sorted(asked))} were asked for: {reason}")


def no_swap_limit_message(error: OSError) -> str:
    """The message of a fault: swap is on, and this kernel offers no way to keep a job from swapping."""
    remedy = "run swapoff -a, or boot with swapaccount=1"
    return f"{error.filename} can't be set, so a job would swap instead of meeting its memory limit: {remedy}"
