"""Limits by cgroup v2: a run's group is one folder, and processes are created inside it."""

from __future__ import annotations

import contextlib
import errno
import signal
from pathlib import Path

from bayestuner.measure.cgroup.cpulist import format_list, parse_list
from bayestuner.measure.cgroup.files import CgroupFiles, explain, read_keyed, subtree, swap_is_on
from bayestuner.measure.cgroup.group import FolderGroup, no_swap_limit_message, require_ancestors, require_cpus, require_memory
from bayestuner.measure.cgroup.isolation import GroupFault, GroupUsage, Isolation, Limits, MemoryStress, RunGroup
from bayestuner.measure.cgroup.killing import wait_until
from bayestuner.measure.cgroup.names import new_name
from bayestuner.measure.cgroup.spawn_request import Confinement
from bayestuner.measure.cgroup.sweeping import find_stale

_FREEZE_TIMEOUT_S = 1.0


class V2Group(FolderGroup):
    """The group of one run: one folder."""

    def __init__(self, folder: Path, top: Path, limits: Limits, files: CgroupFiles, proc: Path) -> None:
        super().__init__(folder.name, [folder], limits, files, proc)
        self._folder = folder
        self._top = top
        self._oom_kills_before = 0

    def build(self) -> None:
        """Make the folder and set the limits; each limit is read back."""
        self.files.make(self._folder)
        self._controllers = frozenset(self.files.read(self._folder / "cgroup.controllers").split())
        cpus, mems = self._set_cpuset()
        self.actual = Limits(cpus, mems, self._set_memory(), self._set_pids())
        self._oom_kills_before = self._oom_kills() or 0

    def _has(self, controller: str, limit: object) -> bool:
        if controller in self._controllers:
            return True
        if limit is not None:
            raise GroupFault(f"a {controller} limit was asked for, but {self._folder} has no {controller} controller")
        return False

    def _set_cpuset(self) -> tuple[tuple[int, ...] | None, tuple[int, ...] | None]:
        cpus, mems = self.limits.cpuset_cpus, self.limits.cpuset_mems
        if not self._has("cpuset", cpus if cpus is not None else mems):
            return None, None
        if mems is not None:
            self.files.write(self._folder / "cpuset.mems", format_list(mems))
        if cpus is not None:
            self.files.write(self._folder / "cpuset.cpus", format_list(cpus))
        got_cpus = parse_list(self.files.read(self._folder / "cpuset.cpus.effective"))
        got_mems = parse_list(self.files.read(self._folder / "cpuset.mems.effective"))
        if cpus is not None:
            require_cpus(cpus, got_cpus, self._folder / "cpuset.cpus.effective")
        if mems is not None and set(mems) != set(got_mems):
            raise GroupFault(f"{self._folder / 'cpuset.mems.effective'} holds nodes {got_mems} after {mems} were asked for")
        return got_cpus, got_mems

    def _set_memory(self) -> int | None:
        asked = self.limits.memory_max
        if not self._has("memory", asked) or asked is None:
            return None
        try:
            self.files.write(self._folder / "memory.swap.max", "0")
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
            if swap_is_on(self._proc):
                raise GroupFault(no_swap_limit_message(error)) from error
        self.files.write(self._folder / "memory.max", str(asked))
        with contextlib.suppress(FileNotFoundError):  # since Linux 4.19
            self.files.write(self._folder / "memory.oom.group", "1")
        got = self.files.read(self._folder / "memory.max").strip()
        require_memory(asked, int(got) if got.isdecimal() else 2**63, self._folder / "memory.max")
        self._check_ancestors(asked)
        return int(got)

    def _check_ancestors(self, asked: int) -> None:
        folder = self._folder.parent
        while folder != self._top and folder.is_relative_to(self._top):
            allowed = (self._read_if_there(folder / "memory.max") or "max").strip()
            if allowed.isdecimal():
                require_ancestors(asked, int(allowed), folder / "memory.max")
            folder = folder.parent

    def _set_pids(self) -> int | None:
        if "pids" not in self._controllers or self.limits.pids_max is None:
            return None  # a guard, not a knob: a machine without this controller is not refused
        self.files.write(self._folder / "pids.max", str(self.limits.pids_max))
        return int(self.files.read(self._folder / "pids.max"))

    def _confinement(self) -> Confinement:
        return Confinement(cgroup=self._folder, cpus=self.limits.cpuset_cpus)

    def _effective_cpus(self) -> Path:
        return self._folder / "cpuset.cpus.effective"

    def _oom_kills(self) -> int | None:
        events = self._read_if_there(self._folder / "memory.events")
        return None if events is None else read_keyed(events).get("oom_kill")

    def _read_usage(self) -> GroupUsage:
        stat = read_keyed(self._read_if_there(self._folder / "cpu.stat") or "")
        peak = self._read_if_there(self._folder / "memory.peak")  # since Linux 5.19
        oom_kills = self._oom_kills()
        return GroupUsage(
            cpu_s=stat["usage_usec"] / 1e6 if "usage_usec" in stat else None,
            memory_peak_bytes=None if peak is None else int(peak),
            oom_kills=None if oom_kills is None else oom_kills - self._oom_kills_before,
        )

    def memory_stress(self) -> MemoryStress:
        """Refaults of file pages (since Linux 5.9), and time spent waiting for memory (where the kernel was built with PSI)."""
        stat = read_keyed(self._read_if_there(self._folder / "memory.stat") or "")
        pressure = (self._read_if_there(self._folder / "memory.pressure") or "").partition("\n")[0]  # the line that begins with "some"
        total_us = pressure.rpartition("total=")[2]
        return MemoryStress(stat.get("workingset_refault_file"), int(total_us) / 1e6 if total_us.isdecimal() else None)

    def _kill_once(self) -> None:
        try:
            self.files.write(self._folder / "cgroup.kill", "1")  # since Linux 5.14
        except FileNotFoundError:
            self._kill_frozen()

    def _kill_frozen(self) -> None:
        """For kernels before 5.14: freeze, so that no process can escape by forking, then send SIGKILL, of which frozen processes die."""
        with contextlib.suppress(FileNotFoundError):
            try:
                self.files.write(self._folder / "cgroup.freeze", "1")
                wait_until(self._is_frozen, _FREEZE_TIMEOUT_S)
                self._send_to_all(signal.SIGKILL)
            finally:
                for folder in reversed(subtree(self._folder)):
                    self.files.write(folder / "cgroup.freeze", "0")

    def _is_frozen(self) -> bool:
        return read_keyed(self.files.read(self._folder / "cgroup.events")).get("frozen") == 1


