"""What going on with a search would still bring, by its models: what the stopping rules read."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from bayestuner.goal import Goal
from bayestuner.search.engine.acquisition import EXPECTED_IMPROVEMENT, Scorer, log_ndtr
from bayestuner.search.engine.candidates import FreeRows
from bayestuner.search.engine.knob_metrics import is_known, knob_values, known_objective
from bayestuner.search.engine.packed import NO_FLOOR, Packed
from bayestuner.search.engine.posterior import Posterior, Scoring
from bayestuner.search.engine.regret import Processes, best_fit, integrated, joint_bests, samples_whole
from bayestuner.search.strategy import is_transient
from bayestuner.surrogate.transform import Transform
from bayestuner.trial import Measured, Trial

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

TINY = 1e-300
N_NODES, REACH = 40, 7.0  # of the quadrature: points, standard deviations to either side
TOP = 64  # rows whose improvement is worked out in the metric's own units
SAMPLE_RANDOM, SAMPLE_TOP = 1024, 256  # rows of a space too large for joint samples of all
STREAM = 0x5709  # keeps these draws apart from others of the same seed


@dataclass(frozen=True, slots=True)
class Units:
    """Objectives in a model's units, to be minimised, in terms of the metric.

    Attributes
    ----------
    transform : Transform
    sign : float
        1 when minimising the metric, -1 when maximising it.
    """

    transform: Transform
    sign: float

    def metric(self, objective: FloatArray) -> FloatArray:
        """The metric's values, of the same shape."""
        backward, flat = self.transform.backward, self.sign * objective.ravel()
        return np.array([backward(value) for value in flat.tolist()]).reshape(objective.shape)

    def share(self, base: FloatArray, better: FloatArray) -> FloatArray:
        """By how much `better` (m,) improves on `base` (m,) or (1,), as a share of the metric at the base."""
        value = self.metric(base)
        return np.asarray(np.abs(self.metric(better) - value) / np.maximum(np.abs(value), TINY))

    def expected_share(self, base: float, mean: FloatArray, sd: FloatArray) -> FloatArray:
        """The expectation of the share by which a normal objective of mean and sd (m,) improves on `base`, (m,); by quadrature."""
        nodes, weights = np.polynomial.legendre.leggauss(N_NODES)
        sd = np.maximum(sd, 1e-12)
        low = mean - REACH * sd
        half = 0.5 * np.maximum(np.minimum(base, mean + REACH * sd) - low, 0.0)
        at = low[:, None] + half[:, None] * (1.0 + nodes)
        density = np.exp(-0.5 * ((at - mean[:, None]) / sd[:, None]) ** 2) / (sd[:, None] * math.sqrt(2.0 * math.pi))
        share = self.share(np.full((1, 1), base), at)
        return np.asarray(half * ((weights * density * share).sum(axis=1)))


