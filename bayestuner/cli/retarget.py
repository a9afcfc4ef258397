"""``bayestuner retarget PATH "throughput >= 80"``."""

from __future__ import annotations

import argparse
from pathlib import Path

from bayestuner.cli import exit_codes


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this subcommand."""
    parser = commands.add_parser(
        "retarget",
        help="what a finished study would recommend under other bounds",
        description="Says which measured configuration suits other bounds best, without a single run. The study itself is left as it is.",
    )
    parser.add_argument("study", metavar="PATH", type=Path)
    parser.add_argument("bounds", metavar="BOUND", nargs="+", help='such as "throughput >= 80"')
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the recommendation under the new bounds."""
    from bayestuner.cli.json_forms import VERSION, emit, recommendation_form
    from bayestuner.errors import BayesTunerError
    from bayestuner.goal import Goal
    from bayestuner.report.words import config_text, label, quantity
    from bayestuner.study.study import Study
    from bayestuner.study.summary import summarise

    with Study.open(args.study, read_only=True) as study:
        summary = summarise(study)
        strategy = study.strategy()
        if not hasattr(strategy, "retarget"):
            raise BayesTunerError(f"the study's strategy, {study.info.strategy}, has no model to retarget; only bayes has")
        goal = Goal(**{study.goal.direction: study.goal.objective}, subject_to=args.bounds)
        baseline = study.baseline()
        if goal.relative and baseline is not None:
            goal = goal.resolve(study.values_of(baseline.trial))
        strategy.retarget(goal)
        advice = strategy.recommend()
    likely = advice.p_feasible >= 0.5
    if args.json:
        emit({"version": VERSION, "study": str(args.study), "goal": str(goal), "recommendation": recommendation_form(advice)})
    else:
        print(f"goal: {goal}\n{'best' if likely else 'nearest, but unlikely to meet the goal'}: {config_text(advice.config)}")
        for name, p in advice.expected.items():
            low, mean, high = (quantity(name, v, summary.unit) for v in (p.low, p.mean, p.high))
            print(f"  {label(name, summary.unit, estimated=summary.estimated)}: {mean} (95 % interval {low} to {high}, by the model)")
        print(f"  chance that it meets the goal, by the model: {100 * advice.p_feasible:.0f} %")
    return exit_codes.OK if likely else exit_codes.NO_CONFIGURATION
