"""The models after the trials told so far: one of each metric of a goal, and one of whether a run ends well.

A goal's objective and bounds are applied to the models' predictions here, so that a new threshold needs no fit.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from bayestuner.goal import Bound, Goal
from bayestuner.search.engine.acquisition import log_ndtr
from bayestuner.search.engine.knob_metrics import infeasible_levels, is_knob, knob_values
from bayestuner.search.engine.measured import Incumbent, NoiseFreeEstimates
from bayestuner.search.engine.packed import ModelBound
from bayestuner.space import Space
from bayestuner.surrogate.gp import GaussianProcess
from bayestuner.surrogate.metric import MetricModel
from bayestuner.surrogate.modelling import Modelling
from bayestuner.surrogate.readings import merge
from bayestuner.surrogate.viability import PRIOR_MEAN, PROBIT_VARIANCE, viability_model
from bayestuner.trial import Failed, Measured, Outcome, Reading, Trial

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

TINY = 1e-300
MIN_AT_LIMIT = 2  # exact readings at a limit from which on the metric is taken to be discrete or to saturate there
MAX_LIMIT = 1e6  # standard deviations: a limit farther from the mean of the readings is taken to lie there
MISSED = 1e-6  # standard deviations by which an exact reading misses a bound, at least: its probability to meet it is then 0


@dataclass(frozen=True, slots=True)
class Scoring:
    """What the acquisition is computed from.

    Attributes
    ----------
    processes : list of GaussianProcess
    noise : list of float
        Variance of a reading's deviation from each process.
    bounds : list of ModelBound
    objective : int, or list of int, (S,)
        Index of the objective's process; -1 where the objective is a knob. With S samples of the hyperparameters this and the bounds'
        models are lists with one entry for each.
    viability : int
        Index of the process of failures; -1 where nothing has failed.
    """

    processes: list[GaussianProcess]
    noise: list[float]
    bounds: list[ModelBound]
    objective: int | list[int]
    viability: int = -1

    def weighted(self, power: int) -> Scoring:
        """The same with the probability that a run does not fail to a power."""
        return self if self.viability < 0 else replace(self, bounds=[*self.bounds, *self.bounds[-1:] * (power - 1)])


class Posterior:
    """Models of the metrics of a goal over one space.

    Parameters
    ----------
    space : Space
    seed : int
        Of the random starts of the fits, and of the samples of the hyperparameters.
    samples : int
        Number of samples of the hyperparameters that the acquisition is averaged over; 0 takes the hyperparameters that fit best.
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
        self._labels: tuple[IntArray, BoolArray] = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.bool_)  # rows, whether each ran
        self._measured_rows: set[int] = set()
        self._labels_known = False  # the viability model has been fitted to every label
        self._up_to_date: set[str] = set()  # metrics whose model has been fitted to every reading

    # -- learning -----------------------------------------------------------------------------------------------------

    def mark_stale(self) -> None:
        """Record that there are trials that the models have not been fitted to."""
        self._up_to_date.clear()
        self._labels_known = False

    def copy(self) -> Posterior:
        """A posterior whose `learn` does not change this one."""
        out = copy.copy(self)
        out.models = {metric: model.copy() for metric, model in self.models.items()}
        out._up_to_date = set(self._up_to_date)
        return out

    def is_current(self, goal: Goal) -> bool:
        """Whether `learn` would change nothing."""
        return self._labels_known and all(metric in self._up_to_date for metric in self.modelled(goal))

    def learn(self, trials: Sequence[Trial], goal: Goal) -> None:
        """Bring the model of every metric of the goal, and the viability model, up to date with `trials`."""
        measured = self.measured(goal, trials)
        rows = [t.row for t in measured]
        self._measured_rows = set(rows)
        if not self._labels_known:
            self.viability = self._fit_viability(trials, [t.row for t in trials if isinstance(t.outcome, Measured)])
            self._labels_known = True
        codes: IntArray | None = None
        for metric in self.modelled(goal):
            if metric in self._up_to_date:
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
            self._up_to_date.add(metric)

    def _fit_viability(self, trials: Sequence[Trial], measured_rows: list[int]) -> GaussianProcess | None:
        ran = set(measured_rows)
        failed = {t.row for t in trials if isinstance(t.outcome, Failed) and t.outcome.kind != "transient"} - ran
        if not failed:
            return None
        rows = np.array([*ran, *failed], dtype=np.int64)
        rows.sort()
        self._labels = rows, np.isin(rows, list(ran))
        return viability_model(self.geometry, self.space.codes(rows), self._labels[1], self.viability)

    # -- the goal in the models' terms --------------------------------------------------------------------------------

    def modelled(self, goal: Goal) -> list[str]:
        """Metrics of the goal that need a model."""
        return [m for m in goal.metrics if not is_knob(self.space, m)]

    def measured(self, goal: Goal, trials: Sequence[Trial]) -> list[Trial]:
        """The trials that measured every metric of the goal that needs a model; one that was asked for another goal may lack some."""
        needed = set(self.modelled(goal))
        return [t for t in trials if isinstance(t.outcome, Measured) and needed <= t.outcome.metrics.keys()]

    def modelled_bounds(self, goal: Goal) -> list[Bound]:
        """The goal's bounds on modelled metrics."""
        return [bound for bound in goal.bounds if not is_knob(self.space, bound.metric)]

    def limits(self, goal: Goal, max_distance: float = math.inf) -> list[tuple[str, float, float]]:
        """The bounds on modelled metrics for rows not measured: metric, sign (1: at least, -1: at most), and limit in the model's units.

        Those units are standard deviations of the readings from their mean; a limit beyond `max_distance` is taken to lie there.
        """
        out = []
        for bound in self.modelled_bounds(goal):
            model, sign = self.models[bound.metric], 1.0 if bound.sense == ">=" else -1.0
            limit = model.transform.forward_limit(self.corrected_limit(bound))
            out.append((bound.metric, sign, min(max(limit, -MAX_LIMIT, -max_distance), MAX_LIMIT, max_distance)))
        return out

    def corrected_limit(self, bound: Bound) -> float:
        """A bound's limit for rows not measured: relaxed where the metric is discrete."""
        return bound.limit - (1.0 if bound.sense == ">=" else -1.0) * self._continuity_correction(bound)

    def _continuity_correction(self, bound: Bound) -> float:
        """By how much, in the metric's unit, a bound is relaxed for the continuous model of a discrete metric; 0 for most metrics.

        Where several readings without noise lie exactly at the limit, the metric is discrete or saturates there, and half of a continuous
        model's probability at such rows would be on the wrong side. The next value on that side is taken to be as far away as the two
        readings that are nearest to each other, and the limit is moved half way towards it.
        """
        model = self.models[bound.metric]
        if np.count_nonzero((model.values == bound.limit) & (model.known_noise == 0.0)) < MIN_AT_LIMIT:
            return 0.0
        distinct = np.unique(model.values)
        return 0.5 * float(np.diff(distinct).min()) if distinct.size > 1 else 0.0

    def objective_at(self, goal: Goal, rows: IntArray) -> FloatArray:
        """Expected objective, to be minimised, of a noise-free run at rows (m,), (m,); the hyperparameters are integrated out."""
        if is_knob(self.space, goal.objective):
            return goal.sign * knob_values(self.space, goal.objective, rows)
        mixture = self.models[goal.objective].integrated()
        return goal.sign * (mixture.weights @ mixture.predict(self.space.codes(rows))[0])

    def log_feasible(self, goal: Goal, rows: IntArray) -> FloatArray:
        """Log of the probability that a noise-free run meets all bounds on modelled metrics at rows (m,), (m,); failures are apart.

        The hyperparameters are integrated out.
        """
        codes, total = self.space.codes(rows), np.zeros(rows.size)
        for metric, sign, limit in self.limits(goal):
            total += np.log(np.maximum(self.models[metric].integrated().probability(codes, sign, limit), TINY))
        return total

    def noise_free_estimates(self, goal: Goal) -> NoiseFreeEstimates:
        """Estimate what the measured rows would read without noise (`MetricModel.noise_free_estimates`)."""
        metrics = {m: self.models[m].noise_free_estimates() for m in self.modelled(goal)}
        rows = next(iter(self.models[m].rows for m in metrics)) if metrics else np.array(sorted(self._measured_rows), dtype=np.int64)
        if goal.objective in metrics:
            mean, variance = metrics[goal.objective]
        else:
            mean, variance = knob_values(self.space, goal.objective, rows), np.zeros(rows.size)
        return NoiseFreeEstimates(rows, goal.sign * mean, variance, metrics)

    def log_feasible_measured(self, goal: Goal, estimates: NoiseFreeEstimates) -> FloatArray:
        """Log of the probability that the measured rows meet all bounds on modelled metrics without noise, (n,)."""
        total = np.zeros(estimates.rows.size)
        for margin, sd in self.margins_measured(goal, estimates):
            total += _log_p_met(margin, sd)
        return total

    def margins_measured(self, goal: Goal, estimates: NoiseFreeEstimates) -> list[tuple[FloatArray, FloatArray]]:
        """By how much the measured rows meet each bound on a modelled metric, (n,), and that margin's standard deviation, (n,).

        In the models' units and in the order of `limits`; negative where the bound is missed. Readings without noise are compared with the
        bound itself, in the metric's own unit (see `exactly_met`): the margin is then inf, or `MISSED` at least on the wrong side.
        """
        out = []
        for bound in self.modelled_bounds(goal):
            mean, variance = estimates.metrics[bound.metric]
            limit = min(max(self.models[bound.metric].transform.forward_limit(bound.limit), -MAX_LIMIT), MAX_LIMIT)
            margin = (1.0 if bound.sense == ">=" else -1.0) * (mean - limit)
            exact, met = self.exactly_met(bound)
            out.append((np.where(exact, np.where(met, np.inf, np.minimum(margin, -MISSED)), margin), np.sqrt(variance)))
        return out

    def exactly_met(self, bound: Bound) -> tuple[BoolArray, BoolArray]:
        """Which measured rows have readings without noise, (n,), and which readings meet a bound on a modelled metric, (n,).

        The readings are compared as they were told: transforming them and the limit could round them to different sides.
        """
        model = self.models[bound.metric]
        return model.known_noise == 0.0, np.asarray((model.values - bound.limit) * (1.0 if bound.sense == ">=" else -1.0) >= 0.0)

    def p_viable(self, row: int) -> float:
        """The probability that a run of this row does not fail."""
        if self.viability is None:
            return 1.0
        return _p_viable(self.viability, self.space.codes([row]))

    def p_viable_by_others(self, row: int) -> float:
        """The probability that a run of this row does not fail, by the runs of the other rows alone."""
        rows, ran = self._labels
        others = rows != row
        if not others.any():
            return 0.5
        return _p_viable(
            viability_model(self.geometry, self.space.codes(rows[others]), ran[others], self.viability, refit=False),
            self.space.codes([row]),
        )

    def is_measured(self, row: int) -> bool:
        """Whether a run of this row has ended well."""
        return row in self._measured_rows

    # -- for scoring --------------------------------------------------------------------------------------------------

    def incumbent(self, goal: Goal, margin_sd: float = 0.0) -> Incumbent:
        """The measured row to improve on: the one of lowest objective among those that meet every bound by `margin_sd` standard deviations.

        Rows are compared by what they would read without noise (`MetricModel.noise_free_estimates`), so that one lucky reading can't end
        the search. Where no row meets the goal it is the one of highest objective, so that cheap rows still score better than dear ones.
        """
        estimates = self.noise_free_estimates(goal)
        rows, objective, variance = estimates.rows, estimates.objective, estimates.variance
        meets = np.ones(rows.size, dtype=np.bool_)
        for margin, sd in self.margins_measured(goal, estimates):
            meets &= margin >= margin_sd * sd
        infeasible = infeasible_levels(self.space, goal)
        if infeasible.size:
            meets &= ~infeasible[self.geometry.level_starts[:-1] + self.space.codes(rows)].any(axis=1)
        if not meets.any():
            return Incumbent(float(objective.max()), False, int(rows[objective.argmax()]), math.inf, 0.0)
        order = np.argsort(np.where(meets, objective, np.inf), kind="stable")
        lead = float(objective[order[1]] - objective[order[0]]) if meets.sum() > 1 else math.inf
        return Incumbent(float(objective[order[0]]), True, int(rows[order[0]]), lead, float(variance[order[0]]))

    def reading_variance(self, goal: Goal, row: int) -> float:
        """Known variance of the noise in the mean of a measured row's readings of the objective, standardised; 0 where that is a knob."""
        if is_knob(self.space, goal.objective):
            return 0.0
        model = self.models[goal.objective]
        return float(model.known_noise[np.flatnonzero(model.rows == row)[0]])

    def for_scoring(self, goal: Goal, pending_rows: list[int], max_distance: float = math.inf) -> Scoring:
        """What the acquisition is computed from, given the rows of outstanding runs; `max_distance` as of `limits`.

        An outstanding run is taken to come out as predicted (the kriging believer of Ginsbourger et al. 2010).
        """
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
        bounds = [ModelBound(index(metric), sign, limit) for metric, sign, limit in self.limits(goal, max_distance)]
        viability = -1 if self.viability is None else len(processes)
        if self.viability is not None:
            bounds.append(ModelBound(len(processes), 1.0, -PRIOR_MEAN, PROBIT_VARIANCE))
            processes.append(self.viability)
            noise.append(0.0)
        if pending_rows:
            codes = self.space.codes(pending_rows)
            processes = [believing(gp, codes) for gp in processes]
        objective: int | list[int] = -1
        if goal.objective in first:
            objective = index(goal.objective)
            if goal.sign < 0:
                chosen = processes[first[goal.objective] : first[goal.objective] + count]
                objective = len(processes) if count == 1 else list(range(len(processes), len(processes) + count))
                processes += [negated(gp) for gp in chosen]
                noise += [gp.noise_variance for gp in chosen]
        return Scoring(processes, noise, bounds, objective, viability)


