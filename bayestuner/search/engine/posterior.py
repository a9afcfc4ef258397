"""What is believed after the trials told so far: a model of each metric of a goal, and of whether a run ends well.

Bounds and objective are put to the models here, so that a new threshold needs no fit.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bayestuner.goal import Goal
from bayestuner.search.engine.acquisition import log_ndtr
from bayestuner.search.engine.knob_metrics import closed_levels, is_known, knob_values
from bayestuner.search.engine.packed import ModelBound
from bayestuner.search.strategy import Prediction
from bayestuner.space import Space
from bayestuner.surrogate.gp import GaussianProcess
from bayestuner.surrogate.metric import MetricModel, merge
from bayestuner.surrogate.modelling import Modelling
from bayestuner.surrogate.viability import EXTRA, PRIOR, viability_model
from bayestuner.trial import Failed, Measured, Outcome, Reading, Trial

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Moments = tuple[FloatArray, FloatArray]
"""Means and variances."""

TWO_SIDED_95 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Scoring:
    """What is scored together: processes, what a reading adds to each one's variance, bounds, and the objective's processes (-1: none).

    With S samples of the hyperparameters, objective and the bounds' models are lists with one entry for each.
    """

    processes: list[GaussianProcess]
    noise: list[float]
    bounds: list[ModelBound]
    objective: int | list[int]


@dataclass(frozen=True, slots=True)
class Incumbent:
    """What is to be improved on.

    Attributes
    ----------
    value : float
        Its objective, to be minimised, in the objective model's units.
    feasible : bool
        False where no measured row meets the goal.
    row : int
    gap : float
        How much worse the next best feasible row is; inf where there is none.
    variance : float
        Of `value`, from the noise of the row's readings.
    """

    value: float
    feasible: bool
    row: int
    gap: float
    variance: float


@dataclass(frozen=True, slots=True)
class Believed:
    """What the measured rows are believed to read without noise, in the models' units.

    Attributes
    ----------
    rows : ndarray of int, (n,)
    objective, variance : ndarray, (n,)
        The objective, to be minimised, and its variance.
    moments : dict
        Modelled metric -> mean and variance, (n,) each.
    """

    rows: IntArray
    objective: FloatArray
    variance: FloatArray
    moments: dict[str, Moments]


class Posterior:
    """Models of the metrics of a goal over one space.

    Parameters
    ----------
    space : Space
    seed : int
        For the random starts of the fits, and for samples of the hyperparameters.
    samples : int
        How many samples of the hyperparameters to average the acquisition over; 0 takes the best fit.
    modelling : Modelling, optional
    """

    def __init__(self, space: Space, seed: int, samples: int = 0, modelling: Modelling | None = None) -> None:
        self.space = space
        self.seed = seed
        self.samples = samples
        self.modelling = modelling if modelling is not None else Modelling()
        self.geometry = self.modelling.geometry(space)
        self.models: dict[str, MetricModel] = {}
        self.viability: GaussianProcess | None = None
        self._measured_rows: set[int] = set()
        self._fresh: set[str] = set()  # metrics whose model has seen every reading

    # -- learning -----------------------------------------------------------------------------------------------------

    def forget(self) -> None:
        """Note that there is a trial the models have not seen."""
        self._fresh.clear()

    def learn(self, trials: Sequence[Trial], goal: Goal) -> None:
        """Bring the model of every metric of the goal, and the viability model, up to date with `trials`."""
        measured = [t for t in trials if isinstance(t.outcome, Measured)]
        rows = [t.row for t in measured]
        self._measured_rows = set(rows)
        if not self._fresh:
            self.viability = self._fit_viability(trials, rows)
        codes: IntArray | None = None
        for metric in self.modelled(goal):
            if metric in self._fresh:
                continue
            data = merge(rows, [_reading(t.outcome, metric) for t in measured])
            if codes is None:  # the same rows for every metric
                codes = self.space.codes(data.rows)
            model = self.models.get(metric)
            if model is None:
                kind = self.modelling
                model = MetricModel(self.geometry, self.samples, priors=kind.priors(), power=kind.power)
                self.models[metric] = model
            # a stream per number of observations: the fit depends on what was told, never on how often anything was read
            model.fit(codes, data, [self.seed, len(rows)])
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

    def limits(self, goal: Goal, reach: float = math.inf) -> list[tuple[str, float, float]]:
        """The goal's bounds on modelled metrics: metric, sign (1: at least, -1: at most) and the limit in its model's units.

        A limit farther than `reach` from the mean of the readings, in their standard deviations, is taken to lie there.
        """
        out = []
        for bound in goal.bounds:
            if not is_known(self.space, bound.metric):
                limit = self.models[bound.metric].transform.forward_limit(bound.limit)
                out.append((bound.metric, 1.0 if bound.sense == ">=" else -1.0, min(max(limit, -1e300, -reach), reach)))
        return out

    def objective_at(self, goal: Goal, rows: IntArray) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation, to be minimised, of the objective at rows (m,)."""
        if is_known(self.space, goal.objective):
            return goal.sign * knob_values(self.space, goal.objective, rows), np.zeros(rows.size)
        mean, std = self.models[goal.objective].predict(self.space.codes(rows))
        return goal.sign * mean, std

    def log_feasible(self, goal: Goal, rows: IntArray) -> FloatArray:
        """Log of the chance that all bounds on modelled metrics hold at rows (m,), failures and noise apart."""
        codes = self.space.codes(rows)
        return self._log_met(goal, {metric: self.models[metric].gp.predict(codes) for metric, _, _ in self.limits(goal)}, rows.size)

    def _log_met(self, goal: Goal, moments: dict[str, Moments], count: int) -> FloatArray:
        """Log of the chance that all bounds hold where the metrics have these means and variances, (count,) each."""
        total = np.zeros(count)
        for metric, sign, limit in self.limits(goal):
            mean, variance = moments[metric]
            z = sign * (mean - limit) / np.maximum(np.sqrt(variance), 1e-9)
            total += np.array([log_ndtr(float(v)) for v in z])
        return total

    def at_measured(self, goal: Goal) -> Believed:
        """What the measured rows themselves are believed to read without noise (`MetricModel.at_measured`)."""
        moments = {m: self.models[m].at_measured() for m in self.modelled(goal)}
        rows = next(iter(self.models[m].rows for m in moments)) if moments else np.array(sorted(self._measured_rows), dtype=np.int64)
        if goal.objective in moments:
            mean, variance = moments[goal.objective]
        else:
            mean, variance = knob_values(self.space, goal.objective, rows), np.zeros(rows.size)
        return Believed(rows, goal.sign * mean, variance, moments)

    def log_feasible_measured(self, goal: Goal, believed: Believed) -> FloatArray:
        """As `log_feasible`, of the measured rows by what they are believed to read."""
        return self._log_met(goal, believed.moments, believed.rows.size)

    def p_viable(self, row: int) -> float:
        """The chance that a run of this row does not fail."""
        if self.viability is None:
            return 1.0
        mean, variance = self.viability.predict(self.space.codes([row]))
        return math.exp(log_ndtr(float((mean[0] + PRIOR) / math.sqrt(variance[0] + EXTRA))))

    def predictions(self, goal: Goal, row: int) -> dict[str, Prediction]:
        """Metric of the goal -> its mean and 95 % interval at a row without noise; a measured row's own readings count."""
        out, _ = self.outlook_of(goal, row)
        if row in self._measured_rows:
            for metric in self.modelled(goal):
                model = self.models[metric]
                at = int(np.flatnonzero(model.rows == row)[0])
                mean, variance = model.at_measured()
                out[metric] = _prediction(model, float(mean[at]), float(variance[at]))
        return out

    def outlook_of(self, goal: Goal, row: int, reach: float = math.inf) -> tuple[dict[str, Prediction], float]:
        """`predictions` at a row, and the log of the chance that a reading there meets all bounds on modelled metrics (see `limits`)."""
        out = {}
        moments = {}
        codes = self.space.codes([row])
        for metric in goal.metrics:
            if is_known(self.space, metric):
                value = float(knob_values(self.space, metric, np.array([row]))[0])
                out[metric] = Prediction(value, value, value)
                continue
            model = self.models[metric]
            means, variances = model.gp.predict(codes)
            mean, variance = float(means[0]), float(variances[0])
            moments[metric] = mean, math.sqrt(variance + model.gp.noise_variance)
            out[metric] = _prediction(model, mean, variance)
        log_p = 0.0
        for metric, sign, limit in self.limits(goal, reach):
            mean, std = moments[metric]
            log_p += log_ndtr(sign * (mean - limit) / max(std, 1e-9))
        return out, log_p

    # -- for scoring --------------------------------------------------------------------------------------------------

    def incumbent(self, goal: Goal, caution: float = 0.0) -> Incumbent:
        """The measured row to improve on: the lowest objective among those that meet the goal, by `caution` standard deviations.

        Noise counts: a lucky noisy reading must not end the search, so rows are compared by what they would read without it
        (`MetricModel.at_measured`). Where none meets the goal, the highest objective, so that every cheaper row keeps its price signal.
        """
        believed = self.at_measured(goal)
        rows, objective, variance = believed.rows, believed.objective, believed.variance
        meets = np.ones(rows.size, dtype=np.bool_)
        for metric, sign, limit in self.limits(goal):
            mean, spread = believed.moments[metric]
            meets &= sign * (mean - limit) >= caution * np.sqrt(spread)
        closed = closed_levels(self.space, goal)
        if closed.size:
            meets &= ~closed[self.geometry.starts[:-1] + self.space.codes(rows)].any(axis=1)
        if not meets.any():
            return Incumbent(float(objective.max()), False, int(rows[objective.argmax()]), math.inf, 0.0)
        order = np.argsort(np.where(meets, objective, np.inf), kind="stable")
        gap = float(objective[order[1]] - objective[order[0]]) if meets.sum() > 1 else math.inf
        return Incumbent(float(objective[order[0]]), True, int(rows[order[0]]), gap, float(variance[order[0]]))

    def reading_variance(self, goal: Goal, row: int) -> float:
        """Known variance of the noise in the mean of a measured row's readings of the objective, standardised; 0 for a known metric."""
        if is_known(self.space, goal.objective):
            return 0.0
        model = self.models[goal.objective]
        return float(model.known[np.flatnonzero(model.rows == row)[0]])

    def for_scoring(self, goal: Goal, pending_rows: list[int], reach: float = math.inf) -> Scoring:
        """What to score; an outstanding run's outcome is taken to be its prediction (kriging believer, Ginsbourger et al. 2010)."""
        metrics = self.modelled(goal)
        processes: list[GaussianProcess] = []
        first = {}
        for metric in metrics:
            first[metric] = len(processes)
            processes += self.models[metric].processes
        count = max(1, self.samples)

        def index(metric: str) -> int | list[int]:
            return first[metric] if count == 1 else list(range(first[metric], first[metric] + count))

        noise = [gp.noise_variance for gp in processes]
        bounds = [ModelBound(index(metric), sign, limit) for metric, sign, limit in self.limits(goal, reach)]
        if self.viability is not None:
            bounds.append(ModelBound(len(processes), 1.0, -PRIOR, EXTRA))
            processes.append(self.viability)
            noise.append(0.0)
        if pending_rows:
            codes = self.space.codes(pending_rows)
            processes = [_believing(gp, codes) for gp in processes]
        objective: int | list[int] = -1
        if goal.objective in first:
            objective = index(goal.objective)
            if goal.sign < 0:
                chosen = processes[first[goal.objective] : first[goal.objective] + count]
                objective = len(processes) if count == 1 else list(range(len(processes), len(processes) + count))
                processes += [_negated(gp) for gp in chosen]
                noise += [gp.noise_variance for gp in chosen]
        return Scoring(processes, noise, bounds, objective)


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


def _prediction(model: MetricModel, mean: float, variance: float) -> Prediction:
    """Mean and 95 % interval in the metric's own unit, from moments in the model's."""
    std = math.sqrt(variance)
    low, middle, high = (model.transform.backward(mean + z * std) for z in (-TWO_SIDED_95, 0.0, TWO_SIDED_95))
    return Prediction(middle, low, high)


def _reading(outcome: Outcome | None, metric: str) -> Reading:
    assert isinstance(outcome, Measured)  # noqa: S101 - narrows the type; callers pass measured trials only
    return outcome.metrics[metric]
