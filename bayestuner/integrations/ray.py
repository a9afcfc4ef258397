"""BayesTuner's engine as a search algorithm of Ray Tune."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ray.tune.search import UNDEFINED_METRIC_MODE, UNDEFINED_SEARCH_SPACE, Searcher
from ray.tune.search.sample import Categorical, Domain, Float, Integer, LogUniform, Quantized, Uniform
from ray.tune.search.variant_generator import parse_spec_vars
from ray.tune.utils.util import flatten_dict, unflatten_dict

from bayestuner.errors import SpaceExhausted
from bayestuner.goal import Bound, Goal
from bayestuner.integrations.grid import Axis, Grid, choices, real_numbers, whole_numbers
from bayestuner.search.engine.tuner import Tuner
from bayestuner.trial import Trial


class BayesTunerSearch(Searcher):
    """Search algorithm that models the metric, bounds on other metrics and failures by Gaussian processes.

    Parameters
    ----------
    space : dict, optional
        Ray's search space, nested or flat; by default the `param_space` of `ray.tune.Tuner`.
    metric : str, optional
        The metric to optimise; by default that of Ray's `TuneConfig`.
    mode : {"min", "max"}, optional
        By default that of Ray's `TuneConfig`.
    subject_to : sequence of str or Bound
        Bounds on other reported metrics, such as ``"throughput >= 20"``.
    seed : int
        Same seed and same results in the same order give the same suggestions.
    points_to_evaluate : sequence of dict
        Configurations to try first.

    Notes
    -----
    The engine searches a finite grid, see `bayestuner.integrations.grid`: whole numbers, quantised numbers and choices are taken as they
    are, up to 1001 levels; other floats are searched at 201 levels. A trial counts with the last result that it reported; one that ended
    with an error, or without the metrics, teaches where trials fail. Trials that run at the same time are taken into account. Once every
    point of the grid was tried, the search is finished.

    Examples
    --------
    >>> from ray import tune
    >>> space = {"cores": tune.randint(1, 9), "batch": tune.choice([1, 2, 4, 8])}
    >>> search = BayesTunerSearch(space, metric="power", mode="min", subject_to=["throughput >= 20"])
    >>> search.suggest("a trial's id").keys()
    dict_keys(['cores', 'batch'])
    """

    def __init__(
        self,
        space: Mapping[str, Any] | None = None,
        metric: str | None = None,
        mode: str | None = None,
        *,
        subject_to: Sequence[str | Bound] = (),
        seed: int = 0,
        points_to_evaluate: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__(metric=metric, mode=mode)
        self._metric: str | None = metric
        self._mode: str | None = mode
        self._seed = seed
        self._bounds = list(subject_to)
        self._points = [dict(point) for point in points_to_evaluate]
        self._space = dict(space) if space else None
        self._grid: Grid | None = None
        self._tuner: Tuner | None = None
        self._trials: dict[str, Trial] = {}
        self._events: list[tuple[str, str, Any]] = []  # what was done, in order: a search is restored by doing it again

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        """Take from Ray what was not given to the constructor; False where a space was."""
        if self._space is not None:
            return False
        self._space = config
        self._metric = metric or self._metric
        self._mode = mode or self._mode
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | str:
        """The next configuration, or `FINISHED` where all were tried."""
        tuner, grid = self._begun()
        try:
            self._trials[trial_id] = trial = self._next(tuner, grid)
        except SpaceExhausted:
            return str(Searcher.FINISHED)
        self._events.append(("ask", trial_id, None))
        suggested: dict[str, Any] = unflatten_dict(grid.values(trial.config))
        return suggested

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Learn what a trial came to: its last result, or that it failed."""
        trial = self._trials.pop(trial_id, None)
        if trial is None:
            return
        metrics = None if error else self._metrics(result or {})
        self._tell(trial, metrics)
        self._events.append(("tell", trial_id, metrics))

    def add_evaluated_point(
        self,
        parameters: dict[str, Any],
        value: float,
        error: bool = False,
        pruned: bool = False,
        intermediate_values: list[float] | None = None,
    ) -> None:
        """Learn from a trial that was run elsewhere. Only without bounds, since a point brings no other metric.

        Raises
        ------
        ValueError
            This search has bounds, or the point lies outside the space.
        """
        _, grid = self._begun()
        if self._bounds:
            raise ValueError("a point brings the value of one metric, and this search has bounds on others; run the trial again instead")
        config = grid.config(flatten_dict(parameters, prevent_delimiter=True))
        if config is None:
            raise ValueError(f"the point {parameters} lies outside the search space")
        metrics = None if error else self._metrics({str(self._metric): value})
        self._add(config, metrics)
        self._events.append(("add", "", (config, metrics)))

    def save(self, checkpoint_path: str) -> None:
        """Write everything that the search was told, as JSON, so that `restore` goes on with the same suggestions."""
        Path(checkpoint_path).write_text(json.dumps(self._events), encoding="utf-8")

    def restore(self, checkpoint_path: str) -> None:
        """Go on from what `save` wrote, in a search that was made with the same space, metric, mode, bounds, points and seed."""
        tuner, grid = self._anew()
        for kind, trial_id, what in json.loads(Path(checkpoint_path).read_text(encoding="utf-8")):
            if kind == "ask":
                self._trials[trial_id] = self._next(tuner, grid)
            elif kind == "tell":
                self._tell(self._trials.pop(trial_id), what)
            else:
                self._add(*what)
            self._events.append((kind, trial_id, what))

    def _anew(self) -> tuple[Tuner, Grid]:
        self._grid = self._tuner = None
        self._trials, self._events = {}, []
        return self._begun()

    # -- inside ---------------------------------------------------------------------------------------------------------------

    def _begun(self) -> tuple[Tuner, Grid]:
        """The tuner, made when all is known that it needs."""
        if self._space is None:
            raise RuntimeError(UNDEFINED_SEARCH_SPACE.format(cls=type(self).__name__, space="space"))
        if not self._metric or not self._mode:
            raise RuntimeError(UNDEFINED_METRIC_MODE.format(cls=type(self).__name__, metric=self._metric, mode=self._mode))
        if self._tuner is None or self._grid is None:
            self._grid = Grid(axes_of(self._space))
            goal = {"minimize" if self._mode == "min" else "maximize": self._metric}
            self._tuner = Tuner(self._grid.space, Goal(**goal, subject_to=self._bounds), seed=self._seed)
        return self._tuner, self._grid

    def _next(self, tuner: Tuner, grid: Grid) -> Trial:
        asked = len(tuner.trials)
        if asked >= len(self._points):
            return tuner.ask()
        config = grid.config(flatten_dict(self._points[asked], prevent_delimiter=True))
        if config is None:
            raise ValueError(f"the point to evaluate {self._points[asked]} lies outside the search space")
        return tuner.adopt(config)

    def _metrics(self, result: Mapping[str, Any]) -> dict[str, float] | None:
        """The metrics of the goal; None where one is missing or no finite number, which counts as a failure."""
        tuner, _ = self._begun()
        values = {name: result.get(name) for name in tuner.goal.metrics}
        finite = {n: float(v) for n, v in values.items() if v is not None and math.isfinite(v)}
        return finite if len(finite) == len(values) else None

    def _tell(self, trial: Trial, metrics: dict[str, float] | None) -> None:
        tuner, _ = self._begun()
        if metrics is None:
            tuner.tell_failed(trial)
        else:
            tuner.tell(trial, metrics)

    def _add(self, config: dict[str, Any], metrics: dict[str, float] | None) -> None:
        tuner, _ = self._begun()
        self._tell(tuner.adopt(config), metrics)


