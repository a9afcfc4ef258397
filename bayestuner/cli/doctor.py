"""``bayestuner doctor``."""

from __future__ import annotations

import argparse
from typing import Any

from bayestuner.cli import exit_codes


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this subcommand."""
    parser = commands.add_parser(
        "doctor",
        help="what this machine offers, and how to get what is missing",
        description="Says what this machine offers for measuring and, for each thing missing, why and how to get it.",
    )
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print what the probe found."""
    from bayestuner.measure.probe import probe

    report = probe()
    if args.json:
        from bayestuner.cli.json_forms import VERSION, emit

        emit({"version": VERSION, **report.as_dict()})
    else:
        text = getattr(report, "as_text", None)
        print(text() if text is not None else _as_lines(report.as_dict()))
    return exit_codes.OK


def _as_lines(value: Any, indent: str = "") -> str:
    if isinstance(value, dict):
        parts = [
            f"{indent}{k}: {v}" if not isinstance(v, (dict, list)) else f"{indent}{k}:\n{_as_lines(v, indent + '  ')}"
            for k, v in value.items()
        ]
        return "\n".join(parts)
    if isinstance(value, list):
        return "\n".join(_as_lines(v, indent) for v in value)
    return f"{indent}{value}"
