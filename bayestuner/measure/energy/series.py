"""Cumulative energy over many readings of a meter: counters may wrap any number of times, as long as each is read often enough."""

from __future__ import annotations

from bayestuner.measure.energy.meter import EnergyMeter, EnergySample

ANCHOR_S = 0.1
"""Seconds. A reading is compared with an earlier one that is this old, not with the one just before it: that is longer than
`counter_energy.FROZEN_S`, so that a counter that stands still is noticed at any rate of reading, and far shorter than the time to a
wrap."""


class EnergySeries:
    """Cumulative energy of a meter's readings.

    Parameters
    ----------
    meter : EnergyMeter
        Turns two readings into joules.

    Attributes
    ----------
    points : list of (int, float)
        CLOCK_MONOTONIC stamp in nanoseconds and joules since the first reading.
    """

    def __init__(self, meter: EnergyMeter) -> None:
        self.points: list[tuple[int, float]] = []
        self._meter = meter
        self._anchor: EnergySample | None = None
        self._anchor_j = 0.0

    def add(self, sample: EnergySample) -> None:
        """Append one reading.

        Raises
        ------
        MeterFault
            A reset, a frozen counter, or too long since the reading before; the series stays as it was.
        """
        if self._anchor is None:
            total_j = 0.0
            self._anchor = sample
        else:
            total_j = self._anchor_j + self._meter.energy_j(self._anchor, sample)
            if sample.stamp_ns - self._anchor.stamp_ns >= ANCHOR_S * 1e9:
                self._anchor, self._anchor_j = sample, total_j
        self.points.append((sample.stamp_ns, total_j))
