"""The Bayesian strategy: Gaussian processes and log constrained expected improvement over the whole grid (paper, section 2.2)."""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bayestuner.errors import InvalidGoal, InvalidState, NoRecommendation, SpaceExhausted, finite_number, whole_number
from bayestuner.goal import Goal
from bayestuner.search.engine import warmup
from bayestuner.search.engine.acquisition import EXPECTED_IMPROVEMENT, LOWEST_MEAN, MOST_FEASIBLE, Scorer
from bayestuner.search.engine.candidates import Candidates
from bayestuner.search.engine.design import Excluded, choose_first, design_size
from bayestuner.search.engine.explanation import Explanation, Plan
from bayestuner.search.engine.history import EarlierStudy
from bayestuner.search.engine.knob_metrics import best_known_objective, frugality, is_knob, knob_objective, margin_of
from bayestuner.search.engine.measured import Incumbent, NoiseFreeEstimates
from bayestuner.search.engine.packed import NO_MIN_LOG_P, Exclusions, Packed
from bayestuner.search.engine.posterior import Posterior
from bayestuner.search.engine.predictions import predictions, predictions_and_log_feasible
from bayestuner.search.engine.recheck import row_to_recheck
from bayestuner.search.engine.repeat import MAX_READINGS, log_repeat_gain, row_to_measure_again
from bayestuner.search.engine.state import restored, state_of
from bayestuner.search.engine.transfer import Mixture, Transfer, usable_studies
from bayestuner.search.strategy import Prediction, Recommendation, Strategy, check_goal, is_transient
from bayestuner.space import Space
from bayestuner.surrogate.covariance import FAMILIES, FORMS
from bayestuner.surrogate.modelling import Modelling
from bayestuner.trial import Config, Failed, Outcome, Trial

if TYPE_CHECKING:
    from bayestuner.search.engine.remaining_gain import RemainingGain

