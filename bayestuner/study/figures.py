"""Means over repeated launches with Student's t intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bayestuner.study.student_t import quantile


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
    half = quantile(0.975, n - 1) * sd / math.sqrt(n)
    return Figure(mean, mean - half, mean + half, n)
