"""Simulated annealing on the grid, as BayesTuner's paper compares itself to (section 3.1).

A walk over neighbouring configurations that always goes where it is better and sometimes where it is worse: with the chance
exp(-difference / temperature) (Metropolis; Kirkpatrick, Gelatt and Vecchi, Science 1983), the temperature falling geometrically, as there,
from the first run to the last. Bounds enter as a penalty on the energy. The paper names neither schedule nor penalty; the ones here
are the best of 24 on the simulated jobs (`benchmarks/search_quality/README.md`), so that the comparison is with annealing at its best.
"""

from __future__ import annotations

import math

import numpy as np

from bayestuner.errors import InvalidGoal, whole_number
from bayestuner.goal import Goal
from bayestuner.search.strategies.random_search import draw_free
from bayestuner.search.strategy import Strategy
from bayestuner.space import Categorical, Space
from bayestuner.trial import Trial

HOT, COLD = 0.1, 0.005  # first and last temperature; the unit of energy is the first objective measured
LONGEST_STEP = 0.5  # of a knob, as a share of its levels
PENALTY = 3.0  # energy that missing a bound by its whole limit adds
MAX_STEPS = 1000  # over measured rows without meeting a new one; then a row is drawn at random


class Annealing(Strategy):
    """Simulated annealing.

    Parameters
    ----------
    space, goal, seed
        As for every strategy.
    budget : int
        How many runs are planned: by then the temperature has fallen to its end.

    Notes
    -----
    Steps onto configurations already measured cost no run: the walk goes on from them by what is known.
    """

    name = "annealing"

    def __init__(self, space: Space, goal: Goal, *, seed: int = 0, budget: int = 20) -> None:
        super().__init__(space, goal, seed=seed)
        self.budget = whole_number(budget, "budget", 1, InvalidGoal)
        self._rng = np.random.default_rng(self.seed)
        self._energy: dict[int, float] = {}
        self._unit: float | None = None
        self._here: int | None = None

    def _choose(self) -> int:
        for _ in range(MAX_STEPS if self._here is not None else 0):
            row = self._neighbour()
            if row is None or row in self._energy:
                if row is not None:
                    self._move(row)
            elif row not in self._taken:
                return row
        return draw_free(self.space, self._taken, self._rng)

    def _learn(self, trial: Trial) -> None:
        self._energy[trial.row] = self._energy_of(trial)
        self._move(trial.row)

    def _neighbour(self) -> int | None:
        """An allowed row one step away on one knob, or None where the step leaves the space."""
        assert self._here is not None  # noqa: S101 - narrows the type; there is no step before the first row
        codes = self.space.codes([self._here])[0]
        d = int(self._rng.integers(codes.size))
        knob = self.space.knobs[d]
        if isinstance(knob, Categorical):
            codes[d] = self._rng.integers(len(knob))
        else:
            longest = max(1, round(LONGEST_STEP * len(knob)))
            codes[d] += (1 if self._rng.random() < 0.5 else -1) * self._rng.integers(1, longest + 1)
        if not 0 <= codes[d] < len(knob):
            return None
        row = self.space.find(codes)
        return row if row is not None and row != self._here else None

    def _move(self, row: int) -> None:
        """Go to a row whose energy is known, surely if it is no worse."""
        share = min(1.0, len(self._energy) / max(1, self.budget - 1))
        temperature = HOT * (COLD / HOT) ** share
        rise = self._energy[row] - (math.inf if self._here is None else self._energy[self._here])
        if math.isnan(rise) or rise <= 0.0 or self._rng.random() < math.exp(-rise / temperature):
            self._here = row

    def _energy_of(self, trial: Trial) -> float:
        """Objective and penalty; inf for a run that failed."""
        values = self.values_of(trial)
        if not values:
            return math.inf
        objective = self.goal.sign * values[self.goal.objective]
        if self._unit is None:
            self._unit = abs(objective) or 1.0
        return objective / self._unit + PENALTY * max(0.0, self.goal.violation(values))
