"""From two raw counts of an energy counter to joules: pure functions.

The two counts are subtracted as they were read, modulo the range of their own counter, and only the difference is converted to joules.
Converting first and then adding one wrap constant for all domains is wrong where domains have different units, as on the servers this was
written for: 2^-14 J for a package, 15.3 uJ for DRAM.

When a counter wraps its count falls, and so it does when it is reset. They are told apart by power: the energy that a wrap implies could
have been drawn in that time, the energy that a reset seems to imply nearly always could not. After more than one wrap at full power the
number of wraps is unknown; so an interval longer than half of the time to a wrap is refused rather than guessed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bayestuner.measure.energy.meter import MeterFault

TICK_SLACK_S = 0.01
"""RAPL counters step about once per millisecond (976 us on servers, some milliseconds on others), so the energy of a short interval may
include some from before its start. Where it is judged whether a power is possible, the interval is taken to be this much longer."""

FROZEN_S = 0.05
"""A package counter that doesn't change for longer than this is frozen: even an idle package makes it step every millisecond."""

DEFAULT_MAX_POWER_W = {"package": 1000.0, "dram": 400.0}
"""The most a domain is taken to draw where the machine has no power limit in force: on purpose about twice the largest parts sold."""


@dataclass(frozen=True, slots=True)
class Counter:
    """What is known about one energy counter.

    Attributes
    ----------
    name : str
        ``package-0``, ``dram-0``, ``package-0-die-1``, ...
    unit_j : float
        Joules per count.
    modulus : int
        Counts after which it starts again at zero: 2**32 for a register, ``max_energy_range_uj`` + one unit for powercap.
    max_power_w : float
        The most power the domain can draw; see `plausible_power_w`.
    max_interval_s : float or None
        An upper limit to `safe_interval_s` for another reason than wraps.
    """

    name: str
    unit_j: float
    modulus: int
    max_power_w: float
    max_interval_s: float | None = None

    @property
    def kind(self) -> str:
        """``package`` or ``dram``."""
        return self.name.partition("-")[0]

    @property
    def wrap_period_s(self) -> float:
        """Seconds until the counter wraps at `max_power_w`."""
        return self.modulus * self.unit_j / self.max_power_w

    @property
    def safe_interval_s(self) -> float:
        """Longest time between two readings in seconds for which the difference of the counts has one meaning only."""
        half = self.wrap_period_s / 2
        return half if self.max_interval_s is None else min(half, self.max_interval_s)


def difference(first: int, last: int, modulus: int) -> int:
    """Counts from `first` to `last` of a counter that wrapped at most once; 0 <= result < modulus."""
    return (last - first) % modulus


def plausible_power_w(kind: str, *, limit_w: float | None, tdp_w: float | None) -> float:
    """The most power a domain can draw, in watts, for telling a wrap from a reset.

    Parameters
    ----------
    kind : {"package", "dram"}
        Decides the value where nothing is known.
    limit_w : float or None
        The short-term power limit (PL2) in force. Small computers really draw it, also where it is ten times the TDP. Firmware that sets
        no limit writes the register's maximum, 4095 W; so a limit above `DEFAULT_MAX_POWER_W` is taken for none.
    tdp_w : float or None
        Thermal design power. It says little of the highest power: without a limit a part may draw many times its TDP for a while.
    """
    if limit_w is not None and 0 < limit_w <= DEFAULT_MAX_POWER_W[kind]:
        return 1.5 * limit_w
    return max(3.0 * (tdp_w or 0.0), DEFAULT_MAX_POWER_W[kind])


def counter_energy_j(counter: Counter, first: int, last: int, duration_s: float, uncertainty_s: float = 0.0) -> float:
    """Joules that one counter gained from the count `first` to the count `last`.

    Parameters
    ----------
    counter : Counter
    first, last : int
        Raw counts.
    duration_s, uncertainty_s : float
        Time between the two readings, and by how much it may be longer or shorter, seconds.

    Raises
    ------
    MeterFault
        The interval is longer than `Counter.safe_interval_s`, time ran backwards, a package counter stood still, or the energy is more than
        the domain can draw (the counter was reset: suspend, package taken offline, driver reloaded).
    """
    if duration_s < 0:
        raise MeterFault(f"{counter.name}: the second reading is {-duration_s:.6f} s older than the first; pass them in order of time")
    if duration_s > counter.safe_interval_s:
        raise MeterFault(
            f"{counter.name}: {duration_s:.1f} s lie between two readings, but the counter is only unambiguous for "
            f"{counter.safe_interval_s:.1f} s at up to {counter.max_power_w:.0f} W; read at least that often"
        )
    if first == last and counter.kind == "package" and duration_s > FROZEN_S:
        raise MeterFault(f"{counter.name}: stood still at {first} for {duration_s:.3f} s; the meter froze: run `bayestuner doctor`")
    energy_j = difference(first, last, counter.modulus) * counter.unit_j
    possible_j = counter.max_power_w * (duration_s + uncertainty_s + TICK_SLACK_S)
    if energy_j > possible_j:
        raise MeterFault(
            f"{counter.name}: went from {first} to {last} in {duration_s:.3f} s, which would be {energy_j:.1f} J where at most "
            f"{possible_j:.1f} J are possible; the counter was reset (suspend, package offline, driver reload): measure again"
        )
    return energy_j


def energies_j(
    counters: Sequence[Counter], first: Sequence[int], last: Sequence[int], duration_s: float, uncertainty_s: float = 0.0
) -> tuple[float, ...]:
    """`counter_energy_j` of every counter, in their order.

    Raises
    ------
    MeterFault
        As `counter_energy_j`; also when the number of counts isn't the number of counters.
    """
    if not len(counters) == len(first) == len(last):
        raise MeterFault(f"{len(counters)} counters but {len(first)} and {len(last)} counts; pass two samples of this meter")
    return tuple(counter_energy_j(c, a, b, duration_s, uncertainty_s) for c, a, b in zip(counters, first, last, strict=True))
