"""What a study's model says: recommendations under other bounds, what each knob does, and which knobs matter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bayestuner.errors import BayesTunerError
from bayestuner.goal import Bound, Goal
from bayestuner.report.page.content import Axis
from bayestuner.report.words import config_text, label, quantity
from bayestuner.search.strategy import Prediction
from bayestuner.space import Knob, Space
from bayestuner.study.study import Study
from bayestuner.study.summary import Summary
from bayestuner.trial import Config

LIKELY = 0.5
BOUND_STEPS = 41
SLICE_LEVELS = 40
MAP_LEVELS = 20
SAMPLED_CONFIGS = 48
"""Random configurations that a knob's share of the variance is estimated from."""


@dataclass(frozen=True)
class Model:
    """What the charts of the model are drawn from.

    Attributes
    ----------
    bounds : list of dict
        For each threshold of the first bound: what is recommended and expected then.
    slices : list of (str, Axis, list of dict)
        Knob, metric, and for each of the knob's levels what is expected with its interval, all other knobs as recommended.
    map : list of dict
        The objective over the two knobs that matter most.
    map_knobs : tuple of str
    shares : list of dict
        Knob -> its share of the variance of the objective, by the model.
    at : dict
        The configuration that slices and map go through.
    """

    bounds: list[dict[str, Any]]
    slices: list[tuple[str, Axis, list[dict[str, Any]]]]
    map: list[dict[str, Any]]
    map_knobs: tuple[str, ...]
    shares: list[dict[str, Any]]
    at: Config


def model_of(study: Study, summary: Summary, goal: Goal, axes: Sequence[Axis]) -> Model | None:
    """Ask the study's model; None where its strategy has none, or too little was measured.

    Parameters
    ----------
    goal : Goal
        With absolute bounds.
    axes : sequence of Axis
        The objective, and the first bound's metric where there is one.
    """
    strategy: Any = study.strategy()
    if goal.relative or not hasattr(strategy, "retarget"):
        return None
    try:
        strategy.retarget(goal)
        at = summary.recommended.config if summary.recommended is not None else strategy.recommend().config
        strategy.predict(at)
        shares = _shares(strategy, study.space, goal.objective, at)
        pair = tuple(share["knob"] for share in shares[:2])
        slices = [_slice(strategy, knob, at, axes) for knob in study.space.knobs if len(knob) > 1]
        return Model(
            bounds=_under_other_bounds(study, strategy, summary, goal, axes) if len(axes) > 1 else [],
            slices=[one for knob in slices for one in knob if one[2]],
            map=_map(strategy, study.space, pair, at, axes[0], goal) if len(pair) == 2 else [],
            map_knobs=pair,
            shares=shares,
            at=at,
        )
    except BayesTunerError:  # too little was measured for a model
        return None


def _under_other_bounds(study: Study, strategy: Any, summary: Summary, goal: Goal, axes: Sequence[Axis]) -> list[dict[str, Any]]:
    """What `bayestuner retarget` says for thresholds of the first bound from the least to the most that was read."""
    objective, bound = axes
    read = [values[bound.name] for r in study.records() if bound.name in (values := study.values_of(r.trial))]
    given = next(b for b in goal.bounds if b.metric == bound.name)
    low, high = min(*read, given.limit), max(*read, given.limit)
    found = []
    try:
        for threshold in sorted({given.limit, *np.linspace(low, high, BOUND_STEPS).tolist()}):
            other = [Bound(b.metric, b.sense, threshold) if b is given else b for b in goal.bounds]
            strategy.retarget(Goal(**{goal.direction: goal.objective}, subject_to=other))
            advice = strategy.recommend()
            found.append(
                {
                    "bound": threshold * bound.factor,
                    "bound_text": quantity(bound.name, threshold, summary),
                    "given": threshold == given.limit,
                    "config": config_text(advice.config),
                    "likely": advice.p_feasible >= LIKELY,
                    "chance": f"{100 * advice.p_feasible:.0f} %",
                    "expected": [_expected(name, p, summary) for name, p in advice.expected.items()],
                    "x": _middle(advice.expected, bound),
                    "y": _middle(advice.expected, objective),
                }
            )
    finally:
        strategy.retarget(goal)
    return found


