"""The probability that a run does not fail, modelled from the first failure on.

A Gaussian process over labels (+1 ran, -1 failed), turned into a probability by a probit link:
P = Phi((PRIOR_MEAN + mean) / sqrt(variance + PROBIT_VARIANCE)). Its hyperparameters are fixed, because a handful of labels can't teach
them; the lengthscale is short, because a failure says less of its surroundings than the reading of a metric does.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bayestuner.surrogate.covariance import Geometry
from bayestuner.surrogate.gp import GaussianProcess

PRIOR_MEAN = 0.5  # far from all labels a run is more likely to end well than not
PROBIT_VARIANCE = 0.1  # of the probit link: how gradually the latent function becomes a probability
LENGTHSCALE = 0.5
TREND_STD = 0.7
NOISE_STD = 0.3


def viability_model(geometry: Geometry, codes: npt.NDArray[np.int64], ran: npt.NDArray[np.bool_]) -> GaussianProcess:
    """The process given codes (n, d) and whether a run at each ended well (n,)."""
    d = geometry.d
    theta = np.concatenate([np.full(d, np.log(LENGTHSCALE)), [0.0, 2 * np.log(NOISE_STD), 2 * np.log(TREND_STD)], np.full(d, 0.5)])
    gp = GaussianProcess(geometry, theta=theta)
    n = codes.shape[0]
    gp.fit(codes, np.where(ran, 1.0, -1.0) - PRIOR_MEAN, np.ones(n), np.zeros(n))
    return gp
