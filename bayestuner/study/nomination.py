"""Whom the search nominates for the final launches: its readings say whom to launch, and nothing more."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bayestuner.goal import Goal

MAX_CANDIDATES = 6


def nominate(
    goal: Goal,
    readings: Mapping[int, Mapping[str, float]],
    *,
    advice: int | None,
    default: int | None,
    twin: Callable[[int], int | None] = lambda row: None,
) -> list[int]:
    """Rows to race against the default, the most promising first.

    Parameters
    ----------
    goal : Goal
        With absolute bounds.
    readings : dict
        Row -> means of what the search measured; rows that failed are left out.
    advice : int or None
        The strategy's own choice.
    default : int or None
        The default configuration's row; None where it failed.
    twin : callable
        Row -> the row that is the same but takes less of the machine, where there is one worth a launch.

    Returns
    -------
    list of int
        At most `MAX_CANDIDATES`: the strategy's choice, its twin, then what met the goal and beat the default, by objective.
    """

    def cost(row: int) -> float:
        return goal.sign * readings[row][goal.objective]

    feasible = sorted((row for row, values in readings.items() if goal.feasible(values)), key=lambda row: (cost(row), row))
    limit = cost(default) if default in feasible else float("inf")
    ranked = [row for row in feasible if cost(row) < limit]
    first = advice if advice is not None else ranked[0] if ranked else None
    rows = [] if first is None else [first, twin(first)]
    chosen = [row for row in dict.fromkeys([*rows, *ranked]) if row is not None and row != default]
    return chosen[:MAX_CANDIDATES]
