"""How far the best row measured may be from the best one there is: the regret in joint samples of all models.

Wilson (2024), Stopping Bayesian optimization with probabilistic regret bounds. Metrics are drawn as what they are without a reading's
noise: the smooth function and each row's own deviation from it (see `MetricModel`). A row that was measured keeps what its readings
say of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bayestuner.goal import Goal
from bayestuner.search.engine.knob_metrics import closed_levels, is_known, knob_values
from bayestuner.search.engine.posterior import Posterior
from bayestuner.surrogate.covariance import FORMS
from bayestuner.surrogate.gp import GaussianProcess
from bayestuner.surrogate.metric import BURN_IN, THIN, MetricModel
from bayestuner.surrogate.sampling import joint_samples
from bayestuner.surrogate.viability import EXTRA, PRIOR

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

MAX_GRID = 1 << 15  # cells of a product grid that is sampled as a whole
MAX_LISTED = 2048  # rows that are sampled by their covariance
N_THETA = 8  # samples of the hyperparameters
FAR = 6.0  # a row's own deviation is within so many standard deviations


@dataclass(frozen=True, slots=True)
class Draws:
    """Samples of one metric, in its model's units (a known one in its own).

    Attributes
    ----------
    smooth : ndarray, (count or 1, m)
        The smooth function at the rows sampled.
    own_sd : ndarray, (count or 1, 1)
        Standard deviation of a row's own deviation from it.
    measured : ndarray, (count or 1, n)
        The whole value at the rows measured.
    """

    smooth: FloatArray
    own_sd: FloatArray
    measured: FloatArray


def samples_whole(posterior: Posterior) -> bool:
    """Whether every row is looked at, or only a sample of them."""
    space = posterior.space
    by_grid = math.prod(space.shape) <= MAX_GRID and posterior.geometry.form == FORMS["product"]
    return by_grid or space.n_rows <= MAX_LISTED


Processes = Mapping[str, Sequence[GaussianProcess]]
"""Metric -> its processes, each for a sample of the hyperparameters; the joint samples are shared out among them."""


def integrated(posterior: Posterior, goal: Goal, reps: FloatArray, rng: np.random.Generator) -> Processes:
    """Processes for N_THETA samples of each metric's hyperparameters (those of the posterior, where it has any); reps (n,) are readings."""
    if posterior.samples:
        return best_fit(posterior, goal)
    from bayestuner.surrogate.integrate import Evidence, condition_all, slice_samples

    out = {}
    for metric in posterior.modelled(goal):
        model = posterior.models[metric]
        evidence = Evidence(posterior.geometry, np.ascontiguousarray(model.gp.codes), model.y, reps, model.known, model.priors)
        theta = slice_samples(evidence, model.gp.theta, N_THETA, rng, burn_in=BURN_IN, thin=THIN)
        out[metric] = condition_all(evidence, theta)
    return out


def best_fit(posterior: Posterior, goal: Goal) -> Processes:
    """The processes that the posterior itself has."""
    return {metric: posterior.models[metric].processes for metric in posterior.modelled(goal)}


def joint_bests(
    posterior: Posterior,
    goal: Goal,
    processes: Processes,
    measured: IntArray,
    rows: IntArray,
    open_rows: BoolArray,
    count: int,
    rng: np.random.Generator,
) -> tuple[FloatArray, FloatArray]:
    """The objectives of the incumbent and of the best row in each joint sample, (count,), (count,): the model's, to be minimised.

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
    open_rows : ndarray of bool, (m,)
        Which of them compete beside the measured ones: not tried, not ruled out.
    count : int
    rng : Generator

    Notes
    -----
    A row competes in a sample where it meets every bound and would run. The incumbent always does.
    """
    at = np.searchsorted(rows, measured)
    objective = _draw(posterior, processes, goal.objective, rows, at, count, rng)
    value, found = goal.sign * objective.smooth, np.broadcast_to(goal.sign * objective.measured, (count, measured.size))
    incumbent: FloatArray = found[:, np.flatnonzero(measured == posterior.incumbent(goal).row)[0]]
    competes = np.broadcast_to(_meets_known_bounds(posterior, goal, measured), (count, measured.size)).copy()
    # a row's own deviation is drawn only where it can make a difference, which is nearly nowhere
    possible = open_rows & (value < incumbent[:, None] + FAR * objective.own_sd)  # (count, m)
    bounds = []
    for metric, sign, limit in posterior.limits(goal):
        draws = _draw(posterior, processes, metric, rows, at, count, rng)
        margin = sign * (draws.smooth - limit)
        competes &= sign * (draws.measured - limit) >= 0.0
        possible &= margin > -FAR * draws.own_sd
        bounds.append((margin, draws.own_sd))
    if posterior.viability is not None and possible.any():
        possible &= _runs(posterior.viability, posterior, rows, count, rng)
    best: FloatArray = np.minimum(incumbent, np.where(competes, found, np.inf).min(axis=1))
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
    posterior: Posterior, processes: Processes, metric: str, rows: IntArray, at: IntArray, count: int, rng: np.random.Generator
) -> Draws:
    if is_known(posterior.space, metric):
        values = knob_values(posterior.space, metric, rows)[None, :]
        return Draws(values, np.zeros((1, 1)), values[:, at])
    model = posterior.models[metric]
    sizes = [len(part) for part in np.array_split(np.arange(count), len(processes[metric]))]
    smooth, own_sd, measured = [], [], []
    for gp, size in zip(processes[metric], sizes, strict=True):
        if size:
            smooth.append(_sample(gp, posterior, rows, size, rng))
            own_sd.append(np.full((size, 1), math.sqrt(gp.noise_variance)))
            measured.append(_at_measured(model, gp, smooth[-1][:, at], rng))
    return Draws(_joined(smooth), _joined(own_sd), _joined(measured))


def _at_measured(model: MetricModel, gp: GaussianProcess, smooth: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Values (s, n) of measured rows, given samples of the smooth function there and the readings (as `MetricModel.at_measured`)."""
    own = gp.noise_variance
    weight = own / (own + model.known)
    return np.asarray(smooth + weight * (model.y - smooth) + np.sqrt(weight * model.known) * rng.standard_normal(smooth.shape))


def _runs(viability: GaussianProcess, posterior: Posterior, rows: IntArray, count: int, rng: np.random.Generator) -> BoolArray:
    """Which rows would run in each sample, (count, m): in the long run each row as often as its probability says."""
    draws = _sample(viability, posterior, rows, count, rng)
    return np.asarray(draws + math.sqrt(EXTRA) * rng.standard_normal((count, 1)) > -PRIOR)


def _sample(gp: GaussianProcess, posterior: Posterior, rows: IntArray, count: int, rng: np.random.Generator) -> FloatArray:
    space = posterior.space
    samples: FloatArray = joint_samples(gp, space, count, rng, None if rows.size == space.n_rows else rows)
    return samples


def _meets_known_bounds(posterior: Posterior, goal: Goal, rows: IntArray) -> BoolArray:
    closed = closed_levels(posterior.space, goal)
    if not closed.size:
        return np.ones(rows.size, dtype=np.bool_)
    return np.asarray(~closed[posterior.geometry.starts[:-1] + posterior.space.codes(rows)].any(axis=1))


def _joined(parts: list[FloatArray]) -> FloatArray:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
