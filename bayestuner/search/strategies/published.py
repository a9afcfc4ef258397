"""What the Bayesian optimisers that others have published share, as far as they differ from the `Tuner`.

A Matern 5/2 process with one lengthscale a knob and a constant mean, over the knobs as they are (no warp, no trend); first points from a
quasi-random sequence; constrained expected improvement (Gardner et al. 2014; Gelbart, Snoek and Adams 2014), and while nothing feasible is
known the row most likely to be (Gelbart et al., section 3); no hints, nothing measured twice. The rest (Cholesky factors, fit, exact
scoring of the whole grid, the chance that a run fails) is this project's engine, so that a comparison is of the methods and not of their
implementations.
"""

from __future__ import annotations

from bayestuner.goal import Goal
from bayestuner.search.engine.acquisition import EXPECTED_IMPROVEMENT, MOST_FEASIBLE, Packed
from bayestuner.search.engine.design import Out
from bayestuner.search.engine.explanation import Plan
from bayestuner.search.engine.knob_metrics import known_objective
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
        First points.
    modelling : Modelling
    samples : int
        Of the hyperparameters, see `Tuner`.
    caution : float
        By how many standard deviations a measured row must meet every bound to be the one to improve on.
    """

    def __init__(
        self, space: Space, goal: Goal, *, seed: int, n_first: int, modelling: Modelling, samples: int = 0, caution: float = 0.0
    ) -> None:
        self._made_of = modelling
        super().__init__(space, goal, seed=seed, samples=samples)
        self._n_first = n_first
        self._caution = caution

    def _modelling(self, family: str, form: str) -> Modelling:
        return self._made_of

    def _first_row(self, out: Out, tried: list[int]) -> int:
        return next_quasi_random(self.space, out, len(tried), self.seed)

    def _note_hint(self, trial: Trial) -> None:
        """Hints are the Tuner's."""

    def _model_choice(self) -> Plan:
        incumbent = self._posterior.incumbent(self.goal, self._caution)
        scoring = self._posterior.for_scoring(self.goal, [t.row for t in self._outstanding.values()])
        geometry = self._posterior.geometry
        packed = Packed.of(scoring.processes, geometry.d, geometry.levels.size, scoring.noise)
        known = known_objective(self.space, self.goal)
        for skip in self._free.skips(self._taken):
            if incumbent.feasible:
                row, value = self._scorer.best(
                    EXPECTED_IMPROVEMENT, packed, scoring.bounds, skip, objective=scoring.objective, known=known, best=incumbent.value
                )
                if row >= 0:
                    return Plan(row, False, self._explain(row, "expected improvement", value))
            row, _ = self._scorer.best(MOST_FEASIBLE, packed, scoring.bounds, skip)
            if row >= 0:
                return Plan(row, False, self._explain(row, "most feasible"))
        raise AssertionError("a free row was promised")