CONFIDENCE = 0.9
MIN_MEASURED = 2  # configurations measured before a model chooses: with fewer it knows no more than the design
N_SHORTLIST = 64  # untried rows that are judged with the hyperparameters integrated out
FEASIBILITY_POWER = 3  # exponent of P(feasible) in the acquisition while nothing feasible is known
# Exponent of P(run ends well) in the acquisition. A run that fails teaches nothing of any metric, and where many rows fail, promising ones
# crowd at the edge of the failing ones.
VIABILITY_POWER = 2
# While nothing feasible is known a limit counts as no farther than this from the mean of the readings, in their standard deviations. Two or
# three readings that happen to be alike would otherwise make every row look infeasible but those whose runs fail, and those would be asked.
MAX_LIMIT_DISTANCE = 3.0


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
        For scoring grids of more than 10^5 rows; the result does not depend on it.
    confidence : float
        P(feasible) that `recommend` asks for.
    min_p_feasible : float, optional
        Safe search: after the initial design only rows whose run meets the goal with at least this probability are asked; where there is
        none, the most likely one.
    samples : int
        Samples of the hyperparameters that the acquisition is averaged over (slice sampling, as in Snoek et al. 2012; 10 is usual).
        0 takes the hyperparameters that fit best, which searches as well and is much faster.
    family, form : str
        The covariance: ``matern52``, ``matern32`` or ``rbf``; ``product`` of one factor per knob, or ``ard`` of one scaled distance.
    history : sequence of EarlierStudy
        Earlier studies to learn from (`bayestuner.History`), the most relevant last. They are weighed by how well they predict this one.

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
        self,
        space: Space,
        goal: Goal,
        *,
        seed: int = 0,
        budget: int = 20,
        threads: int = 1,
        confidence: float = CONFIDENCE,
        min_p_feasible: float | None = None,
        samples: int = 0,
        family: str = "matern52",
        form: str = "product",
        history: Sequence[EarlierStudy] = (),
    ) -> None:
        super().__init__(space, goal, seed=seed)
        for name, share in (("confidence", confidence), ("min_p_feasible", min_p_feasible)):
            if share is not None and not 0.0 < finite_number(share, name, InvalidGoal) < 1.0:
                raise InvalidGoal(f"{name} is a probability between 0 and 1, not {share!r}")
        samples = whole_number(samples, "samples", 0, InvalidGoal)
        threads = whole_number(threads, "threads", 1, InvalidGoal)
        for name, given, known in (("family", family, FAMILIES), ("form", form, FORMS)):
            if not isinstance(given, str) or given not in known:
                raise InvalidGoal(f"the covariance's {name} is {' or '.join(map(repr, known))}, not {given!r}")
        self.budget = whole_number(budget, "budget", 1, InvalidGoal)
        self.confidence = float(confidence)
        self.min_p_feasible = min_p_feasible
        self._options = {
            "seed": self.seed, "budget": self.budget, "threads": threads, "confidence": self.confidence,
            "min_p_feasible": None if min_p_feasible is None else float(min_p_feasible), "samples": samples, "family": family, "form": form,
        }  # fmt: skip
        self._history = tuple(self._checked(history))
        self._margin_sd = margin_of(self.confidence)  # by which readings meet a bound with that probability
        self._n_first = design_size(self.budget)
        self._posterior = Posterior(space, self.seed, samples, self._modelling(family, form))
        geometry = self._posterior.geometry
        self._scorer = Scorer(space, geometry.level_starts, geometry.kinds, threads=threads)
        self._candidates = Candidates(space, goal, geometry.level_starts)
        usable = usable_studies(space, self._history)
        self._transfer = Transfer(space, self._posterior, usable, threads=threads) if usable else None
        self._plan: Plan | None = None
        self._explanations: dict[int, Explanation] = {}

    # -- public, beyond what every strategy has ------------------------------------------------------------------------------

    def warm_up(self) -> None:
        """Compile everything now, instead of in the background."""
        warmup.wait()

    def retarget(self, goal: Goal) -> None:
        """Set a new threshold or objective over metrics already observed; no run and no fit is repeated."""
        with self._lock:
            check_goal(goal, self.space)
            for trial in self._measured():
                have = {*trial.metrics, *(k.name for k in self.space.knobs if k.numeric)}
                missing = [m for m in goal.metrics if m not in have]
                if missing:
                    raise InvalidGoal(
                        f"trial {trial.number} did not measure {', '.join(missing)}; a new goal can use {', '.join(sorted(have))}"
                    )
            for number in self._outstanding:
                self._asked_for.setdefault(number, self.goal)
            self.events.append(("goal", goal))
            measured, self.goal = self._measured(), goal
            if self._measured() != measured:  # the models were fitted to other trials
                self._posterior.mark_stale()
            self._candidates.retarget(goal)
            self._plan = None

    def explain(self, trial: Trial) -> Explanation:
        """Why this trial was asked."""
        self._check_asked_here(trial, "explain takes a trial that ask or adopt returned")
        return self._explanations[trial.number]

    def recommend(self, *, untried: bool = False) -> Recommendation:
        """The configuration with the lowest objective among those feasible with `confidence`.

        Among those measured, each judged by its own readings as far as they are not noise (a reading told without a standard deviation,
        and not repeated, is taken as it is); with `untried` among all, by the model. Where none is that sure, the measured one most likely
        to be feasible. Expected metrics come with 95 % intervals of a noise-free run.
        """
        with self._lock:
            if not self._has_model():
                return super().recommend()
            with self._up_to_date():
                estimates = self._posterior.noise_free_estimates(self.goal)
                log_p = self._posterior.log_feasible_measured(self.goal, estimates)
                log_p = np.where(self._candidates.outside_bounds(estimates.rows), -np.inf, log_p)
                sure = log_p >= math.log(self.confidence)
                pick = self._pick(estimates, sure) if sure.any() else int(np.argmax(log_p))
                if untried:
                    row, objective, untried_log_p = self._lowest_untried()
                    if objective < (estimates.objective[pick] if sure.any() else np.inf):
                        return self._recommendation(row, untried_log_p)
                return self._recommendation(int(estimates.rows[pick]), float(log_p[pick]))

    def _pick(self, estimates: NoiseFreeEstimates, sure: npt.NDArray[np.bool_]) -> int:
        """The position of the best of the measured rows that are feasible for sure; of equally good ones the most frugal."""
        objective = np.where(sure, estimates.objective, np.inf)
        equal = np.flatnonzero(objective == objective.min())
        keys = frugality(self.space, estimates.rows[equal])
        return int(equal[min(range(equal.size), key=keys.__getitem__)])

    def remaining_gain(self) -> RemainingGain | None:
        """How much the search may still gain, for stopping rules; None while there is no model or nothing measured meets the goal."""
        from bayestuner.search.engine.remaining_gain import RemainingGain

        with self._lock:
            if not self._has_model():
                return None
            with self._up_to_date():
                if not self._posterior.incumbent(self.goal).feasible:
                    return None
                min_log_p = NO_MIN_LOG_P if self.min_p_feasible is None else math.log(self.min_p_feasible)
                return RemainingGain(self.goal, self._posterior, self._scorer, self._candidates, self._trials, min_log_p=min_log_p)

    def predict(self, config: Config) -> dict[str, Prediction]:
        """What the model expects of a configuration, for each metric of the goal."""
        with self._lock:
            if not self._has_model():
                raise NoRecommendation(f"a prediction needs {MIN_MEASURED} different configurations measured first")
            with self._up_to_date():
                return predictions(self._posterior, self.goal, self.space.row(config))

    def state(self) -> dict[str, Any]:
        """The tuner as plain types that JSON can hold, of which `from_state` makes the same tuner: its space, options, asks and tells."""
        if type(self) is not Tuner:
            raise InvalidState(f"a {type(self).__name__} has no state(); pickle it instead")
        with self._lock:
            return state_of(self, self._options, self._history)

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Tuner:
        """The tuner that `state` was taken of, bit for bit: outstanding trials, the next choices, the models.

        It is put through everything it was asked and told, which takes as long as its tells took together. Where this version or machine
        chooses another configuration than was asked, a warning says so, and what was asked stays what it was.

        Raises
        ------
        InvalidState
            For what is no state of a tuner, or one of a newer version.
        """
        tuner: Tuner = restored(cls, state)
        return tuner

    # -- asking -------------------------------------------------------------------------------------------------------

    def _next(self) -> tuple[int, bool]:
        if self._plan is None and self._n_free == 0:
            return super()._next()  # raises SpaceExhausted
        plan = self._plan if self._plan is not None else self._make_plan()
        if plan is None:
            value = f"{self.goal.objective} = {self.goal.sign * (self._best_known() or 0.0):g}"
            raise SpaceExhausted(f"no configuration that is left can be better than one found: {value} meets the goal")
        self._plan = plan
        return plan.row, plan.repeat

    def _choose(self) -> int:
        return self._next()[0]

    def _issue(self, row: int, repeat: bool) -> Trial:
        trial = super()._issue(row, repeat)
        plan = self._plan
        self._explanations[trial.number] = (
            plan.explanation if plan is not None and (plan.row, plan.repeat) == (row, repeat) else Explanation("own choice")
        )
        self._plan = None
        warmup.start()  # only now, so that it does not delay the first configuration
        return trial

    def _has_model(self) -> bool:
        return len({t.row for t in self._measured()}) >= MIN_MEASURED

    def _best_known(self) -> float | None:
        """The objective, where that is a knob, that is surely reached: rows that are no better are not asked."""
        return best_known_objective(self.space, self.goal, self._trials, self._margin_sd)

    def _make_plan(self) -> Plan | None:
        """The next choice; None where no row that is left can be better than one that surely meets the goal."""
        self._candidates.require_better(self._best_known())
        tried = [t.row for t in self._trials if not is_transient(t)]
        if len(tried) < self._n_first or not self._has_model():
            names = self._transfer.names(self.goal) if self._transfer is not None and self._chooses_first() else ()
            row = self._design(tried)
            return Plan(row, False, Explanation("design", history=names)) if row >= 0 else None
        self._learn_all()
        return self._model_choice()

    def _design(self, tried: list[int]) -> int:
        level_starts = self._posterior.geometry.level_starts
        for exclusions in self._candidates.exclusions(self._taken):

            def excluded(rows: npt.NDArray[np.int64], exclusions: Exclusions = exclusions) -> npt.NDArray[np.bool_]:
                return exclusions.excludes(rows, self.space.codes(rows), level_starts)

            row = self._first_row(excluded, tried)
            if row >= 0:
                return row
        return -1

    @staticmethod
    def _checked(history: Sequence[EarlierStudy]) -> Sequence[EarlierStudy]:
        if isinstance(history, EarlierStudy) or not all(isinstance(study, EarlierStudy) for study in history):
            raise InvalidGoal(f"history is a list of earlier studies, each a bayestuner.History, not {history!r}")
        return history

    # -- what subclasses may change -------------------------------------------------------------

    def _modelling(self, family: str, form: str) -> Modelling:
        """How the metrics are modelled."""
        return Modelling(family=family, form=form)

    def _first_row(self, excluded: Excluded, tried: list[int]) -> int:
        """The next row before there is a model, or -1 where all are excluded."""
        # history chooses only one of the first rows: should it mislead, the others are still spread as evenly as can be
        promise = self._transfer.promise(self.goal, self._measured()) if self._transfer is not None and self._chooses_first() else None
        return choose_first(self.space, excluded, tried, self._n_first, self.seed, promise)

    def _chooses_first(self) -> bool:
        """Whether no row of the design has been chosen yet (those that a caller adopted were not)."""
        return all(explanation.reason != "design" for explanation in self._explanations.values())

    def _note_hint(self, trial: Trial) -> None:
        """Apply the knobs' hints to a told trial: it may rule out other rows, or contradict a hint."""
        if not isinstance(trial.outcome, Failed):
            self._candidates.ran(trial.row)
        elif trial.outcome.kind == "oom":
            self._candidates.failed(trial.row, trial.outcome.limit)

    # -- learning -----------------------------------------------------------------------------------------------------

    def tell_outcome(self, trial: Trial, outcome: Outcome) -> Trial:
        """Take an `Outcome`, fit the models to it and choose the next configuration."""
        with self._lock:
            self._plan = None
            return super().tell_outcome(trial, outcome)

    def _learn(self, trial: Trial) -> None:
        self._learn_many([trial])

    def _learn_many(self, trials: list[Trial]) -> None:
        self._plan = None
        if trials:
            self._posterior.mark_stale()
            if self._transfer is not None:
                self._transfer.mark_stale()
        for trial in trials:
            self._note_hint(trial)
        if self._n_free:
            self._plan = self._make_plan()
        elif self._has_model():
            self._learn_all()

    def _measured(self) -> list[Trial]:
        """The trials that measured every metric of the goal; one that was out while the goal changed may lack some."""
        return self._posterior.measured(self.goal, self._trials)

    def _learn_all(self) -> None:
        self._posterior.learn(self._trials, self.goal)

    @contextlib.contextmanager
    def _up_to_date(self) -> Iterator[None]:
        """Within it the models know every result. What is fitted for a reader only is forgotten: choices depend on no reader."""
        kept = self._posterior
        if not kept.is_current(self.goal):
            self._posterior = kept.copy()
        try:
            self._learn_all()
            yield
        finally:
            self._posterior = kept

    # -- choosing by the model ----------------------------------------------------------------------------------------

    def _model_choice(self) -> Plan | None:
        known = knob_objective(self.space, self.goal)
        incumbent = self._posterior.incumbent(self.goal, 0.0 if known is None else self._margin_sd)
        max_distance = math.inf if incumbent.feasible else MAX_LIMIT_DISTANCE
        pending = [t.row for t in self._outstanding.values()]
        power = 1 if incumbent.feasible else FEASIBILITY_POWER
        viability_power = VIABILITY_POWER if self.min_p_feasible is None else 1  # a safe search has its own rule
        plain = self._posterior.for_scoring(self.goal, pending, max_distance)
        scoring = plain.weighted(viability_power) if incumbent.feasible else plain  # else all bounds count `power` fold
        mixture = None if self._transfer is None else self._transfer.mixture(self.goal, scoring, incumbent, pending, max_distance)
        geometry = self._posterior.geometry
        packed = Packed.of(scoring.processes, geometry.d, geometry.levels.size, scoring.noise)
        min_log_p = math.log(self.min_p_feasible) if self.min_p_feasible is not None and incumbent.feasible else NO_MIN_LOG_P
        bounds = scoring.bounds * power
        for exclusions in self._candidates.exclusions(self._taken):
            options: dict[str, Any] = {"objective": scoring.objective, "known": known, "best": incumbent.value, "min_log_p": min_log_p}
            if self._transfer is not None and mixture is not None:
                row, value = self._transfer.best(mixture, exclusions, known, power=power, min_log_p=min_log_p)
            else:
                row, value = self._scorer.best(EXPECTED_IMPROVEMENT, packed, bounds, exclusions, **options)
            again = self._row_to_repeat(incumbent, value, power)
            if again is not None:
                return Plan(again, True, self._explain(again, "repeat"))
            if row >= 0:
                log_p_viable = math.log(max(self._posterior.p_viable(row), 1e-300))
                value -= (viability_power - 1) * log_p_viable if incumbent.feasible else 0.0
                if incumbent.feasible and self.min_p_feasible is None and not self._outstanding:  # a safe search doubts no failure
                    doubtful = row_to_recheck(self._candidates, self._posterior, self._scorer, packed, plain, value, **options)
                    if doubtful is not None:
                        return Plan(doubtful, True, self._explain(doubtful, "recheck"))
                explanation = self._explain(row, "expected improvement", value, power, max_distance)
                return Plan(row, False, explanation if mixture is None else self._with_history(explanation, mixture))
            row, _ = self._scorer.best(MOST_FEASIBLE, packed, plain.bounds, exclusions)
            if row >= 0:
                return Plan(row, False, self._explain(row, "most feasible"))
        return None

    def _with_history(self, explanation: Explanation, mixture: Mixture) -> Explanation:
        assert self._transfer is not None  # noqa: S101 - a mixture is of it
        return replace(explanation, history=self._transfer.names(self.goal), history_weight=mixture.weight)

    def _row_to_repeat(self, incumbent: Incumbent, log_gain_of_new: float, power: int) -> int | None:
        """The measured row that is worth more to be measured again than the best new one, or None."""
        if self._outstanding:
            return None
        if is_knob(self.space, self.goal.objective):
            readings = Counter(t.row for t in self._measured())
            estimates = self._posterior.noise_free_estimates(self.goal)
            log_p = self._posterior.log_feasible_measured(self.goal, estimates)
            log_p = np.where(self._candidates.outside_bounds(estimates.rows), -np.inf, log_p)
            counts = np.array([readings[int(row)] for row in estimates.rows])
            at = row_to_measure_again(estimates.objective, log_p, counts, incumbent.value, power, log_gain_of_new)
            return None if at is None else int(estimates.rows[at])
        if incumbent.variance <= 0.0 or math.isinf(log_gain_of_new):
            return None
        n_readings = sum(1 for t in self._measured() if t.row == incumbent.row)
        if n_readings >= MAX_READINGS:
            return None
        reading_variance = self._posterior.reading_variance(self.goal, incumbent.row) * n_readings
        return incumbent.row if log_repeat_gain(incumbent, reading_variance) > log_gain_of_new else None

    def _log_feasible(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Log of the probability that all bounds hold at rows (m,), failures apart."""
        return np.where(self._candidates.outside_bounds(rows), -np.inf, self._posterior.log_feasible(self.goal, rows))

    def _lowest_untried(self) -> tuple[int, float, float]:
        """The row expected to be best among those neither tried nor outstanding that are feasible with `confidence`.

        With its objective, to be minimised, and its log P(feasible); -1 and inf where there is none. The rows that the best-fitting
        hyperparameters put first are judged with the hyperparameters integrated out.
        """
        scoring = self._posterior.for_scoring(self.goal, [])
        geometry = self._posterior.geometry
        packed = Packed.of(scoring.processes, geometry.d, geometry.levels.size, scoring.noise)
        exclusions = next(self._candidates.exclusions(self._taken))
        options: dict[str, Any] = {"objective": scoring.objective, "known": knob_objective(self.space, self.goal)}
        count, least = min(N_SHORTLIST, self.space.n_rows), math.log(self.confidence)
        rows, _ = self._scorer.top(count, LOWEST_MEAN, packed, scoring.bounds, exclusions, min_log_p=least, **options)
        rows = rows[rows >= 0]
        if not rows.size:
            return -1, math.inf, -math.inf
        log_p = self._log_feasible(rows)
        objective = np.where(log_p >= least, self._posterior.objective_at(self.goal, rows), np.inf)
        best = int(np.argmin(objective))
        return int(rows[best]), float(objective[best]), float(log_p[best])

    def _recommendation(self, row: int, log_p: float) -> Recommendation:
        trial = next((t for t in reversed(self._measured()) if t.row == row), None)
        return Recommendation(row, self.space.config(row), predictions(self._posterior, self.goal, row), math.exp(log_p), trial)

    def _explain(
        self, row: int, reason: str, value: float | None = None, log_p_power: int = 1, max_distance: float = math.inf
    ) -> Explanation:
        predicted, log_p = predictions_and_log_feasible(self._posterior, self.goal, row)
        scored_log_p = log_p if max_distance == math.inf else predictions_and_log_feasible(self._posterior, self.goal, row, max_distance)[1]
        if self._candidates.outside_bounds(np.array([row], dtype=np.int64))[0]:
            log_p = -math.inf
        p_viable = self._posterior.p_viable(row)
        log_ei = None if value is None else value - log_p_power * (scored_log_p + math.log(max(p_viable, 1e-300)))
        return Explanation(reason, log_ei, math.exp(log_p), p_viable, predicted, not self._scorer.exact)
