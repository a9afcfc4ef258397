"""The cumulative energy of a meter during a run: what its recorder reads, converted and added up."""

from __future__ import annotations

import numpy as np

from bayestuner.measure.energy.meter import EnergyMeter
from bayestuner.measure.energy.recorder import DEFAULT_HZ, open_recorder
from bayestuner.measure.energy.recording import Recorder, Recording
from bayestuner.measure.energy.series import EnergySeries
from bayestuner.measure.energy.sum_meter import SumMeter


class EnergyTrack:
    """Records a meter and keeps its cumulative energy.

    Each part of a `SumMeter` is recorded by itself, so that the parts that the C extension can read are read by it although another part
    (a platform's meter) can only be read from Python.

    Parameters
    ----------
    meter : EnergyMeter
        The caller closes it.
    hz, cpu
        As for `open_recorder`.
    """

    def __init__(self, meter: EnergyMeter, *, hz: float = DEFAULT_HZ, cpu: int | None = None) -> None:
        parts = meter.parts if isinstance(meter, SumMeter) else (meter,)
        self._parts: list[tuple[Recorder, EnergySeries]] = [(open_recorder(part, hz=hz, cpu=cpu), EnergySeries(part)) for part in parts]

    def start(self) -> None:
        """Read every part once, then go on in the background."""
        for recorder, _ in self._parts:
            recorder.start()

    def stop(self) -> None:
        """Stop reading in the background, then read every part a last time; may be called twice."""
        for recorder, _ in self._parts:
            recorder.stop()

    def collect(self) -> None:
        """Add up what was read since the last call.

        Raises
        ------
        MeterFault, BayesTunerError, OSError
            A part could not be read, or its readings could not be turned into joules; what was read before is kept.
        """
        for recorder, series in self._parts:
            for sample in recorder.collect():
                series.add(sample)
            if recorder.fault is not None:
                raise recorder.fault

    @property
    def recordings(self) -> tuple[Recording, ...]:
        """Statistics of each part's recording, up to now."""
        return tuple(recorder.recording() for recorder, _ in self._parts)

    @property
    def points(self) -> list[tuple[int, float]]:
        """(CLOCK_MONOTONIC in nanoseconds, joules since the first point), in order of time.

        For a `SumMeter` these are the times at which its first part was read, limited to the time in which all parts were read; the energy
        of the other parts at these times is interpolated.
        """
        first, *others = (series.points for _, series in self._parts)
        if not others or not all((first, *others)):
            return first if not others else []
        begin = max(points[0][0] for points in (first, *others))
        end = min(points[-1][0] for points in (first, *others))
        stamps = np.array([begin, *(stamp for stamp, _ in first if begin < stamp < end), end], dtype=np.int64)
        total_j = sum(_at(points, stamps) for points in (first, *others))
        return list(zip(stamps.tolist(), np.asarray(total_j).tolist(), strict=True)) if end > begin else []


def _at(
    points: list[tuple[int, float]], stamps: np.ndarray[tuple[int], np.dtype[np.int64]]
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    known = np.array([stamp for stamp, _ in points], dtype=np.int64)
    joules = np.array([energy_j for _, energy_j in points], dtype=np.float64)
    return np.asarray(np.interp(stamps - known[0], known - known[0], joules))  # subtract first: a stamp has more bits than a float holds
