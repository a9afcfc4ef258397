"""Watching one launched job from its start until there is a reason to stop."""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from bayestuner.measure.cgroup.isolation import Child
from bayestuner.measure.job.job import MeasureSettings
from bayestuner.measure.run.protocol import Reports
from bayestuner.measure.run.simultaneous import Participant
from bayestuner.measure.run.steady import Window, find_window, first_batch_after_warmup, is_tight, misses_by_far
from bayestuner.measure.run.streams import Streams

Stop = Literal["tight", "missed", "max_seconds", "not_ready", "too_slow", "exited", "closed", "oom", "fault", "neighbour", "unusable"]
"""Why watching a job ended.

tight : its figures are known precisely enough.
missed : its throughput clearly misses the goal's bound by far.
max_seconds : the longest window is over.
not_ready : it was not ready in time.
too_slow : it reported too few batches in time.
exited : it ended by itself.
closed : it closed its reports and runs on.
oom : the kernel killed one of its processes for memory.
fault : the meter or the run's group could no longer be read.
neighbour : a run made at the same time ended before both were measured.
unusable : nothing that the job says can be used (`Reports.unusable`).
"""

_POLL_S = 0.05
_PAUSE_S = 0.01
"""Pause after each reading of the report pipe: a job of thousands of batches a second stamps them itself, so nothing is lost by reading
many at once, and waking up for each would take CPU time from it."""

_OUTPUT_PAUSE_S = 0.001
"""The same where the job is read by its output, whose lines are stamped when they are read: short, so that the stamps are right."""

_EXIT_POLL_S = 0.02
"""How often the pipes of a job that runs to its end are emptied; its end is noticed at once."""

_GRACE_SHARE = 0.5
_GRACE_S = 2.0
"""A job with too few batches for a window is given this much longer than the longest window, as a share of that or in seconds, whichever
is more."""

_TERMINATION_S = 1.0
_DRAIN_S = 1.0
_SILENCE_S = 2.0
"""A job whose first process has ended with status 0 has ended once its children have reported nothing for so long."""


@dataclass(frozen=True, slots=True)
class WatchResult:
    """What watching a job came to.

    Attributes
    ----------
    stop : str
        Why watching ended, see `Stop`.
    window : Window or None
        The measured part of the run; None where there were too few batches.
    exit_status : int or None
        The job's exit status; None where it was still running.
    end_ns : int
        When watching ended (CLOCK_MONOTONIC).
    """

    stop: Stop
    window: Window | None
    exit_status: int | None
    end_ns: int


def watch(
    child: Child,
    streams: Streams,
    reports: Reports,
    settings: MeasureSettings,
    *,
    start_ns: int,
    oom_killed: Callable[[], bool],
    faulted: Callable[[], bool],
    when_ready: Callable[[], None] = lambda: None,
    warmup_s: float = 0.0,
    min_throughput: float | None = None,
    power_is_tight: Callable[[Window], bool] = lambda _: True,
    participant: Participant | None = None,
) -> WatchResult:
    """Read a job's reports until there is a reason to stop; the job itself is left running.

    Parameters
    ----------
    child : Child
        The job's first process.
    streams : Streams
        Its pipes, which are drained meanwhile.
    reports : Reports
        What it has reported, filled from `streams`.
    settings : MeasureSettings
    start_ns : int
        When the job was launched (CLOCK_MONOTONIC).
    oom_killed, faulted : callable
        Whether the kernel has killed in the job's group for memory, and whether meter or group can no longer be read; asked several times
        a second.
    when_ready : callable
        Called several times a second once the job is ready.
    warmup_s : float
        Shortest warm-up, counted from the moment the job is ready.
    min_throughput : float, optional
        A lower bound on the throughput: a run that clearly misses it by far is not measured to the end.
    power_is_tight : callable
        Whether a window whose throughput is known precisely enough needs no more time for its power.
    participant : Participant, optional
        This run's part in `SimultaneousRuns`, where others are made at the same time.
    """
    assessment = _Assessment(reports, settings, warmup_s, min_throughput, power_is_tight, participant)
    sources = {"reports"} & streams.open or {"stdout", "stderr"}
    pause_s = _PAUSE_S if "reports" in sources else _OUTPUT_PAUSE_S
    stop: Stop | None = None
    silence = _Silence()
    while stop is None:
        if not streams.pump(_POLL_S):
            time.sleep(pause_s)
        now_ns = time.monotonic_ns()
        if oom_killed():
            stop = "oom"
        elif faulted():
            stop = "fault"
        elif child.poll() not in (None, 0) or (child.poll() == 0 and silence.lasts(reports.n_bytes, bool(sources & streams.open))):
            stop = "exited"
        elif reports.unusable is not None:
            stop = "unusable"
        elif not sources & streams.open:  # and the child still runs
            stop = "closed"
        elif participant is not None and participant.abandoned:
            stop = "neighbour"
        elif reports.ready_ns is None:
            stop = "not_ready" if now_ns - start_ns > settings.startup_timeout_s * 1e9 else None
        else:
            when_ready()
            stop = assessment.stop(now_ns)
    if stop == "closed":  # a job that exits closes its pipes a moment before
        child.wait(_DRAIN_S)
    status = child.poll()
    if status is not None:
        stop = "exited" if stop == "closed" else stop
        drain(streams, _DRAIN_S)
    reports.finish()
    return WatchResult(stop, assessment.window(), status, time.monotonic_ns())


