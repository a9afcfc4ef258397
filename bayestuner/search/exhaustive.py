"""Exhaustive search: every allowed configuration in row order (paper, section 3.1)."""

from __future__ import annotations

from bayestuner.search.strategy import Strategy


class ExhaustiveSearch(Strategy):
    """Runs the whole grid from its first row to its last."""

    name = "exhaustive"

    def _choose(self) -> int:
        return next(row for row in range(self.space.n_rows) if self.space.is_allowed(row) and row not in self._taken)
