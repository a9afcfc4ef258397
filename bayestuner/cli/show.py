"""``bayestuner show PATH``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from bayestuner.cli import exit_codes
from bayestuner.cli.reading import reading

if TYPE_CHECKING:
    from bayestuner.search.strategy import Recommendation
    from bayestuner.study.study import Study


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this subcommand."""
    parser = commands.add_parser("show", help="show a study: its runs and what they came to", description="Shows a study; changes nothing.")
    parser.add_argument("study", metavar="PATH", type=Path)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="as JSON")
    form.add_argument("--markdown", action="store_true", help="as Markdown")
    form.add_argument("--csv", action="store_true", help="its runs as CSV")
    form.add_argument(
        "--front", action="store_true", help="only the runs that trade the objective off against the first bound's metric best"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the study."""
    import sys

    from bayestuner.study.sides import ranked_rows
    from bayestuner.study.study import Study
    from bayestuner.study.summary import summarise

    with reading(args.study), Study.open(args.study, read_only=True) as study:
        summary, records = summarise(study), study.records()
        if args.json:
            from bayestuner.cli.json_forms import emit, launched_form, recommendation_form, study_form

            goal = study.resolved_goal
            rows = [] if goal is None else ranked_rows(study, records, goal)
            best = next((r for r in records if rows and r.trial.row == rows[0] and r.trial.metrics), None)
            advice = launched_form(summary) if summary.complete else recommendation_form(_advice(study))
            emit(study_form(study, summary, best, advice))
        elif args.front:
            from bayestuner.cli.progress import table_width
            from bayestuner.report.front import front_text

            goal = study.resolved_goal or study.goal
            trials = [r.trial for r in records]
            print(front_text(study, goal, trials, summary, estimated=summary.estimated, width=table_width(sys.stdout)))
        elif args.csv:
            from bayestuner.report.export import study_data

            print(study_data(study, summary).to_csv(), end="")
        elif args.markdown:
            from bayestuner.report.result import result_markdown

            print(result_markdown(summary, args.study, records), end="")
        else:
            from bayestuner.cli.progress import screen_width, table_width
            from bayestuner.report.result import result_text, trials_table

            if records:
                print(trials_table(summary, records, width=table_width(sys.stdout)), end="\n\n")
            print(result_text(summary, args.study, records, width=screen_width(sys.stdout)))
    return exit_codes.OK


def _advice(study: Study) -> Recommendation | None:
    from bayestuner.errors import NoRecommendation, StoreError

    try:
        return study.recommend()
    except (NoRecommendation, StoreError):
        return None
