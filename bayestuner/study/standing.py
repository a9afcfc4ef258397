"""How each configuration of a race stands: its chance to hold every bound, and to be better than the default."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from bayestuner.goal import Bound, Goal
from bayestuner.study.launches import Estimate, LaunchModel

TOLERANCE = 0.02
"""A bound that is missed by less than this share of its limit, for no other reason than chance, is held in practice."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One configuration after the launches so far.

    Attributes
    ----------
    launches, failures : int
        Launches that were measured, and those that failed by the configuration's doing.
    p_holds : float
        The chance that every bound holds.
    p_safe : float
        The chance that none is missed by more than `TOLERANCE`.
    p_better : float
        The chance that it is better than the default: in the objective, or because the default misses the goal.
    holds_on_average : bool
        No launch failed and the means are within every bound.
    """

    launches: int
    failures: int
    p_holds: float
    p_safe: float
    p_better: float
    holds_on_average: bool

    def shown_to_hold(self, confidence: float) -> bool:
        """Whether the bounds hold, as surely as that."""
        return self.holds_on_average and self.p_safe >= confidence


class Figures:
    """The launches of a race as estimates. See `bayestuner.study.race.Contest` for the parameters."""

    def __init__(
        self,
        goal: Goal,
        resolved: Goal,
        default: int | None,
        knobs: Callable[[int], Mapping[str, float]],
        rounds: Sequence[Mapping[int, Mapping[str, float] | None]],
    ) -> None:
        self.goal, self.resolved, self.default, self.rounds = goal, resolved, default, rounds
        self.rows = tuple(dict.fromkeys(row for r in rounds for row in r))
        self.knobs = {row: knobs(row) for row in (*self.rows, *(() if default is None else (default,)))}

    @cached_property
    def _models(self) -> dict[str, LaunchModel | None]:
        measured = [{row: values for row, values in r.items() if values is not None} for r in self.rounds]
        return {m: LaunchModel.of([{row: v[m] for row, v in r.items() if m in v} for r in measured]) for m in self.goal.metrics}

    def launches(self, row: int) -> int:
        """Launches of a configuration that were measured."""
        return sum(r.get(row) is not None for r in self.rounds)

    def means(self) -> dict[int, dict[str, float]]:
        """Row -> means of its launches, and what its knobs are; rows without a launch that was measured are left out."""
        out: dict[int, dict[str, float]] = {}
        for row in self.rows:
            told = [values for r in self.rounds if (values := r.get(row)) is not None]
            names = [m for m in self.goal.metrics if told and all(m in values for values in told)]
            if told:
                out[row] = {**self.knobs[row], **{m: math.fsum(values[m] for values in told) / len(told) for m in names}}
        return out

    def may_hold(self, row: int, n: int, later: int, confidence: float) -> bool:
        """Whether `later` launches instead of `n` would show a row to hold the bounds, if it is a standard error better than it looks."""
        for given, resolved in self._bounds:
            value, limit = self._against(row, given, resolved, 0.0)
            if not value.scale or math.isinf(value.scale):
                continue
            _, least = self._against(row, given, resolved, TOLERANCE)
            if given.sense == ">=":  # turned round, so that less is better, as `Estimate.after` has it
                value, limit, least = Estimate(-value.centre, value.scale, value.dof), -limit, -least
            hoped = value.after(n, later)
            if hoped.centre > limit or hoped.chance_below(least) < confidence:
                return False
        return True

    def standing(self, row: int) -> Standing:
        """How a launched configuration stands."""
        failures = sum(row in r and r[row] is None for r in self.rounds)
        n = self.launches(row)
        if not n:
            return Standing(0, failures, 0.0, 0.0, 0.0, False)
        p_holds, p_safe = self._chance_held(row, 0.0), self._chance_held(row, TOLERANCE)
        if failures:
            return Standing(n, failures, 0.0, 0.0, 0.0, False)
        return Standing(n, 0, p_holds, p_safe, self._chance_better(row), all(self._held(row, b, r) for b, r in self._bounds))

    def loss(self, row: int, other: int) -> Estimate:
        """How much worse the objective of `row` is than that of `other`: a log ratio, or in the objective's own unit (see `margin`)."""
        metric, sign = self.goal.objective, self.goal.sign
        if metric in self.knobs[row]:
            return Estimate(sign * (self.knobs[row][metric] - self.knobs[other][metric]), 0.0, math.inf)
        model = self._models[metric]
        found = None if model is None else model.difference(row, other)
        return Estimate(0.0, math.inf, 1.0) if found is None else Estimate(sign * found.centre, found.scale, found.dof)

    def cost(self, row: int) -> float:
        """What orders configurations by their objective, the best first."""
        measured = [r for r in self.rows if self.launches(r)]
        return self.loss(row, self.default if self.default is not None and self.default in measured else measured[0]).centre

    def margin(self, share: float) -> float:
        """A share of the objective in the unit of `loss`."""
        metric = self.goal.objective
        model = self._models[metric]
        if model is None or any(metric in values for values in self.knobs.values()):  # a knob is known exactly: there is no margin
            return 0.0
        if model.logarithms:
            return math.log1p(share)
        level = next(iter(model.levels.values())) if self.default is None else model.levels.get(self.default)
        return share * abs((level or next(iter(model.levels.values()))).centre)

    @property
    def _bounds(self) -> list[tuple[Bound, Bound]]:
        return list(zip(self.goal.bounds, self.resolved.bounds, strict=True))

    def _chance_better(self, row: int) -> float:
        default = self.default
        if default is None or row == default or not self.launches(default):
            return 0.0 if row == default else 1.0
        if any(default in r and r[default] is None for r in self.rounds):
            return 1.0
        objective = self.loss(row, default).chance_below(0.0)
        return 1.0 - self._chance_held(default, TOLERANCE) * (1.0 - objective)

    def _chance_held(self, row: int, slack: float) -> float:
        """The chance that no bound is missed by more than the share `slack`; at least that (Bonferroni)."""
        return max(1.0 - sum(1.0 - self._chance_of(row, b, r, slack) for b, r in self._bounds), 0.0)

    def _chance_of(self, row: int, given: Bound, resolved: Bound, slack: float) -> float:
        value, limit = self._against(row, given, resolved, slack)
        if given.sense == ">=":
            return value.chance_above(limit) if value.scale else float(value.centre >= limit)
        return value.chance_below(limit) if value.scale else float(value.centre <= limit)

    def _held(self, row: int, given: Bound, resolved: Bound) -> bool:
        value, limit = self._against(row, given, resolved, 0.0)
        return value.centre >= limit if given.sense == ">=" else value.centre <= limit

    def _against(self, row: int, given: Bound, resolved: Bound, slack: float) -> tuple[Estimate, float]:
        """What a bound is about, and its limit moved outwards by the share `slack`, both in the same unit."""
        metric, outwards = given.metric, -slack if given.sense == ">=" else slack
        known, model, default = self.knobs[row].get(metric), self._models[metric], self.default
        if known is not None:
            return Estimate(known, 0.0, math.inf), resolved.limit
        if model is None or row not in model.levels:
            return Estimate(0.0, math.inf, 1.0), 0.0
        level = model.levels[row]
        if given.relative and default is not None and default in model.levels:
            if row == default:
                return Estimate(1.0, 0.0, math.inf), given.limit * (1.0 + outwards)
            if model.logarithms and given.limit > 0.0:
                ratio = model.difference(row, default)
                return ratio or Estimate(0.0, math.inf, 1.0), math.log(given.limit * (1.0 + outwards))
            limit = given.limit * model.levels[default].centre
        else:
            limit = resolved.limit
        limit += outwards * abs(limit)
        if not model.logarithms:
            return level, limit
        return level, math.log(limit) if limit > 0.0 else -math.inf
