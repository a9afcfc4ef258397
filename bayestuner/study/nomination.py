"""Whom the search nominates for the final launches: its readings say whom to launch, and nothing more."""

from __future__ import annotations

from collections.abc import Callable, Mapping

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
