"""What went on around a job while it was measured: stolen time, swapping, throttling, page cache that doesn't fit its memory limit.

Counters are read a few times a second; the changes over a window are those between the two samples that enclose it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bayestuner.errors import BayesTunerError
from bayestuner.measure.cgroup.isolation import MemoryStress, RunGroup
from bayestuner.measure.energy.kernel_files import KernelRoots
from bayestuner.measure.machine.preflight import throttle_count
from bayestuner.measure.machine.quota import Periods, cpu_quota

SHORTEST_PERIOD_NS = 250_000_000


@dataclass(frozen=True, slots=True)
class CounterSample:
    """The counters at one moment; None for what this machine does not count."""

    stamp_ns: int
    stolen_s: float | None
    swapped_pages: int | None
    stress: MemoryStress
    frequency_mhz: float | None
    quota_periods: Periods | None


@dataclass(frozen=True, slots=True)
class Changes:
    """How the counters changed over a window; None for what is not known.

    Attributes
    ----------
    stolen_share : float or None
        CPU time that the hypervisor gave to others, as a share of all CPU time of this machine.
    swapped_bytes : int or None
        What the whole machine read from and wrote to swap.
    throttles : int or None
        How often a core or package was slowed because of heat, since the run began.
    refaulted_bytes_per_s : float or None
        Pages of files that the job's memory limit had pushed out of memory and that had to be read again.
    memory_stall_share : float or None
        Share of the time in which some process of the job waited for memory (pressure stall information).
    frequency_mhz : tuple of float or None
        Lowest, mean and highest over the samples, each the mean over the job's CPUs.
    quota_share : float or None
        Share of the periods in which a CPU quota stopped the job and whatever else the quota holds for; None where there is no quota.
    """

    stolen_share: float | None = None
    swapped_bytes: int | None = None
    throttles: int | None = None
    refaulted_bytes_per_s: float | None = None
    memory_stall_share: float | None = None
    frequency_mhz: tuple[float, float, float] | None = None
    quota_share: float | None = None


class Conditions:
    """Samples the counters of one run.

    Parameters
    ----------
    group : RunGroup
    cpus : sequence of int
        The CPUs the job runs on.
    roots : KernelRoots, optional
    """

    def __init__(self, group: RunGroup, cpus: Sequence[int], roots: KernelRoots | None = None) -> None:
        self._roots = roots or KernelRoots()
        self._group = group
        files = (self._roots.sys_path(f"devices/system/cpu/cpu{cpu}/cpufreq/scaling_cur_freq") for cpu in cpus)
        self._frequencies = [file for file in files if file.exists()]
        self._throttles = throttle_count(self._roots)
        self._quota = cpu_quota(Path(self._roots.proc))
        self._samples: list[CounterSample] = []
        self.sample()

    def sample(self, *, last: bool = False) -> None:
        """Read the counters where the latest sample is at least `SHORTEST_PERIOD_NS` old, or this is the last one."""
        now_ns = time.monotonic_ns()
        if self._samples and now_ns - self._samples[-1].stamp_ns < SHORTEST_PERIOD_NS and not last:
            return
        try:
            stress = self._group.memory_stress()
        except (BayesTunerError, OSError):  # somebody else removed the group; the sampler reports that
            stress = MemoryStress()
        stolen_s, swapped = _stolen_s(self._roots), _swapped_pages(self._roots)
        periods = None if self._quota is None else self._quota.periods()
        self._samples.append(CounterSample(now_ns, stolen_s, swapped, stress, _mean_mhz(self._frequencies), periods))

    def changes(self, start_ns: int, end_ns: int) -> Changes:
        """How the counters changed from one moment to another."""
        before = [s for s in self._samples if s.stamp_ns <= start_ns]
        after = [s for s in self._samples if s.stamp_ns >= end_ns]
        first, last = before[-1] if before else self._samples[0], after[0] if after else self._samples[-1]
        seconds = (last.stamp_ns - first.stamp_ns) / 1e9
        if seconds <= 0:
            return Changes()
        stolen = _increase(last.stolen_s, first.stolen_s)
        swapped = _increase(last.swapped_pages, first.swapped_pages)
        refaults = _increase(last.stress.refaults, first.stress.refaults)
        stall = _increase(last.stress.stall_s, first.stress.stall_s)
        page = os.sysconf("SC_PAGE_SIZE")
        between = [s.frequency_mhz for s in self._samples if first.stamp_ns <= s.stamp_ns <= last.stamp_ns and s.frequency_mhz is not None]
        throttles = _increase(throttle_count(self._roots), self._throttles)
        return Changes(
            stolen_share=None if stolen is None else stolen / (seconds * (os.cpu_count() or 1)),
            swapped_bytes=None if swapped is None else int(swapped) * page,
            throttles=None if throttles is None else int(throttles),
            refaulted_bytes_per_s=None if refaults is None else refaults * page / seconds,
            memory_stall_share=None if stall is None else stall / seconds,
            frequency_mhz=(min(between), sum(between) / len(between), max(between)) if between else None,
            quota_share=_stopped_share(first.quota_periods, last.quota_periods),
        )


def _increase(last: float | None, first: float | None) -> float | None:
    return None if last is None or first is None else max(last - first, 0)


def _stopped_share(first: Periods | None, last: Periods | None) -> float | None:
    """Share of the periods between two counts in which a quota stopped its group; None where that isn't known."""
    if first is None or last is None:
        return None
    active = last.active - first.active
    return (last.stopped - first.stopped) / active if active > 0 else 0.0


def _stolen_s(roots: KernelRoots) -> float | None:
    try:
        with roots.proc_path("stat").open(encoding="ascii") as file:
            return int(file.readline().split()[8]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return None


def _swapped_pages(roots: KernelRoots) -> int | None:
    try:
        lines = roots.proc_path("vmstat").read_text(encoding="ascii").splitlines()
        found = [int(line.split()[1]) for line in lines if line.startswith(("pswpin ", "pswpout "))]
    except (OSError, ValueError, IndexError):
        return None
    return sum(found) if found else None


def _mean_mhz(files: Sequence[Path]) -> float | None:
    values = []
    for file in files:
        try:
            values.append(int(file.read_text()) / 1e3)
        except (OSError, ValueError):
            continue
    return sum(values) / len(values) if values else None
