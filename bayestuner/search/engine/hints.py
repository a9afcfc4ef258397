"""Monotone hints: where more of a knob is safer (or riskier), one failure rules out all that is at least as risky.

A hint that a result contradicts (a run that ends well inside a ruled-out box) is dropped for that knob, and said.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bayestuner.space import Space

IntArray = npt.NDArray[np.int64]


class Hints:
    """The hints of a space and the failures seen so far."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self.direction = np.array([{"safer": -1, "riskier": 1, None: 0}[k.more_is] for k in space.knobs])
        self.dropped: list[str] = []
        self._failed: list[IntArray] = []

    @property
    def active(self) -> bool:
        """True where a hint is left."""
        return bool(self.direction.any())

    def failed(self, row: int) -> None:
        """Note a failure that would happen again (out of memory, an error)."""
        self._failed.append(self._space.codes([row])[0])

    def ran(self, row: int) -> list[str]:
        """Note a run that ended well; return the knobs whose hint it contradicts, which are dropped."""
        if not self.active:
            return []
        code = self._space.codes([row])[0]
        wrong: list[str] = []
        for failure in self._failed:
            if self._inside(code[None, :], failure)[0]:
                at = np.flatnonzero((self.direction != 0) & (code != failure))
                wrong += [self._space.knobs[d].name for d in at]
                self.direction[at] = 0
        self.dropped += wrong
        return wrong

    def boxes(self) -> IntArray:
        """Lowest and highest code of each knob, inclusive, of each box of rows that are ruled out, (b, d, 2)."""
        if not self.active or not self._failed:
            return np.empty((0, len(self._space.shape), 2), dtype=np.int64)
        failures = np.unique(np.array(self._failed, dtype=np.int64), axis=0)
        low = np.where(self.direction < 0, 0, failures)
        high = np.where(self.direction > 0, np.array(self._space.shape) - 1, failures)
        return np.ascontiguousarray(np.stack([low, high], axis=-1))

    def _inside(self, codes: IntArray, failure: IntArray) -> npt.NDArray[np.bool_]:
        """At least as risky in every hinted knob, and the same in all others."""
        gap = (codes - failure) * np.where(self.direction == 0, 1, self.direction)
        return np.asarray(np.where(self.direction == 0, gap == 0, gap >= 0).all(axis=1))
