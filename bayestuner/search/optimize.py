"""`optimize`: the ask/tell loop in one call, and the `Result` it returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bayestuner.errors import InvalidGoal, RunFailed, SpaceExhausted, whole_number
from bayestuner.goal import Goal
from bayestuner.search.engine.stopping import StoppingRule, first_reason
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
    stop_reason : str or None
        Why it ended before its budget; None where the budget was used.
    """

    best: Trial | None
    recommendation: Recommendation | None
    trials: tuple[Trial, ...]
    stop_reason: str | None = None


def optimize(
    evaluate: Callable[[Config], Mapping[str, float | Reading]],
    space: Space,
    goal: Goal,
    *,
    budget: int = 20,
    seed: int = 0,
    strategy: Strategy | None = None,
    stop: Sequence[StoppingRule] = (),
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
    stop : sequence of StoppingRule
        Looked at before each run; the first that holds ends the search (`bt.ExpectedImprovement`, `bt.RegretBound`, `bt.WallClock`).

    Examples
    --------
    >>> import bayestuner as bt
    >>> space = bt.Space(bt.Integer("cores", 1, 28), bt.Ordinal("batch_size", [1, 2, 4, 8]))
    >>> goal = bt.Goal(minimize="power_w", subject_to=["throughput >= 100"])
    >>> def evaluate(config):
    ...     return {"power_w": 20 + 6 * config["cores"], "throughput": 9.5 * config["cores"] * config["batch_size"] ** 0.2}
    >>> result = bt.optimize(evaluate, space, goal, budget=50, stop=[bt.RegretBound(0.01)])
    >>> result.best.config["cores"], len(result.trials) < 50, result.stop_reason[:2]
    (7, True, 'in')
    """
    budget = whole_number(budget, "budget", 1, InvalidGoal)
    if strategy is None:
        from bayestuner.search.engine.tuner import Tuner

        strategy = Tuner(space, goal, seed=seed, budget=budget)
    stop_reason = None
    for _ in range(budget):
        stop_reason = first_reason(stop, strategy)
        if stop_reason is not None:
            break
        try:
            trial = strategy.ask()
        except SpaceExhausted as end:
            stop_reason = "every configuration has been tried" if len({t.row for t in strategy.trials}) >= len(space) else str(end)
            break
        try:
            metrics = evaluate(dict(trial.config))
        except RunFailed as failure:
            strategy.tell_failed(trial, failure.kind, failure.message)
        else:
            strategy.tell(trial, metrics)
    measured = any(t.metrics for t in strategy.trials)
    return Result(strategy.best_feasible, strategy.recommend() if measured else None, strategy.trials, stop_reason)
