"""What the Bayesian optimisers that others have published share, as far as they differ from the `Tuner`.

A Matern 5/2 process with one lengthscale a knob and a constant mean, over the knobs as they are (no warp, no trend); first rows from a
quasi-random sequence; constrained expected improvement (Gardner et al. 2014; Gelbart, Snoek and Adams 2014), and while nothing feasible is
known the row most likely to be (Gelbart et al., section 3); no hints, nothing measured twice. The rest (Cholesky factors, fit, exact
scoring of the whole grid, the chance that a run fails) is this project's engine, so that a comparison is of the methods and not of their
implementations.
"""

from __future__ import annotations

from bayestuner.goal import Goal
from bayestuner.search.engine.acquisition import EXPECTED_IMPROVEMENT, MOST_FEASIBLE, Packed
from bayestuner.search.engine.design import Excluded
from bayestuner.search.engine.explanation import Plan
from bayestuner.search.engine.knob_metrics import knob_objective
from bayestuner.search.engine.tuner import Tuner
from bayestuner.search.strategies.quasi_random import next_quasi_random
from bayestuner.space import Space
from bayestuner.surrogate.modelling import Modelling
from bayestuner.trial import Trial


class PublishedTuner(Tuner):
    """Base of `CherryPick` and `Spearmint`.

    Parameters
    ----------
    space, goal, seed
        As for every strategy.
    n_first : int
        Rows of the quasi-random start.
    modelling : Modelling
    samples : int
        Number of samples of the hyperparameters, see `Tuner`.
    margin_sd : float
        By how many standard deviations a measured row must meet every bound to be the one to improve on.
    """

    def __init__(
        self, space: Space, goal: Goal, *, seed: int, n_first: int, modelling: Modelling, samples: int = 0, margin_sd: float = 0.0
    ) -> None:
        self._given_modelling = modelling
        super().__init__(space, goal, seed=seed, samples=samples)
        self._n_first = n_first
        self._margin_sd = margin_sd

    def _modelling(self, family: str, form: str) -> Modelling:
        return self._given_modelling

    def _first_row(self, excluded: Excluded, tried: list[int]) -> int:
        return next_quasi_random(self.space, excluded, len(tried), self.seed)

    def _note_hint(self, trial: Trial) -> None:
        """Ignore hints: the published methods have none."""

    def _best_known(self) -> float | None:
        return None  # no published method has this rule

    def _model_choice(self) -> Plan:
        incumbent = self._posterior.incumbent(self.goal, self._margin_sd)
        scoring = self._posterior.for_scoring(self.goal, [t.row for t in self._outstanding.values()])
        geometry = self._posterior.geometry
        packed = Packed.of(scoring.processes, geometry.d, geometry.levels.size, scoring.noise)
        known = knob_objective(self.space, self.goal)
        for exclusions in self._candidates.exclusions(self._taken):
            if incumbent.feasible:
                row, value = self._scorer.best(
                    EXPECTED_IMPROVEMENT, packed, scoring.bounds, exclusions, objective=scoring.objective, known=known, best=incumbent.value
                )
                if row >= 0:
                    return Plan(row, False, self._explain(row, "expected improvement", value))
            row, _ = self._scorer.best(MOST_FEASIBLE, packed, scoring.bounds, exclusions)
            if row >= 0:
                return Plan(row, False, self._explain(row, "most feasible"))
        raise AssertionError("_model_choice was called although no row is left")
