"""Joules since the first of many readings: counters wrap as often as they like, as long as somebody reads in between."""

from __future__ import annotations

from bayestuner.measure.energy.meter import EnergyMeter, EnergySample

ANCHOR_S = 0.1
"""Readings are differenced against one this old, not against the one before: longer than `counts.FROZEN_S`, so that a counter that stands
still is seen at any rate of reading, and far shorter than any counter takes to wrap."""


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
