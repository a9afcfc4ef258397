"""What an energy meter is: it reads raw counters; two readings make joules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from bayestuner.errors import BayesTunerError


class MeterFault(BayesTunerError):
    """A working meter gave something that can't be turned into joules: a reset, an ambiguous interval, a vanished domain."""


@dataclass(frozen=True, slots=True)
class EnergySample:
    """One reading of every domain of a meter.

    Attributes
    ----------
    stamp_ns : int
        CLOCK_MONOTONIC at the middle of the reading.
    uncertainty_ns : int
        Half the time the reading took.
    raw_counts : tuple of int
        One per domain, in the meter's order, in that domain's own unit; never converted before differencing.
    """

    stamp_ns: int
    uncertainty_ns: int
    raw_counts: tuple[int, ...]


class EnergyMeter(Protocol):
    """An energy meter that has been proven to work here.

    Attributes
    ----------
    source : str
        ``perf``, ``powercap``, ``msr`` or ``model``.
    estimated : bool
        True for ``model``: its figures are no measurement.
    boundary : str
        What the figures cover: ``pkg``, ``pkg+dram``, ``psys`` or ``model``.
    domains : tuple of str
        One name per raw count: ``package-0``, ``dram-0``, ...
    max_interval_s : float
        Longest time between two samples that still can be differenced safely.
    """

    source: str
    estimated: bool
    boundary: str
    domains: tuple[str, ...]
    max_interval_s: float

    def read(self) -> EnergySample:
        """Read every domain back to back.

        Raises
        ------
        MeterFault
            When a domain can no longer be read.
        """

    def energy_j(self, first: EnergySample, last: EnergySample) -> float:
        """Total joules between two samples (package + dram over all sockets).

        For a span longer than `max_interval_s` read in between and add up the pieces.

        Raises
        ------
        MeterFault
            For a reset, an ambiguous interval, or a vanished domain.
        """

    def close(self) -> None:
        """Release what the meter holds; may be called twice."""
