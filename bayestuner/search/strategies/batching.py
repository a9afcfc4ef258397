"""What strategies for the batch size alone share: every other knob stays where the job has the most (all cores, all memory)."""

from __future__ import annotations

import numpy as np

from bayestuner.errors import InvalidSpace, SpaceExhausted
from bayestuner.goal import Goal
from bayestuner.search.strategy import Strategy
from bayestuner.space import Categorical, Space

BATCH_KNOB = "batch_size"


class BatchStrategy(Strategy):
    """Base of strategies that set the batch size only.

    Parameters
    ----------
    space, goal, seed
        As for every strategy; the seed changes nothing.
    knob : str
        The knob that is the batch size.

    Attributes
    ----------
    ladder : list of int
        Rows by rising batch size, the other knobs at their highest levels (a category at its first). Where the space lists its rows, those
        of the group that is highest on the whole.

    Raises
    ------
    InvalidSpace
        Where the space has no such ordered knob.
    """

    def __init__(self, space: Space, goal: Goal, *, seed: int = 0, knob: str = BATCH_KNOB) -> None:
        super().__init__(space, goal, seed=seed)
        if knob not in space.numeric_names:
            raise InvalidSpace(
                f"{self.name} sets the numeric knob {knob!r}, but the space has {', '.join(space.names)}; name it with knob="
            )
        self.knob = knob
        self._place = space.names.index(knob)
        self.ladder = self._highest_group()
        self._untried = list(self.ladder)

    def _value(self, row: int) -> float:
        """The batch size of a row."""
        return float(self.space.knobs[self._place].values[int(self.space.codes([row])[0, self._place])])

    def _next(self) -> tuple[int, bool]:
        self._untried = [row for row in self.ladder if row not in self._taken]
        if not self._untried or self._done():
            raise SpaceExhausted(
                f"{self.name} has ended: {len(self.ladder) - len(self._untried)} of {len(self.ladder)} batch sizes were run"
            )
        return self._choose(), False

    def _done(self) -> bool:
        """True where the search has come to its end before all batch sizes are tried."""
        return False

    def _highest_group(self) -> list[int]:
        rows = np.arange(self.space.n_rows) if self.space.allowed is None else np.flatnonzero(self.space.allowed)
        codes = self.space.codes(rows)
        rank = np.zeros(rows.size)
        for d, knob in enumerate(self.space.knobs):
            if d != self._place:
                share = codes[:, d] / max(len(knob) - 1, 1)
                rank += -share if isinstance(knob, Categorical) else share
        top = rows[rank >= rank.max() - 1e-9]
        others = np.delete(self.space.codes(top), self._place, axis=1)
        top = top[(others == others[0]).all(axis=1)]
        return [int(row) for row in top[np.argsort(self.space.codes(top)[:, self._place])]]
