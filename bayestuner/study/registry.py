"""Search strategies by name; each is imported only when it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any

from bayestuner.errors import BayesTunerError, InvalidSpace
from bayestuner.goal import Goal
from bayestuner.search.engine.history import EarlierStudy
from bayestuner.search.strategy import Strategy
from bayestuner.space import Space

_CLASSES = {
    "bayes": ("bayestuner.search.engine.tuner", "Tuner"),
    "random": ("bayestuner.search.strategies.random_search", "RandomSearch"),
    "exhaustive": ("bayestuner.search.strategies.exhaustive", "ExhaustiveSearch"),
    "annealing": ("bayestuner.search.strategies.annealing", "Annealing"),
    "batch_sizer": ("bayestuner.search.strategies.batch_sizer", "BatchSizer"),
    "aimd": ("bayestuner.search.strategies.aimd", "AIMD"),
    "cherry_pick": ("bayestuner.search.strategies.cherry_pick", "CherryPick"),
    "spearmint": ("bayestuner.search.strategies.spearmint", "Spearmint"),
    "trade_off": ("bayestuner.search.strategies.trade_off", "TradeOff"),
}
_LOWEST, _HIGHEST = 1e-300, 1e300
_SET_BATCH_ONLY = {"batch_sizer", "aimd"}
_BATCH_KNOBS = ("batch_size", "batch", "batchsize", "bs")
LEARN_FROM_HISTORY = frozenset({"bayes"})
_TAKE_BUDGET = {"bayes", "annealing", "trade_off"}


class UnknownStrategy(BayesTunerError, ValueError):
    """A strategy was named that doesn't exist."""


def strategy_names() -> tuple[str, ...]:
    """Every name `make_strategy` takes."""
    return tuple(_CLASSES)


def check_strategy(name: str) -> None:
    """Raise `UnknownStrategy` unless there is a strategy of this name."""
    if name not in _CLASSES:
        raise UnknownStrategy(f"there is no strategy {name!r}; choose one of {', '.join(_CLASSES)}")


def strategy_class(name: str) -> type[Strategy]:
    """The class of the strategy called `name`."""
    check_strategy(name)
    module, cls = _CLASSES[name]
    found: type[Strategy] = getattr(import_module(module), cls)
    return found


def make_strategy(name: str, space: Space, goal: Goal, *, seed: int, budget: int, history: Sequence[EarlierStudy] = ()) -> Strategy:
    """Make the strategy called `name`; `budget` is given to those that plan with it, `history` to those that learn from it."""
    factory: Any = strategy_class(name)
    options: dict[str, Any] = {"budget": budget} if name in _TAKE_BUDGET else {}
    if history and name in LEARN_FROM_HISTORY:
        options["history"] = history
    if name in _SET_BATCH_ONLY:
        options["knob"] = _batch_knob(name, space)
    made: Strategy = factory(space, goal, seed=seed, **options)
    return made


def check_suits(name: str, space: Space, goal: Goal, *, seed: int = 0, budget: int = 20) -> None:
    """Make the strategy once and drop it: one that can't search this space for this goal must not leave a study that can't go on.

    Raises
    ------
    UnknownStrategy, InvalidSpace, InvalidGoal
    """
    # the limits of relative bounds are not known yet: any that contradict no other bound will do
    bounds = [replace(b, relative=False, limit=_LOWEST if b.sense == ">=" else _HIGHEST) if b.relative else b for b in goal.bounds]
    make_strategy(name, space, Goal(**{goal.direction: goal.objective}, subject_to=bounds), seed=seed, budget=budget)


def _batch_knob(name: str, space: Space) -> str:
    """The numeric knob that is the batch size, by its name."""
    for knob in space.names:
        if knob in space.numeric_names and knob.lower() in _BATCH_KNOBS:
            return knob
    raise InvalidSpace(
        f"the strategy {name} sets only the batch size, a knob of numbers called {' or '.join(_BATCH_KNOBS)}, and the knobs are "
        f"{', '.join(space.names)}; rename one of them, or choose another strategy"
    )
