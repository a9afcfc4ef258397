"""What is modelled of a metric: its logarithm where all readings are positive, standardised."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Transform:
    """``(g(value) - shift) / scale`` with g the logarithm or the identity; rising, so bounds keep their direction."""

    log: bool
    shift: float
    scale: float

    @classmethod
    def of(cls, values: FloatArray, *, log: bool | None = None) -> Transform:
        """Choose from readings (n,); `log` None takes the logarithm where all are positive."""
        use_log = bool((values > 0.0).all()) if log is None else log
        g = np.log(values) if use_log else values
        shift = float(g.mean())
        spread = float(g.std())
        floor = 1e-6 * (1.0 if use_log else max(abs(shift), 1e-300))
        return cls(use_log, shift, spread if spread > floor else 1.0 if use_log else max(abs(shift), 1.0))

    def forward(self, values: FloatArray) -> FloatArray:
        """Standardised values, (n,)."""
        return (np.log(values) - self.shift) / self.scale if self.log else (values - self.shift) / self.scale

    def forward_limit(self, limit: float) -> float:
        """Where a bound's limit lies; -inf for a limit a positive metric can't come down to."""
        if not self.log:
            return (limit - self.shift) / self.scale
        return (math.log(limit) - self.shift) / self.scale if limit > 0.0 else -math.inf

    def forward_sd(self, values: FloatArray, sd: FloatArray) -> FloatArray:
        """Standard deviations of noise, (n,), by the slope of g."""
        return sd / np.abs(values) / self.scale if self.log else sd / self.scale

    def backward(self, value: float) -> float:
        """The metric's value at a standardised one."""
        g = self.shift + self.scale * value
        return math.exp(min(g, 700.0)) if self.log else g
