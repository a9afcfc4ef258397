"""Which rows may be asked: those not taken, not ruled out by a monotone hint, and not outside a bound on a knob."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from bayestuner.goal import Goal
from bayestuner.search.engine.hints import Hints
from bayestuner.search.engine.knob_metrics import infeasible_levels, knob_objective
from bayestuner.search.engine.packed import Exclusions
from bayestuner.space import Space

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

NO_LEVELS = np.empty(0, dtype=np.bool_)
MAX_RULED_OUT = 256  # rows ruled out by one failure whose improvement is looked at


class Candidates:
    """The rows of a space that may be asked, described without an array over all rows.

    Parameters
    ----------
    space : Space
    goal : Goal
    level_starts : ndarray of int, (d + 1,)
        Of the space's `Geometry`.
    """

    def __init__(self, space: Space, goal: Goal, level_starts: IntArray) -> None:
        self.space = space
        self.level_starts = level_starts
        self.hints = Hints(space)
        self._boxes = self.hints.boxes()
        self._goal = goal
        self._infeasible_levels = infeasible_levels(space, goal)
        self._no_better = NO_LEVELS

    def retarget(self, goal: Goal) -> None:
        """Replace the bounds on knobs by those of a new goal."""
        self._goal = goal
        self._infeasible_levels = infeasible_levels(self.space, goal)
        self._no_better = NO_LEVELS

    def require_better(self, objective: float | None) -> None:
        """Exclude for good the rows whose known objective, to be minimised, is no better than this one; None excludes nothing.

        Parameters
        ----------
        objective : float, optional
            Of a row that surely meets the goal, whose objective is a knob.
        """
        known = knob_objective(self.space, self._goal)
        if known is None or objective is None:
            self._no_better = NO_LEVELS
            return
        self._no_better = np.zeros(self.level_starts[-1], dtype=np.bool_)
        self._no_better[self.level_starts[known.knob] :][: known.values.size] = known.values >= objective

    def failed(self, row: int, limit: str = "") -> None:
        """Record a failure that is expected to happen again at this row; `limit` is the knob that limited it, where that is known."""
        self.hints.failed(row, limit)
        self._boxes = self.hints.boxes()

    def ran(self, row: int) -> None:
        """Record a run that ended well; a hint that it contradicts is dropped."""
        if self.hints.ran(row):
            self._boxes = self.hints.boxes()

    def outside_bounds(self, rows: IntArray) -> BoolArray:
        """Which rows (m,) violate a bound on a knob, (m,)."""
        if not self._infeasible_levels.size:
            return np.zeros(rows.size, dtype=np.bool_)
        return np.asarray(self._infeasible_levels[self.level_starts[:-1] + self.space.codes(rows)].any(axis=1))

    def doubtful(self) -> dict[int, IntArray]:
        """Rows whose failure may have been a fluke -> codes (m, d) of the rows, itself included, that this failure rules out.

        Without those that break a bound on a knob or are forbidden, and at most `MAX_RULED_OUT` of them.
        """
        found = {}
        for row in self.hints.doubtful():
            codes = self._ruled_out_by(row)
            rows = [self.space.find(code) for code in codes]
            kept = np.array([r is not None and not self.outside_bounds(np.array([r]))[0] for r in rows], dtype=np.bool_)
            if kept.any():
                found[row] = codes[kept]
        return found

    def _ruled_out_by(self, row: int) -> IntArray:
        """Codes (m, d) within the box of a failed row, itself first: all where they are few, else listed ones or a sample."""
        own, box = self.space.codes([row]), self.hints.box(row)
        if self.space.table is not None:
            inside = np.flatnonzero(((self.space.table >= box[:, 0]) & (self.space.table <= box[:, 1])).all(axis=1))
            return np.concatenate([own, self.space.codes(inside[inside != row][: MAX_RULED_OUT - 1])])
        sizes = [int(high - low) + 1 for low, high in box]
        if math.prod(sizes) <= MAX_RULED_OUT:
            drawn = np.stack(np.unravel_index(np.arange(math.prod(sizes)), sizes), axis=1)
        else:
            drawn = np.random.default_rng([row]).integers(0, sizes, (MAX_RULED_OUT - 1, len(sizes)))
        codes = drawn + box[:, 0]
        return np.concatenate([own, codes[(codes != own).any(axis=1)]])

    def exclusions(self, taken: Iterable[int]) -> Iterator[Exclusions]:
        """What to leave out, strictest first.

        A caller goes on to the next one only where the one before leaves no row to ask: first the bounds on knobs give way, then the hints.
        """
        rows = np.array(sorted(taken), dtype=np.int64)
        no_boxes, worse, outside = np.empty((0, len(self.space.shape), 2), dtype=np.int64), self._no_better, self._infeasible_levels
        both = outside | worse if outside.size and worse.size else outside if outside.size else worse
        yield Exclusions(rows, self._boxes, both, self.space.allowed)
        if outside.size:
            yield Exclusions(rows, self._boxes, worse, self.space.allowed)
        if self._boxes.size:
            yield Exclusions(rows, no_boxes, worse, self.space.allowed)
