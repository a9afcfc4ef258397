"""How much a search could still gain over the best row measured, by its models: the figures that the stopping rules read."""

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
from bayestuner.search.engine.candidates import Candidates
from bayestuner.search.engine.knob_metrics import is_knob, knob_objective, knob_values
from bayestuner.search.engine.packed import NO_MIN_LOG_P, Packed
from bayestuner.search.engine.posterior import Posterior, Scoring
from bayestuner.search.engine.regret import Processes, best_fit, integrated, joint_bests, samples_whole
from bayestuner.search.strategy import is_transient
from bayestuner.surrogate.transform import Transform
from bayestuner.trial import Trial

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

TINY = 1e-300
N_NODES, HALF_WIDTH = 40, 7.0  # of the quadrature: points, and standard deviations to either side of the mean
N_TOP_ROWS = 64  # rows whose expected improvement is computed in the metric's own unit
SAMPLE_RANDOM, SAMPLE_TOP = 1024, 256  # rows sampled of a space too large for joint samples of all: at random, of highest acquisition
STREAM = 0x5709  # keeps these draws apart from others of the same seed


@dataclass(frozen=True, slots=True)
class ObjectiveUnits:
    """Translates objectives from their model's units, to be minimised, into the metric's own unit.

    Attributes
    ----------
    transform : Transform
    sign : float
        1 when minimising the metric, -1 when maximising it.
    """

    transform: Transform
    sign: float

    def metric_values(self, objective: FloatArray) -> FloatArray:
        """The metric's values, of the same shape."""
        backward, flat = self.transform.backward, self.sign * objective.ravel()
        return np.array([backward(value) for value in flat.tolist()]).reshape(objective.shape)

    def share(self, base: FloatArray, better: FloatArray) -> FloatArray:
        """By how much objectives `better` (m,) improve on `base` (m,) or (1,), as a share of the metric's value at the base, (m,)."""
        value = self.metric_values(base)
        return np.asarray(np.abs(self.metric_values(better) - value) / np.maximum(np.abs(value), TINY))

    def expected_share(self, base: float, mean: FloatArray, sd: FloatArray) -> FloatArray:
        """Expected share by which normal objectives of mean and sd (m,) improve on `base`, (m,); by Gauss-Legendre quadrature."""
        nodes, weights = np.polynomial.legendre.leggauss(N_NODES)
        sd = np.maximum(sd, 1e-12)
        low = mean - HALF_WIDTH * sd
        half = 0.5 * np.maximum(np.minimum(base, mean + HALF_WIDTH * sd) - low, 0.0)
        points = low[:, None] + half[:, None] * (1.0 + nodes)
        density = np.exp(-0.5 * ((points - mean[:, None]) / sd[:, None]) ** 2) / (sd[:, None] * math.sqrt(2.0 * math.pi))
        share = self.share(np.full((1, 1), base), points)
        return np.asarray(half * ((weights * density * share).sum(axis=1)))


