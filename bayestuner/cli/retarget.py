"""``bayestuner retarget PATH "throughput >= 80"``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from bayestuner.cli import exit_codes
from bayestuner.cli.reading import reading

if TYPE_CHECKING:
    from bayestuner.goal import Goal
    from bayestuner.report.words import Units
    from bayestuner.search.strategy import Recommendation
    from bayestuner.study.study import Study
    from bayestuner.study.summary import Summary

LIKELY = 0.5
"""Chance to meet every bound below which a configuration is only the nearest."""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this subcommand."""
    parser = commands.add_parser(
        "retarget",
        help="what a finished study would recommend under other bounds",
        description="Says which measured configuration suits other bounds best, without a single run and without changing the study; "
        "with --launch it launches that one and the runners-up, as tune does at its end, and adds these runs to the study.",
    )
    parser.add_argument("study", metavar="PATH", type=Path)
    parser.add_argument("bounds", metavar="BOUND", nargs="+", help='such as "throughput >= 80"')
    parser.add_argument("--launch", action="store_true", help="launch the answer and the runners-up beside the all-max default")
    parser.add_argument("--allow-affinity", action="store_true", help="with --launch: as for tune")
    parser.add_argument("--wait", action="store_true", help="with --launch: wait while another BayesTuner measures on this machine")
    parser.add_argument("--json", action="store_true", help="as JSON; progress goes to stderr")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the recommendation under the new bounds."""
    from bayestuner.cli.json_forms import VERSION, emit, launched_form, recommendation_form
    from bayestuner.goal import Goal
    from bayestuner.study.study import Study
    from bayestuner.study.summary import summarise

    with reading(args.study), Study.open(args.study, read_only=True) as study:
        goal = Goal(**{study.goal.direction: study.goal.objective}, subject_to=args.bounds)
        summary = summarise(study)
        if not args.launch and summary.complete and goal == study.goal:  # the study has the answer, with launches behind it
            if args.json:
                emit({"version": VERSION, "study": str(args.study), "goal": str(goal), "recommendation": launched_form(summary)})
            else:
                _print_summary(args.study, summary, study)
            return exit_codes.of_summary(summary)
        if not args.launch:
            baseline = study.baseline()
            if goal.relative and baseline is not None:
                goal = goal.resolve(study.values_of(baseline.trial))
            advice = advice_for(study, goal)
            if args.json:
                emit({"version": VERSION, "study": str(args.study), "goal": str(goal), "recommendation": recommendation_form(advice)})
            else:
                _print_advice(goal, advice, summary, estimated=summary.estimated)
            return exit_codes.OK if advice.p_feasible >= LIKELY else exit_codes.NO_CONFIGURATION
    return _launch(args, goal)


def _launch(args: argparse.Namespace, goal: Goal) -> int:
    import sys

    from bayestuner.cli.json_forms import emit, summary_form
    from bayestuner.cli.progress import make_progress
    from bayestuner.study.study import Study
    from bayestuner.tune.retargeting import launch_retargeted

    progress = make_progress(sys.stderr if args.json else sys.stdout)
    try:
        summary = launch_retargeted(args.study, goal, progress=progress, allow_affinity=args.allow_affinity, wait=args.wait)
    finally:
        progress.close()
    with Study.open(args.study, read_only=True) as study:
        if args.json:
            emit(summary_form(args.study, summary, study.records()))
        else:
            print()
            _print_summary(args.study, summary, study)
    return exit_codes.of_summary(summary)


def advice_for(study: Study, goal: Goal) -> Recommendation:
    """The model's choice; where it is unlikely to meet the goal, the configuration whose readings miss it by least."""
    from bayestuner.errors import BayesTunerError
    from bayestuner.search.strategy import Prediction, Recommendation
    from bayestuner.study.sides import nearest

    strategy = study.strategy()
    if not hasattr(strategy, "retarget"):
        raise BayesTunerError(
            f"the study's strategy, {study.info.strategy}, has no model to retarget; only bayes has: "
            "launch what it measured under the new bounds with --launch"
        )
    strategy.retarget(goal)
    advice: Recommendation = strategy.recommend()
    if advice.p_feasible >= LIKELY:
        return advice
    near = nearest(study, study.records(), goal)
    if near is None or near.config == advice.config:
        return advice
    figures = {name: f for name, f in near.figures.items() if name in goal.metrics}
    expected = {n: Prediction(f.mean, f.mean if f.low is None else f.low, f.mean if f.high is None else f.high) for n, f in figures.items()}
    return Recommendation(study.space.row(near.config), near.config, expected, advice.p_feasible, None)


def _print_advice(goal: Goal, advice: Recommendation, units: Units, *, estimated: bool) -> None:
    from bayestuner.report.words import config_text, label, quantity

    likely = advice.p_feasible >= LIKELY
    print(f"goal: {goal}\n{'best' if likely else 'nearest, but unlikely to meet the goal'}: {config_text(advice.config)}")
    for name, p in advice.expected.items():
        low, mean, high = (quantity(name, v, units) for v in (p.low, p.mean, p.high))
        interval = "measured once" if p.low == p.high else f"95 % interval {low} to {high}{', by the model' if likely else ''}"
        print(f"  {label(name, units, estimated=estimated)}: {mean} ({interval})")
    print(f"  chance that it meets the goal, by the model: {100 * advice.p_feasible:.0f} %")
    print("  not launched for these bounds: --launch does that, beside the runners-up and the all-max default")


def _print_summary(path: Path, summary: Summary, study: Study) -> None:
    import sys

    from bayestuner.cli.progress import screen_width
    from bayestuner.report.result import result_text

    print(result_text(summary, path, study.records(), width=screen_width(sys.stdout)))
