"""The job process: load a net, run batches without end, say after each how many items are done.

Inside BayesTuner (BAYESTUNER_FD is set) it reports on the inherited pipe and prints nothing but errors; on its own it is a small benchmark
tool. With a cached model it imports numpy and onnxruntime only, so that a test run starts quickly. With ``--instances`` it is the parent of
several job processes (`bayestuner.zoo.instances`) and loads nothing itself.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any

from bayestuner.errors import BayesTunerError, MissingExtra
from bayestuner.zoo import registry, session
from bayestuner.zoo.graph import Graph
from bayestuner.zoo.instances import InstanceFailed, ParentLink
from bayestuner.zoo.tally import Tally, own_peak_bytes, show

if TYPE_CHECKING:
    from bayestuner.zoo.inputs import Feeds

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_MISSING_EXTRA = 3
EXIT_INTERRUPTED = 130
ALONE_SECONDS = 10.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run a job; see ``python -m bayestuner.zoo --help``.

    Returns
    -------
    int
        The exit code: 0 done, 1 failed, 2 wrong usage, 3 onnx or onnxruntime isn't installed, 130 interrupted before the first batch.
    """
    options = _parser().parse_args(argv)
    try:
        if options.instances > 1 and options.member is None:
            from bayestuner.zoo.parent import run_instances

            began = run_instances(options, sys.argv[1:] if argv is None else argv, ALONE_SECONDS)
            return EXIT_OK if began else EXIT_INTERRUPTED
        code = _run(options)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except InstanceFailed as failure:
        return _complain(failure.stderr_text.removeprefix("bayestuner.zoo: ") or failure, failure.code if failure.code > 0 else EXIT_FAILED)
    except KeyboardInterrupt:  # while the model was loading
        return EXIT_INTERRUPTED
    except MissingExtra as error:
        return _complain(error, EXIT_MISSING_EXTRA)
    except BayesTunerError as error:
        return _complain(error, EXIT_USAGE if isinstance(error, registry.UnknownNet) else EXIT_FAILED)
    except OSError as error:  # a full disk, a pipe that nobody reads any more
        if sys.stdout is not None:  # else Python would try to write once more when it ends, and fail
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _complain(f"the figures can't be printed, or the reports written: {error.strerror or error}", EXIT_FAILED)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bayestuner.zoo", description="Run one of the zoo's nets on seeded batches and count items.", allow_abbrev=False
    )
    parser.add_argument("name", metavar="NAME", help=f"one of {', '.join(registry.names())}")
    parser.add_argument("--batch", type=_whole("--batch"), default=1, metavar="N", help="items per batch (default 1)")
    parser.add_argument(
        "--seconds",
        type=_seconds,
        metavar="S",
        help=f"stop after S seconds (default: {ALONE_SECONDS:g}, or without end inside BayesTuner)",
    )
    parser.add_argument(
        "--threads", type=_whole("--threads"), metavar="T", help="threads inside an operator (default: the cores this process may use)"
    )
    parser.add_argument(
        "--instances", type=_whole("--instances"), default=1, metavar="N", help="processes that share the threads (default 1)"
    )
    parser.add_argument(
        "--spin", type=_truth, nargs="?", const=True, default=False, metavar="true|false",
        help="let idle threads spin: lower latency on free cores, more power (default false)",
    )  # fmt: skip
    parser.add_argument(
        "--arena", type=_truth, nargs="?", const=True, default=True, metavar="true|false",
        help="keep freed memory for the next batch; without it smaller, a little slower (default true)",
    )  # fmt: skip
    parser.add_argument("--no-arena", dest="arena", action="store_false", help="the same as --arena false")
    parser.add_argument("--pipeline", action="store_true", help="decode every item before inference: image, audio or text")
    parser.add_argument("--scale", type=float, default=1.0, metavar="F", help="a narrower net on smaller inputs, 0 < F <= 1 (default 1)")
    parser.add_argument("--seed", type=int, default=0, help="of the batches (default 0)")
    parser.add_argument("--json", action="store_true", help="print the result as one line of JSON")
    parser.add_argument("--member", type=ParentLink.read, help=argparse.SUPPRESS)
    return parser


def _whole(flag: str) -> Callable[[str], int]:
    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{flag} is a whole number from 1 up, not {text!r}") from None
        if value < 1:
            raise argparse.ArgumentTypeError(f"{flag} is at least 1, not {value}")
        return value

    return convert


def _truth(text: str) -> bool:
    if text not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"expected true or false, not {text!r}")
    return text == "true"


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"--seconds is a number above 0, not {text!r}")
    return value


