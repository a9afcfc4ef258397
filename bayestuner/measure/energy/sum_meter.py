"""Several meters as one: that of the machine's packages and, say, that of an accelerator beside them."""

from __future__ import annotations

import time
from collections.abc import Sequence

from bayestuner.measure.energy.meter import EnergyMeter, EnergySample


class SumMeter:
    """The sum of meters that cover different devices; see `bayestuner.measure.energy.meter.EnergyMeter` for the interface.

    Parameters
    ----------
    parts : sequence of (str, EnergyMeter)
        Each meter with the name it has in the job file.
    """

    def __init__(self, parts: Sequence[tuple[str, EnergyMeter]]) -> None:
        self.parts = tuple(meter for _, meter in parts)
        self.source = "+".join(name for name, _ in parts)
        self.estimated = any(meter.estimated for meter in self.parts)
        self.boundary = "+".join(dict.fromkeys(meter.boundary for meter in self.parts))
        self.domains = tuple(domain for meter in self.parts for domain in meter.domains)
        self.max_interval_s = min(meter.max_interval_s for meter in self.parts)
        self.notes = tuple(note for meter in self.parts for note in getattr(meter, "notes", ()))

    def read(self) -> EnergySample:
        """Read every part, one after the other; the stamp is the middle of the whole reading."""
        before = time.monotonic_ns()
        samples = [meter.read() for meter in self.parts]
        after = time.monotonic_ns()
        return EnergySample((before + after) // 2, (after - before + 1) // 2, tuple(n for sample in samples for n in sample.raw_counts))

    def energy_j(self, first: EnergySample, last: EnergySample) -> float:
        """Joules of all parts between two samples."""
        total, start = 0.0, 0
        for meter in self.parts:
            end = start + len(meter.domains)
            total += meter.energy_j(_slice(first, start, end), _slice(last, start, end))
            start = end
        return total

    def close(self) -> None:
        """Close every part; may be called twice."""
        for meter in self.parts:
            meter.close()


def _slice(sample: EnergySample, start: int, end: int) -> EnergySample:
    return EnergySample(sample.stamp_ns, sample.uncertainty_ns, sample.raw_counts[start:end])
