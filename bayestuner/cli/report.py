"""``bayestuner report PATH``."""

from __future__ import annotations

import argparse
from pathlib import Path

from bayestuner.cli import exit_codes
from bayestuner.cli.reading import reading


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this subcommand."""
    parser = commands.add_parser(
        "report",
        help="a study as a page for a browser",
        description="Writes a study as one page of HTML that needs no network: what to run and why, every run, other bounds, what knobs "
        "do. Of a study that is still running it shows what is there; the study is not changed.",
    )
    parser.add_argument("study", metavar="PATH", type=Path)
    parser.add_argument("--out", metavar="FILE", type=Path, default=Path("report.html"), help="where to write it (default: report.html)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the page."""
    from bayestuner.files.outputs import replace_file
    from bayestuner.report.page.render import report_html
    from bayestuner.study.study import Study

    with reading(args.study), Study.open(args.study, read_only=True) as study:
        page = report_html(study)
    replace_file(args.out, page.encode())
    print(f"wrote {args.out}: open it in a browser")
    return exit_codes.OK