def believing(gp: GaussianProcess, codes: IntArray) -> GaussianProcess:
    """The posterior if the outcomes at codes (m, d) were what is predicted."""
    believer = copy.copy(gp)
    for code in codes:
        mean, _ = believer.predict(code[None, :])
        believer.extend(code, float(mean[0]), gp.noise_variance)
    return believer


def _log_p_met(margin: FloatArray, sd: FloatArray) -> FloatArray:
    """Log of the probability that normal margins (m,) of standard deviation sd (m,) are not negative, (m,)."""
    return np.array([log_ndtr(float(z)) for z in margin / np.maximum(sd, 1e-9)])


def _p_viable(viability: GaussianProcess, codes: IntArray) -> float:
    mean, variance = viability.predict(codes)
    return math.exp(log_ndtr(float((mean[0] + PRIOR_MEAN) / math.sqrt(variance[0] + PROBIT_VARIANCE))))


def negated(gp: GaussianProcess) -> GaussianProcess:
    """The posterior of the negative function."""
    out = copy.copy(gp)
    out.beta = -gp.beta
    return out


def _reading(outcome: Outcome | None, metric: str) -> Reading:
    assert isinstance(outcome, Measured)  # noqa: S101 - narrows the type; callers pass measured trials only
    return outcome.metrics[metric]
