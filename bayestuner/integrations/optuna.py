"""BayesTuner's engine as a sampler of Optuna: constrained Bayesian optimisation without torch.

The sampler keeps no knowledge of its own: whatever it models stands in Optuna's storage, so that threads, processes and machines that share
a study share what was learnt, and a sampler can be pickled, copied or made anew at any time.
"""

from __future__ import annotations

import json
import math
import random
import threading
from collections.abc import Callable, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.search_space import IntersectionSearchSpace
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from bayestuner.errors import SpaceExhausted
from bayestuner.goal import AtMost, Goal
from bayestuner.integrations.grid import Axis, Grid, choices, real_numbers, whole_numbers
from bayestuner.search.engine.tuner import Tuner
from bayestuner.trial import Config, Trial

CONSTRAINTS = "constraints"  # the attribute of a trial where Optuna keeps them, as a list or one by one
ASKED = "bayestuner:asked"
OBJECTIVE = "objective"

_log = optuna.logging.get_logger(__name__)


class BayesTunerSampler(BaseSampler):
    """Sampler that models objective, constraints and failures by Gaussian processes, in about two milliseconds a suggestion.

    Parameters
    ----------
    seed : int, optional
        Same seed and same results in the same order give the same suggestions; drawn where not given.
    search_space : dict of str to BaseDistribution, optional
        The parameters, where they are known beforehand: the first trials then spread over the whole space. Without it the parameters are
        those that every finished trial had, and the first trial is drawn at random.
    constraints_func : callable, optional
        ``constraints_func(trial) -> sequence of float``, each feasible at 0 or less; `optuna.trial.Trial.set_constraint` does the same.
    independent_sampler : BaseSampler, optional
        For parameters that not every trial has; random by default.

    Raises
    ------
    ValueError
        At the first suggestion for a study with several objectives.

    Notes
    -----
    The engine searches a finite grid: whole numbers and steps are taken as they are, up to 1001 levels; a float without a step is searched
    at 201 levels. Failed trials teach where runs fail; running ones, of other threads and processes too, are taken into account; pruned
    ones count with the last value they reported, or as failed where they reported none. Once every point of the grid was tried, the
    independent sampler suggests.

    Examples
    --------
    >>> import optuna
    >>> from bayestuner.integrations.optuna import BayesTunerSampler
    >>> def power(trial):
    ...     cores, batch = trial.suggest_int("cores", 1, 8), trial.suggest_categorical("batch", [1, 2, 4, 8])
    ...     trial.set_constraint("throughput", 20.0 - 4.0 * cores * batch**0.5)
    ...     return 10.0 + 5.0 * cores + batch
    >>> study = optuna.create_study(sampler=BayesTunerSampler(seed=0))
    >>> study.optimize(power, n_trials=15)
    >>> study.best_params
    {'cores': 2, 'batch': 8}
    """

    def __init__(
        self,
        *,
        seed: int | None = None,
        search_space: dict[str, BaseDistribution] | None = None,
        constraints_func: Callable[[FrozenTrial], Sequence[float]] | None = None,
        independent_sampler: BaseSampler | None = None,
    ) -> None:
        self._seed = random.SystemRandom().randrange(2**31) if seed is None else seed
        self._given_space = dict(search_space) if search_space is not None else None
        self._constraints_func = constraints_func
        self._independent = independent_sampler or RandomSampler(seed=self._seed)
        self._shared_parameters = IntersectionSearchSpace()
        self._lock = threading.Lock()
        self._search: _Search | None = None

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The parameters suggested together: those given, or those that every finished trial had."""
        self._check(study)
        space = self._given_space
        if space is None:
            with self._lock:  # it remembers what it has read
                space = self._shared_parameters.calculate(study)
        return {name: distribution for name, distribution in space.items() if not distribution.single()}

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        """Suggest one point of the grid; by the independent sampler where all have been tried."""
        self._check(study)
        if not search_space:
            return {}
        with self._lock:
            trials = study._get_trials(deepcopy=False, use_cache=False)
            problem = _Problem.of(study, trials, search_space)
            if self._search is None or self._search.problem != problem:
                self._search = _Search(problem, self._seed)
            values = self._search.suggest(trials, trial)
            if values is not None:
                # Other processes see a trial's parameters only once they are used: this tells them at once what is being tried.
                study._storage.set_trial_system_attr(trial._trial_id, ASKED, json.dumps(self._search.levels(values)))
                return values
        _log.warning(f"Trial {trial.number}: every point of the grid has been tried; {type(self._independent).__name__} suggests")
        return {name: self._independent.sample_independent(study, trial, name, d) for name, d in search_space.items()}

    def sample_independent(self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution) -> Any:
        """Suggest a parameter that not every trial has."""
        self._check(study)
        return self._independent.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Note what `constraints_func` says of a trial that ended well."""
        if self._constraints_func is not None and state in (TrialState.COMPLETE, TrialState.PRUNED):
            constraints = tuple(float(c) for c in self._constraints_func(trial))
            if any(math.isnan(c) for c in constraints):
                raise ValueError(f"constraints_func returned {constraints} for trial {trial.number}; a constraint is a number, not NaN")
            study._storage.set_trial_system_attr(trial._trial_id, CONSTRAINTS, constraints)
        self._independent.after_trial(study, trial, state, values)

    def reseed_rng(self) -> None:
        """Take a new seed, so that copies of this sampler differ."""
        with self._lock:
            self._seed = random.SystemRandom().randrange(2**31)
            self._independent.reseed_rng()
            self._search = None

    def __getstate__(self) -> dict[str, Any]:
        """Everything but what can be read from the storage again."""
        return {**self.__dict__, "_lock": None, "_search": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    def _check(self, study: Study) -> None:
        if len(study.directions) > 1:
            raise ValueError(
                f"BayesTunerSampler optimises one objective, and this study has {len(study.directions)}; "
                "make the others constraints, or take another sampler"
            )


class _Problem:
    """What a search is for; where it changes, the search begins anew with all that is known.

    Attributes
    ----------
    study : int
        Optuna's number of the study.
    distributions : dict
        Parameter name -> distribution, sorted by name.
    constraints : tuple of str
        Names of all constraints that any finished trial has.
    maximize : bool
    """

    def __init__(self, study: int, distributions: dict[str, BaseDistribution], constraints: tuple[str, ...], maximize: bool) -> None:
        self.study = study
        self.distributions = distributions
        self.constraints = constraints
        self.maximize = maximize

    @classmethod
    def of(cls, study: Study, trials: Sequence[FrozenTrial], search_space: dict[str, BaseDistribution]) -> _Problem:
        names = {name for trial in trials if trial.state.is_finished() for name in _constraints(trial)}
        return cls(study._study_id, dict(sorted(search_space.items())), tuple(sorted(names)), study.direction is StudyDirection.MAXIMIZE)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Problem) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]

    @property
    def goal(self) -> Goal:
        """The objective, and every constraint at most 0."""
        bounds = [AtMost(_metric(name), 0.0) for name in self.constraints]
        return Goal(maximize=OBJECTIVE, subject_to=bounds) if self.maximize else Goal(minimize=OBJECTIVE, subject_to=bounds)


