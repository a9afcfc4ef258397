"""What a noise-free run of one row is expected to read: for people, and for explanations."""

from __future__ import annotations

import math

import numpy as np

from bayestuner.goal import Goal
from bayestuner.search.engine.acquisition import log_ndtr
from bayestuner.search.engine.knob_metrics import is_knob, knob_values
from bayestuner.search.engine.posterior import Posterior
from bayestuner.search.strategy import Prediction
from bayestuner.surrogate.metric import MetricModel

TWO_SIDED_95 = 1.959963984540054
QUANTILES_95 = (0.025, 0.5, 0.975)


def predictions(posterior: Posterior, goal: Goal, row: int) -> dict[str, Prediction]:
    """Metric of the goal -> the middle and the ends of a 95 % interval of a noise-free run at a row.

    At a measured row by its own readings; elsewhere by the model with its hyperparameters integrated out.
    """
    out = {}
    for metric in goal.metrics:
        if is_knob(posterior.space, metric):
            out[metric] = _known(posterior, metric, row)
        elif posterior.is_measured(row):
            out[metric] = _noise_free_estimate(posterior.models[metric], row)
        else:
            model = posterior.models[metric]
            low, middle, high = model.integrated().quantiles(posterior.space.codes([row]), QUANTILES_95)
            out[metric] = Prediction(*(model.transform.backward(y) for y in (middle, low, high)))
    return out


def predictions_and_log_feasible(
    posterior: Posterior, goal: Goal, row: int, max_distance: float = math.inf
) -> tuple[dict[str, Prediction], float]:
    """Predictions of a noise-free run at a row, and the log of the probability that it meets all bounds on modelled metrics.

    By the hyperparameters that fit best, as the next row is chosen; `max_distance` as of `Posterior.limits`.
    """
    out, means_and_sds = {}, {}
    codes = posterior.space.codes([row])
    for metric in goal.metrics:
        if is_knob(posterior.space, metric):
            out[metric] = _known(posterior, metric, row)
            continue
        model = posterior.models[metric]
        means, variances = model.gp.predict(codes)
        mean, variance = float(means[0]), float(variances[0]) + model.gp.noise_variance
        means_and_sds[metric] = mean, math.sqrt(variance)
        out[metric] = _prediction(model, mean, variance)
    log_p = 0.0
    for metric, sign, limit in posterior.limits(goal, max_distance):
        mean, sd = means_and_sds[metric]
        log_p += log_ndtr(sign * (mean - limit) / max(sd, 1e-9))
    return out, log_p


def _known(posterior: Posterior, knob: str, row: int) -> Prediction:
    value = float(knob_values(posterior.space, knob, np.array([row]))[0])
    return Prediction(value, value, value)


def _noise_free_estimate(model: MetricModel, row: int) -> Prediction:
    """What a measured row would read without noise."""
    at = int(np.flatnonzero(model.rows == row)[0])
    if model.known_noise[at] == 0.0:  # its reading; transforming it there and back would round it
        reading = float(model.values[at])
        return Prediction(reading, reading, reading)
    mean, variance = model.noise_free_estimates()
    return _prediction(model, float(mean[at]), float(variance[at]))


def _prediction(model: MetricModel, mean: float, variance: float) -> Prediction:
    """Median and 95 % interval in the metric's own unit, from mean and variance in the model's."""
    std = math.sqrt(variance)
    low, middle, high = (model.transform.backward(mean + z * std) for z in (-TWO_SIDED_95, 0.0, TWO_SIDED_95))
    return Prediction(middle, low, high)
