"""The entry: reads the command line, calls the file of the subcommand, turns errors into one sentence and an exit code."""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import sys
from collections.abc import Sequence
from importlib import import_module

from bayestuner._version import __version__
from bayestuner.cli import exit_codes
from bayestuner.cli.output import harmless_output
from bayestuner.cli.signals import Stopped, stop_signals
from bayestuner.cli.streams import discard_output, output_failure, prepare_streams
from bayestuner.errors import (
    BayesTunerError,
    IsolationUnavailable,
    KnobUnavailable,
    MachineBusy,
    MeterUnavailable,
    MissingExtra,
    NoRecommendation,
    RuntimeFolderUnusable,
    StoreError,
    WorkerLost,
)

COMMANDS = ("check", "tune", "show", "report", "apply", "retarget", "compare", "doctor", "measure-grid", "zoo")


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
    prepare_streams()
    _forbid_core_dumps()
    with harmless_output():
        code = _main(argv)
        if output_failure() is not None:  # of a command that ended with an error of its own
            discard_output()
    return code


def _main(argv: Sequence[str] | None) -> int:
    try:
        return _run(argv)
    except Stopped as stop:
        return _say(stop.message, exit_codes.STOPPED + stop.signum)
    except KeyboardInterrupt:
        return _say("stopped", exit_codes.STOPPED + 2)
    except BrokenPipeError:
        discard_output()  # whoever read it has gone
        return exit_codes.STOPPED + 13
    except BayesTunerError as error:
        _traceback_if_wanted()
        return _say(f"bayestuner: {error}", _code_of(error))
    except (OSError, MemoryError) as error:
        _traceback_if_wanted()
        return _say(f"bayestuner: {_system_failure(error)}", exit_codes.SYSTEM_REFUSED)
    except Exception as error:
        _traceback_if_wanted()
        where = "set BAYESTUNER_DEBUG=1 to see where, and please report it"
        return _say(f"bayestuner: an error in BayesTuner itself: {type(error).__name__}: {error}; {where}", exit_codes.INTERNAL)


def _forbid_core_dumps() -> None:
    """Let neither this process nor a job leave its memory on disk, secrets of its environment included.

    A limit of one byte and not 0, which the kernel ignores where it hands core dumps to a program.
    """
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (0 if hard == 0 else 1, hard))


def _run(argv: Sequence[str] | None) -> int:
    """Parse, run, and have everything printed before the exit code is known."""
    try:
        args = make_parser().parse_args(argv)
        with stop_signals():
            code: int = args.run(args)
    except SystemExit as end:  # of --help, --version or a usage error
        code = end.code if isinstance(end.code, int) else exit_codes.BAD_INPUT
    failure = output_failure()
    if failure is not None:
        raise failure
    return code


def _system_failure(error: OSError | MemoryError) -> str:
    """What the operating system refused, in one sentence."""
    output = output_failure()
    if output is not None:
        discard_output()
        return f"the output can't be written: {output.strerror or output}; direct it to where there is room"
    if isinstance(error, MemoryError):
        return "there is not enough memory for this; free some, or make the space smaller"
    where = f"{error.filename}: " if error.filename is not None else ""
    return f"the operating system refused something: {where}{error.strerror or error}; see to it and start again, what was finished is kept"


def _code_of(error: BayesTunerError) -> int:
    if isinstance(error, (MeterUnavailable, IsolationUnavailable, KnobUnavailable, RuntimeFolderUnusable, MissingExtra, WorkerLost)):
        return exit_codes.MACHINE_LACKS
    if isinstance(error, MachineBusy):
        return exit_codes.MACHINE_BUSY
    if isinstance(error, NoRecommendation):
        return exit_codes.NO_CONFIGURATION
    return exit_codes.STUDY_TROUBLE if isinstance(error, StoreError) else exit_codes.BAD_INPUT


def _say(text: str, code: int) -> int:
    with contextlib.suppress(OSError):  # nobody can be told, but the exit code
        print(text, file=sys.stderr, flush=True)
    return code


def _traceback_if_wanted() -> None:
    if os.environ.get("BAYESTUNER_DEBUG") == "1":
        import traceback

        traceback.print_exc()


if __name__ == "__main__":
    sys.exit(main())
