"""``bayestuner compare``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bayestuner.cli import exit_codes

if TYPE_CHECKING:
    from bayestuner.goal import Goal
    from bayestuner.tune.comparing import Curve

SPACES = ("large", "small")


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this subcommand."""
    parser = commands.add_parser(
        "compare",
        help="let several strategies search the same job",
        description="Lets each strategy make the same number of runs, on a real job or on a simulated one. Started again, it goes on.",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--job", metavar="JOB.toml", type=Path, help="a real job: every search makes its own test runs")
    what.add_argument("--simulate", metavar="NAME", help="one of the paper's jobs on its server, SIMULATED")
    parser.add_argument(
        "--strategies", metavar="NAMES", default="bayes,annealing,random", help="separated by commas (default: %(default)s)"
    )
    parser.add_argument("--budget", metavar="N", type=int, default=20, help="runs of each search (default: 20)")
    parser.add_argument("--repeats", metavar="N", type=int, help="searches of each strategy (default: 3, simulated 30)")
    parser.add_argument("--out", metavar="FOLDER", type=Path, help="what is kept (default: NAME.compare)")
    parser.add_argument("--plot", metavar="FILE", type=Path, help="draw the best found against runs and search time")
    parser.add_argument("--space", choices=SPACES, default="large", help="of a simulated job: 7168 or 224 configurations (default: large)")
    parser.add_argument(
        "--noise", metavar="SHARE", type=float, default=0.0, help="of a simulated job's readings, such as 0.01 (default: none)"
    )
    parser.add_argument("--json", action="store_true", help="print the curves as JSON; progress goes to stderr")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Compare, show progress, print the table."""
    from bayestuner.cli.progress import screen_width
    from bayestuner.errors import BayesTunerError
    from bayestuner.report.comparison import comparison_table, plot_comparison
    from bayestuner.study.registry import check_strategy

    strategies = [name.strip() for name in args.strategies.split(",") if name.strip()]
    for name in strategies:
        check_strategy(name)
    repeats = args.repeats if args.repeats is not None else 3 if args.job else 30
    if not strategies or repeats < 1 or args.budget < 1:
        raise BayesTunerError("compare takes at least one strategy, one repeat and a budget of one run")
    if args.plot is not None and args.plot.suffix not in (".png", ".svg", ".pdf"):
        raise BayesTunerError(f"a plot is a .png, .svg or .pdf file, not {args.plot.name!r}")
    curves, facts = (_real if args.job else _simulated)(args, strategies, range(repeats))
    if args.plot is not None:
        plot_comparison(curves, facts["objective"], args.plot, facts["label"], args.budget, lower=facts["lower"])
    if args.json:
        _emit(curves, facts)
    else:
        print(f"\n{facts['label']}\n")
        options = {"lower": facts["lower"], "optimum": facts["optimum"], "width": screen_width(sys.stdout)}
        print(comparison_table(curves, facts["objective"], args.budget, **options))
        print(f"\nkept in {facts['folder']}")
    return exit_codes.OK


def _simulated(args: argparse.Namespace, strategies: list[str], seeds: range) -> tuple[list[Curve], dict[str, Any]]:
    from bayestuner.simulate.platform import SimulatedJob, large_space, small_space
    from bayestuner.tune.comparing import compare

    space = {"large": large_space, "small": small_space}[args.space]()
    folder = args.out if args.out is not None else Path(f"{args.simulate}.compare")

    def job(seed: int) -> SimulatedJob:
        return SimulatedJob(args.simulate, space, noise=args.noise, seed=seed)

    truth = SimulatedJob(args.simulate, space)
    what = {"simulated": args.simulate, "rows": space.n_rows, "noise": args.noise, "budget": args.budget}
    tell = _progress(len(strategies) * len(seeds))
    curves = compare(job, strategies, seeds=seeds, budget=args.budget, folder=folder, what=what, tell=tell)
    optimum = float(truth.table.metrics["power_w"][truth.optimum])
    noise = f", readings with {100 * args.noise:g} % noise" if args.noise else ""
    label = f"{args.simulate}, {space.n_rows} configurations, SIMULATED{noise}; goal: {truth.goal}; optimum {optimum:.1f} W"
    return curves, _facts(truth.goal, label, folder, optimum, simulated=True)


def _real(args: argparse.Namespace, strategies: list[str], seeds: range) -> tuple[list[Curve], dict[str, Any]]:
    from bayestuner.cli.progress import make_progress
    from bayestuner.measure.job import load_job
    from bayestuner.tune.comparing import compare_job

    job = load_job(args.job)
    folder = args.out if args.out is not None else Path(f"{job.name}.compare")
    progress = make_progress(sys.stderr)
    try:
        curves = compare_job(job, strategies, seeds=seeds, budget=args.budget, folder=folder, progress=progress)
    finally:
        progress.close()
    label = f"{job.name}, {len(job.space)} configurations, real runs; goal: {job.goal}"
    return curves, _facts(job.goal, label, folder, None, simulated=False)


def _facts(goal: Goal, label: str, folder: Path, optimum: float | None, *, simulated: bool) -> dict[str, Any]:
    lower = goal.direction == "minimize"
    return {"label": label, "objective": goal.objective, "lower": lower, "optimum": optimum, "folder": str(folder), "simulated": simulated}


def _progress(total: int) -> Callable[[Curve], None]:
    """A line on stderr that counts the searches, where that is a terminal."""
    done = 0

    def tell(curve: Curve) -> None:
        nonlocal done
        done += 1
        if sys.stderr.isatty():
            end = "\n" if done == total else ""
            print(f"\rsearch {done} of {total}: {curve.strategy}, seed {curve.seed}\x1b[K", end=end, file=sys.stderr, flush=True)

    return tell


def _emit(curves: list[Curve], facts: dict[str, Any]) -> None:
    from dataclasses import asdict

    from bayestuner.cli.json_forms import VERSION, emit

    emit({"version": VERSION, **facts, "curves": [asdict(c) for c in curves]})
