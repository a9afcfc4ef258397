"""How long a job runs at least before it is measured."""

from __future__ import annotations

from bayestuner.measure.energy.meter import EnergyMeter
from bayestuner.measure.job.job import MeasureSettings
from bayestuner.measure.machine.preflight import Fact, long_term_window_s

POWER_WARMUP_S = 5.0
LONGEST_WINDOW_S = 30.0
"""A longer averaging window of a power limit isn't waited out."""


def warmup_s(settings: MeasureSettings, meter: EnergyMeter | None, facts: dict[str, Fact]) -> float:
    """Shortest warm-up, seconds.

    A processor may draw more than its long-term limit (PL1) for as long as that limit's averaging window: power measured earlier can be a
    fifth above what the machine sustains. Without a real meter there is nothing to protect, and the cut of the warm-up by the batches'
    own times is enough.
    """
    if settings.warmup_seconds is not None:
        return settings.warmup_seconds
    if meter is None or meter.estimated:
        return 0.0
    return max(POWER_WARMUP_S, min(long_term_window_s(facts) or 0.0, LONGEST_WINDOW_S))
