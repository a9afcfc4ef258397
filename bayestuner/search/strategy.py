"""What every search strategy shares: asking, telling, and the record of trials kept in between.

A strategy implements `Strategy._choose` (which row is next) and, where it learns, `Strategy._learn`. All the rest is here, so that every
strategy checks results in the same way and tries no configuration twice.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, overload

from bayestuner.errors import InvalidGoal, InvalidSpace, InvalidTell, NoRecommendation, SpaceExhausted, finite_number, whole_number
from bayestuner.forking import ForkSafe
from bayestuner.goal import Goal
from bayestuner.space import Space
from bayestuner.trial import Config, Failed, Measured, Outcome, Reading, Trial


@dataclass(frozen=True, slots=True)
class Prediction:
    """What is expected of one metric: the middle and the ends of a 95 % interval, in the metric's own unit."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What to deploy.

    Attributes
    ----------
    row, config
        The configuration.
    expected : dict
        Metric name -> `Prediction`, by the strategy's model where it has one, else the reading.
    p_feasible : float
        The probability that every bound holds; 1.0 or 0.0 for a strategy without a model.
    trial : Trial or None
        The trial that measured it, if one did.
    """

    row: int
    config: Config
    expected: dict[str, Prediction]
    p_feasible: float
    trial: Trial | None


def check_goal(goal: Goal, space: Space) -> None:
    """Raise `InvalidGoal` for a goal that can't be searched for: a bound is still relative, or no configuration of `space` can meet it.

    Raises `InvalidSpace` for what is no space.
    """
    if not isinstance(goal, Goal):
        raise InvalidGoal(f"a strategy searches for a Goal, not for {goal!r}")
    if not isinstance(space, Space):
        raise InvalidSpace(f"a strategy searches a Space, not {space!r}")
    if goal.relative:
        raise InvalidGoal(f"the goal '{goal}' has a relative bound; give it a reference with goal.resolve({{metric: value}}) first")
    problem = goal.impossible({knob.name: knob.values for knob in space.knobs if knob.numeric})
    if problem:
        raise InvalidGoal(f"the goal '{goal}' can't be reached: {problem}; change its bounds")


MAX_TRANSIENT = 2  # transient failures of a row in a row, after which others are asked first


class Strategy(ForkSafe, ABC):
    """Base of all search strategies.

    Parameters
    ----------
    space : Space
    goal : Goal
        Its bounds are absolute (see `Goal.resolve`).
    seed : int
        Same seed and same results told in the same order give the same configurations.

    Attributes
    ----------
    events : list of tuple
        Everything that was asked, adopted, told and aimed at, in order: all that later choices depend on.
    """

    name = ""

    def __init__(self, space: Space, goal: Goal, *, seed: int = 0) -> None:
        check_goal(goal, space)
        super().__init__()
        self.space = space
        self.goal = goal
        self.seed = whole_number(seed, "seed", 0, InvalidGoal)
        self._trials: list[Trial] = []
        self._outstanding: dict[int, Trial] = {}
        self._taken: set[int] = set()  # rows tried or outstanding; a set, because an array over all rows could be too large
        self._aside: dict[int, int] = {}  # row that failed transiently too often -> how many results are told before it may be asked again
        self._asked_for: dict[int, Goal] = {}  # number of an outstanding trial -> the goal it was asked for, where that was replaced since
        self._n_allowed = len(space)
        self.events: list[tuple[Any, ...]] = [("goal", goal)]

    # -- asking and telling -------------------------------------------------------------------------------------------

    @overload
    def ask(self) -> Trial: ...

    @overload
    def ask(self, n: int) -> list[Trial]: ...

    def ask(self, n: int | None = None) -> Trial | list[Trial]:
        """Return the next configuration to run, or with `n` a list of that many to run at the same time (fewer where fewer are left).

        May be called again before a `tell`; outstanding trials are taken into account.

        Raises
        ------
        SpaceExhausted
            When every allowed configuration has been tried or is outstanding.
        """
        with self._lock:
            if self._n_free == 0:  # better one that failed transiently than none
                self._take_back(list(self._aside))
            if n is None:
                return self._ask_row(*self._next())
            n = whole_number(n, "the number of configurations that ask(n) takes", 1, InvalidTell)
            batch = [self._ask_row(*self._next())]
            with contextlib.suppress(SpaceExhausted):
                while len(batch) < n and self._n_free:
                    batch.append(self._ask_row(*self._next()))
            return batch

    def _ask_row(self, row: int, repeat: bool) -> Trial:
        self.events.append(("ask", int(row), repeat))
        return self._issue(row, repeat)

    def adopt(self, config: Mapping[str, Any]) -> Trial:
        """Return a trial for a configuration that the caller chose: a default, an earlier result, a repeat."""
        with self._lock:
            row = self.space.row(config)
            self.events.append(("adopt", row))
            return self._issue(row, repeat=row in self._taken)

    def tell(self, trial: Trial, metrics: Mapping[str, float | Reading] | None = None, /, **more: float | Reading) -> Trial:
        """Record the metrics that a trial measured, as numbers or as `Reading`; return the trial with its outcome.

        Raises
        ------
        InvalidTell
            For a value that is not finite, a metric of the goal that is missing, a trial not asked here or told before. The
            state is then unchanged.
        """
        if metrics is not None and not isinstance(metrics, Mapping):
            raise InvalidTell(f"tell takes metrics as a dict of name and value, or as name=value, not {metrics!r}")
        given = {**(metrics or {}), **more}
        readings = {name: _reading(name, value, trial) for name, value in given.items()}
        return self.tell_outcome(trial, Measured(readings))

    def tell_failed(self, trial: Trial, kind: str = "error", message: str = "", *, limit: str = "") -> Trial:
        """Record that a trial failed: ``"oom"``, ``"timeout"``, ``"error"``, or ``"transient"`` (nothing is learnt; may be asked again).

        `limit` names the knob that limited the run, where several might have and it is known.
        """
        return self.tell_outcome(trial, Failed(kind, message, limit))

    def tell_outcome(self, trial: Trial, outcome: Outcome) -> Trial:
        """Record an `Outcome`; `tell` and `tell_failed` call this.

        A result that was accepted is kept, also where learning from it is interrupted (memory, a signal); the next ask makes up for it.
        """
        with self._lock:
            self._check_tell(trial, outcome)
            self.events.append(("tell", trial.number, outcome))
            told = self._record(trial, outcome)
            if not is_transient(told):
                self._learn(told)
            return told

    def tell_many(self, results: Iterable[tuple[Mapping[str, Any] | Trial, Any]]) -> list[Trial]:
        """Record many results and learn from them once, which is much faster than telling them one by one; return their trials.

        Parameters
        ----------
        results : iterable of (config or Trial, result)
            A trial that is out, or a configuration that is adopted for it. The result is a dict of metrics (numbers or `Reading`), an
            `Outcome`, or the kind of a failure.

        Raises
        ------
        InvalidSpace, InvalidTell
            For a configuration or a result that can't be used; nothing at all is then recorded.
        """
        with self._lock:
            checked = self._checked_results(results)
            trials = [given if isinstance(given, Trial) else self.adopt(given) for given, _ in checked]
            outcomes = [outcome for _, outcome in checked]
            self.events.append(("tell_many", [(t.number, outcome) for t, outcome in zip(trials, outcomes, strict=True)]))
            told = [self._record(trial, outcome) for trial, outcome in zip(trials, outcomes, strict=True)]
            self._learn_many([trial for trial in told if not is_transient(trial)])
            return told

    def _checked_results(self, results: Iterable[tuple[Any, Any]]) -> list[tuple[Any, Outcome]]:
        checked: list[tuple[Any, Outcome]] = []
        numbers: set[int] = set()
        for position, pair in enumerate(results):
            if not isinstance(pair, (tuple, list)) or len(pair) != 2 or not isinstance(pair[0], (Mapping, Trial)):
                raise InvalidTell(f"result {position} is a pair of a configuration or a trial and its result, not {pair!r}")
            given, outcome = pair[0], as_outcome(pair[1], f"result {position}")
            if isinstance(given, Trial):
                self._check_tell(given, outcome)
                if given.number in numbers:
                    raise InvalidTell(f"result {position} is of trial {given.number}, as one before it is; each trial is told once")
                numbers.add(given.number)
            else:
                self.space.row(given)
                self._check_outcome(f"result {position}", self.goal, outcome)
            checked.append((given, outcome))
        return checked

    def _record(self, trial: Trial, outcome: Outcome) -> Trial:
        told = replace(self._outstanding.pop(trial.number), outcome=outcome)
        self._trials[trial.number] = told
        self._asked_for.pop(trial.number, None)
        if is_transient(told):
            self._release(told.row)
        else:
            told_so_far = self._n_told if self._aside else 0
            self._take_back([row for row, until in self._aside.items() if told_so_far >= until])
        return told

    # -- reading ------------------------------------------------------------------------------------------------------

    @property
    def trials(self) -> tuple[Trial, ...]:
        """Every trial asked so far, in order; those still running have no outcome."""
        return tuple(self._trials)

    @property
    def outstanding(self) -> tuple[Trial, ...]:
        """Trials asked and not yet told."""
        return tuple(self._outstanding.values())

    @property
    def best_feasible(self) -> Trial | None:
        """The best trial measured that meets the goal, or None."""
        best: Trial | None = None
        best_values: dict[str, float] = {}
        for trial in self._trials:
            values = self.values_of(trial)
            if values and self.goal.feasible(values) and (best is None or self.goal.better(values, best_values)):
                best, best_values = trial, values
        return best

    def values_of(self, trial: Trial) -> dict[str, float]:
        """Metrics of a trial, with any numeric knob the goal names as a metric; empty unless it measured every metric of the goal.

        A knob's value is that of the configuration, whatever a metric of the same name was told to be.
        """
        values = {**trial.metrics, **{n: float(trial.config[n]) for n in self._knob_metrics()}}
        asked = isinstance(trial.outcome, Measured) and all(metric in values for metric in self.goal.metrics)
        return values if asked else {}

    def recommend(self) -> Recommendation:
        """What to deploy: without a model, the best feasible trial, or the least violating one where none is feasible."""
        trial = self.best_feasible
        if trial is None:
            measured = [t for t in self._trials if self.values_of(t)]
            if not measured:
                raise NoRecommendation("nothing has been measured yet; tell at least one result first")
            trial = min(measured, key=lambda t: self.goal.violation(self.values_of(t)))
        values = self.values_of(trial)
        expected = {n: Prediction(v, v, v) for n, v in values.items() if n in self.goal.metrics}
        return Recommendation(trial.row, trial.config, expected, float(self.goal.feasible(values)), trial)

    # -- for strategies -----------------------------------------------------------------------------------------------

    @abstractmethod
    def _choose(self) -> int:
        """Return the row to try next, not among those taken; `_n_free` is at least 1."""

    def _learn(self, trial: Trial) -> None:
        """Learn from a trial that was told (never a transient failure). Many strategies need only the record of trials."""

    def _learn_many(self, trials: list[Trial]) -> None:
        for trial in trials:
            self._learn(trial)

    def _next(self) -> tuple[int, bool]:
        """The next row, and whether it repeats one already tried."""
        if self._n_free == 0:
            raise SpaceExhausted(f"all {len(self.space)} configurations of this space have been tried or are running")
        return self._choose(), False

    @property
    def _n_free(self) -> int:
        """How many allowed configurations are neither tried nor outstanding."""
        if self.space.allowed is None:
            return self._n_allowed - len(self._taken)
        return self._n_allowed - sum(1 for row in self._taken if self.space.is_allowed(row))

    # -- the record of trials -----------------------------------------------------------------------------------------

    def _issue(self, row: int, repeat: bool) -> Trial:
        trial = Trial(len(self._trials), int(row), self.space.config(int(row)), repeat)
        self._taken.add(trial.row)
        self._trials.append(trial)
        self._outstanding[trial.number] = trial
        return trial

    def _release(self, row: int) -> None:
        """Let a row that failed transiently be asked again: at once, but the oftener it has failed the more other results come first."""
        failures = sum(1 for t in self._trials if t.row == row and is_transient(t))
        if failures < MAX_TRANSIENT:
            self._take_back([row])
        else:
            self._aside[row] = self._n_told + 2**failures

    def _take_back(self, rows: list[int]) -> None:
        """Let rows be asked again, unless another trial of them counts."""
        for row in rows:
            self._aside.pop(row, None)
            if not any(t.row == row and not is_transient(t) for t in self._trials):
                self._taken.discard(row)

    @property
    def _n_told(self) -> int:
        """How many trials were told a result that counts."""
        return sum(1 for t in self._trials if t.outcome is not None and not is_transient(t))

    def _knob_metrics(self) -> list[str]:
        return [k.name for k in self.space.knobs if k.numeric and k.name in self.goal.metrics]

    def _check_asked_here(self, trial: Trial, advice: str) -> None:
        """Raise `InvalidTell` unless this strategy issued the trial, or one that is equal to it."""
        if not isinstance(trial, Trial):
            raise InvalidTell(f"a trial is what ask returned, not {trial!r}; {advice}")
        own = self._trials[trial.number] if 0 <= trial.number < len(self._trials) else None
        if own is None or (own.row, own.config) != (trial.row, trial.config):
            raise InvalidTell(f"trial {trial.number} ({dict(trial.config)}) was not asked here; {advice}")

    def _check_tell(self, trial: Trial, outcome: Outcome) -> None:
        self._check_asked_here(trial, "tell the trials that ask returned")
        if trial.number not in self._outstanding:
            raise InvalidTell(f"trial {trial.number} was already told, and its result is kept; each trial is told once")
        self._check_outcome(f"trial {trial.number}", self._asked_for.get(trial.number, self.goal), outcome)

    def _check_outcome(self, what: str, goal: Goal, outcome: Outcome) -> None:
        if isinstance(outcome, Failed) and outcome.limit and outcome.limit not in self.space.names:
            raise InvalidTell(f"{what} is said to be limited by {outcome.limit!r}; the knobs are {', '.join(self.space.names)}")
        if isinstance(outcome, Measured):
            missing = [m for m in goal.metrics if m not in outcome.metrics and m not in self.space.numeric_names]
            if missing:
                told = ", ".join(outcome.metrics) or "nothing"
                raise InvalidTell(f"{what} was told {told}, but the goal '{goal}' also needs {', '.join(missing)}")


def is_transient(trial: Trial) -> bool:
    """Whether a trial failed through the machine's fault, which says nothing about its configuration."""
    return isinstance(trial.outcome, Failed) and trial.outcome.kind == "transient"


def as_outcome(result: Any, what: str) -> Outcome:
    """The outcome that a dict of metrics, a kind of failure or an outcome stands for; `what` names it in messages."""
    if isinstance(result, (Measured, Failed)):
        return result
    if isinstance(result, str):
        return Failed(result)
    if not isinstance(result, Mapping):
        raise InvalidTell(f"{what} is a dict of metrics or the kind of a failure, not {result!r}")
    readings = {
        metric: value if isinstance(value, Reading) else Reading(finite_number(value, f"metric {metric!r} of {what}", InvalidTell))
        for metric, value in result.items()
    }
    return Measured(readings)


def _reading(name: str, value: float | Reading, trial: Trial) -> Reading:
    if isinstance(value, Reading):
        return value
    number = getattr(trial, "number", "?")
    return Reading(finite_number(value, f"metric {name!r} of trial {number}", InvalidTell, "; use tell_failed for a failed run"))
