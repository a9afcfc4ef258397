"""Limits by cgroup v1: a run's group is one folder in each hierarchy, with the same name in each.

The kernel dictates the order of the writes: a new cpuset takes no process until its mems and cpus are set, and the memory limit must be set
before the limit on memory plus swap. OOM kills are counted by `oom_kill` of memory.oom_control, not by memory.failcnt, which was seen to
stay 0 through real OOM kills (Linux 6.18).
"""

from __future__ import annotations

import contextlib
import errno
import signal
from collections.abc import Mapping
from pathlib import Path

from bayestuner.measure.cgroup.cpulist import format_list, parse_list
from bayestuner.measure.cgroup.files import CgroupFiles, explain, read_keyed, subtree, swap_is_on
from bayestuner.measure.cgroup.group import FolderGroup, no_swap_limit_message, require_ancestors, require_cpus, require_memory
from bayestuner.measure.cgroup.hierarchy import OwnGroup
from bayestuner.measure.cgroup.isolation import GroupFault, GroupUsage, Isolation, Limits, MemoryStress, RunGroup
from bayestuner.measure.cgroup.killing import send_to_members, wait_until
from bayestuner.measure.cgroup.names import new_name
from bayestuner.measure.cgroup.spawn_request import Confinement
from bayestuner.measure.cgroup.sweeping import find_stale

_FREEZE_TIMEOUT_S = 1.0


