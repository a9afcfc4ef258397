"""Random search: every allowed configuration with the same chance, none twice."""

from __future__ import annotations

import numpy as np

from bayestuner.goal import Goal
from bayestuner.search.strategy import Strategy
from bayestuner.space import Space


class RandomSearch(Strategy):
    """Draws configurations without replacement, uniformly."""

    name = "random"

    def __init__(self, space: Space, goal: Goal, *, seed: int = 0) -> None:
        super().__init__(space, goal, seed=seed)
        self._rng = np.random.default_rng(self.seed)

    def _choose(self) -> int:
        free = np.flatnonzero(~self._taken)
        return int(free[self._rng.integers(len(free))])
