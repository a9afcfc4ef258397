"""When to run a configuration once more that failed: when its failure may have been a fluke and rules out promising ones.

A hint lets one failure rule out every row that is at least as risky (`hints`). If that failure was a fluke, the optimum may be among them.
"""

from __future__ import annotations

import math
from typing import Any

from bayestuner.search.engine.acquisition import EXPECTED_IMPROVEMENT, Scorer
from bayestuner.search.engine.candidates import Candidates
from bayestuner.search.engine.packed import Packed
from bayestuner.search.engine.posterior import Posterior, Scoring

FLUKE_RATE = 0.01  # share of the runs of viable configurations that fail all the same
MIN_P_FLUKE = 0.05  # below, a failure is not doubted


def row_to_recheck(
    candidates: Candidates, posterior: Posterior, scorer: Scorer, packed: Packed, scoring: Scoring, log_gain: float, **options: Any
) -> int | None:
    """The failed row whose failure, times the probability that it was a fluke, rules out more gain than a new row promises, or None.

    Parameters
    ----------
    candidates : Candidates
    posterior : Posterior
    scorer : Scorer
    packed : Packed
        Of `scoring`.
    scoring : Scoring
    log_gain : float
        Log of the acquisition of the best new row.
    **options
        The objective, as for `Scorer.values`.
    """
    goal_bounds = [bound for bound in scoring.bounds if bound.model != scoring.viability]
    found, best = None, log_gain
    for row, codes in candidates.doubtful().items():
        promised = float(scorer.values(EXPECTED_IMPROVEMENT, packed, goal_bounds, codes, **options).max())
        if promised <= best:
            continue
        p_fluke = probability_of_fluke(posterior.p_viable_by_others(row))
        if p_fluke >= MIN_P_FLUKE and promised + math.log(p_fluke) > best:
            found, best = row, promised + math.log(p_fluke)
    return found


def probability_of_fluke(p_viable: float) -> float:
    """The probability that a row which failed once is viable, by Bayes' rule; `p_viable` is its probability before it failed."""
    return FLUKE_RATE * p_viable / (FLUKE_RATE * p_viable + 1.0 - p_viable)
