"""`optimize`: the ask/tell loop in one call, and the `Result` it returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bayestuner.errors import RunFailed, SpaceExhausted
from bayestuner.goal import Goal
from bayestuner.search.strategy import Recommendation, Strategy
from bayestuner.space import Space
from bayestuner.trial import Config, Reading, Trial


@dataclass(frozen=True, slots=True)
class Result:
    """What a search came to.

    Attributes
    ----------
    best : Trial or None
        The best trial measured that meets the goal.
    recommendation : Recommendation or None
        What to deploy; None where nothing was measured.
    trials : tuple of Trial
    """

    best: Trial | None
    recommendation: Recommendation | None
    trials: tuple[Trial, ...]


def optimize(
    evaluate: Callable[[Config], Mapping[str, float | Reading]],
    space: Space,
    goal: Goal,
    *,
    budget: int = 20,
    seed: int = 0,
    strategy: Strategy | None = None,
) -> Result:
    """Search `space` for the configuration that meets `goal` best.

    Parameters
    ----------
    evaluate : callable
        ``evaluate(config)`` runs a configuration and returns its metrics, or raises `RunFailed`.
    space : Space
    goal : Goal
    budget : int
        How many configurations to run at the most.
    seed : int
    strategy : Strategy, optional
        Another strategy than the Bayesian `Tuner`; made for the same space and goal.
    """
    if strategy is None:
        from bayestuner.search.tuner import Tuner

        strategy = Tuner(space, goal, seed=seed, budget=budget)
    for _ in range(budget):
        try:
            trial = strategy.ask()
        except SpaceExhausted:
            break
        try:
            metrics = evaluate(trial.config)
        except RunFailed as failure:
            strategy.tell_failed(trial, failure.kind, failure.message)
        else:
            strategy.tell(trial, metrics)
    measured = any(t.metrics for t in strategy.trials)
    return Result(strategy.best_feasible, strategy.recommend() if measured else None, strategy.trials)
