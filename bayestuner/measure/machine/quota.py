"""The CPU quota of the cgroups around this process: how much CPU time a container may use, whatever number of CPUs it sees.

With a quota of 0.6 CPUs the kernel lets all processes of a group run for 60 ms in every 100 ms together, and stops them for the rest. The
CPU affinity doesn't show it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bayestuner.measure.cgroup.files import read_keyed
from bayestuner.measure.cgroup.hierarchy import OwnGroup, discover
from bayestuner.measure.energy.kernel_files import read_int, read_text


@dataclass(frozen=True, slots=True)
class CpuQuota:
    """The lowest quota that holds for this process.

    Attributes
    ----------
    cpus : float
        CPU seconds that may be used in each second.
    folder : Path
        The cgroup that has the quota.
    """

    cpus: float
    folder: Path

    @property
    def whole_cpus(self) -> int:
        """How many CPUs can be kept busy without ever being stopped; at least 1."""
        return max(1, int(self.cpus + 1e-9))

    def periods(self) -> Periods | None:
        """The kernel's count of periods up to now; None where it can't be read."""
        stat = read_keyed(read_text(self.folder / "cpu.stat") or "")
        try:
            return Periods(stat["nr_periods"], stat["nr_throttled"])
        except KeyError:
            return None


@dataclass(frozen=True, slots=True)
class Periods:
    """Periods of a quota in which the group ran at all, and those of them in which it used up its quota and was stopped."""

    active: int
    stopped: int


def cpu_quota(proc: Path = Path("/proc")) -> CpuQuota | None:
    """The lowest quota of the groups this process is in, as far as they can be seen; None where there is none."""
    own_groups = discover(proc)
    found: list[CpuQuota] = []
    for own, quota_of in ((own_groups.v2, _v2_quota), (own_groups.quota, _v1_quota)):
        for folder in [] if own is None else _with_ancestors(own):
            cpus = quota_of(folder)
            if cpus is not None:
                found.append(CpuQuota(cpus, folder))
    return min(found, key=lambda quota: quota.cpus, default=None)


def _with_ancestors(own: OwnGroup) -> list[Path]:
    return [own.folder, *(parent for parent in own.folder.parents if parent.is_relative_to(own.mount.point))]


def _v2_quota(folder: Path) -> float | None:
    """From cpu.max, ``60000 100000``: microseconds of CPU time in each period of so many microseconds; ``max`` is no quota."""
    words = (read_text(folder / "cpu.max") or "").split()
    if len(words) != 2 or not all(word.isdecimal() for word in words) or int(words[1]) == 0:
        return None
    return int(words[0]) / int(words[1])


def _v1_quota(folder: Path) -> float | None:
    quota_us, period_us = read_int(folder / "cpu.cfs_quota_us"), read_int(folder / "cpu.cfs_period_us")
    return quota_us / period_us if quota_us and period_us and quota_us > 0 else None
