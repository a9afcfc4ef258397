"""CherryPick: Bayesian optimisation of cloud configurations, with an end of its own.

Alipourfard et al., "CherryPick: Adaptively Unearthing the Best Cloud Configurations for Big Data Analytics", NSDI 2017, section 3: a
Gaussian process prior with a Matern 5/2 covariance; the logarithm of the cost, so that noise in proportion to it is additive; expected
improvement times the chance that the time limit holds; three first points from a quasi-random sequence; an end when the expected
improvement falls below 10 % and at least six configurations have been observed.
"""

from __future__ import annotations

from dataclasses import replace

from bayestuner.errors import SpaceExhausted
from bayestuner.goal import Goal
from bayestuner.search.engine.stopping import ExpectedImprovement
from bayestuner.search.strategies.published import PublishedTuner
from bayestuner.space import Space
from bayestuner.surrogate.modelling import PLAIN

N_FIRST = 3
SHARE, AFTER = 0.10, 6


class CherryPick(PublishedTuner):
    """CherryPick's search: see `PublishedTuner` for what it takes from this project's engine.

    Parameters
    ----------
    space, goal, seed
        As for every strategy.
    share : float or None
        The expected improvement, as a share of the best, below which the search ends; None never ends it.

    Raises
    ------
    SpaceExhausted
        From `ask`, when the search has ended.
    """

    name = "cherry_pick"

    def __init__(self, space: Space, goal: Goal, *, seed: int = 0, share: float | None = SHARE) -> None:
        super().__init__(space, goal, seed=seed, n_first=N_FIRST, modelling=replace(PLAIN, power=0.0))
        self._rule = None if share is None else ExpectedImprovement(share, after=AFTER)

    def _next(self) -> tuple[int, bool]:
        reason = self._rule.reason(self) if self._rule is not None else None
        if reason is not None:
            raise SpaceExhausted(f"cherry_pick has ended: {reason}")
        return super()._next()
