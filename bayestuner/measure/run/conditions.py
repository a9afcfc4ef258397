"""What went on around a job while it was measured: stolen time, swapping, throttling, page cache that doesn't fit its memory limit.

Counters are looked at a few times a second; the changes over a window are those between the looks that enclose it.
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

EVERY_NS = 250_000_000


@dataclass(frozen=True, slots=True)
class Look:
    """Counters at a moment; None for what this machine doesn't count."""

    stamp_ns: int
    stolen_s: float | None
    swapped_pages: int | None
    stress: MemoryStress
    frequency_mhz: float | None


@dataclass(frozen=True, slots=True)
class Changes:
    """What the counters did over a window; None for what isn't known.

    Attributes
    ----------
    stolen_share : float or None
        CPU time that the hypervisor gave to others, as a share of the whole machine's.
    swapped_bytes : int or None
        Read from and written to swap, by the whole machine.
    throttles : int or None
        How often a core or package was slowed for heat during the run.
    refaulted_bytes_per_s : float or None
        Pages of files that the job's memory limit had pushed out and that had to be read again.
    memory_stall_share : float or None
        Share of the time in which some process of the job waited for memory (PSI).
    frequency_mhz : tuple of float or None
        Lowest, mean and highest frequency of the job's CPUs over the looks.
    """

    stolen_share: float | None = None
    swapped_bytes: int | None = None
    throttles: int | None = None
    refaulted_bytes_per_s: float | None = None
    memory_stall_share: float | None = None
    frequency_mhz: tuple[float, float, float] | None = None


class Conditions:
    """The looks of one run.

    Parameters
    ----------
    group : RunGroup
    cpus : sequence of int
        Those the job runs on.
    roots : KernelRoots, optional
    """

    def __init__(self, group: RunGroup, cpus: Sequence[int], roots: KernelRoots | None = None) -> None:
        self._roots = roots or KernelRoots()
        self._group = group
        files = (self._roots.sys_path(f"devices/system/cpu/cpu{cpu}/cpufreq/scaling_cur_freq") for cpu in cpus)
        self._frequencies = [file for file in files if file.exists()]
        self._throttles = throttle_count(self._roots)
        self._looks: list[Look] = []
        self.look()

    def look(self, *, last: bool = False) -> None:
        """Read the counters, where the last look is long enough ago or no other follows."""
        now_ns = time.monotonic_ns()
        if self._looks and now_ns - self._looks[-1].stamp_ns < EVERY_NS and not last:
            return
        try:
            stress = self._group.memory_stress()
        except (BayesTunerError, OSError):  # removed under us; the sampler says so
            stress = MemoryStress()
        stolen_s, swapped = _stolen_s(self._roots), _swapped_pages(self._roots)
        self._looks.append(Look(now_ns, stolen_s, swapped, stress, _mean_mhz(self._frequencies)))

    def changes(self, start_ns: int, end_ns: int) -> Changes:
        """What happened between two moments."""
        before = [look for look in self._looks if look.stamp_ns <= start_ns]
        after = [look for look in self._looks if look.stamp_ns >= end_ns]
        first, last = before[-1] if before else self._looks[0], after[0] if after else self._looks[-1]
        seconds = (last.stamp_ns - first.stamp_ns) / 1e9
        if seconds <= 0:
            return Changes()
        stolen = _less(last.stolen_s, first.stolen_s)
        swapped = _less(last.swapped_pages, first.swapped_pages)
        refaults = _less(last.stress.refaults, first.stress.refaults)
        stall = _less(last.stress.stall_s, first.stress.stall_s)
        page = os.sysconf("SC_PAGE_SIZE")
        between = [k.frequency_mhz for k in self._looks if first.stamp_ns <= k.stamp_ns <= last.stamp_ns and k.frequency_mhz is not None]
        throttles = _less(throttle_count(self._roots), self._throttles)
        return Changes(
            stolen_share=None if stolen is None else stolen / (seconds * (os.cpu_count() or 1)),
            swapped_bytes=None if swapped is None else int(swapped) * page,
            throttles=None if throttles is None else int(throttles),
            refaulted_bytes_per_s=None if refaults is None else refaults * page / seconds,
            memory_stall_share=None if stall is None else stall / seconds,
            frequency_mhz=(min(between), sum(between) / len(between), max(between)) if between else None,
        )


def _less(last: float | None, first: float | None) -> float | None:
    return None if last is None or first is None else max(last - first, 0)


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
