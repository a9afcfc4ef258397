"""``python -m benchmarks.tables.gap FOLDER``: how close 20 runs come to the best of a measured grid, and in what share of its time.

A strategy searches each table again and again with other seeds, for each of several goals. The gap is how much worse the best feasible
row it tried is than the table's best, as a share of that; a search that found nothing feasible has no gap and is counted apart. Times are
what the tabled runs took: those the search tried against all of the grid (as Table 2 of the paper).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bayestuner.errors import InvalidGoal, SpaceExhausted
from bayestuner.goal import Goal
from bayestuner.simulate.replay import TableJob
from bayestuner.simulate.tables import ESTIMATED, MeasuredTable, read_table
from bayestuner.study.registry import make_strategy, strategy_names
from bayestuner.trial import Measured
from benchmarks.search_quality.figures import BUDGET

SHARE = "throughput >= 60%"
LATENCY = 4.0  # times the shortest of the table


def least_cpu(table: MeasuredTable) -> Goal:
    """Least CPU time an item at 60 % of the largest configuration's throughput."""
    return Goal(minimize="cpu_s_per_item", subject_to=[SHARE])


def most_throughput(table: MeasuredTable) -> Goal:
    """Most throughput at a latency of at most four times the shortest."""
    shortest = min(o.metrics["latency_p99_s"].value for o in table.outcomes if isinstance(o, Measured))
    return Goal(maximize="throughput", subject_to=[f"latency_p99_s <= {LATENCY * shortest:.4g}"])


def least_power(table: MeasuredTable) -> Goal:
    """Least power, or what stands in for it where it was estimated, at 60 % of the throughput."""
    measured = "power_w" in table.metrics
    return Goal(minimize="power_w" if measured else "estimated_power_w", subject_to=[SHARE])


GOALS: dict[str, Callable[[MeasuredTable], Goal]] = {"cpu": least_cpu, "throughput": most_throughput, "power": least_power}


@dataclass(frozen=True, slots=True)
class Gap:
    """What searches of one table came to.

    Attributes
    ----------
    rows, failed, feasible : int
        Of the table.
    gaps : list of float
        One for each search that found a feasible row.
    n_searches : int
    search_s, grid_s : float
        Mean time of a search's runs; time of all of the table's.
    """

    rows: int
    failed: int
    feasible: int
    gaps: list[float]
    n_searches: int
    search_s: float
    grid_s: float


def gap_of(table: MeasuredTable, goal: Goal, *, strategy: str = "bayes", seeds: int = 10, budget: int = BUDGET) -> Gap:
    """Search one table `seeds` times."""
    gaps, times = [], []
    for seed in range(seeds):
        job = TableJob(table, goal)
        searcher = make_strategy(strategy, job.space, job.goal, seed=seed, budget=budget)
        for _ in range(budget):
            try:
                trial = searcher.ask()
            except SpaceExhausted:
                break
            searcher.tell_outcome(trial, job.run(trial.config))
        times.append(job.elapsed_s)
        best = searcher.best_feasible
        if best is not None:
            found, optimum = best.metrics[goal.objective], float(job.objective[job.optimum])
            gaps.append(abs(found / optimum - 1.0))
    failed = int(np.isnan(job.objective).sum())
    return Gap(len(job.space), failed, int(job.feasible.sum()), gaps, seeds, float(np.mean(times)), float(job.duration_s.sum()))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tables.gap", description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="of tables by bayestuner measure-grid")
    parser.add_argument("--strategy", default="bayes", choices=strategy_names())
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--budget", type=int, default=BUDGET)
    args = parser.parse_args()
    for make in GOALS.values():
        print(f"### {make.__doc__.rstrip('.') if make.__doc__ else ''}\n")
        print("| job | bound | rows | failed | feasible | gap, median | gap, worst | nothing feasible | search | exhaustive | share |")
        print("|---|---|---|---|---|---|---|---|---|---|---|")
        for path in sorted(args.folder.glob("*.csv")):
            table = read_table(path)
            print(line(table, make(table), args.strategy, args.seeds, args.budget))
        print()


def line(table: MeasuredTable, goal: Goal, strategy: str, seeds: int, budget: int) -> str:
    """A row of the report."""
    try:
        bounds = ", ".join(str(bound) for bound in TableJob(table, goal).goal.bounds)
        gap = gap_of(table, goal, strategy=strategy, seeds=seeds, budget=budget)
    except InvalidGoal as error:
        return f"| {table.job} | {goal} | {error} |" + " |" * 8
    median, worst = (f"{100 * f(gap.gaps):.1f} %" if gap.gaps else "-" for f in (np.median, np.max))
    nothing = f"{gap.n_searches - len(gap.gaps)} of {gap.n_searches}"
    times = (f"{gap.search_s:.0f} s", f"{gap.grid_s:.0f} s", f"{100 * gap.search_s / gap.grid_s:.0f} %")
    name = f"{table.job} (power ESTIMATED)" if goal.objective.startswith(ESTIMATED) else table.job
    cells = (name, bounds, gap.rows, gap.failed, gap.feasible, median, worst, nothing, *times)
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    main()