def _expected(name: str, p: Prediction, summary: Summary) -> list[str]:
    low, mean, high = (quantity(name, v, summary) for v in (p.low, p.mean, p.high))
    return [
        label(name, summary, estimated=summary.estimated),
        mean,
        "measured once" if p.low == p.high else f"{low} to {high}",
    ]


def _middle(expected: dict[str, Prediction], axis: Axis) -> float | None:
    return expected[axis.name].mean * axis.factor if axis.name in expected else None


def _slice(strategy: Any, knob: Knob, at: Config, axes: Sequence[Axis]) -> list[tuple[str, Axis, list[dict[str, Any]]]]:
    found: list[tuple[str, Axis, list[dict[str, Any]]]] = [(knob.name, axis, []) for axis in axes]
    for value in _levels(knob, SLICE_LEVELS, at[knob.name]):
        expected = _predicted(strategy, {**at, knob.name: value})
        for _, axis, entries in found:
            if expected is not None and axis.name in expected:
                p, factor = expected[axis.name], axis.factor
                ends = {"mean": p.mean * factor, "low": p.low * factor, "high": p.high * factor}
                entries.append({"value": _plain(value), "here": value == at[knob.name], **ends})
    return found


def _map(strategy: Any, space: Space, pair: Sequence[str], at: Config, objective: Axis, goal: Goal) -> list[dict[str, Any]]:
    one, other = (next(k for k in space.knobs if k.name == name) for name in pair)
    found = []
    for first in _levels(one, MAP_LEVELS, at[one.name]):
        for second in _levels(other, MAP_LEVELS, at[other.name]):
            expected = _predicted(strategy, {**at, one.name: first, other.name: second})
            if expected is not None and objective.name in expected:
                meets = goal.feasible({name: p.mean for name, p in expected.items()})
                entry = {"a": _plain(first), "b": _plain(second), "value": expected[objective.name].mean * objective.factor}
                here = first == at[one.name] and second == at[other.name]
                found.append({**entry, "meets": "yes" if meets else "no", "here": here})
    return found


def _shares(strategy: Any, space: Space, metric: str, at: Config) -> list[dict[str, Any]]:
    """Each knob's total share of the variance of what the model expects (Jansen's estimator over random configurations)."""
    knobs = [k for k in space.knobs if len(k) > 1]
    if metric in space.names:
        return [{"knob": metric, "share": 1.0}]
    random = np.random.default_rng(0)
    rows = [int(r) for r in random.integers(0, space.n_rows, SAMPLED_CONFIGS) if space.is_allowed(int(r))]
    configs = [space.config(row) for row in rows] or [at]
    base = [_log_mean(strategy, config, metric) for config in configs]
    known = [v for v in base if v is not None]
    variance = float(np.var(known)) if known else 0.0
    found = []
    for knob in knobs:
        squares = []
        for config, before in zip(configs, base, strict=True):
            other = knob.values[int(random.integers(len(knob)))]
            after = _log_mean(strategy, {**config, knob.name: other}, metric)
            if before is not None and after is not None:
                squares.append((after - before) ** 2)
        share = 0.5 * float(np.mean(squares)) / variance if squares and variance > 0 else 0.0
        found.append({"knob": knob.name, "share": min(share, 1.0)})
    return sorted(found, key=lambda entry: -entry["share"])


def _log_mean(strategy: Any, config: Config, metric: str) -> float | None:
    expected = _predicted(strategy, config)
    if expected is None or metric not in expected:
        return None
    mean = expected[metric].mean
    return float(np.log(mean)) if mean > 0 else mean


def _predicted(strategy: Any, config: Config) -> dict[str, Prediction] | None:
    """What the model expects; None for a configuration that the space does not hold."""
    try:
        predicted: dict[str, Prediction] = strategy.predict(config)
    except BayesTunerError:
        return None
    return predicted


def _levels(knob: Knob, most: int, always: Any) -> list[Any]:
    """The knob's values, or so many of them, evenly spread, with the one that the chart goes through."""
    if len(knob) <= most:
        return list(knob.values)
    codes = {round(c) for c in np.linspace(0, len(knob) - 1, most - 1)} | {knob.code(always)}
    return [knob.values[c] for c in sorted(codes)]


def _plain(value: Any) -> Any:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)