class V2Isolation(Isolation):
    """Groups below `base`, whose controllers were enabled by `bayestuner.measure.cgroup.delegation.prepare_base`.

    Parameters
    ----------
    base : Path
        The folder in which run groups are made.
    top : Path
        Where the hierarchy is mounted.
    controllers : frozenset of str
        What `base` gives to the groups below it.
    """

    name = "cgroup-v2"

    def __init__(
        self, base: Path, top: Path, controllers: frozenset[str], files: CgroupFiles | None = None, proc: Path = Path("/proc")
    ) -> None:
        self._base = base
        self._top = top
        self._files = files or CgroupFiles()
        self._proc = proc
        self.controls = frozenset(what for controller, what in (("cpuset", "cores"), ("memory", "memory")) if controller in controllers)

    def create(self, limits: Limits) -> RunGroup:
        """Make the group and set its limits, each read back; `GroupFault` where the kernel doesn't take them as asked."""
        group = V2Group(self._base / new_name(self._proc), self._top, limits, self._files, self._proc)
        try:
            group.build()
        except OSError as error:
            group.remove()
            raise GroupFault(f"the limits of a run can't be set: {explain(error)}") from error
        except BaseException:
            group.remove()
            raise
        return group

    def sweep(self) -> tuple[str, ...]:
        """Kill and remove groups that a dead BayesTuner left behind; return their names."""
        stale = find_stale({"": self._top}, self._proc)
        for folders in stale.values():
            V2Group(folders[""], self._top, Limits(), self._files, self._proc).remove()
        return tuple(stale)
