"""The grids of several studies as one: the study is one more categorical knob, and levels are matched by value.

The new study's own grid stays what it is (knobs that have a single level in it come in front), so that the rows that are scored are the
same, and a knob's coordinate is scaled by the new study's range; levels of earlier studies may lie outside of it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from bayestuner.space import Categorical, Knob, Ordinal, Space
from bayestuner.surrogate.covariance import CATEGORICAL, WARPED, Geometry, kind_of, levels_of

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
Configs = Sequence[Mapping[str, Any]]
Earlier = Sequence[tuple[Space, Configs]]
"""Each earlier study's space, and those of its configurations that are used."""

LOWEST_SHARE = 0.01  # of the new study's lowest level: a lower one of an earlier study counts as this (the warp needs positive numbers)
ABSENT = object()  # stands for the value of a knob in a study that has no such knob


@dataclass(slots=True)
class _Axis:
    """One knob of the joint grid: its kind, its levels (as in `Geometry.levels`), and the code of each value."""

    name: str
    kind: int
    levels: list[float]
    codes: dict[Any, int]

    def add(self, key: Any, level: float) -> None:
        if key not in self.codes:
            self.codes[key] = len(self.levels)
            self.levels.append(level)

    def code(self, config: Mapping[str, Any]) -> int:
        return self.codes.get(_key(config[self.name]) if self.name in config else ABSENT, self.codes[ABSENT])


class JointGrid:
    """The grid of a new study joined with those of earlier ones.

    Parameters
    ----------
    space : Space
        Of the new study.
    geometry : Geometry
        Of that space.
    earlier : sequence of (Space, sequence of dict)

    Attributes
    ----------
    geometry : Geometry
        Of the joint grid. Its first knob is the study (level 0: the new one); then come knobs that only earlier studies have; then the
        new study's own, whose levels come before those that only earlier studies have.
    view : Space
        The new study's grid within the joint one: the same rows, with single-level knobs in front.
    n_front : int
        How many those are.
    """

    def __init__(self, space: Space, geometry: Geometry, earlier: Earlier) -> None:
        self._own = geometry
        axes = [_Axis("", CATEGORICAL, [float(t) for t in range(len(earlier) + 1)], {})]
        axes += [_foreign_axis(name, earlier) for name in _foreign_names(space, earlier)]
        self.n_front = len(axes)
        for a, knob in enumerate(space.knobs):
            levels = geometry.levels[geometry.level_starts[a] : geometry.level_starts[a + 1]]
            axes.append(_own_axis(knob, int(geometry.kinds[a]), levels, earlier))
        self._axes = axes
        self.geometry = replace(
            geometry,
            levels=np.array([level for axis in axes for level in axis.levels]),
            level_starts=np.concatenate([[0], np.cumsum([len(axis.levels) for axis in axes])]).astype(np.int64),
            kinds=np.array([axis.kind for axis in axes], dtype=np.int64),
            shape=np.array([len(axis.levels) for axis in axes], dtype=np.int64),
        )
        self.view = _with_front(space, self.n_front)

    def codes(self, own: IntArray) -> IntArray:
        """Joint codes (m, D) of codes (m, d) of the new study's grid."""
        return np.ascontiguousarray(np.pad(own, ((0, 0), (self.n_front, 0))))

    def codes_of_study(self, number: int, configs: Iterable[Mapping[str, Any]]) -> IntArray:
        """Joint codes (m, D) of configurations of earlier study `number`, counted from 0."""
        rows = [[number + 1, *(axis.code(config) for axis in self._axes[1:])] for config in configs]
        return np.array(rows, dtype=np.int64).reshape(-1, len(self._axes))

    def spread(self, own: npt.NDArray[Any], elsewhere: float) -> npt.NDArray[Any]:
        """Values (sum of L,) at the new study's levels as an array over all joint levels, with one value at the others."""
        out = np.full(self.geometry.levels.size, elsewhere, dtype=own.dtype)
        for a in range(self._own.d):
            first, last = self._own.level_starts[a], self._own.level_starts[a + 1]
            begin = self.geometry.level_starts[self.n_front + a]
            out[begin : begin + last - first] = own[first:last]
        return out

    def spread_theta(self, own: FloatArray) -> FloatArray:
        """Hyperparameters (2 d + 3,) of a process over the new study's grid as those of one over the joint grid that is the same.

        Its coordinates are spread with 1/2 elsewhere, where a linear trend is zero.
        """
        d, front = self._own.d, np.zeros(self.n_front)
        return np.concatenate([front, own[: d + 3], front, own[d + 3 :]])


