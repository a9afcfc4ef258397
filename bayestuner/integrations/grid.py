"""A host's parameters as knobs of a finite grid, and a host's values as levels of them."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bayestuner.space import Categorical, Knob, Ordinal, Space
from bayestuner.trial import Config

CONTINUOUS_LEVELS = 201
"""Levels of a parameter that has no step of its own."""

MAX_LEVELS = 1001
"""A parameter with more steps than this is searched at so many of them, evenly spread over its own scale."""


@dataclass(frozen=True)
class Axis:
    """One parameter of a host.

    Attributes
    ----------
    name : str
        Any text; the knob gets a name of its own.
    values : tuple
        What the host is given: numbers in rising order, or choices of any type.
    ordered : bool
        True where `values` are numbers.
    """

    name: str
    values: tuple[Any, ...]
    ordered: bool

    def code(self, value: Any) -> int | None:
        """The level that is nearest to a host's value; None where it lies outside the range or is no choice."""
        if not self.ordered:
            return next((i for i, known in enumerate(self.values) if type(known) is type(value) and known == value), None)
        if not self.values[0] <= value <= self.values[-1]:
            return None
        right = bisect_left(self.values, value)
        if right and value - self.values[right - 1] < self.values[right] - value:
            return right - 1
        return right


def whole_numbers(name: str, low: int, high: int, step: int = 1, *, log: bool = False) -> Axis:
    """An axis of the whole numbers ``low, low + step, ..., <= high``, or of a spread-out part of them where they are many."""
    count = (high - low) // step + 1
    if count <= MAX_LEVELS:
        return Axis(name, tuple(range(low, low + count * step, step)), True)
    last = low + (count - 1) * step
    steps = {round((v - low) / step) for v in _spread(low, last, MAX_LEVELS, log)}
    return Axis(name, tuple(low + s * step for s in sorted(steps)), True)


def real_numbers(name: str, low: float, high: float, step: float | None = None, *, log: bool = False) -> Axis:
    """An axis of real numbers: in steps from `low` on, or `CONTINUOUS_LEVELS` of them, evenly spread (by ratio where `log`)."""
    if high <= low:
        return Axis(name, (low,), True)
    if step is None:
        return Axis(name, _spread(low, high, CONTINUOUS_LEVELS, log), True)
    count = math.floor((high - low) / step * (1 + 1e-12) + 1e-9) + 1
    steps = range(count) if count <= MAX_LEVELS else sorted({round(s) for s in _spread(0.0, count - 1.0, MAX_LEVELS, log=False)})
    return Axis(name, tuple(min(low + s * step, high) for s in steps), True)


def choices(name: str, values: Sequence[Any]) -> Axis:
    """An axis of choices without an order, of any type."""
    return Axis(name, tuple(values), False)


def _spread(low: float, high: float, count: int, log: bool) -> tuple[float, ...]:
    shares = [i / (count - 1) for i in range(count)]
    inner = [low * (high / low) ** s if log else low + (high - low) * s for s in shares[1:-1]]
    return tuple(sorted({low, *(v for v in inner if low < v < high), high}))


class Grid:
    """The space that a host's parameters span, and the way between a host's values and its configurations.

    Parameters
    ----------
    axes : sequence of Axis
    """

    def __init__(self, axes: Sequence[Axis]) -> None:
        self.axes = tuple(axes)
        self.space = Space(*(self._knob(number, axis) for number, axis in enumerate(self.axes)))

    @staticmethod
    def _knob(number: int, axis: Axis) -> Knob:
        # Choices may be of any type, and names any text: the engine sees their numbers.
        name = f"knob_{number}"
        return Ordinal(name, axis.values) if axis.ordered else Categorical(name, range(len(axis.values)))

    def values(self, config: Config) -> dict[str, Any]:
        """What the host is told: parameter name -> value."""
        found = zip(self.axes, config.values(), strict=True)
        return {axis.name: value if axis.ordered else axis.values[value] for axis, value in found}

    def config(self, values: Mapping[str, Any]) -> Config | None:
        """The configuration nearest to a host's values; None where a parameter is missing or its value lies outside this grid."""
        config: Config = {}
        for knob, axis in zip(self.space.knobs, self.axes, strict=True):
            code = axis.code(values[axis.name]) if axis.name in values else None
            if code is None:
                return None
            config[knob.name] = knob.values[code]
        return config
