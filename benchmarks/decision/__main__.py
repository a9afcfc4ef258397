"""``python -m benchmarks.decision FOLDER ...``: how often the configuration that is deployed in the end is a wrong one.

    python -m benchmarks.decision ../shared/tables simulated-small --seeds 0:10
    python -m benchmarks.decision ../shared/tables --strategy random --seeds 0:100     # many more searches in the same time

Folders are those of `benchmarks.search_quality`. Each search has 20 runs on a table with known truth, read with noise and worse; then each
rule ends it, from the same search. Rates come with 95 % intervals (Wilson), launches as
mean (median, most).
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from bayestuner.study.race import RaceRules
from benchmarks.decision.machine import SCENARIOS, Scenario
from benchmarks.decision.rules import Rule, best_of_search, bounds_only, race
from benchmarks.decision.trials import Outcome, trial
from benchmarks.search_quality.problems import Problem, load

RULES: dict[str, Rule] = {
    "best of the search": best_of_search,
    "bounds only (before)": bounds_only,
    "race": race(RaceRules()),
    "race, frugal": race(RaceRules(), frugal=True),
}
MAX_ROWS = 2000
"""Larger tables are left out: they add time and no other kind of decision."""


def wilson(hits: int, n: int) -> tuple[float, float]:
    """95 % interval of a rate (Wilson 1927)."""
    z = 1.959963984540054
    centre, half = (hits + z * z / 2) / (n + z * z), z / (n + z * z) * math.sqrt(hits * (n - hits) / n + z * z / 4)
    return max(centre - half, 0.0), min(centre + half, 1.0)


def line(label: str, outcomes: Sequence[Outcome]) -> str:
    """A row of the table."""
    n = len(outcomes)
    rates = []
    for hits in (sum(o.worse for o in outcomes), sum(o.misses for o in outcomes)):
        low, high = wilson(hits, n)
        rates.append(f"{100 * hits / n:.2f} % ({100 * low:.2f} to {100 * high:.2f})")
    regrets = np.array([o.regret for o in outcomes])
    regret = f"{100 * np.nanmean(regrets):.1f} %" if np.isfinite(regrets).any() else "-"
    claimed, nothing = (f"{100 * sum(flags) / n:.0f} %" for flags in ([o.claimed for o in outcomes], [o.nothing for o in outcomes]))
    launches = np.array([o.launches for o in outcomes])
    made = f"{launches.mean():.1f} ({np.median(launches):.0f}, {launches.max()})"
    return f"| {label} | {n} | {rates[0]} | {rates[1]} | {regret} | {claimed} | {nothing} | {made} |"


COLUMNS = ("", "searches", "worse than the default", "misses a bound", "regret", "claims to be better", "recommends nothing", "launches")
HEAD = f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}"


def _batch(problem: Problem, scenario: Scenario, seeds: Sequence[int], strategy: str) -> list[Outcome]:
    return [outcome for seed in seeds for outcome in trial(problem, scenario, RULES, seed, strategy)]


def _seeds(text: str) -> range:
    first, _, last = text.rpartition(":")
    return range(int(first or 0), int(last))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.decision", description=__doc__.split("\n")[0])
    parser.add_argument("tables", nargs="+", type=Path, help="folders with problems.json, or simulated-small")
    parser.add_argument("--only", default="", help="problems with this in their name")
    parser.add_argument("--seeds", type=_seeds, default=range(10), help="FIRST:END (default 0:10)")
    parser.add_argument("--strategy", default="bayes", choices=("bayes", "random"))
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--by-scenario", action="store_true")
    args = parser.parse_args()
    problems = [p for folder in args.tables for p in load(folder, args.only) if len(p.configs) <= MAX_ROWS]
    outcomes: list[Outcome] = []
    with ProcessPoolExecutor(args.jobs) as pool:
        batches = [pool.submit(_batch, p, s, args.seeds, args.strategy) for p in problems for s in SCENARIOS]
        for batch in batches:
            outcomes += batch.result()
    print(HEAD)
    for rule in RULES:
        own = [o for o in outcomes if o.rule == rule]
        print(line(f"**{rule}**", own))
        for scenario in SCENARIOS if args.by_scenario else ():
            print(line(f"{rule}, {scenario.name}", [o for o in own if o.scenario == scenario.name]))


if __name__ == "__main__":
    main()
