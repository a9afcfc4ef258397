"""``python -m benchmarks.tables.gap FOLDER``: how close 20 runs come to the best of a measured grid, and in what share of its time.

For each problem of the folder a strategy searches the table again and again with other seeds. The gap is how much worse the best feasible
row it tried is than the table's best, as a share of that; a search that found nothing feasible has no gap and is counted apart. Times are
what the tabled runs took: those the search tried against all of the grid (as Table 2 of the paper).
"""

from __future__ import annotations

import argparse
import csv
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.search_quality.figures import BUDGET
from benchmarks.search_quality.problems import Problem, load
from benchmarks.search_quality.replay import replay
from benchmarks.search_quality.tuners import TUNERS


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


def gap_of(problem: Problem, durations_s: np.ndarray, *, tuner: str = "bayes", seeds: int = 10, budget: int = BUDGET) -> Gap:
    """Search one table `seeds` times; `durations_s` (rows,) is what each row's run took."""
    gaps, times = [], []
    for seed in range(seeds):
        tried = list(replay(tuner, TUNERS[tuner], problem, seed, budget).rows)
        times.append(float(durations_s[tried].sum()))
        found = problem.objective[tried][problem.feasible[tried]]
        if found.size:
            gaps.append(float(found.min()) / problem.optimum - 1.0)
    failed, feasible = int((~problem.ok).sum()), int(problem.feasible.sum())
    return Gap(len(problem.configs), failed, feasible, gaps, seeds, float(np.mean(times)), float(durations_s.sum()))


def durations_of(table: Path) -> np.ndarray:
    """What each run of a table took, (rows,), seconds."""
    with table.open(newline="") as stream:
        return np.array([float(row["duration_s"] or "nan") for row in csv.DictReader(stream)])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tables.gap", description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="with problems.json, see python -m benchmarks.tables")
    parser.add_argument("--tuner", default="bayes", choices=list(TUNERS))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--budget", type=int, default=BUDGET)
    args = parser.parse_args()
    print("| job | rows | failed | feasible | gap, median | gap, worst | nothing feasible | search | exhaustive | share |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    files = {entry["name"]: entry["file"] for entry in json.loads((args.folder / "problems.json").read_text())}
    for problem in load(args.folder):
        durations_s = durations_of(args.folder / files[problem.name])
        gap = gap_of(problem, durations_s, tuner=args.tuner, seeds=args.seeds, budget=args.budget)
        median, worst = (f"{100 * f(gap.gaps):.1f} %" if gap.gaps else "-" for f in (np.median, np.max))
        nothing = f"{gap.n_searches - len(gap.gaps)} of {gap.n_searches}"
        share = f"{100 * gap.search_s / gap.grid_s:.0f} %"
        cells = [
            problem.name,
            gap.rows,
            gap.failed,
            gap.feasible,
            median,
            worst,
            nothing,
            f"{gap.search_s:.0f} s",
            f"{gap.grid_s:.0f} s",
            share,
        ]
        print(f"| {' | '.join(map(str, cells))} |")


if __name__ == "__main__":
    main()
