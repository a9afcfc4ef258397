"""The shortest warm-up: how long a job runs at least before it is measured."""

from __future__ import annotations

from bayestuner.measure.energy.meter import EnergyMeter
from bayestuner.measure.job.job import MeasureSettings
from bayestuner.measure.machine.preflight import Fact, long_term_window_s

POWER_WARMUP_S = 5.0
LONGEST_WINDOW_S = 30.0
"""Averaging windows of power limits that are longer than this are waited out only so far."""


def warmup_s(settings: MeasureSettings, meter: EnergyMeter | None, facts: dict[str, Fact]) -> float:
    """Return the shortest warm-up of a job's runs in seconds.

    A processor may draw more than its long-term power limit (PL1) until that limit's averaging window is over: power that is measured
    earlier can be a fifth above what the machine sustains. Without a real meter no power is measured, and it is enough to find the end of
    the warm-up in the times of the batches (see `bayestuner.measure.run.steady`).

    Parameters
    ----------
    settings : MeasureSettings
        Its `warmup_seconds` is taken where the job file gives one.
    meter : EnergyMeter or None
    facts : dict
        What `preflight` read of the machine, power limits among them.
    """
    if settings.warmup_seconds is not None:
        return settings.warmup_seconds
    if meter is None or meter.estimated:
        return 0.0
    return max(POWER_WARMUP_S, min(long_term_window_s(facts) or 0.0, LONGEST_WINDOW_S))
