"""``bayestuner apply PATH``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from bayestuner.cli import exit_codes
from bayestuner.cli.reading import reading

if TYPE_CHECKING:
    from bayestuner.study.sides import Side
    from bayestuner.study.study import Study
    from bayestuner.study.summary import Summary

KINDS = ("shell", "systemd", "systemd-drop-in", "docker", "compose", "kubernetes", "json")


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this subcommand."""
    parser = commands.add_parser(
        "apply",
        help="the recommended configuration as a unit, a container or a line for a shell",
        description="Prints the recommended configuration in the form that production starts it in; runs nothing and changes nothing. "
        "Of a server behind the load generator it is the server alone.",
    )
    parser.add_argument("study", metavar="PATH", type=Path)
    parser.add_argument("--as", dest="kind", choices=KINDS, default="shell", help="the form (default: shell)")
    parser.add_argument("--bound", metavar="BOUND", action="append", help='under other bounds, by the model: --bound "throughput >= 80"')
    parser.add_argument("--image", metavar="NAME", default="IMAGE", help="the container's image")
    parser.add_argument("--port", metavar="N", type=_port, default=8000, help="where a server listens that was measured on any free port")
    parser.add_argument("--out", metavar="FILE", type=Path, help="write it to a new file instead")
    parser.set_defaults(run=run)


def _port(text: str) -> int:
    if text.isascii() and text.isdigit() and 0 < int(text) < 65536:
        return int(text)
    raise argparse.ArgumentTypeError(f"a port is a number from 1 to 65535, not {text!r}")


def run(args: argparse.Namespace) -> int:
    """Print the form, or write it."""
    from bayestuner.errors import BayesTunerError, NoRecommendation
    from bayestuner.report.apply import launch_of
    from bayestuner.report.deploy import Deployment, form, served
    from bayestuner.study.study import Study
    from bayestuner.study.summary import summarise

    with reading(args.study), Study.open(args.study, read_only=True) as study:
        summary, records = summarise(study), study.records()
        side, source = _chosen(study, summary, args.bound)
        launch = served(launch_of(summary, side, records), args.port)
    if not launch.command:
        raise NoRecommendation(f"the study in {args.study} does not say how its job is started; tune it anew")
    text = form(args.kind, Deployment(launch, args.image, source))
    if args.out is None:
        print(text, end="")
    else:
        try:
            with args.out.open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            raise BayesTunerError(f"{args.out} exists already and is left as it is; name a new file with --out") from None
        print(f"wrote {args.out}")
    return exit_codes.OK


def _chosen(study: Study, summary: Summary, bounds: list[str] | None) -> tuple[Side, tuple[str, ...]]:
    """The configuration to deploy, and the sentences that say where it comes from."""
    from bayestuner.cli.retarget import LIKELY, advice_for
    from bayestuner.errors import NoRecommendation
    from bayestuner.goal import Goal
    from bayestuner.report.verdict import verdict_title
    from bayestuner.report.words import config_text
    from bayestuner.study.sides import side_of

    if bounds is None:
        if summary.recommended is None:
            raise NoRecommendation(f"the study {summary.name} recommends nothing to apply: {verdict_title(summary)}")
        return summary.recommended, (f"{summary.name}: {verdict_title(summary)}: {config_text(summary.recommended.config)}",)
    goal = Goal(**{study.goal.direction: study.goal.objective}, subject_to=bounds)
    baseline = study.baseline()
    if goal.relative and baseline is not None:
        goal = goal.resolve(study.values_of(baseline.trial))
    advice = advice_for(study, goal)
    if advice.p_feasible < LIKELY:
        raise NoRecommendation(f"no configuration of the study {summary.name} is likely to meet {', '.join(map(str, goal.bounds))}")
    records = study.records()
    said = f"{summary.name}, for {', '.join(map(str, goal.bounds))}, by the model and not launched: {config_text(advice.config)}"
    return side_of(study, records, advice.row, goal), (said,)