class Outlook:
    """What is still to be gained over the best row measured, as a `Tuner` believes after what it was told. To be read before the next tell.

    Parameters
    ----------
    goal : Goal
    posterior : Posterior
        Up to date, with a feasible incumbent.
    scorer : Scorer
    free : FreeRows
    trials : sequence of Trial
        Those that are outstanding count as still to come.
    log_floor : float
        Log of the chance to meet the goal below which a row would not be asked.
    """

    def __init__(
        self, goal: Goal, posterior: Posterior, scorer: Scorer, free: FreeRows, trials: Sequence[Trial], *, log_floor: float = NO_FLOOR
    ) -> None:
        self.goal = goal
        self.space = posterior.space
        self._posterior = posterior
        self._scorer = scorer
        self._incumbent = posterior.incumbent(goal)
        self._log_floor = log_floor
        self._n_trials = len(trials)
        readings = Counter(t.row for t in trials if isinstance(t.outcome, Measured))  # in the order of the first ones, as the models
        self._measured = np.array(list(readings), dtype=np.int64)
        self._reps = np.array(list(readings.values()), dtype=np.float64)
        self._skip = next(free.skips({t.row for t in trials if t.outcome is not None and not is_transient(t)}))
        known = is_known(self.space, goal.objective)
        self._units = Units(Transform(1.0, 0.0, 1.0) if known else posterior.models[goal.objective].transform, goal.sign)

    @property
    def best_value(self) -> float:
        """The objective of the best row measured, as it is believed without noise; in the metric's unit."""
        return float(self._units.metric(np.array([self._incumbent.value]))[0])

    @property
    def sampled(self) -> tuple[int, int]:
        """How many rows `regrets` looks at, and how many there are."""
        return self._rows.size, self.space.n_rows

    # -- expected improvement -----------------------------------------------------------------------------------------

    def improvement_left(self) -> float:
        """The largest expected improvement of a row not tried, as a share of the best one's objective.

        Constrained: times the chance that the row meets the goal and that its run does not fail. The improvement of the metric itself,
        not of its logarithm; worked out for the `TOP` rows that the acquisition puts first.
        """
        scoring = self._posterior.for_scoring(self.goal, [])
        rows = self._top(scoring, TOP)
        return float(self._improvements(scoring, rows).max()) if rows.size else 0.0

    def _top(self, scoring: Scoring, count: int) -> IntArray:
        """The rows (at most `count`) of largest acquisition among those free."""
        geometry = self._posterior.geometry
        packed = Packed.of(scoring.processes, geometry.d, geometry.levels.size, scoring.noise)
        goal: dict[str, Any] = {"objective": scoring.objective, "known": known_objective(self.space, self.goal)}
        goal |= {"best": self._incumbent.value, "log_floor": self._log_floor}
        rows, _ = self._scorer.top(min(count, self.space.n_rows), EXPECTED_IMPROVEMENT, packed, scoring.bounds, self._skip, **goal)
        return rows[rows >= 0]

    def _improvements(self, scoring: Scoring, rows: IntArray) -> FloatArray:
        """Expected improvements (m,), averaged over the samples of the hyperparameters where there are any."""
        moments = [gp.predict(self.space.codes(rows)) for gp in scoring.processes]
        sd = [np.sqrt(np.maximum(variance + noise, 0.0)) for (_, variance), noise in zip(moments, scoring.noise, strict=True)]
        best, total = self._incumbent.value, np.zeros(rows.size)
        count = max(1, self._posterior.samples)
        for s in range(count):
            index = _of_sample(scoring.objective, s)
            if index < 0:
                own = self.goal.sign * knob_values(self.space, self.goal.objective, rows)
                share = self._units.share(np.array([best]), np.minimum(own, best))
            else:
                share = self._units.expected_share(best, moments[index][0], sd[index])
            for bound in scoring.bounds:
                model = _of_sample(bound.model, s)
                margin = bound.sign * (moments[model][0] - _of_sample(bound.limit, s))
                z = margin / np.maximum(np.hypot(sd[model], math.sqrt(bound.extra)), 1e-9)
                share *= np.exp([log_ndtr(float(v)) for v in z])
            total += share
        return total / count

    # -- regret -------------------------------------------------------------------------------------------------------

    def regrets(self, count: int, part: int = 0, *, integrate: bool = False) -> FloatArray:
        """By how much the best row measured falls short of the best one there is, in joint samples of all models, (count,).

        As shares of its objective; see `bayestuner.search.engine.regret`. The samples depend on the seed, the number of trials and
        `part`; with `integrate` the models' hyperparameters are drawn too, instead of taking those that fit best.
        """
        processes = self._integrated if integrate else best_fit(self._posterior, self.goal)
        incumbent, best = joint_bests(
            self._posterior, self.goal, processes, self._measured, self._rows, self._open, count, self._rng(int(integrate), part)
        )
        return self._units.share(incumbent, best)

    @cached_property
    def _integrated(self) -> Processes:
        return integrated(self._posterior, self.goal, self._reps, self._rng(2, 0))

    def _rng(self, what: int, part: int) -> np.random.Generator:
        return np.random.default_rng([self._posterior.seed, STREAM, self._n_trials, what, part])

    @cached_property
    def _rows(self) -> IntArray:
        """The rows to sample, (m,): all, or a fixed random sample with those measured and those the acquisition puts first."""
        n_rows = self.space.n_rows
        if samples_whole(self._posterior):
            return np.arange(n_rows, dtype=np.int64)
        drawn = np.random.default_rng([self._posterior.seed, STREAM]).integers(0, n_rows, SAMPLE_RANDOM)
        drawn = drawn[~self._out(drawn)]
        return np.unique(np.concatenate([drawn, self._measured, self._top(self._posterior.for_scoring(self.goal, []), SAMPLE_TOP)]))

    @cached_property
    def _open(self) -> BoolArray:
        return ~self._out(self._rows)

    def _out(self, rows: IntArray) -> BoolArray:
        return self._skip.out(rows, self.space.codes(rows), self._posterior.geometry.starts)


def _of_sample(index: Any, s: int) -> Any:
    """A bound's or objective's entry for sample s of the hyperparameters; one that is not a list serves all."""
    return index[s] if isinstance(index, Sequence) else index
