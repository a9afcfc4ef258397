"""Monotone hints: where more of a knob is known to be safer (or riskier), one failure rules out every row that is at least as risky.

A run that ends well at a row that was ruled out contradicts the hint; the hint is then dropped for the knobs in which the two rows differ.
A failure may also have been a fluke. While no other failure confirms it, the row that failed may be run once more (`Hints.doubtful`); if
that run ends well, the failure no longer counts.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bayestuner.space import Space

IntArray = npt.NDArray[np.int64]


class Hints:
    """The hints of a space, and the failures seen so far.

    Attributes
    ----------
    direction : ndarray of int, (d,)
        Which way of each knob is riskier: -1 down, 1 up, 0 no hint (or one that was dropped).
    dropped : list of str
        Knobs whose hint was contradicted.
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        self.direction = np.array([{"safer": -1, "riskier": 1, None: 0}[k.more_is] for k in space.knobs])
        self.dropped: list[str] = []
        self._failures: dict[int, int] = {}  # row -> how often it failed

    @property
    def active(self) -> bool:
        """Whether a hint is left."""
        return bool(self.direction.any())

    def failed(self, row: int) -> None:
        """Record a failure that is expected to happen again at this row, such as a kill for memory."""
        self._failures[row] = self._failures.get(row, 0) + 1

    def ran(self, row: int) -> list[str]:
        """Record a run that ended well; return the knobs whose hint it contradicts, which are dropped."""
        if not self.active:
            return []
        self._failures.pop(row, None)
        code = self._space.codes([row])[0]
        contradicted: list[str] = []
        for failure in self._space.codes(list(self._failures)):
            if self._at_least_as_risky(code[None, :], failure)[0]:
                knobs = np.flatnonzero((self.direction != 0) & (code != failure))
                contradicted += [self._space.knobs[d].name for d in knobs]
                self.direction[knobs] = 0
        self.dropped += contradicted
        return contradicted

    def boxes(self) -> IntArray:
        """The boxes of rows that are ruled out, (b, d, 2): lowest and highest code of each knob, both inclusive."""
        if not self.active or not self._failures:
            return np.empty((0, len(self._space.shape), 2), dtype=np.int64)
        failures = np.unique(self._space.codes(list(self._failures)), axis=0)
        low = np.where(self.direction < 0, 0, failures)
        high = np.where(self.direction > 0, np.array(self._space.shape) - 1, failures)
        return np.ascontiguousarray(np.stack([low, high], axis=-1))

    def doubtful(self) -> list[int]:
        """Rows that failed only once, where no other failure rules them out or is ruled out by theirs."""
        if not self.active or not self._failures:
            return []
        rows, counts = list(self._failures), np.array(list(self._failures.values()))
        codes = self._space.codes(rows)
        related = np.array([self._at_least_as_risky(codes, code) for code in codes])  # (k, k): does a failure rule another one out
        return [row for row, n in zip(rows, (related | related.T) @ counts, strict=True) if n == 1]

    def _at_least_as_risky(self, codes: IntArray, failure: IntArray) -> npt.NDArray[np.bool_]:
        """Which codes (m, d) are at least as risky as the failure's (d,) in every hinted knob, and equal in all others, (m,)."""
        difference = (codes - failure) * np.where(self.direction == 0, 1, self.direction)
        return np.asarray(np.where(self.direction == 0, difference == 0, difference >= 0).all(axis=1))