class V1Group(FolderGroup):
    """The group of one run: its folder by controller; controllers that are mounted together share a folder."""

    def __init__(self, name: str, by_controller: Mapping[str, Path], limits: Limits, files: CgroupFiles, proc: Path) -> None:
        super().__init__(name, by_controller.values(), limits, files, proc)
        self._by_controller = dict(by_controller)

    def build(self) -> None:
        """Make the folders and set the limits; each limit is read back."""
        for folder in self.folders:
            self.files.make(folder)
        cpus, mems = self._set_cpuset()
        self.actual = Limits(cpus, mems, self._set_memory(), self._set_pids())

    def _controller(self, name: str, limit: object) -> Path | None:
        folder = self._by_controller.get(name)
        if folder is None and limit is not None:
            raise GroupFault(f"a {name} limit was asked for, but the {name} controller can't be used here")
        return folder

    def _set_cpuset(self) -> tuple[tuple[int, ...] | None, tuple[int, ...] | None]:
        asked_cpus, asked_mems = self.limits.cpuset_cpus, self.limits.cpuset_mems
        folder = self._controller("cpuset", asked_cpus if asked_cpus is not None else asked_mems)
        if folder is None:
            return None, None
        parent = folder.parent
        mems = format_list(asked_mems) if asked_mems is not None else self.files.read(parent / "cpuset.effective_mems").strip()
        cpus = format_list(asked_cpus) if asked_cpus is not None else self.files.read(parent / "cpuset.effective_cpus").strip()
        self.files.write(folder / "cpuset.mems", mems)
        self.files.write(folder / "cpuset.cpus", cpus)
        got_cpus = parse_list(self.files.read(folder / "cpuset.effective_cpus"))
        got_mems = parse_list(self.files.read(folder / "cpuset.effective_mems"))
        require_cpus(parse_list(cpus), got_cpus, folder / "cpuset.effective_cpus")
        return got_cpus, got_mems

    def _set_memory(self) -> int | None:
        asked = self.limits.memory_max
        folder = self._controller("memory", asked)
        if folder is None or asked is None:
            return None
        with contextlib.suppress(FileNotFoundError):
            self.files.write(folder / "memory.swappiness", "0")
        self.files.write(folder / "memory.limit_in_bytes", str(asked))
        self._forbid_swap(folder, asked)
        got = int(self.files.read(folder / "memory.limit_in_bytes"))
        require_memory(asked, got, folder / "memory.limit_in_bytes")
        stat = read_keyed(self.files.read(folder / "memory.stat"))
        require_ancestors(asked, stat.get("hierarchical_memory_limit", asked), folder / "memory.stat")
        return got

    def _forbid_swap(self, folder: Path, limit: int) -> None:
        """Limit memory plus swap to `limit` as well, so that nothing can be swapped out.

        A kernel without swap accounting has no such file; then a job can only be kept from swapping where there is no swap.
        """
        try:
            self.files.write(folder / "memory.memsw.limit_in_bytes", str(limit))
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.EOPNOTSUPP):
                raise
            if swap_is_on(self._proc):
                raise GroupFault(no_swap_limit_message(error)) from error

    def _set_pids(self) -> int | None:
        folder = self._by_controller.get("pids")  # a guard, not a knob: a machine without this controller is not refused
        if folder is None or self.limits.pids_max is None:
            return None
        self.files.write(folder / "pids.max", str(self.limits.pids_max))
        return int(self.files.read(folder / "pids.max"))

    def _confinement(self) -> Confinement:
        return Confinement(join=tuple(folder / "cgroup.procs" for folder in self.folders), cpus=self.limits.cpuset_cpus)

    def _effective_cpus(self) -> Path | None:
        folder = self._by_controller.get("cpuset")
        return None if folder is None else folder / "cpuset.effective_cpus"

    def _read_usage(self) -> GroupUsage:
        cpu_ns = self._read_number("cpuacct", "cpuacct.usage")
        control = self._read("memory", "memory.oom_control")
        return GroupUsage(
            cpu_s=None if cpu_ns is None else cpu_ns / 1e9,
            memory_peak_bytes=self._read_number("memory", "memory.max_usage_in_bytes"),
            oom_kills=None if control is None else read_keyed(control).get("oom_kill"),
        )

    def memory_stress(self) -> MemoryStress:
        """Refaults of file pages; v1 doesn't tell how long a group waited for memory."""
        stat = self._read("memory", "memory.stat")
        return MemoryStress(refaults=None if stat is None else read_keyed(stat).get("total_workingset_refault_file"))

    def _read(self, controller: str, name: str) -> str | None:
        folder = self._by_controller.get(controller)
        return None if folder is None else self._read_if_there(folder / name)

    def _read_number(self, controller: str, name: str) -> int | None:
        text = self._read(controller, name)
        return None if text is None else int(text)

    def _kill_once(self) -> None:
        """Freeze, send SIGKILL, thaw. Frozen processes can't escape by forking; in v1 they die only after they are thawed."""
        freezer = self._by_controller.get("freezer")
        if freezer is None:
            self._send_to_all(signal.SIGSTOP)
            self._send_to_all(signal.SIGKILL)
            return
        with contextlib.suppress(FileNotFoundError):
            try:
                wait_until(lambda: self._is_frozen(freezer), _FREEZE_TIMEOUT_S)  # after that time kill what there is; `kill` repeats it
                send_to_members(self.pids(), signal.SIGKILL, self._belongs)
            finally:
                for folder in reversed(subtree(freezer)):  # the job may have frozen groups of its own below
                    self.files.write(folder / "freezer.state", "THAWED")

    def _is_frozen(self, freezer: Path) -> bool:
        self.files.write(freezer / "freezer.state", "FROZEN")  # FREEZING can stick while forks go on; writing again helps
        return self.files.read(freezer / "freezer.state").strip() == "FROZEN"


class V1Isolation(Isolation):
    """Groups below this process's own in the v1 hierarchies.

    Parameters
    ----------
    own_groups : mapping of str to OwnGroup
        This process's own group by controller, for the controllers that were found usable.
    """

    name = "cgroup-v1"

    def __init__(self, own_groups: Mapping[str, OwnGroup], files: CgroupFiles | None = None, proc: Path = Path("/proc")) -> None:
        self._own_groups = dict(own_groups)
        self._files = files or CgroupFiles()
        self._proc = proc
        self.controls = frozenset(what for controller, what in (("cpuset", "cores"), ("memory", "memory")) if controller in own_groups)

    def create(self, limits: Limits) -> RunGroup:
        """Make the group and set its limits, each read back; `GroupFault` where the kernel doesn't take them as asked."""
        name = new_name(self._proc)
        folders = {controller: own.folder / name for controller, own in self._own_groups.items()}
        group = V1Group(name, folders, limits, self._files, self._proc)
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
        points = {controller: own.mount.point for controller, own in self._own_groups.items()}
        stale = find_stale(points, self._proc)
        for name, folders in stale.items():
            V1Group(name, folders, Limits(), self._files, self._proc).remove()
        return tuple(stale)
