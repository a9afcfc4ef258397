"""The job process: load a net, run batches without end, say after each how many items are done.

Inside BayesTuner (BAYESTUNER_FD is set) it reports on the inherited pipe and prints nothing but errors; on its own it is a small benchmark
tool. With a cached model it imports numpy and onnxruntime only, so that a test run starts quickly.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from bayestuner.errors import BayesTunerError, MissingExtra
from bayestuner.zoo import inputs, registry, session
from bayestuner.zoo.builder import Graph

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_MISSING_EXTRA = 3
EXIT_INTERRUPTED = 130
_ALONE_SECONDS = 10.0


@dataclass
class Tally:
    """What a run did: batches and seconds since the warm batch."""

    batch_size: int
    threads: int
    latencies_s: array[float] = field(default_factory=lambda: array("d"))

    def as_dict(self, name: str, unit: str) -> dict[str, Any]:
        """Figures of the run; times in seconds, memory in bytes."""
        import numpy as np

        batches = len(self.latencies_s)
        seconds = sum(self.latencies_s)
        p50, p99 = np.quantile(self.latencies_s, [0.5, 0.99]).tolist() if batches else (None, None)
        return {
            "name": name,
            "unit": unit,
            "batch_size": self.batch_size,
            "threads": self.threads,
            "batches": batches,
            "items": batches * self.batch_size,
            "duration_s": seconds,
            "throughput": batches * self.batch_size / seconds if batches else 0.0,
            "latency_p50_s": p50,
            "latency_p99_s": p99,
            "memory_peak_bytes": _peak_rss_bytes(),
        }


def main(argv: Sequence[str] | None = None) -> int:
    """Run a job; see ``python -m bayestuner.zoo --help``.

    Returns
    -------
    int
        The exit code: 0 done, 1 failed, 2 wrong usage, 3 onnx or onnxruntime isn't installed, 130 interrupted before the first batch.
    """
    options = _parser().parse_args(argv)
    try:
        return _run(options)
    except KeyboardInterrupt:  # while the model was loading
        return EXIT_INTERRUPTED
    except MissingExtra as error:
        return _complain(error, EXIT_MISSING_EXTRA)
    except BayesTunerError as error:
        return _complain(error, EXIT_USAGE if isinstance(error, registry.UnknownNet) else EXIT_FAILED)


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
        help=f"stop after S seconds (default: {_ALONE_SECONDS:g}, or without end inside BayesTuner)",
    )
    parser.add_argument(
        "--threads", type=_whole("--threads"), metavar="T", help="threads inside an operator (default: the cores this process may use)"
    )
    parser.add_argument("--spin", action="store_true", help="let idle threads spin: lower latency on free cores, more power")
    parser.add_argument("--no-arena", action="store_true", help="don't keep freed memory for the next batch: smaller, a little slower")
    parser.add_argument("--scale", type=float, default=1.0, metavar="F", help="a narrower net on smaller inputs, 0 < F <= 1 (default 1)")
    parser.add_argument("--seed", type=int, default=0, help="of the batches (default 0)")
    parser.add_argument("--json", action="store_true", help="print the result as one line of JSON")
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


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"--seconds is a number above 0, not {text!r}")
    return value


def _run(options: argparse.Namespace) -> int:
    from bayestuner.measure.reporter import done, ready

    net = registry.spec(options.name)
    graph = net.graph(options.scale)
    inputs.check_batch_size(graph, options.batch)
    threads = options.threads or session.granted_cores()
    session.import_onnxruntime()  # before a file is built for nothing
    alone = "BAYESTUNER_FD" not in os.environ
    limit_s = options.seconds or (_ALONE_SECONDS if alone else float("inf"))
    try:
        model = _load(graph, options, threads)
        batches = inputs.make_batches(graph, options.batch, options.seed)
        step = _stepper(model, inputs.carried(graph))
        step(batches[0])  # the first batch allocates and is slower; it is never counted
        stop = _Stop(with_parent=not alone)
        ready()
        tally = Tally(options.batch, threads)
        _loop(step, batches, tally, limit_s=limit_s, stop=stop, done=done)
    except session.failures() as error:
        raise BayesTunerError(f"{net.name} could not be run with batches of {options.batch}: {_first_line(error)}") from error
    except MemoryError as error:
        raise BayesTunerError(f"there was no memory for a batch of {options.batch} of {net.name}; give a smaller --batch") from error
    if alone:
        _print(tally.as_dict(net.name, net.unit), as_json=options.json)
    return EXIT_OK


def _load(graph: Graph, options: argparse.Namespace, threads: int) -> Any:
    """Open the cached model; a file that passes its check and still doesn't load is rebuilt once."""
    from bayestuner.zoo import cache

    for rebuild in (False, True):
        path = cache.fetch(graph, rebuild=rebuild)
        try:
            return session.open_session(path, threads=threads, spin=options.spin, arena=not options.no_arena)
        except session.unreadable() as error:
            reason = _first_line(error)
    raise BayesTunerError(f"onnxruntime can't load {path}, even built anew: {reason}")


def _stepper(model: Any, carried: dict[str, str]) -> Callable[[inputs.Feeds], None]:
    """A function that runs one batch; outputs that are states are fed to the next one."""
    wanted = [o.name for o in model.get_outputs()]
    positions = [(wanted.index(output), fed) for output, fed in carried.items()]
    state: inputs.Feeds = {}

    def step(feeds: inputs.Feeds) -> None:
        results = model.run(wanted, {**feeds, **state})
        for position, fed in positions:
            state[fed] = results[position]

    return step


def _loop(
    step: Callable[[inputs.Feeds], None],
    batches: list[inputs.Feeds],
    tally: Tally,
    *,
    limit_s: float,
    stop: _Stop,
    done: Callable[[int], object],
) -> None:
    """Run batches in turn until the time is over or a signal asks to stop; a batch that has begun is finished and counted."""
    now = time.monotonic()
    end = now + limit_s
    while now < end and not stop.asked:
        step(batches[len(tally.latencies_s) % len(batches)])
        done(tally.batch_size)
        before, now = now, time.monotonic()
        tally.latencies_s.append(now - before)


class _Stop:
    """Whether to end after this batch: asked to by SIGTERM or SIGINT (a second one ends the process at once), or left behind.

    Parameters
    ----------
    with_parent : bool
        End when the process that started this one is gone, rather than run on unseen.
    """

    def __init__(self, *, with_parent: bool) -> None:
        self._signalled = False
        self._parent = os.getppid() if with_parent else None
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask)

    @property
    def asked(self) -> bool:
        return self._signalled or (self._parent is not None and os.getppid() != self._parent)

    def _ask(self, number: int, _frame: FrameType | None) -> None:
        self._signalled = True
        signal.signal(number, signal.SIG_DFL)


def _peak_rss_bytes() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _print(result: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(result))
        return
    unit = result["unit"]
    threads = "1 thread" if result["threads"] == 1 else f"{result['threads']} threads"
    print(f"{result['name']}: batch {result['batch_size']}, {threads}")
    print(f"  items        {result['items']} in {result['duration_s']:.2f} s ({result['batches']} batches)")
    print(f"  throughput   {result['throughput']:.4g} {unit}/s")
    if result["batches"]:
        print(f"  latency      p50 {1e3 * result['latency_p50_s']:.4g} ms, p99 {1e3 * result['latency_p99_s']:.4g} ms per batch")
    print(f"  memory peak  {result['memory_peak_bytes'] / 2**20:.0f} MiB")


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _complain(error: BaseException, code: int) -> int:
    print(f"bayestuner.zoo: {error}", file=sys.stderr)
    return code
