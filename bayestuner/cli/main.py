"""The front: reads the command line, hands over to one file per subcommand, turns errors into one sentence and an exit code."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from bayestuner._version import __version__
from bayestuner.cli import exit_codes
from bayestuner.cli.output import harmless_output
from bayestuner.cli.signals import Stopped, stop_signals
from bayestuner.errors import (
    BayesTunerError,
    IsolationUnavailable,
    KnobUnavailable,
    MachineBusy,
    MeterUnavailable,
    MissingExtra,
    RuntimeFolderUnusable,
    StoreError,
    WorkerLost,
)

COMMANDS = ("tune", "show", "retarget", "compare", "doctor", "measure-grid", "zoo")


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of every subcommand."""
    parser = argparse.ArgumentParser(
        prog="bayestuner",
        description="Finds the configuration under which a DNN inference job draws the least power and still meets its throughput.",
        epilog=exit_codes.HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"bayestuner {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in COMMANDS:
        import_module(f"bayestuner.cli.{name.replace('-', '_')}").add_parser(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    with harmless_output():
        return _run(argv)


def _run(argv: Sequence[str] | None) -> int:
    args = make_parser().parse_args(argv)
    try:
        with stop_signals():
            code: int = args.run(args)
            sys.stdout.flush()
            return code
    except Stopped as stop:
        return _say(stop.message, exit_codes.STOPPED + stop.signum)
    except KeyboardInterrupt:
        return _say("stopped", exit_codes.STOPPED + 2)
    except BrokenPipeError:
        # whoever read our output has gone; nothing more can be said, not even at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exit_codes.STOPPED + 13
    except BayesTunerError as error:
        _traceback_if_wanted()
        return _say(f"bayestuner: {error}", _code_of(error))
    except Exception as error:
        _traceback_if_wanted()
        where = "set BAYESTUNER_DEBUG=1 to see where, and please report it"
        return _say(f"bayestuner: an error in BayesTuner itself: {type(error).__name__}: {error}; {where}", exit_codes.INTERNAL)


def _code_of(error: BayesTunerError) -> int:
    if isinstance(error, (MeterUnavailable, IsolationUnavailable, KnobUnavailable, RuntimeFolderUnusable, MissingExtra, WorkerLost)):
        return exit_codes.MACHINE_LACKS
    if isinstance(error, MachineBusy):
        return exit_codes.MACHINE_BUSY
    return exit_codes.STUDY_TROUBLE if isinstance(error, StoreError) else exit_codes.BAD_INPUT


def _say(text: str, code: int) -> int:
    print(text, file=sys.stderr, flush=True)
    return code


def _traceback_if_wanted() -> None:
    if os.environ.get("BAYESTUNER_DEBUG") == "1":
        import traceback

        traceback.print_exc()


if __name__ == "__main__":
    sys.exit(main())