class _Search:
    """A tuner that is told what stands in a study, each trial once."""

    def __init__(self, problem: _Problem, seed: int) -> None:
        self.problem = problem
        self.grid = Grid([_axis(name, distribution) for name, distribution in problem.distributions.items()])
        self.tuner = Tuner(self.grid.space, problem.goal, seed=seed)
        self._read: set[int] = set()  # numbers of the finished trials that were read
        self._running: dict[int, Trial] = {}  # a running trial's number -> what stands for it in the tuner

    def suggest(self, trials: Sequence[FrozenTrial], trial: FrozenTrial) -> dict[str, Any] | None:
        """Values for `trial`, after reading all others; None where the whole grid was tried."""
        for other in trials:
            if other.number in self._read or other.number == trial.number:
                continue
            if other.state.is_finished():
                self._finish(other)
            elif other.state is TrialState.RUNNING and other.number not in self._running:
                config = self._config_asked(other)
                if config is not None:
                    self._running[other.number] = self.tuner.adopt(config)
        try:
            asked = self.tuner.ask()
        except SpaceExhausted:
            return None
        self._running[trial.number] = asked
        return self.grid.values(asked.config)

    def levels(self, values: dict[str, Any]) -> dict[str, int | None]:
        """The levels of suggested values by parameter name."""
        return {axis.name: axis.code(values[axis.name]) for axis in self.grid.axes}

    def _finish(self, trial: FrozenTrial) -> None:
        self._read.add(trial.number)
        config = self.grid.config(trial.params)
        standing = self._running.pop(trial.number, None)
        if standing is not None and config != standing.config:  # another value was run than asked, or the trial ended before it used any
            self.tuner.tell_failed(standing, "transient")
            standing = None
        if config is None:
            return
        metrics = self._metrics(trial)
        if metrics is None and trial.state is TrialState.COMPLETE and not self._is_failure(trial):
            return  # it lacks a constraint that others have: nothing can be said of it
        if standing is None:
            standing = self.tuner.adopt(config)
        if metrics is None:
            self.tuner.tell_failed(standing)
        else:
            self.tuner.tell(standing, metrics)

    def _metrics(self, trial: FrozenTrial) -> dict[str, float] | None:
        """The objective and every constraint; None where one is missing or not finite."""
        given = {OBJECTIVE: _value(trial), **{_metric(name): value for name, value in _constraints(trial).items()}}
        values = {name: given.get(name) for name in (OBJECTIVE, *map(_metric, self.problem.constraints))}
        finite = {name: value for name, value in values.items() if value is not None and math.isfinite(value)}
        return finite if len(finite) == len(values) else None

    def _is_failure(self, trial: FrozenTrial) -> bool:
        """Whether a completed trial says that its point is worthless: its objective or a constraint is infinite."""
        return any(value is not None and not math.isfinite(value) for value in (_value(trial), *_constraints(trial).values()))

    def _config_asked(self, trial: FrozenTrial) -> Config | None:
        """What a running trial tries: by its parameters, or by what another process noted when it suggested them."""
        config = self.grid.config(trial.params)
        note = trial.system_attrs.get(ASKED)
        if config is not None or note is None:
            return config
        try:
            levels = json.loads(note)
            found = zip(self.grid.space.knobs, self.grid.axes, strict=True)
            return {knob.name: knob.values[levels[axis.name]] for knob, axis in found}
        except (ValueError, TypeError, LookupError):  # of another search space, or not ours
            return None


