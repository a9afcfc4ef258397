"""Print the failing-space table: ``python -m benchmarks.failures [--seeds 0:20] [--runs 40] [--failing 0.4]``."""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
import numpy.typing as npt

import bayestuner as bt
from bayestuner.search.strategies.random_search import RandomSearch
from bayestuner.search.strategy import Strategy
from benchmarks.failures.servers import Server, make_server

CAP = 3.0
MARKS = (10, 20, 40)


def main(arguments: list[str]) -> int:
    """Run the searches and print one line for each tuner."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.failures", description=__doc__)
    parser.add_argument("--seeds", default="0:20", help="servers to make, FIRST:LAST (the last is left out)")
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--failing", type=float, default=0.4, help="share of the configurations that fail")
    parser.add_argument("--tuners", default="random,bayes,hints")
    given = parser.parse_args(arguments)
    first, last = map(int, given.seeds.split(":"))
    marks = [mark for mark in MARKS if mark <= given.runs]
    print(f"SIMULATED servers of 12 knobs, {100 * given.failing:.0f} % of the configurations fail; seeds {given.seeds}")
    print("| tuner | failing runs | " + " | ".join(f"score @{mark}" for mark in marks) + " | CPU a run |")
    print("|---" * (3 + len(marks)) + "|")
    for tuner in given.tuners.split(","):
        started = time.process_time()
        results = [
            search(tuner, make_server(seed, hints=tuner == "hints", failing=given.failing), seed, given.runs) for seed in range(first, last)
        ]
        cpu_ms = 1e3 * (time.process_time() - started) / (given.runs * len(results))
        failing, scores = np.array([r[0] for r in results]), np.array([r[1] for r in results])
        cells = [with_error(100.0 * failing, "{:.1f} ± {:.1f} %"), *(with_error(scores[:, mark - 1], "{:.2f} ± {:.2f}") for mark in marks)]
        print(f"| {tuner} | " + " | ".join(cells) + f" | {cpu_ms:.1f} ms |", flush=True)
    return 0


def with_error(values: npt.NDArray[np.float64], form: str) -> str:
    """Mean and twice its standard error."""
    return form.format(values.mean(), 2.0 * values.std(ddof=1) / np.sqrt(values.size) if values.size > 1 else np.nan)


def search(tuner: str, server: Server, seed: int, runs: int) -> tuple[float, npt.NDArray[np.float64]]:
    """Share of failing runs, and the score after each run: regret over random search's expected regret after 20, at most `CAP`."""
    strategy: Strategy
    strategy = RandomSearch(server.space, server.goal, seed=seed) if tuner == "random" else bt.Tuner(server.space, server.goal, seed=seed)
    worst = float(server.power[server.feasible].max())
    best, scores, failed = worst, [], 0
    optimum, unit = float(server.power[server.feasible].min()), server.random_regret()
    for _ in range(runs):
        trial = strategy.ask()
        lacks = int(server.lacks[trial.row])
        if lacks >= 0:
            failed += 1

            strategy.tell_failed(trial, "oom", limit=f"memory_{lacks}")
        else:
            strategy.tell(trial, power=float(server.power[trial.row]), throughput=float(server.throughput[trial.row]))
            if server.feasible[trial.row]:
                best = min(best, float(server.power[trial.row]))
        scores.append(min((best - optimum) / unit, CAP))
    return failed / runs, np.array(scores)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
