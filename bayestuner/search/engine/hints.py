"""Hints: what the user knows of failures, so that one failure rules out many rows.

Where more of a knob is known to be safer or riskier (`more_is`), a failure rules out every row that is at least as risky, and the same in
all other knobs. Where knobs are known to be hungry for what another one limits (`hungry_for`), an out-of-memory kill rules out every row
with no more of the limit and no less hunger, whatever its other knobs.

A run that ends well at a row that was ruled out contradicts a hint, which is then dropped: first that nothing but hunger matters, then,
where that does not explain it, `more_is` for the knobs in which the two rows differ. A failure may also have been a fluke. While no other
failure confirms it, the row that failed may be run once more (`Hints.doubtful`); if that run ends well, the failure no longer counts.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bayestuner.space import Space

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


class Hints:
    """The hints of a space, and the failures seen so far.

    Attributes
    ----------
    direction : ndarray of int, (d,)
        Which way of each knob is riskier, by `more_is`: -1 down, 1 up, 0 no hint (or one that was dropped).
    hunger : dict
        Limiting knob -> which way of each knob is hungrier for it or grants less of it, (d,), as in `direction`.
    dropped : list of str
        Knobs whose hint was contradicted.
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        self.direction = np.array([{"safer": -1, "riskier": 1, None: 0}[k.more_is] for k in space.knobs])
        self.hunger: dict[str, IntArray] = {}
        for knob in space.knobs:
            if knob.hungry_for is not None:
                ways = self.hunger.setdefault(knob.hungry_for, np.zeros(len(space.knobs), dtype=np.int64))
                ways[space.names.index(knob.hungry_for)] = -1
                ways[space.names.index(knob.name)] = 1
        self.dropped: list[str] = []
        self._failures: dict[int, int] = {}  # row -> how often it failed
        self._limits: dict[int, str] = {}  # row that failed -> the knob that limited it, where that is known

    @property
    def active(self) -> bool:
        """Whether a hint is left."""
        return bool(self.direction.any()) or bool(self.hunger)

    def failed(self, row: int, limit: str = "") -> None:
        """Record a failure that is expected to happen again at this row, such as a kill for memory; `limit` is the knob that limited it."""
        self._failures[row] = self._failures.get(row, 0) + 1
        self._limits[row] = limit

    def ran(self, row: int) -> list[str]:
        """Record a run that ended well; return the knobs whose hint it contradicts, which are dropped."""
        if not self.active:
            return []
        self._failures.pop(row, None)
        code = self._space.codes([row])[0]
        contradicted: list[str] = []
        for failure in list(self._failures):
            if _inside(code[None, :], self.box(failure))[0]:
                for knob in self._limiting(failure):
                    del self.hunger[knob]
                    contradicted.append(knob)
            if _inside(code[None, :], self.box(failure))[0]:
                knobs = np.flatnonzero((self.direction != 0) & (code != self._space.codes([failure])[0]))
                contradicted += [self._space.knobs[d].name for d in knobs]
                self.direction[knobs] = 0
        self.dropped += contradicted
        return contradicted

    def box(self, row: int) -> IntArray:
        """Lowest and highest code of each knob, both inclusive, (d, 2), of the rows that a failure at this row rules out."""
        code, last = self._space.codes([row])[0], np.array(self._space.shape) - 1
        limiting = self._limiting(row)
        if not limiting:
            ways = self.direction
            return np.stack([np.where(ways < 0, 0, code), np.where(ways > 0, last, code)], axis=-1)
        ways = np.array([self.hunger[knob] for knob in limiting])
        # of several limits, one of which the failure hit: rows that have no more of any, and no less hunger for each
        low, high = np.where((ways > 0).any(axis=0), code, 0), np.where((ways < 0).any(axis=0), code, last)
        return np.stack([low, high], axis=-1)

    def boxes(self) -> IntArray:
        """The boxes of rows that are ruled out, (b, d, 2)."""
        if not self.active or not self._failures:
            return np.empty((0, len(self._space.shape), 2), dtype=np.int64)
        boxes = np.unique(np.array([self.box(row) for row in self._failures]), axis=0)
        return np.ascontiguousarray(boxes, dtype=np.int64)

    def doubtful(self) -> list[int]:
        """Rows that failed only once, where no other failure rules them out or is ruled out by theirs."""
        if not self.active or not self._failures:
            return []
        rows, counts = list(self._failures), np.array(list(self._failures.values()))
        codes = self._space.codes(rows)
        related = np.array([_inside(codes, self.box(row)) for row in rows])  # (k, k): does a failure rule another one out
        return [row for row, n in zip(rows, (related | related.T) @ counts, strict=True) if n == 1]

    def _limiting(self, row: int) -> list[str]:
        """The limits that a failure may have hit and that are still believed to explain it."""
        limit = self._limits[row]
        return [limit] if limit in self.hunger else [] if limit else list(self.hunger)


def _inside(codes: IntArray, box: IntArray) -> BoolArray:
    """Which codes (m, d) are inside a box (d, 2), (m,)."""
    return np.asarray(((codes >= box[:, 0]) & (codes <= box[:, 1])).all(axis=1))
