"""The energy of a meter while it is recorded: what its recorder reads, added up. The parts of a sum are recorded each by itself."""

from __future__ import annotations

import numpy as np

from bayestuner.measure.energy.meter import EnergyMeter
from bayestuner.measure.energy.recorder import DEFAULT_HZ, open_recorder
from bayestuner.measure.energy.recording import Recorder, Recording
from bayestuner.measure.energy.series import EnergySeries
from bayestuner.measure.energy.sum import SumMeter


class EnergyTrack:
    """Cumulative energy over the time of a recording.

    Each part of a `SumMeter` has a recorder and a beat of its own, so that one that only Python can read doesn't take the others'
    thread from them.

    Parameters
    ----------
    meter : EnergyMeter
        Stays the caller's to close.
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
        """End, then read every part a last time; may be called twice."""
        for recorder, _ in self._parts:
            recorder.stop()

    def collect(self) -> None:
        """Add up what was read since the last call.

        Raises
        ------
        MeterFault, BayesTunerError, OSError
            A part could not be read or its readings not be differenced; what was read before is kept.
        """
        for recorder, series in self._parts:
            for sample in recorder.collect():
                series.add(sample)
            if recorder.fault is not None:
                raise recorder.fault

    @property
    def recordings(self) -> tuple[Recording, ...]:
        """How reading each part goes, or went."""
        return tuple(recorder.recording() for recorder, _ in self._parts)

    @property
    def points(self) -> list[tuple[int, float]]:
        """Stamps in nanoseconds, rising, and joules since the first; a sum has those of its first part, while all parts were read."""
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
    return np.asarray(np.interp(stamps - known[0], known - known[0], joules))  # differences first: these exceed 53 bits