def common_knobs(space: Space, other: Space) -> list[str]:
    """Names of the knobs of `space` whose levels can be compared with those of `other`."""
    return [knob.name for knob in space.knobs if _alike(knob, other)]


def _alike(knob: Knob, other: Space) -> bool:
    return any(theirs.name == knob.name and theirs.numeric == knob.numeric for theirs in other.knobs)


def _key(value: Any) -> Any:
    """Numbers are matched by value, all else by text."""
    return str(value) if isinstance(value, (str, bool, np.bool_)) else float(value)


def _own_axis(knob: Knob, kind: int, levels: FloatArray, earlier: Earlier) -> _Axis:
    axis = _Axis(knob.name, kind, [float(level) for level in levels], {_key(value): code for code, value in enumerate(knob.values)})
    scale = _scale(knob, kind) if knob.numeric else None
    middle = 0.5 * axis.levels[-1]
    for other, configs in earlier:
        if kind == CATEGORICAL or (scale is not None and _alike(knob, other)):
            for config in configs:
                if knob.name in config:
                    key = _key(config[knob.name])
                    axis.add(key, 0.0 if scale is None else scale(key))
    axis.add(ABSENT, middle)  # for a category the level is not looked at: it is one of its own
    if kind == WARPED:  # the warp reads the range off the last level
        axis.levels.append(float(levels[-1]))
    return axis


def _scale(knob: Knob, kind: int) -> Callable[[float], float]:
    """From a numeric knob's value to its level, within the knob's range and beyond."""
    v = np.asarray(knob.values, dtype=np.float64)
    if kind != WARPED:
        first, width = float(v[0]), float(v[-1] - v[0]) or abs(float(v[0])) or 1.0
        return lambda value: (value - first) / width
    shift = 0.0 if v[0] > 0.0 else float(np.diff(v).min() - v[0])  # as in `covariance.levels_of`
    base = float(v[0]) + shift
    return lambda value: float(np.log(max((value + shift) / base, LOWEST_SHARE)))


def _foreign_names(space: Space, earlier: Earlier) -> list[str]:
    """Knobs that only earlier studies have, and that varied there."""
    names = [knob.name for other, configs in earlier for knob in other.knobs if len({_key(c[knob.name]) for c in configs}) > 1]
    return [name for name in dict.fromkeys(names) if name not in space.names]


def _foreign_axis(name: str, earlier: Earlier) -> _Axis:
    """A knob that the new study lacks: there it has one level, in the middle of the known ones or a category of its own."""
    keys = [_key(config[name]) for other, configs in earlier if name in other.names for config in configs]
    if any(isinstance(key, str) for key in keys):
        axis = _Axis(name, CATEGORICAL, [0.0], {ABSENT: 0})
        for key in keys:
            axis.add(key, 0.0)
        return axis
    knob = Ordinal(name, sorted(set(keys)))
    kind = kind_of(knob, warp=True)
    levels = levels_of(knob, kind)
    axis = _Axis(name, kind, [0.5 * float(levels[-1])], {ABSENT: 0})
    for key, level in zip(knob.values, levels, strict=True):
        axis.add(key, float(level))
    return axis


def _with_front(space: Space, count: int) -> Space:
    """The same rows with `count` knobs of a single level in front."""
    names = [f"front{i}" + "_" * max(map(len, space.names)) for i in range(count)]  # longer than any knob's name
    knobs = (*(Categorical(name, [0]) for name in names), *space.knobs)
    if space.table is None:
        return Space(*knobs)
    view = copy.copy(space)
    view.knobs, view.shape = knobs, (*(count * [1]), *space.shape)
    view.table = np.ascontiguousarray(np.pad(space.table, ((0, 0), (count, 0))))
    return view
