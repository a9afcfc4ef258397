"""How metrics are modelled: what a strategy chooses once for all of its Gaussian processes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bayestuner.space import Space
from bayestuner.surrogate.covariance import Geometry
from bayestuner.surrogate.fit import Priors

NO_TREND = (-20.0, 0.0)  # prior of the trend's log standard deviation: practically 0, and fixed


@dataclass(frozen=True, slots=True)
class Modelling:
    """What a metric's model is made of.

    Attributes
    ----------
    family, form : str
        Of the covariance; see `Geometry`.
    warp : bool
        Learn the scale of every knob; False takes their levels as they are.
    trend : bool
        A linear trend beside the constant mean.
    power : float or None
        Of the metric that is modelled: 0 the logarithm (where all readings are positive), 0.5 the square root, 1 the metric as it is. None
        begins with the logarithm and lets the readings decide.
    """

    family: str = "matern52"
    form: str = "product"
    warp: bool = True
    trend: bool = True
    power: float | None = None

    def geometry(self, space: Space) -> Geometry:
        """The space as the processes see it."""
        return Geometry.of(space, family=self.family, form=self.form, warp=self.warp)

    def priors(self) -> Priors:
        """Of the hyperparameters."""
        return Priors() if self.trend else replace(Priors(), trend_std=NO_TREND)


PLAIN = Modelling(form="ard", warp=False, trend=False)
"""A Matern 5/2 covariance with one lengthscale a knob and a constant mean (Snoek et al. 2012, section 3.1), knobs as they are."""
