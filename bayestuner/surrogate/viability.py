"""The probability that a run does not fail, modelled from the first failure on.

A Gaussian process over labels (+1 ran, -1 failed), turned into a probability by a probit link:
P = Phi((PRIOR_MEAN + mean) / sqrt(variance + PROBIT_VARIANCE)). Its hyperparameters are fitted like those of a metric, under priors of its
own: few labels teach little, but with many knobs they tell which of them decide whether a run fails.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bayestuner.surrogate.covariance import Geometry
from bayestuner.surrogate.fit import Priors
from bayestuner.surrogate.gp import GaussianProcess
from bayestuner.surrogate.metric import fits_now

PRIOR_MEAN = 0.5  # far from all labels a run is more likely to end well than not
PROBIT_VARIANCE = 0.1  # of the probit link: how gradually the latent function becomes a probability
PRIORS = Priors(
    lengthscale=(0.0, 0.8),
    signal_std=(0.0, 0.3),
    noise_std=(float(np.log(0.3)), 0.4),
    trend_std=(float(np.log(1.5)), 0.5),
    warp=(0.15, 0.3),
)


def viability_model(
    geometry: Geometry,
    codes: npt.NDArray[np.int64],
    ran: npt.NDArray[np.bool_],
    start: GaussianProcess | None = None,
    *,
    refit: bool = True,
) -> GaussianProcess:
    """The process given codes (n, d) and whether a run at each ended well (n,).

    `start` is the process of fewer labels, whose hyperparameters the fit starts at, or keeps unless `refit`.
    """
    gp = GaussianProcess(geometry, priors=PRIORS)
    if start is not None:
        gp.theta = start.theta
    n = codes.shape[0]
    extra = None if start is None else start.theta[None, :]
    gp.fit(
        codes,
        np.where(ran, 1.0, -1.0) - PRIOR_MEAN,
        np.ones(n),
        np.zeros(n),
        refit=refit and (start is None or fits_now(n)),
        extra_starts=extra,
    )
    return gp
