"""The interface of an energy meter: it reads raw counters, and turns two readings into joules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from bayestuner.errors import BayesTunerError


class MeterFault(BayesTunerError):
    """A working meter gave readings that can't be turned into joules: a reset, an ambiguous interval, a domain that vanished."""


@dataclass(frozen=True, slots=True)
class EnergySample:
    """One reading of every domain of a meter.

    Attributes
    ----------
    stamp_ns : int
        CLOCK_MONOTONIC at the middle of the reading, nanoseconds.
    uncertainty_ns : int
        Half the time the reading took, nanoseconds.
    raw_counts : tuple of int
        One per domain, in the meter's order and in that domain's own unit. Only differences of two samples are ever converted to joules.
    """

    stamp_ns: int
    uncertainty_ns: int
    raw_counts: tuple[int, ...]


class EnergyMeter(Protocol):
    """An energy meter that has been proven to work here.

    Attributes
    ----------
    source : str
        ``perf``, ``powercap``, ``msr``, ``model``, or a name given by a platform.
    estimated : bool
        True where the figures are computed from something else and no measurement of energy, as for ``model``.
    boundary : str
        Which parts of the machine the figures cover: ``pkg`` (every socket's package), ``pkg+dram`` (packages and memory), ``model``, or
        what a platform says. Figures with different boundaries can't be compared.
    domains : tuple of str
        One name per raw count: ``package-0``, ``dram-0``, ...
    max_interval_s : float
        Longest time between two samples, in seconds, for which `energy_j` is unambiguous.
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
        """Joules of all domains together from the first sample to the last.

        For a time longer than `max_interval_s` take samples in between and add up the pieces.

        Raises
        ------
        MeterFault
            For a reset, an ambiguous interval, or a vanished domain.
        """

    def close(self) -> None:
        """Release what the meter holds; may be called twice."""
