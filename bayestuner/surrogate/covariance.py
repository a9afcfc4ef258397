"""A space as the Gaussian process sees it: its knobs' levels as flat arrays, and the kind of covariance function."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bayestuner.space import Categorical, Knob, Space

# The same numbers stand in _core.covariance; repeated here so that describing a model does not import numba (a test compares them).
FAMILIES = {"matern52": 0, "matern32": 1, "rbf": 2}
FORMS = {"product": 0, "ard": 1}
FIXED, WARPED, CATEGORICAL = 0, 1, 2

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Geometry:
    """A space as arrays.

    Attributes
    ----------
    levels : ndarray, (sum of L,)
        Every knob's levels, one knob after the other: log(v / v_0) where the knob's scale is learnt (WARPED), with v_0 its lowest level;
        else the unit coordinate.
    level_starts : ndarray of int, (d + 1,)
        Where each knob's levels begin in `levels`; the last entry is their number.
    kinds : ndarray of int, (d,)
        FIXED, WARPED or CATEGORICAL.
    shape : ndarray of int, (d,)
        Number of levels of each knob.
    family, form : int
        See `FAMILIES`, `FORMS`.
    """

    levels: FloatArray
    level_starts: IntArray
    kinds: IntArray
    shape: IntArray
    family: int
    form: int

    @classmethod
    def of(cls, space: Space, *, family: str = "matern52", form: str = "product", warp: bool = True) -> Geometry:
        """Describe `space`; `warp` False keeps every knob's scale as it is."""
        kinds = np.array([kind_of(knob, warp) for knob in space.knobs], dtype=np.int64)
        parts = [levels_of(knob, kind) for knob, kind in zip(space.knobs, kinds, strict=True)]
        level_starts = np.concatenate([[0], np.cumsum([len(p) for p in parts])]).astype(np.int64)
        return cls(np.concatenate(parts), level_starts, kinds, np.array(space.shape, dtype=np.int64), FAMILIES[family], FORMS[form])

    @property
    def d(self) -> int:
        """Number of knobs."""
        return int(self.kinds.size)


def kind_of(knob: Knob, warp: bool) -> int:
    """FIXED, WARPED or CATEGORICAL."""
    if isinstance(knob, Categorical):
        return CATEGORICAL
    return WARPED if warp and len(knob) > 2 else FIXED


def levels_of(knob: Knob, kind: int) -> FloatArray:
    """A knob's levels (L,), as in `Geometry.levels`."""
    if kind != WARPED:
        return knob.coordinates()
    v = np.asarray(knob.values, dtype=np.float64) if knob.numeric else np.arange(1.0, len(knob) + 1.0)
    if v[0] <= 0.0:  # the warp needs positive levels: shift them so that the lowest lies one smallest step above zero
        v = v - v[0] + np.diff(v).min()
    logs: FloatArray = np.log(v / v[0])
    return logs