def watch_to_exit(
    child: Child,
    streams: Streams,
    reports: Reports,
    settings: MeasureSettings,
    *,
    start_ns: int,
    oom_killed: Callable[[], bool],
    faulted: Callable[[], bool],
    meanwhile: Callable[[], None] = lambda: None,
) -> WatchResult:
    """Read what a job says until it has ended by itself, or may go on no longer; the window of the result is None.

    Parameters
    ----------
    meanwhile : callable
        Called several times a second.

    The others are those of `watch`. `end_ns` of the result is the moment in which the first process was found to have ended, 1 ms or so
    after it did.
    """
    deadline_ns = start_ns + round(settings.execution_timeout_s * 1e9)
    stop: Stop | None = None
    while stop is None:
        while streams.open and streams.pump(0.0):
            pass
        status = child.wait(_EXIT_POLL_S)
        now_ns = time.monotonic_ns()
        if oom_killed():
            stop = "oom"
        elif faulted():
            stop = "fault"
        elif status is not None:
            stop = "exited"
        elif reports.unusable is not None:
            stop = "unusable"
        elif now_ns > deadline_ns:
            stop = "too_slow"
        else:
            meanwhile()
    status = child.poll()
    if status is not None:
        drain(streams, _DRAIN_S)
    reports.finish()
    return WatchResult(stop, None, status, now_ns)


