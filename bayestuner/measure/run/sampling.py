"""What is read about ten times a second while a job runs: energy, the CPU time of the job's group, the load of the machine.

Energy is read by a recorder with a thread and a period of its own (`bayestuner.measure.energy.recorder`). The thread here reads the rest
and turns the recorder's readings into joules.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bayestuner.errors import BayesTunerError
from bayestuner.measure.cgroup.isolation import GroupUsage, RunGroup
from bayestuner.measure.energy.meter import EnergyMeter
from bayestuner.measure.energy.recorder import DEFAULT_HZ, housekeeping_cpu
from bayestuner.measure.energy.recording import Recording
from bayestuner.measure.energy.track import EnergyTrack

PERIOD_S = 0.1
SHORTEST_PART_NS = 90_000_000
"""Energy counters step once a millisecond: power over much less than a tenth of a second would show those steps."""


@dataclass(frozen=True, slots=True)
class Span:
    """What was used over a span of time; None for what can't be known.

    Attributes
    ----------
    energy_j : float or None
    power_w : ndarray, (k,)
        Mean power between neighbouring readings inside the span that are at least `SHORTEST_PART_NS` apart.
    cpu_s : float or None
        CPU time of the job's group.
    cpu_parts_s : ndarray, (parts,)
        CPU time of the job's group in each part of the span; empty where it can't be known.
    boundaries_ns : ndarray of int64, (parts + 1,)
        Where the parts begin and end (CLOCK_MONOTONIC).
    outside_cpu_s : float or None
        CPU time of everything else on this machine, including time that the hypervisor gave to others ("stolen").
    """

    energy_j: float | None
    power_w: np.ndarray[tuple[int], np.dtype[np.float64]]
    cpu_s: float | None
    cpu_parts_s: np.ndarray[tuple[int], np.dtype[np.float64]]
    boundaries_ns: np.ndarray[tuple[int], np.dtype[np.int64]]
    outside_cpu_s: float | None


class Sampler:
    """A thread that reads the meter and the group until it is stopped.

    Parameters
    ----------
    meter : EnergyMeter or None
    group : RunGroup
        The group that the job's processes are in.
    proc : path
    cpu_time_every : int
        Read CPU time only at every so many samples: without a cgroup that takes a walk over /proc.
    hz : float
        Readings of the meter per second, up to 1000.
    cpu : int, optional
        The CPU on which the compiled recorder reads the meter; by default the lowest one of this process that the group may not use, if
        there is one.
    cpu_s_of_other_runs : callable
        Returns the CPU seconds that runs made at the same time have used so far: they are outside the group, yet no disturbance.

    Attributes
    ----------
    fault : BayesTunerError, OSError or None
        Why the meter or the group could no longer be read, or the counters not be differenced.
    """

    def __init__(
        self,
        meter: EnergyMeter | None,
        group: RunGroup,
        proc: Path = Path("/proc"),
        cpu_time_every: int = 1,
        *,
        hz: float = DEFAULT_HZ,
        cpu: int | None = None,
        cpu_s_of_other_runs: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._cpu_s_of_other_runs = cpu_s_of_other_runs
        self.fault: BayesTunerError | OSError | None = None
        if cpu is None:
            cpu = housekeeping_cpu(group.actual.cpuset_cpus, os.sched_getaffinity(0))
        self._track = None if meter is None else EnergyTrack(meter, hz=hz, cpu=cpu)
        self._group = group
        self._stat = proc / "stat"
        self._cpu_time_every = cpu_time_every
        self._n_samples = 0
        self._usage = GroupUsage()
        self._cpu: list[tuple[int, float]] = []
        self._busy: list[tuple[int, float]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="bayestuner-sampler", daemon=True)

    def start(self) -> None:
        """Take the first sample, then go on in the background."""
        if self._track is not None:
            self._track.start()
        self.sample()
        self._thread.start()

    def stop(self) -> None:
        """Take a last sample and end; may be called twice."""
        if not self._stop.is_set():
            self._stop.set()
            if self._thread.ident is not None:
                self._thread.join()
            if self._track is not None:
                self._track.stop()
            self.sample(last=True)

    @property
    def oom_kills(self) -> int:
        """Processes of the group that the kernel had killed for memory by the last sample."""
        return self._usage.oom_kills or 0

    @property
    def recordings(self) -> tuple[Recording, ...]:
        """How well the meter could be read, one for each domain that is summed; empty without a meter."""
        return () if self._track is None else self._track.recordings

    def _run(self) -> None:
        due = time.monotonic()
        while True:
            due = max(due + PERIOD_S, time.monotonic())
            if self._stop.wait(due - time.monotonic()):
                return
            self.sample()

    def sample(self, *, last: bool = False) -> None:
        """Read everything once. What can no longer be read becomes `fault`: an exception would end the thread unnoticed."""
        try:
            if self._track is not None and self.fault is None:
                self._track.collect()
            if last or self._n_samples % self._cpu_time_every == 0:
                self._sample_cpu_time()
            self._n_samples += 1
        except (BayesTunerError, OSError) as error:
            self.fault = self.fault or error

    def _sample_cpu_time(self) -> None:
        stamp_ns = time.monotonic_ns()
        self._group.check_cpus()
        self._usage = self._group.usage()
        if self._usage.cpu_s is not None:
            self._cpu.append((stamp_ns, self._usage.cpu_s))
        busy_s = machine_busy_s(self._stat)
        if busy_s is not None:
            self._busy.append((stamp_ns, busy_s - self._cpu_s_of_other_runs()))

    def powers_w(self, start_ns: int, end_ns: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """Mean power between neighbouring readings from one moment to another, (k,); also while the thread runs."""
        return np.empty(0) if self._track is None else _powers(list(self._track.points), start_ns, end_ns)

    def span(self, boundaries_ns: Sequence[int]) -> Span:
        """What was used from the first to the last of some moments, interpolated between samples; call after `stop`.

        Parameters
        ----------
        boundaries_ns : sequence of int, (parts + 1,)
            In rising order; those in between cut the span into parts.
        """
        boundaries = np.asarray(boundaries_ns, dtype=np.int64)
        start_ns, end_ns = int(boundaries[0]), int(boundaries[-1])
        energy = [] if self._track is None else self._track.points
        energy_j = _difference(energy, start_ns, end_ns)
        cpu_s = _difference(self._cpu, start_ns, end_ns)
        busy_s = _difference(self._busy, start_ns, end_ns)
        outside = None if busy_s is None or cpu_s is None else max(busy_s - cpu_s, 0.0)
        parts = np.empty(0) if cpu_s is None else np.diff(_at(self._cpu, boundaries))
        return Span(energy_j, _powers(energy, start_ns, end_ns), cpu_s, parts, boundaries, outside)


def _difference(series: list[tuple[int, float]], start_ns: int, end_ns: int) -> float | None:
    if len(series) < 2 or series[0][0] > start_ns or series[-1][0] < end_ns:
        return None
    first, last = _at(series, np.array([start_ns, end_ns], dtype=np.int64))
    return float(last - first)


def _at(series: list[tuple[int, float]], stamps_ns: np.ndarray[tuple[int], np.dtype[np.int64]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    stamps, values = np.array([s for s, _ in series], dtype=np.int64), np.array([v for _, v in series], dtype=np.float64)
    # differences first: nanoseconds since boot exceed 53 bits
    return np.asarray(np.interp(stamps_ns - stamps[0], stamps - stamps[0], values))


def _powers(series: list[tuple[int, float]], start_ns: int, end_ns: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    inside: list[tuple[int, float]] = []
    for stamp_ns, value in series:
        if start_ns <= stamp_ns <= end_ns and (not inside or stamp_ns - inside[-1][0] >= SHORTEST_PART_NS):
            inside.append((stamp_ns, value))
    stamps, values = np.array([s for s, _ in inside], dtype=np.float64), np.array([v for _, v in inside], dtype=np.float64)
    if stamps.size < 2:
        return np.empty(0)
    gaps = np.diff(stamps)
    return np.asarray(np.diff(values)[gaps > 0] / gaps[gaps > 0] * 1e9)


def machine_busy_s(stat: Path = Path("/proc/stat")) -> float | None:
    """CPU seconds this machine has worked, or the hypervisor has stolen from it, since boot; None where /proc/stat can't be read."""
    try:
        with stat.open(encoding="ascii") as file:
            fields = [int(word) for word in file.readline().split()[1:9]]
    except (OSError, ValueError):
        return None
    if len(fields) < 7:
        return None
    user, nice, system, _, _, irq, softirq = fields[:7]
    steal = fields[7] if len(fields) > 7 else 0
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
