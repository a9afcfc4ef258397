"""How quiet this machine is: how much CPU time others use, and how steady the idle power is, while this process sleeps."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from pathlib import Path

from bayestuner.measure.energy.meter import EnergyMeter, MeterFault

PART_S = 0.5
"""The time is looked at in parts of this many seconds."""

QUIET_LOAD = 0.02
BUSY_LOAD = 0.05
"""Shares of all CPU time used by others: up to the first a machine is quiet; above the second it is noisy, and runs are `contended`."""

STEAL = 0.005
"""More than this share of all CPU time given to other virtual machines makes this one noisy."""

POWER_SPREAD = 0.02
"""Standard deviation of the parts' idle power as a share of its mean, above which there is some noise."""


@dataclass(frozen=True, slots=True)
class Noise:
    """How quiet the machine was; None where a figure can't be known.

    Attributes
    ----------
    duration_s : float
        How long it was looked at.
    outside_load, outside_load_max : float
        Share of all CPU time that others used: over the whole time, and in the part with most of it.
    steal : float
        Share of all CPU time that the hypervisor gave to other virtual machines.
    idle_power_w, idle_power_sd_w : float or None
        Mean power, and its standard deviation over the parts; only with a meter that measures.
    level : {"quiet", "some noise", "noisy"}
    words : str
        What this means for measuring, for people.
    """

    duration_s: float
    outside_load: float
    outside_load_max: float
    steal: float
    idle_power_w: float | None
    idle_power_sd_w: float | None
    level: str
    words: str


def measure_noise(stat: Path, seconds: float, meter: EnergyMeter | None = None) -> Noise | None:
    """Sleep for `seconds` and see how busy the machine is meanwhile; None where /proc/stat can't be read.

    Parameters
    ----------
    stat : Path
        /proc/stat.
    seconds : float
    meter : EnergyMeter, optional
        One that measures; where it fails only the power figures are missing.
    """
    loads: list[float] = []
    steals: list[float] = []
    power = _Power(meter)
    begun = time.monotonic()
    try:
        before = _times(stat)
        while (left_s := seconds - (time.monotonic() - begun)) > 0:
            time.sleep(min(PART_S, left_s))
            now = _times(stat)
            total = now[2] - before[2]
            if total > 0:
                loads.append((now[0] - before[0]) / total)
                steals.append((now[1] - before[1]) / total)
            before = now
            power.look()
    except (OSError, ValueError):
        return None
    if not loads:
        return None
    load, steal = statistics.fmean(loads), statistics.fmean(steals)
    level, words = _level(load, max(loads), steal, power.spread)
    return Noise(time.monotonic() - begun, load, max(loads), steal, power.mean_w, power.sd_w, level, words)


class _Power:
    """The power of each part, as long as the meter works."""

    def __init__(self, meter: EnergyMeter | None) -> None:
        self._meter = meter
        self._parts_w: list[float] = []
        self._last = None if meter is None else meter.read()

    def look(self) -> None:
        if self._meter is None or self._last is None:
            return
        try:
            sample = self._meter.read()
            duration_s = (sample.stamp_ns - self._last.stamp_ns) / 1e9
            self._parts_w.append(self._meter.energy_j(self._last, sample) / duration_s)
            self._last = sample
        except MeterFault:
            self._meter = None

    @property
    def mean_w(self) -> float | None:
        return statistics.fmean(self._parts_w) if self._parts_w else None

    @property
    def sd_w(self) -> float | None:
        return statistics.stdev(self._parts_w) if len(self._parts_w) > 1 else None

    @property
    def spread(self) -> float:
        return 0.0 if not self.mean_w or self.sd_w is None else self.sd_w / self.mean_w


def _times(stat: Path) -> tuple[int, int, int]:
    """Busy, stolen and all CPU time of the machine in ticks."""
    for line in stat.read_text().splitlines():
        if line.startswith("cpu "):
            user, nice, system, idle, iowait, irq, softirq, steal = ([int(word) for word in line.split()[1:]] + [0] * 8)[:8]
            busy = user + nice + system + irq + softirq
            return busy, steal, busy + idle + iowait + steal
    raise ValueError("no cpu line")


def _level(load: float, worst: float, steal: float, spread: float) -> tuple[str, str]:
    if load > BUSY_LOAD or steal > STEAL:
        return "noisy", "measure when nothing else runs; runs will be flagged as contended"
    if worst > BUSY_LOAD or load > QUIET_LOAD or spread > POWER_SPREAD:
        return "some noise", "fine for a search; for final figures stop what can be stopped"
    return "quiet", "fit for measuring"
