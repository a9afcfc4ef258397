"""The power of the idle machine: the baseline of every figure under load; where two measurements differ, the machine has drifted."""

from __future__ import annotations

import math
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bayestuner.measure.energy.meter import EnergyMeter
from bayestuner.measure.run.sampling import machine_busy_s

DRIFT_SHARE = 0.03
DRIFT_W = 2.0
"""Idle power that moves by more than the smaller of the two has drifted."""

_PART_S = 1.0


@dataclass(frozen=True, slots=True)
class Idle:
    """Power while no job ran.

    Attributes
    ----------
    power_w : float
    sd_w : float or None
        Standard deviation between parts of a second; None with fewer than two parts.
    busy_share : float or None
        Share of the machine's CPU time that was used meanwhile, by anything; None where it is not known.
    duration_s : float
    """

    power_w: float
    sd_w: float | None
    busy_share: float | None
    duration_s: float

    def as_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return asdict(self)


def measure_idle(meter: EnergyMeter, seconds: float, proc: Path = Path("/proc")) -> Idle:
    """Measure the power for some seconds in which this process sleeps.

    Raises
    ------
    MeterFault
        The meter can no longer be read.
    """
    busy_s = machine_busy_s(proc / "stat")
    first = last = meter.read()
    energy_j, parts = 0.0, []
    end_ns = first.stamp_ns + round(seconds * 1e9)
    while (left_s := (end_ns - last.stamp_ns) / 1e9) > 0.001:
        time.sleep(min(left_s, _PART_S))
        sample = meter.read()
        part_j = meter.energy_j(last, sample)
        energy_j += part_j
        parts.append(part_j / ((sample.stamp_ns - last.stamp_ns) / 1e9))
        last = sample
    duration_s = (last.stamp_ns - first.stamp_ns) / 1e9
    after_s = machine_busy_s(proc / "stat")
    busy = None if busy_s is None or after_s is None else (after_s - busy_s) / (duration_s * (os.cpu_count() or 1))
    mean = sum(parts) / len(parts)
    sd = math.sqrt(sum((p - mean) ** 2 for p in parts) / (len(parts) - 1)) if len(parts) > 1 else None
    return Idle(energy_j / duration_s, sd, busy, duration_s)


def idle_drift(first_w: float, later_w: float) -> str | None:
    """What to say where the idle power has moved by more than 3 % or 2 W since the start; None where it hasn't."""
    change_w = later_w - first_w
    if abs(change_w) <= min(DRIFT_W, DRIFT_SHARE * first_w):
        return None
    return f"the idle power has moved from {first_w:.1f} W to {later_w:.1f} W since the start; later figures are not quite comparable"
