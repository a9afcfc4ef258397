"""``bayestuner measure-grid JOB.toml --out TABLE.csv``."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bayestuner.cli import exit_codes
from bayestuner.cli.arguments import check_can_write, positive_number, seed
from bayestuner.cli.streams import write_now

if TYPE_CHECKING:
    from bayestuner.tune.grid import GridProgress


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this subcommand."""
    parser = commands.add_parser(
        "measure-grid",
        help="measure every configuration of a job into a table",
        description="Runs every configuration of a job once and appends each to a CSV file. Started again, it goes on where it was.",
        epilog=exit_codes.HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("job", metavar="JOB.toml", type=Path)
    parser.add_argument("--out", metavar="TABLE.csv", type=Path, required=True, help="the table; TABLE.json beside it says what it is of")
    parser.add_argument(
        "--only",
        metavar="KNOB=V,V",
        type=_part,
        action="append",
        default=[],
        help="only these values of a knob; may be given for each knob",
    )
    parser.add_argument("--budget-seconds", metavar="S", type=positive_number, help="start no run later than S seconds from now")
    parser.add_argument("--seed", metavar="S", type=seed, default=0, help="seed of the order of the runs (default: 0)")
    parser.add_argument("--allow-affinity", action="store_true", help="go on without memory limits where no cgroup can be made")
    parser.add_argument("--wait", action="store_true", help="wait while another BayesTuner measures on this machine, instead of refusing")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure, show progress, say how to go on."""
    from bayestuner.cli.signals import Stopped
    from bayestuner.errors import RunFailed
    from bayestuner.measure.job.parser import load_job
    from bayestuner.tune.grid import measure_grid

    again = _resume_command(args)
    check_can_write(args.out, "--out")
    try:
        whole = measure_grid(
            load_job(args.job), args.out, only=dict(args.only), progress=_progress(), budget_s=args.budget_seconds, seed=args.seed,
            allow_affinity=args.allow_affinity, wait=args.wait,
        )  # fmt: skip
    except Stopped as stop:
        stop.message = f"{stop.message}; every finished run is in {args.out}, go on with: {again}"
        raise
    except RunFailed as error:
        print(f"bayestuner: {error}", file=sys.stderr)
        return exit_codes.NO_CONFIGURATION
    print(f"the grid is whole: {args.out}" if whole else f"not all is measured yet: {args.out}; go on with: {again}")
    return exit_codes.OK


def _resume_command(args: argparse.Namespace) -> str:
    """The command with which measuring is gone on with."""
    words = ["bayestuner", "measure-grid", str(args.job), "--out", str(args.out)]
    words += [word for name, values in args.only for word in ("--only", f"{name}={','.join(values)}")]
    words += ["--seed", str(args.seed)] if args.seed else []
    words += ["--budget-seconds", f"{args.budget_seconds:g}"] if args.budget_seconds is not None else []
    words += [f"--{flag.replace('_', '-')}" for flag in ("allow_affinity", "wait") if getattr(args, flag)]
    return shlex.join(words)


def _progress() -> GridProgress:
    from bayestuner.foreign_text import harmless
    from bayestuner.measure.job.job import Job
    from bayestuner.measure.metrics import POWER_METRICS
    from bayestuner.measure.table import Table
    from bayestuner.report.words import duration, quantity
    from bayestuner.trial import Measured
    from bayestuner.tune.grid import GridProgress, RowProgress

    class Lines(GridProgress):
        """One line per row."""

        def __init__(self) -> None:
            self._job: Job | None = None
            self._estimated = False

        def note(self, text: str) -> None:
            """Print it."""
            write_now(sys.stdout, f"note: {text}\n")

        def grid_began(self, job: Job, table: Table, n: int, done: int, facts: Mapping[str, Any]) -> None:
            """Print what is about to happen."""
            self._job, self._estimated = job, table.provenance.estimated
            meter = facts["meter"]
            source = "none" if meter is None else meter["source"] + (", ESTIMATED, not measured" if meter["estimated"] else "")
            head = f"{job.name}: {n} configurations, {done} of them measured"
            write_now(sys.stdout, f"{head}; meter: {source}; limits: {facts['isolation']}\n")

        def row_finished(self, row: RowProgress) -> None:
            """Print how it ended."""
            config = " ".join(harmless(f"{name}={value}") for name, value in row.config.items())
            if isinstance(row.outcome, Measured):
                values = row.outcome.values
                assert self._job is not None  # noqa: S101 - `grid_began` comes first
                names = ("duration_s", "throughput", "power_w", "cpu_s_per_item", "latency_p99_s", *self._job.metrics)
                shown = [m for m in names if m in values]
                own = self._job.metrics
                figures = [
                    f"{m} " * (m in own) + quantity(m, values[m], self._job) + (" est." if self._estimated and m in POWER_METRICS else "")
                    for m in shown
                ]
                told = ", ".join(figures) + (f" ({', '.join(row.outcome.flags)})" if row.outcome.flags else "")
            else:
                told = harmless(f"{row.outcome.kind}: {row.outcome.message}")
            left = f"about {duration(row.seconds_left)} left" if row.k < row.n else "done"
            write_now(sys.stdout, f"{row.k}/{row.n}  {config}  {told}  |  {left}\n")

    return Lines()


def _part(text: str) -> tuple[str, list[str]]:
    name, equals, values = text.partition("=")
    if not equals or not name or not values:
        raise argparse.ArgumentTypeError(f"expected KNOB=VALUE,VALUE, not {text!r}")
    return name, values.split(",")
