"""What final launches say of one metric: a mean for each configuration, with what the machine did to each round of launches taken out.

Configurations are launched in rounds, each once a round, so that a slow change of the machine meets all of them alike. The model is

    y[arm, round] = mean[arm] + change[round] + error

in logarithms where every value is positive, else in the metric's own unit. Errors have one variance per metric, estimated from the
residuals and a weak prior, so what is known of a difference of two means is a Student t distribution (Gelman et al., Bayesian Data
Analysis, ch. 14). The spread that a run tells of itself is left out: it knows nothing of other launches, and is widened by guesses where
other programs ran.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bayestuner.study.student_t import cdf, quantile

FloatArray = npt.NDArray[np.float64]

PRIOR_SPREAD = 0.03
"""What launches of one configuration are expected to differ by, as a share, before any were made."""

PRIOR_WEIGHT = 1.0
"""What that expectation weighs, in launches. It adds to the variance and not to its degrees of freedom: with few launches of a noisy job
statements would else be surer than they are."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is known of a quantity: Student t with a centre, a scale and degrees of freedom; a scale of 0 is known exactly."""

    centre: float
    scale: float
    dof: float

    def chance_below(self, x: float) -> float:
        """The chance that the quantity is below `x`; of two equal exact ones, none is."""
        if self.scale == 0.0:
            return float(self.centre < x)
        return 0.5 if math.isinf(self.scale) else cdf((x - self.centre) / self.scale, self.dof)

    def chance_above(self, x: float) -> float:
        """The chance that it is above."""
        return 1.0 - self.chance_below(x) if self.scale else float(self.centre > x)

    def after(self, n: int, later: int) -> Estimate:
        """What `later` launches instead of `n` would say, if the quantity is a standard error lower than it looks.

        Two after a single launch, for what launches differ by is hardly known then.
        """
        return Estimate(self.centre - max(2.0 / n, 1.0) * self.scale, self.scale * math.sqrt(n / later), self.dof * later / n)

    def half_width(self, confidence: float = 0.95) -> float:
        """Half the width of the central interval that holds it with that chance."""
        return quantile(0.5 + 0.5 * confidence, self.dof) * self.scale if self.scale else 0.0


@dataclass(frozen=True)
class LaunchModel:
    """One metric over all rounds.

    Attributes
    ----------
    logarithms : bool
        Whether means are of logarithms: differences are then log ratios.
    arms : dict
        Arm -> its place in `means`.
    means : ndarray, (n_arms + n_rounds,)
        Least squares: of the arms, then what each round changed.
    normal, inverse : ndarray, (n_arms + n_rounds, n_arms + n_rounds)
        The normal matrix and its pseudo-inverse.
    variance, dof : float
        Of one launch, the round's change taken out.
    levels : dict
        Arm -> `Estimate` of its mean over machine states like those it was launched in; the rounds' changes count as chance.
    """

    logarithms: bool
    arms: Mapping[int, int]
    means: FloatArray
    normal: FloatArray
    inverse: FloatArray
    variance: float
    dof: float
    levels: Mapping[int, Estimate]

    @classmethod
    def of(cls, rounds: Sequence[Mapping[int, float]]) -> LaunchModel | None:
        """Fit the model; None where nothing was measured.

        Parameters
        ----------
        rounds : sequence of dict
            In each: arm -> the metric's value, of the arms that were measured in it.
        """
        cells = [(arm, k, value) for k, values in enumerate(rounds) for arm, value in values.items()]
        if not cells:
            return None
        arms = {arm: i for i, arm in enumerate(dict.fromkeys(arm for arm, _, _ in cells))}
        logarithms = all(value > 0.0 for _, _, value in cells)
        y = np.array([math.log(value) if logarithms else value for _, _, value in cells])
        design = np.zeros((y.size, len(arms) + len(rounds)))
        design[np.arange(y.size), [arms[arm] for arm, _, _ in cells]] = 1.0
        design[np.arange(y.size), [len(arms) + k for _, k, _ in cells]] = 1.0
        normal = design.T @ design
        inverse: FloatArray = np.linalg.pinv(normal, hermitian=True).astype(np.float64)
        means = inverse @ (design.T @ y)
        expected = (PRIOR_SPREAD * (1.0 if logarithms else float(np.mean(np.abs(y))))) ** 2
        residual_dof = max(y.size - int(np.linalg.matrix_rank(normal, hermitian=True)), 0)
        variance = _pooled(y - design @ means, residual_dof, expected)
        dof = max(float(residual_dof), 1.0)
        levels = _levels(cells, y, arms, expected, Estimate(0.0, math.sqrt(variance), dof))
        return cls(logarithms, arms, means, normal, inverse, variance, dof, levels)

    def difference(self, arm: int, other: int) -> Estimate | None:
        """Mean of `arm` less that of `other`; None where no chain of common rounds joins them."""
        if arm not in self.arms or other not in self.arms:
            return None
        contrast = np.zeros(self.means.size)
        contrast[self.arms[arm]] += 1.0
        contrast[self.arms[other]] -= 1.0
        if not np.allclose(contrast @ self.inverse @ self.normal, contrast, atol=1e-6):
            return None
        scale = math.sqrt(max(float(contrast @ self.inverse @ contrast), 0.0) * self.variance)
        return Estimate(float(contrast @ self.means), scale, self.dof)


def _pooled(residuals: FloatArray, dof: int, expected: float) -> float:
    """Variance from residuals and the prior."""
    return (PRIOR_WEIGHT * expected + float(residuals @ residuals)) / (PRIOR_WEIGHT + dof)


def _levels(
    cells: Sequence[tuple[int, int, float]], y: FloatArray, arms: Mapping[int, int], expected: float, launch: Estimate
) -> dict[int, Estimate]:
    """Each arm's own mean, from the spread within arms: that of a launch, and what rounds add to it.

    Rounds change all arms alike, so their part has the degrees of freedom of one arm's launches, and the sum of both parts those of
    Satterthwaite (1946).
    """
    places = np.array([arms[arm] for arm, _, _ in cells])
    own = {arm: y[places == i] for arm, i in arms.items()}
    variance = _pooled(np.concatenate([values - values.mean() for values in own.values()]), y.size - len(arms), expected)
    of_launch = min(launch.scale**2, variance)
    of_rounds = variance - of_launch
    rounds_dof = max(max(values.size for values in own.values()) - 1, 1)
    dof = variance**2 / (of_launch**2 / launch.dof + of_rounds**2 / rounds_dof)
    return {arm: Estimate(float(v.mean()), math.sqrt(variance / v.size), dof) for arm, v in own.items()}
