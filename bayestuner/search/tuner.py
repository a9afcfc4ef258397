"""The Bayesian strategy: Gaussian processes and log constrained expected improvement over the whole grid (paper, section 2.2)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bayestuner.errors import InvalidGoal, InvalidTell, NoRecommendation
from bayestuner.goal import Goal
from bayestuner.search import warmup
from bayestuner.search.acquisition import EXPECTED_IMPROVEMENT, LOWEST_MEAN, MOST_FEASIBLE, Packed, Scorer
from bayestuner.search.design import choose_first, design_size
from bayestuner.search.hints import Hints
from bayestuner.search.known import knob_values, rows_outside
from bayestuner.search.posterior import Posterior
from bayestuner.search.strategy import Prediction, Recommendation, Strategy, is_transient
from bayestuner.space import Space
from bayestuner.trial import Config, Failed, Measured, Outcome, Trial

BoolArray = npt.NDArray[np.bool_]

GREEDY_EVERY = 3
CONFIDENCE = 0.9
LIKELY = math.log(0.5)
MIN_MEASURED = 2  # a model of fewer readings knows no more than the design


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a configuration was asked, as the model saw it then.

    Attributes
    ----------
    reason : str
        ``design``, ``own choice``, ``expected improvement``, ``lowest mean`` or ``most feasible``.
    log_expected_improvement : float or None
        Natural logarithm, in the objective's standardised units; None before there is a model.
    p_feasible, p_viable : float or None
        The chances that every bound holds and that the run does not fail.
    predicted : dict
        Metric name -> `Prediction` of a noise-free run.
    """

    reason: str
    log_expected_improvement: float | None = None
    p_feasible: float | None = None
    p_viable: float | None = None
    predicted: dict[str, Prediction] | None = None


