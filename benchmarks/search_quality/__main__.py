"""``python -m benchmarks.search_quality``: replay tuners on a folder of tables, and report what is in a folder of runs.

    python -m benchmarks.search_quality run TABLES --tuners bayes,random --seeds 0:30 --out RUNS
    python -m benchmarks.search_quality report TABLES RUNS --plot score.png

`run` goes on where an earlier call stopped. Other tuners' runs are put into the same folder by `benchmarks.peers`.
"""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from benchmarks.search_quality import report, store
from benchmarks.search_quality.figures import BUDGET, Run
from benchmarks.search_quality.problems import Problem, load
from benchmarks.search_quality.replay import replay
from benchmarks.search_quality.tuners import TUNERS


def _seeds(text: str) -> range:
    first, _, last = text.rpartition(":")
    return range(int(first or 0), int(last))


def _batch(tuner: str, problem: Problem, seeds: list[int], budget: int) -> list[Run]:
    return [replay(tuner, TUNERS[tuner], problem, seed, budget) for seed in seeds]


def run(args: argparse.Namespace) -> None:
    problems = load(args.tables, args.only)
    for tuner in args.tuners.split(","):
        if tuner not in TUNERS:
            sys.exit(f"there is no tuner {tuner!r} here; there are {', '.join(TUNERS)}")
        path = store.path_of(args.out, tuner)
        done = {(r.problem, r.seed) for r in store.read(path)} if path.exists() else set()
        started = time.perf_counter()
        with ProcessPoolExecutor(args.jobs) as pool:
            todo = {p.name: [s for s in args.seeds if (p.name, s) not in done] for p in problems}
            batches = [pool.submit(_batch, tuner, p, todo[p.name], args.budget) for p in problems if todo[p.name]]
            for batch in batches:
                for result in batch.result():
                    store.append(args.out, result)
        print(f"{tuner}: {sum(map(len, todo.values()))} runs in {time.perf_counter() - started:.1f} s", file=sys.stderr)
    show(args)


def show(args: argparse.Namespace) -> None:
    problems = load(args.tables, args.only)
    tuners = store.read_all(args.out)
    if not tuners:
        sys.exit(f"there are no runs (*.jsonl) in {args.out}")
    print(report.table(problems, tuners), end="\n\n")
    print(report.family_table(problems, tuners))
    if args.by_problem:
        print("\n" + report.problem_table(problems, tuners))
    if args.plot:
        report.plot(problems, tuners, args.plot)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search_quality", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(required=True)
    for name, action in (("run", run), ("report", show)):
        command = commands.add_parser(name)
        command.set_defaults(action=action)
        command.add_argument("tables", type=Path, help="folder with problems.json and its tables, or simulated, or simulated-small")
        command.add_argument("--only", default="", help="problems with this in their name")
        command.add_argument("--plot", type=Path, help="draw the scores into this file")
        command.add_argument("--by-problem", action="store_true")
        if name == "run":
            command.add_argument("--tuners", default="bayes", help=f"some of {','.join(TUNERS)}")
            command.add_argument("--seeds", type=_seeds, default=range(30), help="FIRST:END (default 0:30)")
            command.add_argument("--budget", type=int, default=BUDGET)
            command.add_argument("--jobs", type=int, default=1, help="processes")
            command.add_argument("--out", type=Path, default=Path("search-quality-runs"))
        else:
            command.add_argument("out", type=Path, help="folder of runs")
    args = parser.parse_args()
    args.action(args)


if __name__ == "__main__":
    main()
