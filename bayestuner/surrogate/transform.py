"""The transform of a metric before it is modelled: its logarithm, its square root or the metric itself, standardised."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

POWERS = (0.0, 0.5, 1.0)  # the logarithm, the square root, the metric as it is
MAX_LOG = 700.0  # exp of more overflows
MAX_ROOT = 1e152  # its square is still a double
MAX_SD = 1e6  # standard deviations: noise above it says as little
SAFE = 1e-140, 1e140  # numbers whose squares can be added up


@dataclass(frozen=True, slots=True)
class Transform:
    """``(g(value) - shift) / scale`` with g ``value^power / power`` or the logarithm (Box and Cox 1964, but for a constant).

    It is rising, so bounds keep their direction, and scaling a metric changes no standardised value.

    Power 0 is the logarithm and 1 the metric as it is; any power but 1 takes positive values only.
    """

    power: float
    shift: float
    scale: float

    @property
    def log(self) -> bool:
        """True for the logarithm."""
        return self.power == 0.0

    @classmethod
    def of(cls, values: FloatArray, power: float | None = None) -> Transform:
        """Standardise readings (n,); `power` None takes the logarithm where all are positive, else the metric as it is."""
        if power is None:
            power = 0.0 if bool((values > 0.0).all()) else 1.0
        g = _power(values, power)
        shift = float(np.add.reduce(g)) / g.size  # mean() and std() have too much overhead for every tell
        centred = g - shift
        largest = float(np.abs(centred).max())
        unit = 1.0 if SAFE[0] < largest < SAFE[1] or largest == 0.0 else largest
        centred /= unit
        spread = unit * math.sqrt(float(np.add.reduce(centred * centred)) / g.size)
        typical = 1.0 if power == 0.0 else abs(shift)
        return cls(power, shift, spread if spread > 1e-6 * typical else typical or 1.0)

    def forward(self, values: FloatArray) -> FloatArray:
        """Standardised values, (n,)."""
        return (_power(values, self.power) - self.shift) / self.scale

    def forward_limit(self, limit: float) -> float:
        """A bound's limit, standardised; -inf for one that is below every value of a positive metric."""
        if self.power < 1.0 and limit <= 0.0:
            return -math.inf
        rooted = limit if self.power == 1.0 else limit**self.power / self.power if self.power else math.log(limit)
        return (rooted - self.shift) / self.scale

    def forward_sd(self, values: FloatArray, sd: FloatArray) -> FloatArray:
        """Standard deviations of noise, (n,), standardised by the slope of g at the values; at most `MAX_SD`."""
        with np.errstate(over="ignore"):
            scaled = sd / self.scale / np.abs(values) ** (1.0 - self.power) if self.power < 1.0 else sd / self.scale
        return np.minimum(scaled, MAX_SD)

    def backward(self, value: float) -> float:
        """The metric's value at a standardised one; 0 where no positive value has that power."""
        g = self.shift + self.scale * value
        if self.power == 0.0:
            return math.exp(min(g, MAX_LOG))
        if self.power == 1.0:
            return g
        return float(min(max(self.power * g, 0.0), MAX_ROOT) ** (1.0 / self.power))

    def log_jacobian(self, values: FloatArray) -> float:
        """Log of the Jacobian: log density of the values = log density of the standardised ones + this."""
        slope = (self.power - 1.0) * float(np.log(values).sum()) if self.power < 1.0 else 0.0
        return slope - values.size * math.log(self.scale)


def _power(values: FloatArray, power: float) -> FloatArray:
    if power == 0.0:
        return np.log(values)
    return values if power == 1.0 else np.asarray(values**power / power)