class Tuner(Strategy):
    """Bayesian optimisation with constraints over a finite grid.

    Parameters
    ----------
    space : Space
    goal : Goal
    seed : int
    budget : int
        How many runs are planned; only the size of the initial design depends on it.
    threads : int
        For scoring grids of more than 10^5 rows.
    confidence : float
        P(feasible) that `recommend` asks for.

    Notes
    -----
    The work is done in `tell`; `ask` reads what `tell` found. The first asks need no model, so compiling (or loading what was compiled
    before) happens in the background from the first `ask` on.

    Examples
    --------
    >>> import bayestuner as bt
    >>> space = bt.Space(bt.Integer("cores", 1, 8), bt.Ordinal("batch_size", [1, 2, 4, 8]))
    >>> tuner = bt.Tuner(space, bt.Goal(minimize="power_w", subject_to=["throughput >= 20"]), seed=0)
    >>> trial = tuner.ask()
    >>> told = tuner.tell(trial, power_w=40.0, throughput=25.0)
    >>> tuner.best_feasible.config == trial.config
    True
    """

    name = "bayes"

    def __init__(
        self, space: Space, goal: Goal, *, seed: int = 0, budget: int = 20, threads: int = 1, confidence: float = CONFIDENCE
    ) -> None:
        super().__init__(space, goal, seed=seed)
        self.budget = int(budget)
        self.confidence = float(confidence)
        self._posterior = Posterior(space, self.seed)
        self._scorer = Scorer(space, self._posterior.geometry.starts, self._posterior.geometry.kinds, threads=threads)
        self._hints = Hints(space)
        self._excluded = np.zeros(space.n_rows, dtype=np.bool_)
        self._forbidden_by_goal = rows_outside(space, goal)
        self._plan: tuple[int, Explanation] | None = None
        self._why: dict[int, Explanation] = {}

    # -- the public face beyond Strategy ------------------------------------------------------------------------------

    def warm_up(self) -> None:
        """Compile everything now, instead of in the background."""
        warmup.wait()

    def retarget(self, goal: Goal) -> None:
        """Set a new threshold or objective over metrics already observed; no run and no fit is repeated."""
        with self._lock:
            if goal.relative:
                raise InvalidGoal(f"the goal '{goal}' has a relative bound; give it a reference with goal.resolve({{metric: value}}) first")
            for trial in self._measured():
                have = {*trial.metrics, *(k.name for k in self.space.knobs if k.numeric)}
                missing = [m for m in goal.metrics if m not in have]
                if missing:
                    raise InvalidGoal(
                        f"trial {trial.number} did not measure {', '.join(missing)}; a new goal can use {', '.join(sorted(have))}"
                    )
            self.goal = goal
            self._forbidden_by_goal = rows_outside(self.space, goal)
            self._plan = None

    def explain(self, trial: Trial) -> Explanation:
        """Why this trial was asked."""
        if trial.number not in self._why:
            raise InvalidTell(f"trial {trial.number} was not asked here; explain takes a trial that ask or adopt returned")
        return self._why[trial.number]

    def recommend(self) -> Recommendation:
        """The configuration measured that has the lowest predicted objective among those feasible with `confidence`.

        Where none is that sure, the one most likely to be feasible. Expected metrics are the model's, with 95 % intervals of a
        noise-free run.
        """
        with self._lock:
            if len({t.row for t in self._measured()}) < MIN_MEASURED:
                return super().recommend()
            self._learn_all()
            trials = {t.row: t for t in self._measured()}
            rows = np.array(list(trials), dtype=np.int64)
            log_p = self._log_feasible(rows)
            objective, _ = self._posterior.objective_at(self.goal, rows)
            sure = log_p >= math.log(self.confidence)
            pick = int(np.argmin(np.where(sure, objective, np.inf))) if sure.any() else int(np.argmax(log_p))
            row = int(rows[pick])
            return Recommendation(
                row, trials[row].config, self._posterior.predictions(self.goal, row), math.exp(float(log_p[pick])), trials[row]
            )

    def predict(self, config: Config) -> dict[str, Prediction]:
        """What the model expects of a configuration, for each metric of the goal that is modelled."""
        with self._lock:
            if len({t.row for t in self._measured()}) < MIN_MEASURED:
                raise NoRecommendation(f"a prediction needs {MIN_MEASURED} different configurations measured first")
            self._learn_all()
            return self._posterior.predictions(self.goal, self.space.row(config))

    # -- asking -------------------------------------------------------------------------------------------------------

    def ask(self) -> Trial:
        """Return the next configuration to run; the first call starts compiling in the background."""
        trial = super().ask()
        warmup.start()
        return trial

    def _choose(self) -> int:
        if self._plan is None or self._taken[self._plan[0]]:
            self._plan = self._make_plan()
        return self._plan[0]

    def _issue(self, row: int, repeat: bool) -> Trial:
        trial = super()._issue(row, repeat)
        planned = self._plan if self._plan is not None and self._plan[0] == trial.row else None
        self._why[trial.number] = planned[1] if planned is not None else Explanation("own choice")
        self._plan = None
        return trial

    def _designing(self) -> bool:
        asked = sum(1 for t in self._trials if not is_transient(t))
        return asked < design_size(self.budget) or len({t.row for t in self._measured()}) < MIN_MEASURED

    def _make_plan(self) -> tuple[int, Explanation]:
        if self._designing():
            tried = [t.row for t in self._trials if not is_transient(t)]
            return choose_first(self.space, self._skip(), tried, self.seed), Explanation("design")
        self._learn_all()
        return self._model_choice()

    # -- learning -----------------------------------------------------------------------------------------------------

    def tell_outcome(self, trial: Trial, outcome: Outcome) -> Trial:
        """Take an `Outcome`, fit the models to it and choose the next configuration."""
        with self._lock:
            self._plan = None
            return super().tell_outcome(trial, outcome)

    def _learn(self, trial: Trial) -> None:
        self._posterior.forget()
        if isinstance(trial.outcome, Failed):
            if trial.outcome.kind == "oom":
                self._hints.failed(trial.row)
                self._exclude()
        elif self._hints.ran(trial.row):
            self._exclude()
        if not self._designing() and self._n_free:
            self._plan = self._make_plan()

    def _exclude(self) -> None:
        chunk = 1 << 18
        for first in range(0, self.space.n_rows, chunk):
            rows = np.arange(first, min(first + chunk, self.space.n_rows))
            self._excluded[rows] = self._hints.excluded(rows)

    def _measured(self) -> list[Trial]:
        return [t for t in self._trials if isinstance(t.outcome, Measured)]

    def _learn_all(self) -> None:
        self._posterior.learn(self._trials, self.goal)

    def _skip(self) -> BoolArray:
        """Rows not to ask: taken, ruled out by a hint or by a bound on a knob; only the taken ones where that leaves nothing."""
        skip = self._taken | self._excluded | self._forbidden_by_goal
        if skip.all():
            skip = self._taken | self._excluded
        return self._taken if skip.all() else skip

    # -- choosing by the model ----------------------------------------------------------------------------------------

    def _model_choice(self) -> tuple[int, Explanation]:
        pending = [t.row for t in self._outstanding.values()]
        gps, bounds, objective = self._posterior.for_scoring(self.goal, pending)
        known = self.goal.sign * knob_values(self.space, self.goal.objective) if objective < 0 else None
        best, feasible_known = self._incumbent()
        geometry = self._posterior.geometry
        packed = Packed.of(gps, geometry.d, geometry.levels.size)
        modelled_asks = len(self._trials) - design_size(self.budget)
        greedy = feasible_known and modelled_asks % GREEDY_EVERY == GREEDY_EVERY - 1
        attempts: list[tuple[int, str, dict[str, Any]]] = [
            (EXPECTED_IMPROVEMENT, "expected improvement", {}),
            (MOST_FEASIBLE, "most feasible", {}),
        ]
        if greedy:
            attempts.insert(0, (LOWEST_MEAN, "lowest mean", {"log_floor": LIKELY}))
        skip = self._skip()
        for mode, reason, options in attempts:
            row, value = self._scorer.best(mode, packed, bounds, skip, objective=objective, known=known, best=best, **options)
            if row >= 0:
                return row, self._explain(row, reason, value)
        row = int(np.argmin(skip))
        return row, self._explain(row, "most feasible", -math.inf)

    def _log_feasible(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Log of the chance that all bounds hold at rows (m,), failures apart."""
        return np.where(self._forbidden_by_goal[rows], -np.inf, self._posterior.log_feasible(self.goal, rows))

    def _incumbent(self) -> tuple[float, bool]:
        """What to improve on, to be minimised, and whether anything feasible is known.

        The lowest posterior mean among measured rows that are more likely feasible than not, or were measured so (a lucky noisy reading
        must not end the search, so never the reading itself). With nothing feasible, the worst: every cheaper row keeps its price signal.
        """
        rows = np.unique(np.array([t.row for t in self._measured()], dtype=np.int64))
        mean, _ = self._posterior.objective_at(self.goal, rows)
        likely = self._log_feasible(rows) >= LIKELY
        if not likely.any() and self.best_feasible is not None:
            likely = rows == self.best_feasible.row
        if likely.any():
            return float(mean[likely].min()), True
        return float(mean.max()), False

    def _explain(self, row: int, reason: str, value: float) -> Explanation:
        log_p = float(self._log_feasible(np.array([row], dtype=np.int64))[0])
        p_viable = self._posterior.p_viable(row)
        log_ei = value - log_p - math.log(max(p_viable, 1e-300)) if reason == "expected improvement" else None
        return Explanation(reason, log_ei, math.exp(log_p), p_viable, self._posterior.predictions(self.goal, row))
