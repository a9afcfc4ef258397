"""The fallback where no cgroup can be used: the job is bound to its CPUs by affinity, and its memory isn't limited at all.

It is weaker than a cgroup and says so (`controls` lacks "memory"). A job may widen its own affinity again, and its processes are found by
an environment variable that marks them instead of by the kernel. Everything the job starts inherits that variable, also after setsid and a
double fork; only a process that is started with an emptied environment and also leaves the job's session escapes. Making this program a
"child subreaper" (prctl) would catch that process too, but would make this program, which may be somebody's own service, the parent of
processes it knows nothing of.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

from bayestuner.measure.cgroup.child import PidChild
from bayestuner.measure.cgroup.isolation import Child, GroupFault, GroupUsage, Isolation, Launch, Limits, RunGroup
from bayestuner.measure.cgroup.killing import send_to_members, wait_until
from bayestuner.measure.cgroup.names import is_stale, new_name, owner_of
from bayestuner.measure.cgroup.spawn import spawn
from bayestuner.measure.cgroup.spawn_request import Confinement

MARK = "BAYESTUNER_GROUP"
"""Environment variable that marks every process of a group; its value is the group's name."""

EMPTY_TIMEOUT_S = 20.0
"""How long processes may take to die of SIGKILL before `AffinityGroup.kill` gives up."""

_STOP_ROUNDS = 50
"""How often `AffinityGroup._stop_all` looks for members that were forked since the round before."""


def _marked_processes(proc: Path) -> dict[int, str]:
    """Process id -> name of its group, for every living process that carries `MARK`."""
    found = {}
    needle = f"{MARK}=".encode()
    for entry in proc.iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            environment = (entry / "environ").read_bytes()
        except OSError:
            continue  # gone, or another user's
        for item in environment.split(b"\0"):
            if item.startswith(needle):
                found[int(entry.name)] = item[len(needle) :].decode(errors="replace")
    return found


def _stat(pid: int, proc: Path) -> list[str]:
    """Fields of /proc/PID/stat, beginning with the process's state; empty where the process is gone."""
    try:
        return (proc / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


class AffinityGroup(RunGroup):
    """The processes of one run: those that carry its mark, or belong to a session that the run's own process leads."""

    def __init__(self, name: str, limits: Limits, proc: Path) -> None:
        self.name = name
        self.limits = limits
        self.actual = Limits(cpuset_cpus=limits.cpuset_cpus, pids_max=None)
        self._proc = proc
        self._children: list[PidChild] = []
        self._cpu_s = 0.0
        self._removed = False

    def launch(self, launch: Launch) -> Child:
        """Start a process on the group's CPUs; OSError with the path where exec fails."""
        if self._removed:
            raise GroupFault(f"group {self.name} has been removed: make a new one for each run")
        marked = replace(launch, env={**launch.env, MARK: self.name})
        child = spawn(marked, Confinement(cpus=self.limits.cpuset_cpus))
        child.keep_zombie = True
        self._children.append(child)
        return child

    def usage(self) -> GroupUsage:
        """CPU time of the living processes, of those they have waited for and of the job's first process, to one clock tick; memory and OOM
        kills can't be known."""
        tick_s = 1.0 / os.sysconf("SC_CLK_TCK")
        ticks = 0
        for pid in {*self.pids(), *(child.pid for child in self._children)}:  # the first one's counters stay while it is a zombie
            fields = _stat(pid, self._proc)
            if len(fields) > 14:
                ticks += sum(int(field) for field in fields[11:15])  # utime stime cutime cstime
        self._cpu_s = max(self._cpu_s, ticks * tick_s)
        return GroupUsage(cpu_s=self._cpu_s)

    def check_cpus(self) -> None:
        """Checks nothing: a job may change its own affinity, so a difference would not be the machine's fault."""

    def _belongs(self, pid: int) -> bool:
        fields = _stat(pid, self._proc)
        if not fields or fields[0] in "ZX":
            return False
        try:
            environment = (self._proc / str(pid) / "environ").read_bytes()
        except OSError:
            environment = b""
        if f"{MARK}={self.name}".encode() in environment.split(b"\0"):
            return True
        session = int(fields[3])
        return any(child.pid == session for child in self._children)  # safe: our child stays a zombie, so nobody else can get its pid

    def pids(self) -> tuple[int, ...]:
        """Processes that carry the mark, or belong to a session that one of our children leads, now."""
        entries = (int(entry.name) for entry in self._proc.iterdir() if entry.name.isdecimal())
        return tuple(sorted(pid for pid in entries if self._belongs(pid)))

    def kill(self) -> None:
        """SIGKILL everything inside and wait until it is empty; may be called twice."""
        deadline = time.monotonic() + EMPTY_TIMEOUT_S
        while members := self._stop_all():
            if time.monotonic() > deadline:
                raise GroupFault(f"group {self.name}: processes {members} did not die within {EMPTY_TIMEOUT_S:.0f} s of SIGKILL")
            send_to_members(members, signal.SIGKILL, self._belongs)
            wait_until(lambda: not self.pids(), 1.0, first_pause_s=0.005)
        for child in self._children:
            child.wait(1.0)

    def _stop_all(self) -> tuple[int, ...]:
        """Send SIGSTOP until no new member turns up, so that none can escape, by forking, the SIGKILL that follows."""
        stopped: tuple[int, ...] = ()
        for _ in range(_STOP_ROUNDS):
            members = self.pids()
            if set(members) <= set(stopped):
                return members
            send_to_members(members, signal.SIGSTOP, self._belongs)
            stopped = members
        return stopped

    def remove(self) -> None:
        """Kill; there is nothing else to remove."""
        if not self._removed:
            self.usage()
            self.kill()
            for child in self._children:
                child.release()
            self._children.clear()
            self._removed = True


class AffinityIsolation(Isolation):
    """CPUs by sched_setaffinity; memory is not limited."""

    name = "affinity"
    controls = frozenset({"cores"})

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc

    def create(self, limits: Limits) -> RunGroup:
        """A group bound to `limits.cpuset_cpus`; its `actual` shows that nothing else is limited.

        Raises
        ------
        GroupFault
            This process itself may not use all of these CPUs.
        """
        allowed = os.sched_getaffinity(0)
        if limits.cpuset_cpus is not None and not set(limits.cpuset_cpus) <= allowed:
            raise GroupFault(f"CPUs {limits.cpuset_cpus} were asked for, but this process may use only {tuple(sorted(allowed))}")
        return AffinityGroup(new_name(self._proc), limits, self._proc)

    def sweep(self) -> tuple[str, ...]:
        """Kill what a dead BayesTuner left running; return the names of its groups."""
        marked = _marked_processes(self._proc)
        names = sorted({name for name in marked.values() if owner_of(name) and is_stale(name, self._proc)})
        for name in names:
            AffinityGroup(name, Limits(), self._proc).remove()
        return tuple(names)
