"""Random search: every allowed configuration with the same chance, none twice."""

from __future__ import annotations

from collections.abc import Container

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
        return draw_free(self.space, self._taken, self._rng)


def draw_free(space: Space, taken: Container[int], rng: np.random.Generator) -> int:
    """An allowed row that is not taken, each with the same chance; there must be one."""
    for _ in range(MAX_DRAWS):
        row = int(rng.integers(space.n_rows))
        if space.is_allowed(row) and row not in taken:
            return row
    free = [row for row in range(space.n_rows) if space.is_allowed(row) and row not in taken]
    return free[int(rng.integers(len(free)))]
