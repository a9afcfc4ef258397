"""Exhaustive search: every allowed configuration in row order (paper, section 3.1)."""

from __future__ import annotations

import numpy as np

from bayestuner.search.strategy import Strategy


class ExhaustiveSearch(Strategy):
    """Runs the whole grid from its first row to its last."""

    name = "exhaustive"

    def _choose(self) -> int:
        return int(np.argmin(self._taken))
