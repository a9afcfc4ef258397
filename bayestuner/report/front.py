"""The configurations that trade the objective off against the first bound's metric best, as text."""

from __future__ import annotations

from collections.abc import Sequence

from bayestuner.goal import Goal
from bayestuner.report.tables import plain_table
from bayestuner.report.words import Units, label, quantity
from bayestuner.search.strategies.pareto import Judge, TradeOffGoal, front_of
from bayestuner.trial import Trial


def front_text(judge: Judge, goal: Goal, trials: Sequence[Trial], units: Units, *, estimated: bool, width: int | None = 100) -> str:
    """One line for each measured run that no other beats in both metrics; raises `InvalidGoal` as `front_of` does."""
    front = front_of(judge, goal, trials)
    if not front:
        return "no run was measured yet that could be on the front"
    knobs = list(front[0].config)
    metrics = [goal.objective, TradeOffGoal.of(goal, front[0].config).bound.metric]
    metrics = [m for m in metrics if m not in knobs]
    header = ["run", *knobs, *(label(m, units, estimated=estimated) for m in metrics)]
    rows = [
        [str(t.number + 1), *(str(v) for v in t.config.values()), *(quantity(m, judge.values_of(t)[m], units) for m in metrics)]
        for t in front
    ]
    head = f"{len(front)} of {sum(bool(judge.values_of(t)) for t in trials)} measured runs are beaten by none in both, one reading each:"
    return f"{head}\n\n{plain_table(header, rows, width=width, right=range(1 + len(knobs), len(header)))}"
