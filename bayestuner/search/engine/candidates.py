"""Which rows may be asked: not taken, not ruled out by a hint, not outside a bound on a knob."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from bayestuner.goal import Goal
from bayestuner.search.engine.hints import Hints
from bayestuner.search.engine.knob_metrics import closed_levels
from bayestuner.search.engine.packed import Skip
from bayestuner.space import Space

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


class FreeRows:
    """The rows of a space that may be asked, described without an array over them.

    Parameters
    ----------
    space : Space
    goal : Goal
    starts : ndarray of int, (d + 1,)
        Of the space's `Geometry`.
    """

    def __init__(self, space: Space, goal: Goal, starts: IntArray) -> None:
        self.space = space
        self.starts = starts
        self.hints = Hints(space)
        self._boxes = self.hints.boxes()
        self._closed = closed_levels(space, goal)

    def retarget(self, goal: Goal) -> None:
        """Take the bounds of a new goal."""
        self._closed = closed_levels(self.space, goal)

    def failed(self, row: int) -> None:
        """Note a failure that would happen again."""
        self.hints.failed(row)
        self._boxes = self.hints.boxes()

    def ran(self, row: int) -> None:
        """Note a run that ended well; a hint it contradicts is dropped."""
        if self.hints.ran(row):
            self._boxes = self.hints.boxes()

    def outside_bounds(self, rows: IntArray) -> BoolArray:
        """Which rows (m,) break a bound on a knob, (m,)."""
        if not self._closed.size:
            return np.zeros(rows.size, dtype=np.bool_)
        return np.asarray(self._closed[self.starts[:-1] + self.space.codes(rows)].any(axis=1))

    def skips(self, taken: Iterable[int]) -> Iterator[Skip]:
        """What to leave out, in the order to be tried: a bound on a knob, then a hint, gives way where it leaves nothing to ask."""
        rows = np.array(sorted(taken), dtype=np.int64)
        none = np.empty(0, dtype=np.bool_)
        yield Skip(taken=rows, boxes=self._boxes, closed=self._closed, allowed=self.space.allowed)
        if self._closed.size:
            yield Skip(taken=rows, boxes=self._boxes, closed=none, allowed=self.space.allowed)
        if self._boxes.size:
            yield Skip(taken=rows, boxes=np.empty((0, len(self.space.shape), 2), dtype=np.int64), closed=none, allowed=self.space.allowed)
