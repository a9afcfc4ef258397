"""Search strategies by name; each is imported only when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from bayestuner.errors import BayesTunerError
from bayestuner.goal import Goal
from bayestuner.search.strategy import Strategy
from bayestuner.space import Space

_HOME = {
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
_PLANS = {"bayes", "annealing", "trade_off"}  # those that are told the budget


class UnknownStrategy(BayesTunerError, ValueError):
    """A strategy was named that doesn't exist."""


def strategy_names() -> tuple[str, ...]:
    """Every name `make_strategy` takes."""
    return tuple(_HOME)


def check_strategy(name: str) -> None:
    """Raise `UnknownStrategy` unless there is a strategy of this name."""
    if name not in _HOME:
        raise UnknownStrategy(f"there is no strategy {name!r}; choose one of {', '.join(_HOME)}")


def make_strategy(name: str, space: Space, goal: Goal, *, seed: int, budget: int) -> Strategy:
    """Make the strategy called `name`; `budget` is given to those that plan with it."""
    check_strategy(name)
    module, cls = _HOME[name]
    factory: Any = getattr(import_module(module), cls)
    options = {"budget": budget} if name in _PLANS else {}
    made: Strategy = factory(space, goal, seed=seed, **options)
    return made
