"""When to measure the best configuration again instead of a new one: when resolving its noise is worth more than a new one promises."""

from __future__ import annotations

import math

from bayestuner.search.engine.measured import Incumbent

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
