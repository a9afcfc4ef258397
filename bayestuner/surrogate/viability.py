"""The chance that a run does not fail, from the first failure on.

A Gaussian process over labels (+1 ran, -1 failed) read through a probit: P = Phi((PRIOR + mean) / sqrt(variance + EXTRA)). Its
hyperparameters are fixed: a handful of labels can't teach them, and a label is far more local than a metric.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bayestuner.surrogate.covariance import Geometry
from bayestuner.surrogate.gp import GaussianProcess

PRIOR = 0.5  # far from all labels a run is more likely to end well than not
EXTRA = 0.1
LENGTHSCALE = 0.5
TREND_STD = 0.7
NOISE_STD = 0.3


def viability_model(geometry: Geometry, codes: npt.NDArray[np.int64], ran: npt.NDArray[np.bool_]) -> GaussianProcess:
    """Condition on codes (n, d) and whether each ran (n,)."""
    d = geometry.d
    theta = np.concatenate([np.full(d, np.log(LENGTHSCALE)), [0.0, 2 * np.log(NOISE_STD), 2 * np.log(TREND_STD)], np.full(d, 0.5)])
    gp = GaussianProcess(geometry, theta=theta)
    n = codes.shape[0]
    gp.fit(codes, np.where(ran, 1.0, -1.0) - PRIOR, np.ones(n), np.zeros(n))
    return gp