class RemainingGain:
    """What a `Tuner` expects still to gain over the best row measured. Valid until the next tell.

    Parameters
    ----------
    goal : Goal
    posterior : Posterior
        Up to date, with a feasible incumbent.
    scorer : Scorer
    candidates : Candidates
    trials : sequence of Trial
        Those that are outstanding count as not yet run.
    min_log_p : float
        Log of the probability to meet the goal below which a row would not be asked.
    """

    def __init__(
        self,
        goal: Goal,
        posterior: Posterior,
        scorer: Scorer,
        candidates: Candidates,
        trials: Sequence[Trial],
        *,
        min_log_p: float = NO_MIN_LOG_P,
    ) -> None:
        self.goal = goal
        self.space = posterior.space
        self._posterior = posterior
        self._scorer = scorer
        self._incumbent = posterior.incumbent(goal)
        self._min_log_p = min_log_p
        self._n_trials = len(trials)
        readings = Counter(t.row for t in posterior.measured(goal, trials))  # in the order of first readings, as in the models
        self._measured = np.array(list(readings), dtype=np.int64)
        self._reps = np.array(list(readings.values()), dtype=np.float64)
        self._exclusions = next(candidates.exclusions({t.row for t in trials if t.outcome is not None and not is_transient(t)}))
        known = is_knob(self.space, goal.objective)
        self._units = ObjectiveUnits(Transform(1.0, 0.0, 1.0) if known else posterior.models[goal.objective].transform, goal.sign)

    @property
    def best_value(self) -> float:
        """The noise-free objective of the best row measured, in the metric's own unit."""
        return float(self._units.metric_values(np.array([self._incumbent.value]))[0])

    @property
    def sampled(self) -> tuple[int, int]:
        """How many rows `regrets` looks at, and how many there are."""
        return self._rows.size, self.space.n_rows

    # -- expected improvement -----------------------------------------------------------------------------------------

    def largest_improvement(self) -> float:
        """The largest expected improvement of a row not tried, as a share of the best one's objective.

        Each is multiplied by the probability that the row meets the goal and that its run does not fail. It is the improvement of the
        metric itself, not of its logarithm, and computed for the `N_TOP_ROWS` rows of highest acquisition.
        """
        scoring = self._posterior.for_scoring(self.goal, [])
        rows = self._top(scoring, N_TOP_ROWS)
        return float(self._improvements(scoring, rows).max()) if rows.size else 0.0

    def _top(self, scoring: Scoring, count: int) -> IntArray:
        """The rows (at most `count`) of highest acquisition among those not excluded."""
        geometry = self._posterior.geometry
        packed = Packed.of(scoring.processes, geometry.d, geometry.levels.size, scoring.noise)
        goal: dict[str, Any] = {"objective": scoring.objective, "known": knob_objective(self.space, self.goal)}
        goal |= {"best": self._incumbent.value, "min_log_p": self._min_log_p}
        rows, _ = self._scorer.top(min(count, self.space.n_rows), EXPECTED_IMPROVEMENT, packed, scoring.bounds, self._exclusions, **goal)
        return rows[rows >= 0]

    def _improvements(self, scoring: Scoring, rows: IntArray) -> FloatArray:
        """Expected improvements (m,), averaged over the samples of the hyperparameters where there are any."""
        predictions = [gp.predict(self.space.codes(rows)) for gp in scoring.processes]
        sd = [np.sqrt(np.maximum(variance + noise, 0.0)) for (_, variance), noise in zip(predictions, scoring.noise, strict=True)]
        best, total = self._incumbent.value, np.zeros(rows.size)
        count = max(1, self._posterior.samples)
        for s in range(count):
            index = _of_sample(scoring.objective, s)
            if index < 0:
                own = self.goal.sign * knob_values(self.space, self.goal.objective, rows)
                share = self._units.share(np.array([best]), np.minimum(own, best))
            else:
                share = self._units.expected_share(best, predictions[index][0], sd[index])
            for bound in scoring.bounds:
                model = _of_sample(bound.model, s)
                margin = bound.sign * (predictions[model][0] - _of_sample(bound.limit, s))
                z = margin / np.maximum(np.hypot(sd[model], math.sqrt(bound.extra_variance)), 1e-9)
                share *= np.exp([log_ndtr(float(v)) for v in z])
            total += share
        return total / count

    # -- regret -------------------------------------------------------------------------------------------------------

    def regrets(self, count: int, batch: int = 0, *, integrate: bool = False) -> FloatArray:
        """By how much the best row measured falls short of the best one there is, in joint samples of all models, (count,).

        As shares of its objective; see `bayestuner.search.engine.regret`. The samples depend on the seed, the number of trials and the
        number of the `batch`. With `integrate` the models' hyperparameters are sampled too, instead of taking those that fit best.
        """
        processes = self._integrated if integrate else best_fit(self._posterior, self.goal)
        incumbent, best = joint_bests(
            self._posterior, self.goal, processes, self._measured, self._rows, self._untried, count, self._rng(int(integrate), batch)
        )
        return self._units.share(incumbent, best)

    @cached_property
    def _integrated(self) -> Processes:
        return integrated(self._posterior, self.goal, self._reps, self._rng(2, 0))

    def _rng(self, purpose: int, batch: int) -> np.random.Generator:
        return np.random.default_rng([self._posterior.seed, STREAM, self._n_trials, purpose, batch])

    @cached_property
    def _rows(self) -> IntArray:
        """The rows to sample, (m,): all, or some drawn at random (always the same) with those measured and those of highest acquisition."""
        n_rows = self.space.n_rows
        if samples_whole(self._posterior):
            return np.arange(n_rows, dtype=np.int64)
        drawn = np.random.default_rng([self._posterior.seed, STREAM]).integers(0, n_rows, SAMPLE_RANDOM)
        drawn = drawn[~self._excluded(drawn)]
        return np.unique(np.concatenate([drawn, self._measured, self._top(self._posterior.for_scoring(self.goal, []), SAMPLE_TOP)]))

    @cached_property
    def _untried(self) -> BoolArray:
        return ~self._excluded(self._rows)

    def _excluded(self, rows: IntArray) -> BoolArray:
        return self._exclusions.excludes(rows, self.space.codes(rows), self._posterior.geometry.level_starts)


def _of_sample(index: Any, s: int) -> Any:
    """The entry for sample s of the hyperparameters; a single one serves all samples."""
    return index[s] if isinstance(index, Sequence) else index
