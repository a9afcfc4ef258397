"""Samples of the regret: by how much the best row measured is worse than the best one there is, in joint samples of all models.

Wilson (2024), Stopping Bayesian optimization with probabilistic regret bounds. A sample of a metric is its noise-free value at every row:
the smooth function plus each row's own deviation from it (see `MetricModel`). At a measured row the sample agrees with its readings.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bayestuner.goal import Goal
from bayestuner.search.engine.knob_metrics import infeasible_levels, is_knob, knob_values
from bayestuner.search.engine.posterior import Posterior
from bayestuner.surrogate.covariance import FORMS
from bayestuner.surrogate.gp import GaussianProcess
from bayestuner.surrogate.metric import BURN_IN, THIN, MetricModel
from bayestuner.surrogate.sampling import joint_samples
from bayestuner.surrogate.viability import PRIOR_MEAN, PROBIT_VARIANCE

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

MAX_GRID = 1 << 15  # cells of a product grid that is sampled as a whole
MAX_GRID_LEVELS = 1024  # of a knob of such a grid: the covariance matrix of its levels is factored
MAX_LISTED = 2048  # listed rows that are all sampled, by their covariance matrix
N_THETA = 8  # samples of the hyperparameters
MAX_DEVIATION = 6.0  # standard deviations: no row's own deviation is taken to be larger


@dataclass(frozen=True, slots=True)
class MetricSamples:
    """Samples of one metric, in its model's units (of a knob, in its own). A first axis of 1 serves all samples.

    Attributes
    ----------
    smooth : ndarray, (count or 1, m)
        The smooth function at the m rows sampled.
    own_sd : ndarray, (count or 1, 1)
        Standard deviation of a row's own deviation from the smooth function.
    measured : ndarray, (count or 1, n)
        The noise-free value, own deviation included, at the n rows measured.
    """

    smooth: FloatArray
    own_sd: FloatArray
    measured: FloatArray


def samples_whole(posterior: Posterior) -> bool:
    """Whether every row of the space is sampled, instead of a random part."""
    space = posterior.space
    by_grid = math.prod(space.shape) <= MAX_GRID and max(space.shape) <= MAX_GRID_LEVELS
    return (by_grid and posterior.geometry.form == FORMS["product"]) or space.n_rows <= MAX_LISTED


Processes = Mapping[str, Sequence[GaussianProcess]]
"""Metric -> its processes, one for each sample of the hyperparameters; each draws an equal part of the joint samples."""


def integrated(posterior: Posterior, goal: Goal, reps: FloatArray, rng: np.random.Generator) -> Processes:
    """Processes for N_THETA samples of each metric's hyperparameters, or those of the posterior where it has samples.

    reps (n,) is the number of readings at each measured row.
    """
    if posterior.samples:
        return best_fit(posterior, goal)
    from bayestuner.surrogate.integrate import Evidence, condition_all, slice_samples

    out = {}
    for metric in posterior.modelled(goal):
        model = posterior.models[metric]
        evidence = Evidence(posterior.geometry, np.ascontiguousarray(model.gp.codes), model.y, reps, model.known_noise, model.priors)
        theta = slice_samples(evidence, model.gp.theta, N_THETA, rng, burn_in=BURN_IN, thin=THIN)
        out[metric] = condition_all(evidence, theta)
    return out


def best_fit(posterior: Posterior, goal: Goal) -> Processes:
    """The processes that the acquisition uses: by default one a metric, with the hyperparameters that fit best."""
    return {metric: posterior.models[metric].processes for metric in posterior.modelled(goal)}


def joint_bests(
    posterior: Posterior,
    goal: Goal,
    processes: Processes,
    measured: IntArray,
    rows: IntArray,
    candidates: BoolArray,
    count: int,
    rng: np.random.Generator,
) -> tuple[FloatArray, FloatArray]:
    """The objective of the incumbent and of the best row in each joint sample, (count,), (count,), to be minimised, in the model's units.

    Parameters
    ----------
    posterior : Posterior
        Up to date, with a feasible incumbent.
    goal : Goal
    processes : dict
        See `best_fit` and `integrated`.
    measured : ndarray of int, (n,)
        Rows measured, in the order of their first readings, as the models have them.
    rows : ndarray of int, (m,)
        Rows to sample, in rising order, the measured ones among them.
    candidates : ndarray of bool, (m,)
        Which of them may be better than the measured ones: not tried, not excluded.
    count : int
    rng : Generator

    Notes
    -----
    A row counts in a sample where it meets every bound and its run would not fail. The incumbent always counts.
    """
    measured_at = np.searchsorted(rows, measured)
    objective = _draw(posterior, processes, goal.objective, rows, measured_at, count, rng)
    value, found = goal.sign * objective.smooth, np.broadcast_to(goal.sign * objective.measured, (count, measured.size))
    incumbent: FloatArray = found[:, np.flatnonzero(measured == posterior.incumbent(goal).row)[0]]
    feasible = np.broadcast_to(_meets_knob_bounds(posterior, goal, measured), (count, measured.size)).copy()
    # a row's own deviation is drawn only where it could make the row the best, which is nearly nowhere
    possible = candidates & (value < incumbent[:, None] + MAX_DEVIATION * objective.own_sd)  # (count, m)
    bounds = []
    for (metric, sign, limit), bound in zip(posterior.limits(goal), posterior.modelled_bounds(goal), strict=True):
        samples = _draw(posterior, processes, metric, rows, measured_at, count, rng)
        margin = sign * (samples.smooth - limit)
        exact, met = posterior.exactly_met(bound)
        feasible &= np.where(exact, met, sign * (samples.measured - limit) >= 0.0)
        possible &= margin > -MAX_DEVIATION * samples.own_sd
        bounds.append((margin, samples.own_sd))
    if posterior.viability is not None and possible.any():
        possible &= _runs(posterior.viability, posterior, rows, count, rng)
    best: FloatArray = np.minimum(incumbent, np.where(feasible, found, np.inf).min(axis=1))
    sample, row = np.nonzero(possible)
    own = value[sample % value.shape[0], row] + _deviations(objective.own_sd, sample, rng)
    for margin, own_sd in bounds:
        own[margin[sample, row] + _deviations(own_sd, sample, rng) < 0.0] = np.inf
    np.minimum.at(best, sample, own)
    return incumbent, best


def _deviations(own_sd: FloatArray, sample: IntArray, rng: np.random.Generator) -> FloatArray:
    deviations: FloatArray = rng.standard_normal(sample.size) * own_sd[sample % own_sd.shape[0], 0]
    return deviations


def _draw(
    posterior: Posterior, processes: Processes, metric: str, rows: IntArray, measured_at: IntArray, count: int, rng: np.random.Generator
) -> MetricSamples:
    if is_knob(posterior.space, metric):
        values = knob_values(posterior.space, metric, rows)[None, :]
        return MetricSamples(values, np.zeros((1, 1)), values[:, measured_at])
    model = posterior.models[metric]
    sizes = [len(part) for part in np.array_split(np.arange(count), len(processes[metric]))]
    smooth, own_sd, measured = [], [], []
    for gp, size in zip(processes[metric], sizes, strict=True):
        if size:
            smooth.append(_sample(gp, posterior, rows, size, rng))
            own_sd.append(np.full((size, 1), math.sqrt(gp.noise_variance)))
            measured.append(_at_measured(model, gp, smooth[-1][:, measured_at], rng))
    return MetricSamples(_joined(smooth), _joined(own_sd), _joined(measured))


def _at_measured(model: MetricModel, gp: GaussianProcess, smooth: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Values (s, n) of measured rows, given samples of the smooth function there and the readings.

    Samples of what `MetricModel.noise_free_estimates` gives mean and variance of.
    """
    own = gp.noise_variance
    weight = own / (own + model.known_noise)
    return np.asarray(smooth + weight * (model.y - smooth) + np.sqrt(weight * model.known_noise) * rng.standard_normal(smooth.shape))


def _runs(viability: GaussianProcess, posterior: Posterior, rows: IntArray, count: int, rng: np.random.Generator) -> BoolArray:
    """Which rows' runs would not fail in each sample, (count, m): over many samples as often as each row's probability says."""
    draws = _sample(viability, posterior, rows, count, rng)
    return np.asarray(draws + math.sqrt(PROBIT_VARIANCE) * rng.standard_normal((count, 1)) > -PRIOR_MEAN)


def _sample(gp: GaussianProcess, posterior: Posterior, rows: IntArray, count: int, rng: np.random.Generator) -> FloatArray:
    space = posterior.space
    samples: FloatArray = joint_samples(gp, space, count, rng, None if rows.size == space.n_rows else rows)
    return samples


def _meets_knob_bounds(posterior: Posterior, goal: Goal, rows: IntArray) -> BoolArray:
    infeasible = infeasible_levels(posterior.space, goal)
    if not infeasible.size:
        return np.ones(rows.size, dtype=np.bool_)
    return np.asarray(~infeasible[posterior.geometry.level_starts[:-1] + posterior.space.codes(rows)].any(axis=1))


def _joined(parts: list[FloatArray]) -> FloatArray:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
