"""GP EI MCMC with constraints, the method that BayesTuner's paper ran by way of Spearmint; written from the publications alone.

Snoek, Larochelle and Adams, "Practical Bayesian Optimization of Machine Learning Algorithms", NIPS 2012, section 3.1: a Matern 5/2
covariance with one lengthscale a knob, and the expected improvement averaged over slice samples of the hyperparameters. Gelbart, Snoek
and Adams, "Bayesian Optimization with Unknown Constraints", UAI 2014, section 3: a process for each constraint, expected improvement times
the chances that all hold, the best taken among rows that meet them with high probability, and while there is none, only those chances.

Where the publications leave a choice open (priors of the hyperparameters, number of first points), it is this project's.
"""

from __future__ import annotations

from dataclasses import replace

from bayestuner.goal import Goal
from bayestuner.search.strategies.published import PublishedTuner
from bayestuner.space import Space
from bayestuner.surrogate.modelling import PLAIN

N_FIRST = 2
SAMPLES = 10
MARGIN_SD = 2.3263  # standard deviations: met with a probability of 0.99


class Spearmint(PublishedTuner):
    """The search of Spearmint's GP EI MCMC: see `PublishedTuner` for what it takes from this project's engine.

    Metrics are modelled as they are, standardised.

    Parameters
    ----------
    space, goal, seed
        As for every strategy.
    samples : int
        Of the hyperparameters.
    """

    name = "spearmint"

    def __init__(self, space: Space, goal: Goal, *, seed: int = 0, samples: int = SAMPLES) -> None:
        super().__init__(space, goal, seed=seed, n_first=N_FIRST, modelling=replace(PLAIN, power=1.0), samples=samples, margin_sd=MARGIN_SD)
