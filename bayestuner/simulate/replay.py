"""A job whose test runs are read from a table of real ones: a search sees at once what it would have seen on that machine."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bayestuner.errors import InvalidGoal
from bayestuner.goal import Goal
from bayestuner.simulate.tables import MeasuredTable, values_of
from bayestuner.space import Categorical
from bayestuner.trial import Config, Measured, Outcome

BoolArray = npt.NDArray[np.bool_]


class TableJob:
    """A job that replays a measured table; its ``run`` makes a test run for `bayestuner.tune.comparing.compare`.

    A failed run is replayed as the failure it was, and each run takes as long as it took. A configuration that is run again gives the same
    figures again: the table holds one run of each, with the standard deviation that was measured within that run.

    Parameters
    ----------
    table : MeasuredTable
    goal : Goal
        In terms of the table's metrics and the knobs that are numbers. Relative bounds are shares of what the largest configuration reaches
        (every ordered knob at its last value, every other at its first), as for `tune`.
    seed : int
        Has no effect: nothing here is random.

    Attributes
    ----------
    space : Space
    goal : Goal
        With absolute bounds.
    duration_s : ndarray, (n_rows,)
    elapsed_s : float
        What the runs made so far took when they were measured.
    feasible : ndarray of bool, (n_rows,)
        Which rows meet the goal.
    optimum : int
        The best of them.

    Raises
    ------
    InvalidGoal
        A metric of the goal isn't in the table, a relative bound has nothing to refer to, or no row meets the goal.
    """

    def __init__(self, table: MeasuredTable, goal: Goal, *, seed: int = 0) -> None:
        self.table = table
        self.space = table.space
        self.duration_s = table.duration_s
        self.elapsed_s = 0.0
        _check_metrics(table, goal)
        self.goal = goal.resolve(_largest(table)) if goal.relative else goal
        values = [values_of(config, outcome) for config, outcome in zip(self.space, table.outcomes, strict=True)]
        self.feasible: BoolArray = np.array([bool(v) and self.goal.feasible(v) for v in values])
        if not self.feasible.any():
            raise InvalidGoal(_nothing(table, self.goal, values))
        self.objective = np.array([v.get(self.goal.objective, np.nan) for v in values])
        self.optimum = int(np.where(self.feasible, self.goal.sign * np.nan_to_num(self.objective), np.inf).argmin())

    def run(self, config: Config) -> Outcome:
        """Read one test run."""
        row = self.space.row(config)
        self.elapsed_s += float(self.duration_s[row])
        return self.table.outcomes[row]


def _check_metrics(table: MeasuredTable, goal: Goal) -> None:
    known = (*table.metrics, *(knob.name for knob in table.space.knobs if knob.numeric))
    for metric in goal.metrics:
        if metric not in known:
            raise InvalidGoal(f"the table {table.path.name} has no {metric!r}; a goal can use {', '.join(known)}")
        for config, outcome in zip(table.space, table.outcomes, strict=True):
            if isinstance(outcome, Measured) and metric not in values_of(config, outcome):
                raise InvalidGoal(f"the table {table.path.name} has no {metric} of {config}; a goal can use what every run measured")


def _largest(table: MeasuredTable) -> dict[str, float]:
    """Metrics of the largest configuration."""
    config = {k.name: k.values[0] if isinstance(k, Categorical) else k.values[-1] for k in table.space.knobs}
    row = table.space.find([knob.code(config[knob.name]) for knob in table.space.knobs])
    instead = "give absolute bounds, as in --subject-to 'throughput >= 10'"
    if row is None:
        raise InvalidGoal(f"a relative bound is a share of what {config} reaches, which the table {table.path.name} lacks; {instead}")
    outcome = table.outcomes[row]
    if not isinstance(outcome, Measured):
        raise InvalidGoal(f"a relative bound is a share of what {config} reaches, but its run failed ({outcome.kind}); {instead}")
    return values_of(config, outcome)


def _nothing(table: MeasuredTable, goal: Goal, values: list[dict[str, float]]) -> str:
    measured = [v for v in values if v]
    if not measured:
        return f"every run of the table {table.path.name} failed; there is nothing to search"
    nearest = min(measured, key=goal.violation)
    reached = ", ".join(f"{bound.metric} {nearest[bound.metric]:.4g}" for bound in goal.bounds)
    return f"no configuration of the table {table.path.name} meets '{goal}'; the nearest has {reached}; ask for less with --subject-to"