def _axis(name: str, distribution: BaseDistribution) -> Axis:
    if isinstance(distribution, IntDistribution):
        return whole_numbers(name, distribution.low, distribution.high, distribution.step, log=distribution.log)
    if isinstance(distribution, FloatDistribution):
        return real_numbers(name, distribution.low, distribution.high, distribution.step, log=distribution.log)
    if isinstance(distribution, CategoricalDistribution):
        return choices(name, distribution.choices)
    raise ValueError(f"parameter {name!r} is a {type(distribution).__name__}; BayesTunerSampler knows int, float and categorical ones")


def _metric(constraint: str) -> str:
    return f"constraint {constraint}"


def _value(trial: FrozenTrial) -> float | None:
    """A finished trial's objective; for a pruned one the last value it reported."""
    if trial.state is TrialState.COMPLETE:
        return trial.value
    if trial.state is TrialState.PRUNED and trial.intermediate_values:
        return trial.intermediate_values[max(trial.intermediate_values)]
    return None


def _constraints(trial: FrozenTrial) -> dict[str, float]:
    """A trial's constraints by name; Optuna keeps those of `constraints_func` as a list, those of `set_constraint` one by one."""
    listed = trial.system_attrs.get(CONSTRAINTS) or ()
    named = {key.removeprefix(f"{CONSTRAINTS}:"): v for key, v in trial.system_attrs.items() if key.startswith(f"{CONSTRAINTS}:")}
    return {**{str(i): v for i, v in enumerate(listed)}, **named}
