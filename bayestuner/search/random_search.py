"""Random search: every allowed configuration with the same chance, none twice."""

from __future__ import annotations

import numpy as np

from bayestuner.goal import Goal
from bayestuner.search.strategy import Strategy
from bayestuner.space import Space

MAX_DRAWS = 1000  # where free rows are rarer than that, they are listed


class RandomSearch(Strategy):
    """Draws configurations without replacement, uniformly."""

    name = "random"

    def __init__(self, space: Space, goal: Goal, *, seed: int = 0) -> None:
        super().__init__(space, goal, seed=seed)
        self._rng = np.random.default_rng(self.seed)

    def _choose(self) -> int:
        for _ in range(MAX_DRAWS):
            row = int(self._rng.integers(self.space.n_rows))
            if self.space.is_allowed(row) and row not in self._taken:
                return row
        free = [row for row in range(self.space.n_rows) if self.space.is_allowed(row) and row not in self._taken]
        return free[int(self._rng.integers(len(free)))]
