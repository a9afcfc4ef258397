"""Why a configuration was asked."""

from __future__ import annotations

from dataclasses import dataclass

from bayestuner.search.strategy import Prediction


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a configuration was asked, by the models as they were when it was chosen.

    Attributes
    ----------
    reason : str
        ``design``, ``own choice``, ``expected improvement``, ``hypervolume improvement``, ``most feasible``, ``repeat`` (the best
        configuration is measured again because its readings are noisy), or ``recheck`` (a configuration that failed is run once more,
        because its failure rules out promising ones and may have been a fluke).
    log_expected_improvement : float or None
        Natural logarithm of the expected improvement, in the objective's standardised units; None where another rule chose. While nothing
        feasible is known it is the improvement on the worst objective measured. With history it is what the mixture of models promises less
        the probabilities by the models of this study alone.
    p_feasible, p_viable : float or None
        The probabilities that a noise-free run meets every bound, and that the run does not fail.
    predicted : dict
        Metric name -> `Prediction` of a noise-free run, by the hyperparameters that fit best: its interval is narrower than that of
        `Tuner.predict`, which integrates them out.
    approximate : bool
        True where the grid is too large to be scored whole, so that a better row may have been missed.
    history : tuple of str
        Names of the earlier studies whose models had a part in the choice.
    history_weight : float
        That part, from 0 to 1; the rest is that of the models that have seen this study alone, of which `predicted` is. 0 in the design.
    """

    reason: str
    log_expected_improvement: float | None = None
    p_feasible: float | None = None
    p_viable: float | None = None
    predicted: dict[str, Prediction] | None = None
    approximate: bool = False
    history: tuple[str, ...] = ()
    history_weight: float = 0.0

    @property
    def learnt(self) -> str:
        """What earlier studies contributed, in words; empty where they did not."""
        studies = " and ".join([", ".join(self.history[:-1]), self.history[-1]] if len(self.history) > 1 else self.history)
        if not self.history:
            return ""
        if self.reason == "design":
            return f"the most promising of evenly spread ones, as in {studies}"
        return f"as in {studies}, weight {self.history_weight:.2g}"


@dataclass(frozen=True, slots=True)
class Plan:
    """The next row to ask, whether it repeats a measured one on purpose, and why it was chosen."""

    row: int
    repeat: bool
    explanation: Explanation
