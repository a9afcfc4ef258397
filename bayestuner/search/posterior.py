"""What is believed after the trials told so far: a model of each metric of a goal, and of whether a run ends well.

Bounds and objective are put to the models here, so that a new threshold needs no fit.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from bayestuner.goal import Goal
from bayestuner.search.acquisition import ModelBound, log_ndtr
from bayestuner.search.known import is_known, knob_values
from bayestuner.search.strategy import Prediction
from bayestuner.space import Space
from bayestuner.surrogate.covariance import Geometry
from bayestuner.surrogate.gp import GaussianProcess
from bayestuner.surrogate.metric import MetricModel, merge
from bayestuner.surrogate.viability import EXTRA, PRIOR, viability_model
from bayestuner.trial import Failed, Measured, Outcome, Reading, Trial

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

TWO_SIDED_95 = 1.959963984540054


class Posterior:
    """Models of the metrics of a goal over one space.

    Parameters
    ----------
    space : Space
    seed : int
        For the random starts of the fits.
    """

    def __init__(self, space: Space, seed: int) -> None:
        self.space = space
        self.seed = seed
        self.geometry = Geometry.of(space)
        self.models: dict[str, MetricModel] = {}
        self.viability: GaussianProcess | None = None
        self._fresh: set[str] = set()  # metrics whose model has seen every reading

    # -- learning -----------------------------------------------------------------------------------------------------

    def forget(self) -> None:
        """Note that there is a trial the models have not seen."""
        self._fresh.clear()

    def learn(self, trials: Sequence[Trial], goal: Goal) -> None:
        """Bring the model of every metric of the goal, and the viability model, up to date with `trials`."""
        measured = [t for t in trials if isinstance(t.outcome, Measured)]
        rows = [t.row for t in measured]
        if not self._fresh:
            self.viability = self._fit_viability(trials, rows)
        for metric in self.modelled(goal):
            if metric in self._fresh:
                continue
            data = merge(rows, [_reading(t.outcome, metric) for t in measured])
            model = self.models.setdefault(metric, MetricModel(self.geometry))
            # a stream per number of observations: the fit depends on what was told, never on how often anything was read
            model.fit(self.space.codes(data.rows), data, np.random.default_rng([self.seed, len(rows)]))
            self._fresh.add(metric)

    def _fit_viability(self, trials: Sequence[Trial], measured_rows: list[int]) -> GaussianProcess | None:
        ran = set(measured_rows)
        failed = {t.row for t in trials if isinstance(t.outcome, Failed) and t.outcome.kind != "transient"} - ran
        if not failed:
            return None
        rows = np.array([*ran, *failed], dtype=np.int64)
        rows.sort()
        return viability_model(self.geometry, self.space.codes(rows), np.isin(rows, list(ran)))

    # -- the goal in the models' terms --------------------------------------------------------------------------------

    def modelled(self, goal: Goal) -> list[str]:
        """Metrics of the goal that need a model."""
        return [m for m in goal.metrics if not is_known(self.space, m)]

    def limits(self, goal: Goal) -> list[tuple[str, float, float]]:
        """The goal's bounds on modelled metrics: metric, sign (1: at least, -1: at most) and the limit in its model's units."""
        out = []
        for bound in goal.bounds:
            if not is_known(self.space, bound.metric):
                limit = self.models[bound.metric].transform.forward_limit(bound.limit)
                out.append((bound.metric, 1.0 if bound.sense == ">=" else -1.0, max(limit, -1e300)))
        return out

    def objective_at(self, goal: Goal, rows: IntArray) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation, to be minimised, of the objective at rows (m,)."""
        if is_known(self.space, goal.objective):
            return goal.sign * knob_values(self.space, goal.objective, rows), np.zeros(rows.size)
        mean, std = self.models[goal.objective].predict(self.space.codes(rows))
        return goal.sign * mean, std

    def log_feasible(self, goal: Goal, rows: IntArray) -> FloatArray:
        """Log of the chance that all bounds on modelled metrics hold at rows (m,), failures apart."""
        total = np.zeros(rows.size)
        codes = self.space.codes(rows)
        for metric, sign, limit in self.limits(goal):
            mean, std = self.models[metric].predict(codes)
            z = sign * (mean - limit) / np.maximum(std, 1e-9)
            total += np.array([log_ndtr(float(v)) for v in z])
        return total

    def p_viable(self, row: int) -> float:
        """The chance that a run of this row does not fail."""
        if self.viability is None:
            return 1.0
        mean, variance = self.viability.predict(self.space.codes([row]))
        return math.exp(log_ndtr(float((mean[0] + PRIOR) / math.sqrt(variance[0] + EXTRA))))

    def predictions(self, goal: Goal, row: int) -> dict[str, Prediction]:
        """Metric -> its mean and 95 % interval at a row, for every metric of the goal."""
        out = {}
        codes = self.space.codes([row])
        for metric in goal.metrics:
            if is_known(self.space, metric):
                value = float(knob_values(self.space, metric, np.array([row]))[0])
                out[metric] = Prediction(value, value, value)
                continue
            model = self.models[metric]
            mean, std = model.predict(codes)
            low, middle, high = (model.transform.backward(float(mean[0] + z * std[0])) for z in (-TWO_SIDED_95, 0.0, TWO_SIDED_95))
            out[metric] = Prediction(middle, low, high)
        return out

    # -- for scoring --------------------------------------------------------------------------------------------------

    def for_scoring(self, goal: Goal, pending_rows: list[int]) -> tuple[list[GaussianProcess], list[ModelBound], int]:
        """Gaussian processes to score together, the bounds on them, and which one is the objective (-1: a known metric).

        An outstanding run's outcome is taken to be its prediction (kriging believer, Ginsbourger et al. 2010).
        """
        metrics = self.modelled(goal)
        gps = [self.models[m].gp for m in metrics]
        bounds = [ModelBound(metrics.index(metric), sign, limit) for metric, sign, limit in self.limits(goal)]
        if self.viability is not None:
            bounds.append(ModelBound(len(gps), 1.0, -PRIOR, EXTRA))
            gps.append(self.viability)
        if pending_rows:
            codes = self.space.codes(pending_rows)
            gps = [_believing(gp, codes) for gp in gps]
        if goal.objective not in metrics:
            return gps, bounds, -1
        objective = metrics.index(goal.objective)
        if goal.sign < 0:
            gps.append(_negated(gps[objective]))
            objective = len(gps) - 1
        return gps, bounds, objective


def _believing(gp: GaussianProcess, codes: IntArray) -> GaussianProcess:
    """The posterior that takes every outcome at codes (m, d) to be what is predicted."""
    believer = copy.copy(gp)
    for code in codes:
        mean, _ = believer.predict(code[None, :])
        believer.extend(code, float(mean[0]), gp.noise_variance)
    return believer


def _negated(gp: GaussianProcess) -> GaussianProcess:
    """The same posterior of the negative function."""
    out = copy.copy(gp)
    out.beta = -gp.beta
    return out


def _reading(outcome: Outcome | None, metric: str) -> Reading:
    assert isinstance(outcome, Measured)  # noqa: S101 - narrows the type; callers pass measured trials only
    return outcome.metrics[metric]