class _Assessment:
    """Whether the batches reported so far are enough, assessed at most ten times a second and less often the longer a run takes."""

    def __init__(
        self,
        reports: Reports,
        settings: MeasureSettings,
        warmup_s: float,
        min_throughput: float | None,
        power_is_tight: Callable[[Window], bool],
        participant: Participant | None,
    ) -> None:
        self._participant = participant
        self._reports = reports
        self._settings = settings
        self._warmup_s = warmup_s
        self._min_throughput = min_throughput
        self._power_is_tight = power_is_tight
        self._next_ns = 0
        longest_s = settings.max_seconds
        self._longest_ns = longest_s * 1e9
        self._grace_ns = (2 * warmup_s + longest_s + max(_GRACE_SHARE * longest_s, _GRACE_S)) * 1e9

    def window(self) -> Window | None:
        """The measuring window of the batches so far; where a job ended within its warm-up, of all that it reported."""
        stamps, items = self._reports.stamps_ns, self._reports.items
        first = self._first_batch()
        if self._participant is not None:
            ends_ns = self._participant.window_ends_ns
            end = len(stamps) if ends_ns is None else bisect_right(stamps, ends_ns)
            return find_window(stamps[:end], items[:end], first)
        return find_window(stamps, items, first) or (find_window(stamps, items) if first else None)

    def _first_batch(self) -> int:
        """Index of the first completion at which the window may begin; the number of completions where there is none yet."""
        ready_ns, stamps = self._reports.ready_ns, self._reports.stamps_ns
        first = 0 if ready_ns is None else first_batch_after_warmup(stamps, ready_ns, self._warmup_s)
        if self._participant is None:
            return first
        begins_ns = self._participant.window_begins_ns
        return len(stamps) if begins_ns is None else max(first, bisect_left(stamps, begins_ns))

    def stop(self, now_ns: int) -> Stop | None:
        """A reason to stop, or None; of simultaneous runs, not before every one of them has a reason."""
        participant = self._participant
        if participant is None:
            return self._own_stop(now_ns, self._reports.ready_ns)
        if participant.window_begins_ns is None:
            return self._stop_while_warming_up(now_ns, participant)
        stop = self._own_stop(now_ns, participant.window_begins_ns)
        if stop is not None and stop != "too_slow":
            participant.note_measured(now_ns)
            return stop if participant.window_ends_ns is not None else None
        return stop

    def _stop_while_warming_up(self, now_ns: int, participant: Participant) -> Stop | None:
        """A reason to stop for a run that is ready while other simultaneous runs may still be warming up."""
        ready_ns, stamps = self._reports.ready_ns, self._reports.stamps_ns
        if ready_ns is None:
            return None
        if len(stamps) > first_batch_after_warmup(stamps, ready_ns, self._warmup_s):
            participant.note_warm(now_ns)
            return None
        return "too_slow" if now_ns - ready_ns > self._grace_ns else None

    def _own_stop(self, now_ns: int, ready_ns: int | None) -> Stop | None:
        """A reason to stop of this run alone: the longest window counts from the end of the warm-up, the grace from `ready_ns`."""
        if ready_ns is None or (now_ns < self._next_ns and not self._reports.full):
            return None
        self._next_ns = now_ns + max(100_000_000, (now_ns - ready_ns) // 20)
        stamps, settings = self._reports.stamps_ns, self._settings
        first = self._first_batch()
        window = find_window(stamps, self._reports.items, first)
        if window is not None and self._is_tight(window):
            return "tight"
        if misses_by_far(window, self._min_throughput, min_seconds=settings.min_seconds):
            return "missed"
        if window is None:
            return "too_slow" if now_ns - ready_ns > self._grace_ns else None
        over = now_ns - stamps[first] > self._longest_ns
        return "max_seconds" if over or self._reports.full else None

    def _is_tight(self, window: Window) -> bool:
        settings = self._settings
        tight = is_tight(window, min_seconds=settings.min_seconds, relative_error=settings.relative_error)
        return tight and self._power_is_tight(window)


class _Silence:
    """How long a job has reported nothing after its first process ended with status 0: some programs leave the work to a child."""

    def __init__(self) -> None:
        self._n_bytes = -1
        self._since_s = 0.0

    def lasts(self, n_bytes: int, is_open: bool) -> bool:
        """Whether nothing more is to be expected, from the bytes reported so far and whether the pipe still has a writer."""
        now_s = time.monotonic()
        if n_bytes != self._n_bytes:
            self._n_bytes, self._since_s = n_bytes, now_s
        return not is_open or now_s - self._since_s > _SILENCE_S


def drain(streams: Streams, timeout_s: float) -> None:
    """Read what is left in the pipes of a job that ended; its children may still hold them open, so for a limited time only."""
    deadline = time.monotonic() + timeout_s
    while streams.open and time.monotonic() < deadline:
        before = streams.output_bytes
        streams.pump(0.02)
        if streams.output_bytes == before and time.monotonic() > deadline - timeout_s + 0.1:
            return


def stop_gently(child: Child, streams: Streams) -> int | None:
    """Send SIGTERM and give the job a second to end in while its pipes are drained; its exit status, or None where it still runs."""
    child.terminate()
    deadline = time.monotonic() + _TERMINATION_S
    while child.poll() is None and time.monotonic() < deadline:
        streams.pump(0.02)
    return child.poll()
