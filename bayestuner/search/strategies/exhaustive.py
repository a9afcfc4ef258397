"""Exhaustive search: every allowed configuration in row order (paper, section 3.1)."""

from __future__ import annotations

from bayestuner.goal import Goal
from bayestuner.search.strategy import Strategy
from bayestuner.space import Space


class ExhaustiveSearch(Strategy):
    """Runs the whole grid from its first row to its last."""

    name = "exhaustive"

    def __init__(self, space: Space, goal: Goal, *, seed: int = 0) -> None:
        super().__init__(space, goal, seed=seed)
        self._next_row = 0  # no row before it is free

    def _choose(self) -> int:
        while self._next_row in self._taken or not self.space.is_allowed(self._next_row):
            self._next_row += 1
        return self._next_row

    def _release(self, row: int) -> None:
        super()._release(row)
        self._next_row = min(self._next_row, row)
