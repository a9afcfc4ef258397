"""Print the noise table: ``python -m benchmarks.noise TABLES [--seeds 0:6] [--only NAME]`` (tables as for benchmarks.search_quality).

Readings of a measured table are multiplied by a log-normal factor of 1, 5 and 20 %. What is told of it as the standard deviation is right,
five times too large, five times too small, or nothing. The loss of the recommendation after 20 runs is by how much its true objective
exceeds the optimum, plus by how much its true constraint misses the limit, both as shares, together at most 1.
"""

from __future__ import annotations

import argparse
import sys
import zlib
from pathlib import Path

import numpy as np

import bayestuner as bt
from benchmarks.search_quality.problems import Problem, load

LEVELS = (0.01, 0.05, 0.20)
TOLD = {"right": 1.0, "5 times too large": 5.0, "5 times too small": 0.2, "nothing": None}


def main(arguments: list[str]) -> int:
    """Run the searches and print one line for each way to tell the noise."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.noise", description=__doc__)
    parser.add_argument("tables", type=Path)
    parser.add_argument("--seeds", default="0:6")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--only", default="", help="problems with one of these in their name, separated by commas")
    given = parser.parse_args(arguments)
    problems = [problem for only in given.only.split(",") for problem in load(given.tables, only)]
    seeds = range(*map(int, given.seeds.split(":")))
    print(f"{len(problems)} tables, seeds {given.seeds}, {given.runs} runs")
    print("loss of the recommendation in %, ± twice its standard error (repeats in a search)")
    print("| told | " + " | ".join(f"noise {100 * level:.0f} %" for level in LEVELS) + " |")
    print("|---" * (1 + len(LEVELS)) + "|")
    for name, factor in TOLD.items():
        cells = []
        for level in LEVELS:
            found = np.array([loss(problem, level, factor, seed, given.runs) for problem in problems for seed in seeds])
            error = 2.0 * found[:, 0].std(ddof=1) / np.sqrt(len(found))
            cells.append(f"{100 * found[:, 0].mean():.1f} ± {100 * error:.1f} ({found[:, 1].mean():.1f})")
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
    return 0


def loss(problem: Problem, level: float, factor: float | None, seed: int, runs: int) -> tuple[float, int]:
    """Loss of the recommendation of one search, and how many of its runs were repeats."""
    rng = np.random.default_rng([seed, zlib.crc32(problem.name.encode())])
    tuner = bt.Tuner(problem.space, problem.goal, seed=seed)
    for _ in range(runs):
        trial = tuner.ask()
        if not problem.ok[trial.row]:
            tuner.tell_failed(trial, "error")
            continue
        values = [v * float(np.exp(level * rng.standard_normal())) for v in (problem.objective[trial.row], problem.constraint[trial.row])]
        sds = [None if factor is None else level * factor * value for value in values]
        tuner.tell(trial, dict(zip(("objective", "constraint"), map(bt.Reading, values, sds), strict=True)))
    row = tuner.recommend().row
    best = float(problem.objective[problem.feasible].min())
    missed = max(problem.threshold / float(problem.constraint[row]) - 1.0, 0.0)
    return min(max(float(problem.objective[row]) / best - 1.0, 0.0) + missed, 1.0), sum(t.repeat for t in tuner.trials)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