def axes_of(space: Mapping[str, Any]) -> list[Axis]:
    """The parameters of Ray's search space; those of nested dicts are called by their path, as ``model/layers``.

    Raises
    ------
    ValueError
        There is none, or one has a form that no finite grid can stand for (a normal distribution, a function, a grid search).
    """
    _, domains, grids = parse_spec_vars(dict(space))
    if grids:
        raise ValueError("grid_search tries every value itself; give BayesTunerSearch tune.choice or another range instead")
    if not domains:
        raise ValueError("the search space holds no range to search; give it tune.randint, tune.uniform, tune.choice or their like")
    return [_axis("/".join(map(str, path)), domain) for path, domain in domains]


def _axis(name: str, domain: Domain) -> Axis:
    sampler, step = domain.get_sampler(), None
    if isinstance(sampler, Quantized):
        sampler, step = sampler.get_sampler(), sampler.q
    log = isinstance(sampler, LogUniform)
    if isinstance(domain, Categorical) and isinstance(sampler, Uniform):
        return choices(name, domain.categories)
    if isinstance(domain, Integer) and isinstance(sampler, (Uniform, LogUniform)):
        high = domain.upper if step else domain.upper - 1  # the upper end is left out, but of quantised ranges
        return whole_numbers(name, domain.lower, high, int(step or 1), log=log)
    if isinstance(domain, Float) and isinstance(sampler, (Uniform, LogUniform)):
        return real_numbers(name, domain.lower, domain.upper, step, log=log)
    law = type(sampler).__name__.strip("_")
    raise ValueError(f"the parameter {name!r} is a {type(domain).__name__} sampled by {law}, which no finite grid stands for")
