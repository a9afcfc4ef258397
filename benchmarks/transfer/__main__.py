"""``python -m benchmarks.transfer TABLES``: a search without earlier studies against searches that have them, with intervals.

Every problem is searched as if the other tables of its family had been searched before (leave-one-out). ``good``: two of those studies;
``unrelated``: two studies of other families, their knobs matched by position; ``inverted``: two of the family that were searched and told
with one over their objective; ``mixed``: one good, one inverted. `run` goes on where an earlier call stopped.
"""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import bayestuner as bt
from benchmarks.search_quality import store
from benchmarks.search_quality.figures import BUDGET, Run
from benchmarks.search_quality.problems import load
from benchmarks.search_quality.replay import replay
from benchmarks.transfer import report
from benchmarks.transfer.histories import CONDITIONS, Problems

_problems: Problems


def _start(folders: list[Path], only: str, without: str) -> Problems:
    global _problems  # noqa: PLW0603 - one set of problems a process
    loaded = [p for folder in folders for p in load(folder)]
    kept = [p for p in loaded if only in p.name and not (without and without in p.family)]
    _problems = Problems(tuple(kept))
    return _problems


def _searches(condition: str, count: int, name: str, seeds: list[int]) -> list[Run]:
    problem = next(p for p in _problems.all if p.name == name)

    def tuner(problem, seed, budget):  # type: ignore[no-untyped-def]
        history = [] if condition == "cold" else _problems.histories(problem, seed, condition, count)
        return bt.Tuner(problem.space, problem.goal, seed=seed, budget=budget, history=history)

    return [replay(_name(condition, count), tuner, problem, seed, BUDGET) for seed in seeds]


def _name(condition: str, count: int) -> str:
    return condition if condition == "cold" else f"{condition}-{count}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.transfer", description=__doc__.split("\n")[0])
    parser.add_argument("tables", type=Path, nargs="+", help="folders with problems.json and its tables, or simulated-small, simulated")
    parser.add_argument("--conditions", default="good,unrelated,inverted", help=f"some of {','.join(CONDITIONS)}")
    parser.add_argument("--studies", type=int, default=2, help="earlier studies of each search")
    parser.add_argument("--seeds", default="0:20", help="FIRST:END")
    parser.add_argument("--only", default="", help="problems with this in their name")
    parser.add_argument("--without", default="", help="leave out the families with this in their name")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--out", type=Path, default=Path("transfer-runs"), help="folder of the searches made")
    args = parser.parse_args()
    first, _, last = args.seeds.rpartition(":")
    seeds = range(int(first or 0), int(last))
    problems = _start(args.tables, args.only, args.without)
    searched = [p for p in problems.all if problems.siblings(p)]
    with ProcessPoolExecutor(args.jobs, initializer=_start, initargs=(args.tables, args.only, args.without)) as pool:
        for condition in ["cold", *args.conditions.split(",")]:
            if condition not in ("cold", *CONDITIONS):
                sys.exit(f"there is no condition {condition!r}; there are {', '.join(CONDITIONS)}")
            path = store.path_of(args.out, _name(condition, args.studies))
            done = {(r.problem, r.seed) for r in store.read(path)} if path.exists() else set()
            started = time.perf_counter()
            todo = {p.name: [s for s in seeds if (p.name, s) not in done] for p in searched}
            batches = [pool.submit(_searches, condition, args.studies, name, left) for name, left in todo.items() if left]
            for batch in batches:
                for result in batch.result():
                    store.append(args.out, result)
            print(f"{condition}: {sum(map(len, todo.values()))} searches in {time.perf_counter() - started:.0f} s", file=sys.stderr)
    print(report.table(searched, store.read_all(args.out), seeds))


if __name__ == "__main__":
    main()
