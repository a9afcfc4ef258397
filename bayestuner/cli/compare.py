"""``bayestuner compare``."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bayestuner.cli import exit_codes
from bayestuner.cli.arguments import check_can_write, positive_count, share

if TYPE_CHECKING:
    from bayestuner.goal import Goal
    from bayestuner.measure.job.job import Job
    from bayestuner.tune.comparing import Curve, Evaluator, SearchProgress

SPACES = ("large", "small")
ALL = "all"
REAL = "real runs"
ESTIMATED_POWER = "power ESTIMATED by a model and not measured"
PLOTS = (".png", ".svg", ".pdf")


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this subcommand."""
    parser = commands.add_parser(
        "compare",
        help="let several strategies search the same job",
        description="Lets each strategy make the same number of runs, on a real job, a simulated one or a measured table.\n"
        "Started again, it goes on. An exhaustive search of the latter two runs the whole space: the others are held against it.",
        epilog=exit_codes.HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--job", metavar="JOB.toml", type=Path, help="a real job: every search makes its own test runs")
    what.add_argument("--simulate", metavar="NAME", help="one of the paper's jobs on its server, or NAME+NAME that share it, SIMULATED")
    what.add_argument("--table", metavar="TABLE.csv", type=Path, help="real runs that measure-grid has put into a table, replayed")
    parser.add_argument(
        "--strategies", metavar="NAMES", default="bayes,annealing,random", help="separated by commas (default: %(default)s)"
    )
    parser.add_argument(
        "--budget",
        metavar="N",
        type=_budget,
        default=20,
        help="runs of each search, or all: as many as there are configurations (default: 20)",
    )
    parser.add_argument(
        "--repeats", metavar="N", type=positive_count, help="searches of each strategy (default: 3, simulated or replayed 30)"
    )
    parser.add_argument("--out", metavar="FOLDER", type=Path, help="folder that keeps every search (default: NAME.compare)")
    parser.add_argument("--plot", metavar="FILE", type=Path, help="draw the best found against runs and search time")
    parser.add_argument("--json", action="store_true", help="print the curves as JSON; progress goes to stderr")
    real = parser.add_argument_group("with --job")
    real.add_argument("--allow-affinity", action="store_true", default=None, help="go on without memory limits where there is no cgroup")
    real.add_argument("--wait", action="store_true", default=None, help="wait while another BayesTuner measures on this machine")
    quick = parser.add_argument_group("with --simulate or --table")
    quick.add_argument("--parallel", metavar="N", type=positive_count, help="processes to search in (default: the CPUs this one may use)")
    simulated = parser.add_argument_group("with --simulate")
    simulated.add_argument("--space", choices=SPACES, help="7168 or 224 configurations (default: large)")
    simulated.add_argument("--noise", metavar="SHARE", type=share, help="noise of the readings, such as 0.01 (default: none)")
    table = parser.add_argument_group("with --table")
    goal = table.add_mutually_exclusive_group()
    goal.add_argument("--minimize", metavar="METRIC", help="default: power_w where it was measured, else cpu_s_per_item")
    goal.add_argument("--maximize", metavar="METRIC", help="in place of --minimize")
    table.add_argument(
        "--subject-to",
        metavar="BOUND",
        action="append",
        help="may be given more than once (default: 'throughput >= 60%%', of what the largest configuration reaches)",
    )
    parser.set_defaults(run=run)


@dataclass(frozen=True)
class Subject:
    """The job that strategies are compared on: a real one, a simulated one or a measured table.

    Attributes
    ----------
    name : str
        Name of the folder that keeps the searches, where no other is given.
    kind : str
        ``real``, ``simulated`` or ``replayed``.
    goal : Goal
    n_rows : int
        Number of configurations.
    label : str
        What a reader has to know of the figures: where they come from, and whether they are estimates.
    what : dict
        Everything that must be the same for curves to be comparable.
    optimum : float or None
        The objective of the best configuration, where that is known.
    estimated : bool
        Whether the goal is about a power that a model estimated.
    job : Job or None
        The real job.
    evaluator : callable or None
        Makes a simulated job or one that replays a table, see `bayestuner.tune.comparing.compare`.
    """

    name: str
    kind: str
    goal: Goal
    n_rows: int
    label: str
    what: dict[str, Any]
    optimum: float | None = None
    estimated: bool = False
    job: Job | None = None
    evaluator: Callable[..., Evaluator] | None = None


def run(args: argparse.Namespace) -> int:
    """Compare, show progress, print the table."""
    from bayestuner.cli.progress import table_width
    from bayestuner.report.comparison import comparison_table, plot_comparison

    strategies = _check(args)
    subject = (_real if args.job else _replayed if args.table else _simulated)(args)
    budget = subject.n_rows if args.budget == ALL else args.budget
    folder = args.out if args.out is not None else Path(f"{subject.name}.compare")
    curves = _search(args, subject, strategies, budget, folder)
    subject = _labelled_if_estimated(subject, curves, folder)
    facts = _facts(subject, budget, folder)
    options = {"lower": facts["lower"], "optimum": subject.optimum}
    if args.plot is not None:
        plot_comparison(curves, facts["objective"], args.plot, subject.label, budget, **options)
    if args.json:
        _emit(curves, facts)
    else:
        print(f"\n{subject.label}\n")
        print(comparison_table(curves, facts["objective"], budget, width=table_width(sys.stdout), **options))
        print(f"\nkept in {folder}")
    return exit_codes.OK


def _check(args: argparse.Namespace) -> list[str]:
    """The strategies that were named; raises where options don't fit each other."""
    from bayestuner.errors import BayesTunerError
    from bayestuner.study.registry import check_strategy

    strategies = list(dict.fromkeys(name.strip() for name in args.strategies.split(",") if name.strip()))
    for name in strategies:
        check_strategy(name)
    if not strategies:
        raise BayesTunerError("compare takes at least one strategy; name some with --strategies")
    if args.plot is not None:
        _check_plot(args.plot)
    of_one = {"job": ("allow_affinity", "wait"), "simulate": ("space", "noise"), "table": ("minimize", "maximize", "subject_to")}
    for what, options in of_one.items():
        for option in options:
            if getattr(args, option) is not None and getattr(args, what) is None:
                raise BayesTunerError(f"--{option.replace('_', '-')} is an option of --{what}; leave one of them out, or give both")
    if args.job is not None and args.parallel is not None:
        raise BayesTunerError("--parallel is for simulated and replayed runs; those of a real job are made one after the other")
    return strategies


def _check_plot(path: Path) -> None:
    """Raise where the plot could not be drawn after all searches."""
    from importlib.util import find_spec

    from bayestuner.errors import BayesTunerError, MissingExtra

    if path.suffix not in PLOTS:
        raise BayesTunerError(f"a plot is a .png, .svg or .pdf file, not {path.name!r}")
    if find_spec("matplotlib") is None:
        raise MissingExtra("--plot needs the package matplotlib, which isn't installed; install it with: pip install 'bayestuner[plot]'")
    check_can_write(path, "--plot")


def _simulated(args: argparse.Namespace) -> Subject:
    from functools import partial

    from bayestuner.simulate.select import simulation

    make, space = simulation(args.simulate, args.space)
    noise = args.noise or 0.0
    truth = make(space)
    optimum = float(truth.table.metrics["power_w"][truth.optimum])
    noisy = f", readings with {100 * noise:g} % noise" if noise else ""
    label = f"{args.simulate}, {len(space)} configurations, SIMULATED{noisy}; goal: {truth.goal}; optimum {optimum:.1f} W"
    what = {"simulated": args.simulate, "rows": space.n_rows, "noise": noise}
    evaluator = partial(make, space, noise=noise)
    return Subject(args.simulate, "simulated", truth.goal, len(space), label, what, optimum, evaluator=evaluator)


def _replayed(args: argparse.Namespace) -> Subject:
    from functools import partial

    from bayestuner.goal import Goal
    from bayestuner.simulate.replay import TableJob
    from bayestuner.simulate.tables import ESTIMATED, read_table

    table = read_table(args.table)
    objective = args.maximize or args.minimize or ("power_w" if "power_w" in table.metrics else "cpu_s_per_item")
    bounds = args.subject_to if args.subject_to is not None else ["throughput >= 60%"]
    truth = TableJob(table, Goal(**{"maximize" if args.maximize else "minimize": objective}, subject_to=bounds))
    optimum, n = float(truth.objective[truth.optimum]), table.space.n_rows
    estimated = any(metric.startswith(ESTIMATED) for metric in truth.goal.metrics)
    power = f", {ESTIMATED_POWER}" if estimated else ""
    label = f"replay of measured table {args.table.name}: {table.job}, {n} configurations{power}; goal: {truth.goal}; optimum {optimum:.4g}"
    what = {"table": args.table.name, "digest": table.digest, "goal": str(truth.goal)}
    evaluator = partial(TableJob, table, truth.goal)
    return Subject(args.table.stem, "replayed", truth.goal, n, label, what, optimum, estimated, evaluator=evaluator)


def _real(args: argparse.Namespace) -> Subject:
    from bayestuner.measure.job.parser import load_job

    job = load_job(args.job)
    n = len(job.space)
    return Subject(job.name, "real", job.goal, n, f"{job.name}, {n} configurations, {REAL}; goal: {job.goal}", {}, job=job)


def _labelled_if_estimated(subject: Subject, curves: list[Curve], folder: Path) -> Subject:
    """The subject, with a label that says so where its goal is about power and the runs of the real job had only an estimate of it."""
    from dataclasses import replace

    from bayestuner.measure.metrics import POWER_METRICS
    from bayestuner.study.study import Study
    from bayestuner.study.summary import summarise

    if subject.job is None or not POWER_METRICS & set(subject.goal.metrics):
        return subject
    for curve in curves:
        with Study.open(folder / f"{curve.strategy}-{curve.seed}", read_only=True) as study:
            if summarise(study).estimated:
                return replace(subject, estimated=True, label=subject.label.replace(REAL, f"{REAL}, {ESTIMATED_POWER}"))
    return subject


def _search(args: argparse.Namespace, subject: Subject, strategies: list[str], budget: int, folder: Path) -> list[Curve]:
    import os

    from bayestuner.cli.progress import make_progress
    from bayestuner.cli.signals import Stopped
    from bayestuner.tune.comparing import compare, compare_job

    seeds = range(args.repeats if args.repeats is not None else 3 if subject.job else 30)
    try:
        if subject.evaluator is not None:
            parallel = args.parallel if args.parallel is not None else len(os.sched_getaffinity(0))
            what = {**subject.what, "budget": budget}
            return compare(
                subject.evaluator, strategies, seeds=seeds, budget=budget, folder=folder, what=what, tell=show_search, parallel=parallel
            )
        assert subject.job is not None  # noqa: S101
        progress = make_progress(sys.stderr)
        try:
            return compare_job(
                subject.job, strategies, seeds=seeds, budget=budget, folder=folder, progress=progress,
                allow_affinity=bool(args.allow_affinity), wait=bool(args.wait),
            )  # fmt: skip
        finally:
            progress.close()
    except Stopped as stop:
        finished = "run" if subject.job is not None else "search"
        stop.message = f"{stop.message}; every finished {finished} is kept in {folder}, go on with: {_resume_command(args)}"
        raise


def _resume_command(args: argparse.Namespace) -> str:
    """The command with which the comparison is gone on with."""
    words = ["bayestuner", "compare"]
    for name in (
        "job",
        "simulate",
        "table",
        "strategies",
        "budget",
        "repeats",
        "out",
        "plot",
        "parallel",
        "space",
        "noise",
        "minimize",
        "maximize",
    ):
        value = getattr(args, name)
        if value is not None:
            words += [f"--{name}", str(value)]
    words += [word for bound in args.subject_to or () for word in ("--subject-to", bound)]
    words += [f"--{flag.replace('_', '-')}" for flag in ("allow_affinity", "wait", "json") if getattr(args, flag)]
    return shlex.join(words)


def show_search(search: SearchProgress) -> None:
    """A line on stderr that counts the searches, where that is a terminal."""
    from bayestuner.cli.output import ERASE_LINE, write_codes
    from bayestuner.report.words import duration

    if sys.stderr.isatty():
        left = f", about {duration(search.seconds_left)} left" if search.seconds_left else ""
        text = f"search {search.k} of {search.n}: {search.curve.strategy}, seed {search.curve.seed}{' (kept)' if search.kept else ''}{left}"
        write_codes(sys.stderr, ERASE_LINE)
        print(text, end="\n" if search.k == search.n else "", file=sys.stderr, flush=True)


def _facts(subject: Subject, budget: int, folder: Path) -> dict[str, Any]:
    return {
        "label": subject.label,
        "kind": subject.kind,
        "simulated": subject.kind == "simulated",
        "estimated": subject.estimated,
        "goal": str(subject.goal),
        "objective": subject.goal.objective,
        "lower": subject.goal.direction == "minimize",
        "optimum": subject.optimum,
        "configurations": subject.n_rows,
        "budget": budget,
        "folder": str(folder),
    }


def _emit(curves: list[Curve], facts: dict[str, Any]) -> None:
    from dataclasses import asdict

    from bayestuner.cli.json_forms import VERSION, emit

    emit({"version": VERSION, **facts, "curves": [asdict(c) for c in curves]})


def _budget(text: str) -> int | str:
    if text == ALL:
        return ALL
    try:
        return positive_count(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, or all, not {text!r}") from None
