"""Means over repeated launches with Student's t intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

# 97.5 % points of Student's t for 1 to 30 degrees of freedom
_T_975 = (
    12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281,
    2.2010, 2.1788, 2.1604, 2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860,
    2.0796, 2.0739, 2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484, 2.0452, 2.0423,
)  # fmt: skip
_Z_975 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Figure:
    """A mean over launches and its 95 % interval; `low` and `high` are None where one launch gives no interval."""

    mean: float
    low: float | None
    high: float | None
    n: int

    @property
    def half_width(self) -> float | None:
        """Half the interval's width."""
        return None if self.high is None else self.high - self.mean

    def as_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return asdict(self)


def t_975(degrees_of_freedom: int) -> float:
    """97.5 % point of Student's t distribution."""
    if degrees_of_freedom <= len(_T_975):
        return _T_975[degrees_of_freedom - 1]
    z, v = _Z_975, float(degrees_of_freedom)
    return z + (z**3 + z) / (4 * v) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)  # Cornish-Fisher expansion


def figure(values: Sequence[float]) -> Figure:
    """Mean and 95 % interval of the mean of independent launches.

    Parameters
    ----------
    values : sequence of float, at least one
    """
    n = len(values)
    mean = math.fsum(values) / n
    if n < 2:
        return Figure(mean, None, None, n)
    sd = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1))
    half = t_975(n - 1) * sd / math.sqrt(n)
    return Figure(mean, mean - half, mean + half, n)
