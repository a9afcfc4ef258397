"""What is known of the measured rows: what they would read without noise, and which of them new rows are to improve on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
MeanAndVariance = tuple[FloatArray, FloatArray]
"""Of several rows, (m,) each."""


@dataclass(frozen=True, slots=True)
class Incumbent:
    """The measured row that new ones are to improve on.

    Attributes
    ----------
    value : float
        Its objective without noise, to be minimised, in the units of the objective's model.
    feasible : bool
        False where no measured row meets the goal.
    row : int
    lead : float
        By how much the next best feasible row is worse; inf where there is none.
    variance : float
        Of `value`, because the row's readings are noisy.
    """

    value: float
    feasible: bool
    row: int
    lead: float
    variance: float


@dataclass(frozen=True, slots=True)
class NoiseFreeEstimates:
    """Estimates of what the measured rows would read without noise, in the models' units.

    Attributes
    ----------
    rows : ndarray of int, (n,)
    objective, variance : ndarray, (n,)
        The objective, to be minimised, and its variance.
    metrics : dict
        Modelled metric -> its mean and variance, (n,) each.
    """

    rows: IntArray
    objective: FloatArray
    variance: FloatArray
    metrics: dict[str, MeanAndVariance]
