"""When to measure the best configuration again instead of a new one: when resolving its noise is worth more than a new one promises."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from bayestuner.search.engine.measured import Incumbent

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

MIN_P_DOUBTFUL = 0.1  # a row less likely to meet the goal is not measured again to find out
MAX_READINGS = 4  # of one configuration during the search


def log_repeat_gain(incumbent: Incumbent, reading_variance: float) -> float:
    """Log of the expected gain from one more reading of the incumbent: it may turn out worse than the next best, which is then chosen.

    The knowledge gradient of two alternatives (Frazier, Powell and Dayanik 2009, eq. 4.11). With v the variance of the incumbent's value
    and r that of a reading, the next reading moves its mean by a normal variable of variance v^2 / (v + r).

    Parameters
    ----------
    incumbent : Incumbent
    reading_variance : float
        Variance r of the noise of one reading, standardised.
    """
    v = incumbent.variance
    if v <= 0.0 or math.isinf(incumbent.lead):
        return -math.inf
    step_sd = v / math.sqrt(v + reading_variance)
    u = -incumbent.lead / step_sd
    gain = step_sd * (math.exp(-0.5 * u * u) / math.sqrt(2.0 * math.pi) + u * 0.5 * math.erfc(-u / math.sqrt(2.0)))
    return math.log(gain) if gain > 0.0 else -math.inf


def row_to_measure_again(
    objective: FloatArray, log_feasible: FloatArray, readings: IntArray, best: float, power: int, log_gain_of_new: float
) -> int | None:
    """Position of the measured row, of an objective known without a run, that is worth more to be measured again than a new one, or None.

    A row that is better than the best one, but meets the goal only perhaps, gains its lead times the probability that it does.

    Parameters
    ----------
    objective, log_feasible : ndarray, (n,)
        Of the measured rows: the objective, to be minimised, and the log of the probability that the goal is met.
    readings : ndarray of int, (n,)
    best : float
        The objective to improve on.
    power : int
        How often the probabilities count.
    log_gain_of_new : float
        Log of what the best new row promises; -inf where there is none.
    """
    doubtful = (objective < best) & (log_feasible > math.log(MIN_P_DOUBTFUL)) & (readings < MAX_READINGS)
    if not doubtful.any():
        return None
    gain = np.where(doubtful, np.log(np.where(doubtful, best - objective, 1.0)) + power * log_feasible, -np.inf)
    at = int(gain.argmax())
    return at if gain[at] > log_gain_of_new else None
