"""Two objectives at once: what a goal trades off, which trials are not beaten in both, and how much a front dominates."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from bayestuner.errors import InvalidGoal
from bayestuner.goal import Bound, Goal
from bayestuner.trial import Trial

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


class Judge(Protocol):
    """Gives the values of a measured trial; every strategy does."""

    def values_of(self, trial: Trial) -> Mapping[str, float]:
        """Metric -> value; empty unless measured."""


@dataclass(frozen=True, slots=True)
class TradeOffGoal:
    """A goal read as a trade-off: its objective against the metric of its first bound, whatever that bound's limit.

    Attributes
    ----------
    goal : Goal
    bound : Bound
        The one whose metric is the other objective.
    others : tuple of Bound
        The bounds that stay bounds.
    """

    goal: Goal
    bound: Bound
    others: tuple[Bound, ...]

    @classmethod
    def of(cls, goal: Goal, knobs: Container[str] = ()) -> TradeOffGoal:
        """Read a goal as a trade-off; bounds on `knobs` stay bounds. Raises `InvalidGoal` where it has no bound on another metric."""
        for bound in goal.bounds:
            if bound.metric != goal.objective and bound.metric not in knobs:
                return cls(goal, bound, tuple(b for b in goal.bounds if b is not bound))
        raise InvalidGoal(f"a trade-off needs a bound on a second metric, such as 'throughput >= 50'; the goal '{goal}' has none")

    @property
    def other_sign(self) -> float:
        """1 where less of the bound's metric is better, -1 where more is."""
        return 1.0 if self.bound.sense == "<=" else -1.0

    def point(self, values: Mapping[str, float]) -> tuple[float, float]:
        """Both objectives, to be minimised."""
        return self.goal.sign * values[self.goal.objective], self.other_sign * values[self.bound.metric]

    def allows(self, values: Mapping[str, float]) -> bool:
        """Whether the other bounds are met."""
        return all(bound.violation(values[bound.metric]) <= 0.0 for bound in self.others)


def front_of(judge: Judge, goal: Goal, trials: Iterable[Trial]) -> list[Trial]:
    """The measured trials that meet the goal's other bounds and that no such trial beats in both objectives, best first objective first.

    For any limit of the first bound, the best trial that meets it is among them.
    """
    measured = [(trial, values) for trial in trials if (values := judge.values_of(trial))]
    trade_off = TradeOffGoal.of(goal, measured[0][0].config if measured else ())
    allowed = [(trial, trade_off.point(values)) for trial, values in measured if trade_off.allows(values)]
    points = np.array([point for _, point in allowed], dtype=np.float64).reshape(-1, 2)
    return [allowed[i][0] for i in non_dominated(points)]


def non_dominated(points: FloatArray) -> IntArray:
    """Which of the points (n, 2), both coordinates to be minimised, no other dominates, by rising first coordinate; of equals the first."""
    kept = []
    lowest = np.inf
    for i in np.lexsort((points[:, 1], points[:, 0])):
        if points[i, 1] < lowest:
            kept.append(int(i))
            lowest = points[i, 1]
    return np.array(kept, dtype=np.int64)


def hypervolume(points: FloatArray, reference: FloatArray) -> float:
    """The area that points (n, 2) dominate below reference (2,), both coordinates to be minimised."""
    inside = points[(points < reference).all(axis=1)]
    area, height = 0.0, float(reference[1])
    for u, v in inside[non_dominated(inside)]:
        area += (float(reference[0]) - float(u)) * (height - float(v))
        height = float(v)
    return area
