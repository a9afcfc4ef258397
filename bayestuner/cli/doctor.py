"""``bayestuner doctor``."""

from __future__ import annotations

import argparse

from bayestuner.cli import exit_codes


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this subcommand."""
    parser = commands.add_parser(
        "doctor",
        help="what this machine offers, and how to get what is missing",
        description="Says what this machine offers for measuring and, for each thing missing, why and how to get it. Needs no root. "
        "Settings that a killed BayesTuner left changed are put back.",
    )
    parser.add_argument("--quick", action="store_true", help="leave out the look at how quiet the machine is (5 s)")
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print what the probe found."""
    import sys

    from bayestuner.measure.doctor.probe import IDLE_S, probe

    report = probe(idle_s=0.0 if args.quick else IDLE_S)
    if args.json:
        from bayestuner.cli.json_forms import VERSION, emit

        emit({"version": VERSION, **report.as_dict()})
    else:
        from bayestuner.cli.progress import screen_width
        from bayestuner.report.doctor import doctor_text

        print(doctor_text(report, width=screen_width(sys.stdout)))
    return exit_codes.OK
