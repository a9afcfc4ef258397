"""Whom the search nominates for the final launches: its readings say whom to launch, and nothing more."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from bayestuner.goal import Goal

MAX_CANDIDATES = 6

AS_GOOD = 0.02
"""A reading within this share of the best one may well be as good: the most frugal of them is launched too."""


def nominate(
    goal: Goal,
    readings: Mapping[int, Mapping[str, float]],
    *,
    advice: int | None,
    default: int | None,
    frugality: Callable[[int], tuple[float, ...]] = lambda row: (),
    twin: Callable[[int], int | None] = lambda row: None,
) -> list[int]:
    """Rows to race against the default, the most promising first.

    Parameters
    ----------
    goal : Goal
        With absolute bounds.
    readings : dict
        Row -> means of what the search measured, numeric knobs included; rows that failed are left out.
    advice : int or None
        The strategy's own choice.
    default : int or None
        The default configuration's row; None where it failed.
    frugality : callable
        Row -> sort key; the lower of two takes less of the machine.
    twin : callable
        Row -> the row that differs in memory alone and takes what its measured peak needs, where that is another.

    Returns
    -------
    list of int
        At most `MAX_CANDIDATES`: the strategy's choice, the best reading, the most frugal one that may be as good, the twin of the first,
        then the rest of what met the goal and beat the default, by objective.
    """

    def cost(row: int) -> float:
        return goal.sign * readings[row][goal.objective]

    feasible = sorted((row for row, values in readings.items() if goal.feasible(values)), key=lambda row: (cost(row), row))
    limit = cost(default) if default in feasible else float("inf")
    ranked = [row for row in feasible if cost(row) < limit]
    as_good = [row for row in feasible if cost(row) <= cost(feasible[0]) + AS_GOOD * abs(cost(feasible[0]))]
    first = advice if advice is not None else next(iter(feasible), None)
    rows = [first, *ranked[:1], *sorted(as_good, key=frugality)[:1], None if first is None else twin(first), *ranked]
    return [row for row in dict.fromkeys(rows) if row is not None and row != default][:MAX_CANDIDATES]


def nominate_next(
    given: Goal,
    resolved: Goal,
    readings: Mapping[int, Mapping[str, float]],
    launched: Mapping[int, Mapping[str, float]],
    *,
    candidates: Sequence[int],
    default: int | None,
    beat_it: bool = True,
) -> list[int]:
    """Rows to race where those launched so far have all fallen behind, the most promising first.

    The readings of rows that were launched since were off by some factor, for they were the luckiest and the machine may have changed; the
    other readings are taken to be off by the same.

    Parameters
    ----------
    given, resolved : Goal
        As given, and with absolute bounds.
    readings, launched : dict
        Row -> means of the search's readings, and of its final launches.
    candidates : sequence of int
        Those nominated before; one without a reading (see `nominate`, `twin`) comes first.
    default : int or None
        The default configuration's row, where it was launched.
    beat_it : bool
        Whether only rows count that look better than the default does in its launches.
    """
    off = {m: _off_by(m, readings, launched, default) for m in resolved.metrics}
    goal = resolved if default is None or not given.relative else given.resolve(launched[default])
    corrected = {row: {m: values[m] * off[m] for m in resolved.metrics} for row, values in readings.items()}

    def cost(row: int) -> float:
        return goal.sign * corrected[row][goal.objective]

    limit = math.inf if default is None or not beat_it else goal.sign * launched[default][goal.objective]
    rows = sorted((row for row, values in corrected.items() if goal.feasible(values)), key=lambda row: (cost(row), row))
    return [*(row for row in candidates if row not in readings), *(row for row in rows if cost(row) < limit)]


def _off_by(
    metric: str, readings: Mapping[int, Mapping[str, float]], launched: Mapping[int, Mapping[str, float]], default: int | None
) -> float:
    """The factor between launches and readings of a metric: a geometric mean, with one row that was not off at all among them."""
    pairs = [(means[metric], readings[row][metric]) for row, means in launched.items() if row != default and row in readings]
    logs = [math.log(mean / reading) for mean, reading in pairs if mean > 0.0 and reading > 0.0]
    return math.exp(math.fsum(logs) / (len(logs) + 1))
