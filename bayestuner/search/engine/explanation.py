"""Why a configuration was asked."""

from __future__ import annotations

from dataclasses import dataclass

from bayestuner.search.strategy import Prediction


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a configuration was asked, as the model saw it then.

    Attributes
    ----------
    reason : str
        ``design``, ``own choice``, ``expected improvement``, ``hypervolume improvement``, ``most feasible``, or ``repeat`` (measuring the
        best again, for its noise).
    log_expected_improvement : float or None
        Natural logarithm, in the objective's standardised units; None before there is a model. While nothing feasible is known, on the
        worst objective measured.
    p_feasible, p_viable : float or None
        The chances that a reading meets every bound and that the run does not fail.
    predicted : dict
        Metric name -> `Prediction` of a noise-free run.
    approximate : bool
        True where the grid is too large to be scored whole, so that a better row may have been missed.
    """

    reason: str
    log_expected_improvement: float | None = None
    p_feasible: float | None = None
    p_viable: float | None = None
    predicted: dict[str, Prediction] | None = None
    approximate: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """The next row, whether it is measured again on purpose, and why."""

    row: int
    repeat: bool
    why: Explanation
