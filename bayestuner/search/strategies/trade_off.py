"""Trade-off search: the whole front of two metrics (least power for every throughput) instead of one threshold's optimum.

RAMBO (Li et al., "RAMBO: Resource Allocation for Microservices Using Bayesian Optimization", IEEE CAL 2021) searches such a front by
multi-objective Bayesian optimisation; here the next run is the one of largest expected hypervolume improvement, in closed form and exact
over the grid (`_core.hypervolume`). Hypervolume is measured in the models' units, as a rule logarithms, so that a per cent of power is
worth the same at either end of the front.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from bayestuner.errors import InvalidGoal, InvalidSpace, finite_number
from bayestuner.goal import Goal
from bayestuner.search.engine.acquisition import Packed
from bayestuner.search.engine.explanation import Plan
from bayestuner.search.engine.knob_metrics import is_knob, knob_values
from bayestuner.search.engine.tuner import Tuner
from bayestuner.search.strategies.pareto import TradeOffGoal, front_of, non_dominated
from bayestuner.space import Space

if TYPE_CHECKING:
    from bayestuner.search.engine.posterior import Scoring
    from bayestuner.trial import Trial

FloatArray = npt.NDArray[np.float64]
T = TypeVar("T", int, float)

MAX_ROWS = 2_000_000  # means and variances of all rows are held in memory: 64 MB for two metrics
MIN_LIMIT_SHARE = 0.25  # without it the slowest configurations would have most of the hypervolume, which is measured in logarithms
MARGIN = 0.1  # the reference point lies beyond the worst reading by this share of the range (Ishibuchi et al. 2018 discuss the choice)


class TradeOff(Tuner):
    """Searches the front of the goal's objective against the metric of its first bound; the bound's limit plays no part in the search.

    `front` holds what was found: for any limit, the best measured trial is on it, and `retarget` with `recommend` answers for a limit by
    the models. Further bounds stay bounds. Where no improvement of the front is expected it goes on as a `Tuner` for the goal as given.

    Parameters
    ----------
    space, goal, seed, budget
        As for `Tuner`.
    min_limit_share : float
        Limits below this share of the best reading found are of no interest. For a metric to be kept low: limits above the best reading
        divided by it.

    Raises
    ------
    InvalidGoal
        The goal has no bound on a second metric that is not a knob, or `min_limit_share` is no share.
    InvalidSpace
        More than 2 million rows.

    Examples
    --------
    >>> import bayestuner as bt
    >>> from bayestuner.search.strategies.trade_off import TradeOff
    >>> space = bt.Space(bt.Integer("cores", 1, 8))
    >>> search = TradeOff(space, bt.Goal(minimize="power_w", subject_to=["throughput >= 20"]))
    >>> for _ in range(5):
    ...     trial = search.ask()
    ...     _ = search.tell(trial, power_w=20.0 + 5.0 * trial.config["cores"], throughput=10.0 * trial.config["cores"])
    >>> len(search.front)
    5
    """

    name = "trade_off"

    def __init__(self, space: Space, goal: Goal, *, seed: int = 0, budget: int = 20, min_limit_share: float = MIN_LIMIT_SHARE) -> None:
        TradeOffGoal.of(goal, space.numeric_names)
        if space.n_rows > MAX_ROWS:
            raise InvalidSpace(f"trade_off takes at most {MAX_ROWS} rows, and the space has {space.n_rows}; make its steps coarser")
        if not 0.0 < finite_number(min_limit_share, "min_limit_share", InvalidGoal) < 1.0:
            raise InvalidGoal(f"min_limit_share is a share above 0 and below 1, not {min_limit_share!r}")
        super().__init__(space, goal, seed=seed, budget=budget)
        self.min_limit_share = float(min_limit_share)

    @property
    def front(self) -> list[Trial]:
        """Measured trials that none beats in both metrics, the best objective first; see `front_of`."""
        return front_of(self, self.goal, self._trials)

    def retarget(self, goal: Goal) -> None:
        """As `Tuner.retarget`; the new goal too must have a bound on a second metric."""
        TradeOffGoal.of(goal, self.space.numeric_names)
        super().retarget(goal)

    def _best_known(self) -> float | None:
        return None  # the front also takes rows of a worse objective

    def _model_choice(self) -> Plan | None:
        trade_off = TradeOffGoal.of(self.goal, self.space.numeric_names)
        points = self._noise_free_points(trade_off)
        if not points.size:
            return super()._model_choice()
        reference = self._reference(trade_off, points)
        front = points[(points < reference).all(axis=1)]
        scoring = self._posterior.for_scoring(self.goal, [t.row for t in self._outstanding.values()])
        value = self._log_values(trade_off, scoring, front[non_dominated(front)], reference)
        rows = np.arange(self.space.n_rows)
        codes, level_starts = self.space.codes(rows), self._posterior.geometry.level_starts
        for exclusions in self._candidates.exclusions(self._taken):
            candidates = np.where(exclusions.excludes(rows, codes, level_starts), -np.inf, value)
            row = int(np.argmax(candidates))
            if np.isfinite(candidates[row]):
                return Plan(row, False, self._explain(row, "hypervolume improvement"))
        return super()._model_choice()

    def _noise_free_points(self, trade_off: TradeOffGoal) -> FloatArray:
        """Both objectives (n, 2), to be minimised, of the measured rows that meet the other bounds; in the models' units."""
        estimates = self._posterior.noise_free_estimates(self.goal)
        meets = ~self._candidates.outside_bounds(estimates.rows)
        traded = self._traded_index(trade_off)
        for j, (margin, _) in enumerate(self._posterior.margins_measured(self.goal, estimates)):
            if j != traded:
                meets &= margin >= 0.0
        other = trade_off.other_sign * estimates.metrics[trade_off.bound.metric][0]
        return np.stack([estimates.objective, other], axis=1)[meets]

    def _reference(self, trade_off: TradeOffGoal, points: FloatArray) -> FloatArray:
        """The reference point up to which hypervolume is measured, (2,), in the models' units."""
        span = np.ptp(points, axis=0)
        reference: FloatArray = points.max(axis=0) + np.where(span > 0.0, MARGIN * span, 1.0)
        metric = trade_off.bound.metric
        readings = [t.metrics[metric] for t in self._measured()]
        if min(readings) > 0.0:
            limit = max(readings) * self.min_limit_share if trade_off.other_sign < 0.0 else min(readings) / self.min_limit_share
            reference[1] = min(reference[1], trade_off.other_sign * self._posterior.models[metric].transform.forward_limit(limit))
        return reference

    def _traded_index(self, trade_off: TradeOffGoal) -> int:
        """Position of the traded bound among the bounds on modelled metrics."""
        return [b for b in self.goal.bounds if not is_knob(self.space, b.metric)].index(trade_off.bound)

    def _log_values(self, trade_off: TradeOffGoal, scoring: Scoring, front: FloatArray, reference: FloatArray) -> FloatArray:
        """Log of the expected hypervolume improvement times P(other bounds hold) and P(the run does not fail), (n_rows,)."""
        from bayestuner._core.hypervolume import add_log_probability, expected_hypervolume_improvement

        geometry = self._posterior.geometry
        means, variances = self._scorer.posterior(Packed.of(scoring.processes, geometry.d, geometry.levels.size, scoring.noise))
        traded = self._traded_index(trade_off)
        other = _one(scoring.bounds[traded].model)
        mean, std = np.empty((2, self.space.n_rows)), np.zeros((2, self.space.n_rows))
        if is_knob(self.space, self.goal.objective):
            mean[0] = self.goal.sign * knob_values(self.space, self.goal.objective, np.arange(self.space.n_rows))
        else:
            mean[0], std[0] = means[_one(scoring.objective)], np.sqrt(variances[_one(scoring.objective)])
        mean[1], std[1] = trade_off.other_sign * means[other], np.sqrt(variances[other])
        out = np.empty(self.space.n_rows)
        expected_hypervolume_improvement(mean, std, front, reference, out)
        with np.errstate(divide="ignore"):
            out = np.log(out)
        for j, bound in enumerate(scoring.bounds):
            if j != traded:
                model = _one(bound.model)
                add_log_probability(
                    means[model], variances[model], float(bound.sign), float(_one(bound.limit)), float(bound.extra_variance), out
                )
        return out


def _one(value: T | Sequence[T]) -> T:
    """The single entry that there is without samples of the hyperparameters."""
    assert not isinstance(value, Sequence)  # noqa: S101 - narrows the type; this strategy takes no samples
    return value
