"""``bayestuner check JOB.toml``."""

from __future__ import annotations

import argparse
from pathlib import Path

from bayestuner.cli import exit_codes


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this subcommand."""
    parser = commands.add_parser(
        "check",
        help="what tuning a job would do, without doing it",
        description="Reads a job file and says what tune would do: the configurations, the goal, command, variables, CPUs and limits of "
        "the all-max and the smallest configuration, the meter, the time. Measures nothing; with --run it starts these two for a moment.",
    )
    parser.add_argument("job", metavar="JOB.toml", type=Path)
    parser.add_argument("--run", action="store_true", dest="make_runs", help="start both for a moment, to see that reports and limits work")
    parser.add_argument("--preset", metavar="NAME", help="take this one of the job file's [goal.presets]")
    parser.add_argument("--allow-affinity", action="store_true", help="as for tune")
    parser.add_argument("--wait", action="store_true", help="with --run: wait while another BayesTuner measures on this machine")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print what was found."""
    import sys

    from bayestuner.cli.progress import Lines, screen_width
    from bayestuner.measure.job.parser import load_job
    from bayestuner.report.check import check_text, failed
    from bayestuner.tune.checking import check

    job = load_job(args.job)
    job = job if args.preset is None else job.with_preset(args.preset)
    found = check(job, run=args.make_runs, progress=Lines(sys.stderr), allow_affinity=args.allow_affinity, wait=args.wait)
    print(check_text(found, width=screen_width(sys.stdout)))
    return exit_codes.NO_CONFIGURATION if failed(found) else exit_codes.OK