def _run(options: argparse.Namespace) -> int:
    from bayestuner.measure.reporter import ready

    parent = os.getppid()
    net = registry.spec(options.name)
    graph = net.graph(options.scale)
    session.import_onnxruntime()  # before a file is built for nothing
    from bayestuner.zoo import inputs

    inputs.check_batch_size(graph, options.batch)
    threads = options.threads or session.granted_cores()
    alone = "BAYESTUNER_FD" not in os.environ
    limit_s = options.seconds or (ALONE_SECONDS if alone else float("inf"))
    tally = Tally(options.batch, threads)
    try:
        model = _load(graph, options, threads)
        feed = _feeder(graph, options, tally)
        step = _stepper(model, inputs.carried(graph))
        step(feed())  # the first batch allocates and is slower; it is never counted
        stop = _Stop(None if alone else parent)
        if options.member is None:
            ready()
        else:
            options.member.wait_for_the_others()
        _loop(feed, step, tally, limit_s=limit_s, stop=stop, done=_reporter(options.member))
    except session.failures() as error:
        raise BayesTunerError(f"{net.name} could not be run with batches of {options.batch}: {_first_line(error)}") from error
    except MemoryError as error:
        raise BayesTunerError(f"there was no memory for a batch of {options.batch} of {net.name}; give a smaller --batch") from error
    if alone:
        tally.memory_peak_bytes = own_peak_bytes()
        show(tally.as_dict(net.name, net.unit), as_json=options.json)
    return EXIT_OK


def _reporter(member: ParentLink | None) -> Callable[[int, float], None]:
    """Report a batch: in turn with the other instances, where there are any, and then with its own latency."""
    from bayestuner.measure.reporter import done

    def report(items: int, latency_s: float) -> None:
        if member is None:
            done(items)
        else:
            with member.report_lock():
                done(items, latency_s)

    return report


def _feeder(graph: Graph, options: argparse.Namespace, tally: Tally) -> Callable[[], Feeds]:
    """A function that gives the next batch: one of a few made once, or, with the input pipeline, one decoded anew."""
    from itertools import cycle

    from bayestuner.zoo import inputs

    batches = inputs.make_batches(graph, options.batch, options.seed)
    if not options.pipeline:
        turns = cycle(batches)
        return lambda: next(turns)
    from bayestuner.zoo.pipeline import Pipeline

    pipeline = Pipeline(graph, options.batch, options.seed)
    tally.decoding_s = 0.0

    def decoded() -> Feeds:
        begun = time.monotonic()
        feeds = {**batches[0], **pipeline.next_batch()}
        tally.decoding_s = (tally.decoding_s or 0.0) + time.monotonic() - begun
        return feeds

    return decoded


def _load(graph: Graph, options: argparse.Namespace, threads: int) -> Any:
    """Open the cached model; a file that passes its check and still doesn't load is rebuilt once."""
    from bayestuner.zoo import cache

    for rebuild in (False, True):
        path = cache.fetch(graph, rebuild=rebuild)
        try:
            return session.open_session(path, threads=threads, spin=options.spin, arena=options.arena)
        except session.unreadable() as error:
            reason = _first_line(error)
    raise BayesTunerError(f"onnxruntime can't load {path}, even built anew: {reason}")


def _stepper(model: Any, carried: dict[str, str]) -> Callable[[Feeds], None]:
    """A function that runs one batch; outputs that are states are fed to the next one."""
    wanted = [o.name for o in model.get_outputs()]
    positions = [(wanted.index(output), fed) for output, fed in carried.items()]
    state: Feeds = {}

    def step(feeds: Feeds) -> None:
        results = model.run(wanted, {**feeds, **state})
        for position, fed in positions:
            state[fed] = results[position]

    return step


def _loop(
    feed: Callable[[], Feeds],
    step: Callable[[Feeds], None],
    tally: Tally,
    *,
    limit_s: float,
    stop: _Stop,
    done: Callable[[int, float], None],
) -> None:
    """Run batches in turn until the time is over or a signal asks to stop; a batch that has begun is finished and counted."""
    if tally.decoding_s is not None:
        tally.decoding_s = 0.0  # the warm batch doesn't count
    start = now = time.monotonic()
    end = start + limit_s
    while now < end and not stop.asked:
        step(feed())
        before, now = now, time.monotonic()
        tally.latencies_s.append(now - before)
        done(tally.batch_size, now - before)
    tally.duration_s = now - start


class _Stop:
    """Whether to end after this batch: asked to by SIGTERM or SIGINT (a second one ends the process at once), or left behind.

    Parameters
    ----------
    parent : int, optional
        The process that started this one: end when it is gone, rather than run on unseen.
    """

    def __init__(self, parent: int | None) -> None:
        self._signalled = False
        self._parent = parent
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask)

    @property
    def asked(self) -> bool:
        return self._signalled or (self._parent is not None and os.getppid() != self._parent)

    def _ask(self, number: int, _frame: FrameType | None) -> None:
        self._signalled = True
        signal.signal(number, signal.SIG_DFL)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _complain(error: BaseException | str, code: int) -> int:
    print(f"bayestuner.zoo: {error}", file=sys.stderr)
    return code
