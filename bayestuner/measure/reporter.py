"""How a Python job reports to BayesTuner: call `ready` once, then `done` after every batch; `value` for metrics of its own. Standard
library only.

Outside BayesTuner (without BAYESTUNER_FD) all three do nothing, so they may stay in the program.
"""

import os
import time

_fd: int | None = None if not os.environ.get("BAYESTUNER_FD", "").isdecimal() else int(os.environ["BAYESTUNER_FD"])


def _send(line: str) -> None:
    global _fd  # noqa: PLW0603
    if _fd is not None:
        try:
            os.write(_fd, line.encode("ascii"))  # one write of less than PIPE_BUF: lines of several threads don't mix
        except OSError:  # nobody listens any more: the job itself goes on
            _fd = None


def ready() -> None:
    """Say that the model is loaded and the first batch may start."""
    _send(f"ready {time.monotonic_ns()}\n")


def done(items: int, latency_s: float | None = None) -> None:
    """Say that a batch of `items` items is finished.

    `latency_s` is the time in seconds from the batch's arrival to its end; give it where the job works on several batches at once.
    """
    latency = "" if latency_s is None else f" {round(1e9 * latency_s)}"
    _send(f"done {items} {time.monotonic_ns()}{latency}\n")


def value(metric: str, number: float) -> None:
    """Say a value of a metric of the job's own, which ``[metrics.NAME]`` of the job file describes; as often as there are values."""
    _send(f"value {metric} {float(number)!r} {time.monotonic_ns()}\n")
