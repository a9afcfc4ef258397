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
from bayestuner.measure.run.steady import Window, find_window, is_tight, misses_by_far, warmup_floor
from bayestuner.measure.run.streams import Streams
from bayestuner.measure.run.together import Seat

Stop = Literal["tight", "missed", "max_seconds", "not_ready", "too_slow", "exited", "closed", "oom", "fault", "neighbour"]
"""Why watching ended: figures tight enough; clear that the throughput misses its bound by far; longest window over; not ready in time;
too few batches in time; the job ended; it closed its reports; the kernel killed for memory; the meter or the group failed; a run
made at the same time ended too early."""

_TURN_S = 0.05
_REST_S = 0.01  # a job of thousands of batches a second must not wake us for each: its stamps are its own, nothing is lost by waiting
_OUTPUT_REST_S = 0.001  # lines of output are stamped when they are read
_GRACE_SHARE = 0.5
_GRACE_S = 2.0
_STOP_S = 1.0
_AFTER_EXIT_S = 1.0
_ORPHANED_S = 2.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What watching came to.

    Attributes
    ----------
    stop : str
        See `Stop`.
    window : Window or None
        None where there were too few batches.
    exit_status : int or None
        None where the job was still running.
    end_ns : int
        When watching ended.
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
    each_turn: Callable[[], None] = lambda: None,
    warmup_s: float = 0.0,
    at_least: float | None = None,
    power_is_tight: Callable[[Window], bool] = lambda _: True,
    seat: Seat | None = None,
) -> Seen:
    """Read reports until there is a reason to stop; the job is left as it is.

    Parameters
    ----------
    oom_killed, faulted : callable
        Asked every turn.
    each_turn : callable
        Called every turn once the job is ready.
    warmup_s : float
        Shortest warm-up, from ready on.
    at_least : float, optional
        A bound on the throughput; a run that misses it by far isn't measured to the end.
    power_is_tight : callable
        Whether a window whose throughput is tight needs no more time for its power.
    seat : Seat, optional
        Among runs that are made at the same time.
    """
    assess = _Assessment(reports, settings, warmup_s, at_least, power_is_tight, seat)
    source = "reports" if "reports" in streams.open else "stdout"
    stop: Stop | None = None
    ended = _Ended()
    while stop is None:
        if not streams.pump(_TURN_S):
            time.sleep(_REST_S if source == "reports" else _OUTPUT_REST_S)
        now_ns = time.monotonic_ns()
        if oom_killed():
            stop = "oom"
        elif faulted():
            stop = "fault"
        elif child.poll() not in (None, 0) or (child.poll() == 0 and ended.silent(reports.n_bytes, source in streams.open)):
            stop = "exited"
        elif source not in streams.open:  # and the child still runs
            stop = "closed"
        elif seat is not None and seat.broken:
            stop = "neighbour"
        elif reports.ready_ns is None:
            stop = "not_ready" if now_ns - start_ns > settings.startup_timeout_s * 1e9 else None
        else:
            each_turn()
            stop = assess.verdict(now_ns)
    if stop == "closed":  # a job that exits closes its pipes a moment before
        child.wait(_AFTER_EXIT_S)
    status = child.poll()
    if status is not None:
        stop = "exited" if stop == "closed" else stop
        drain(streams, _AFTER_EXIT_S)
    reports.finish(time.monotonic_ns())
    return Seen(stop, assess.window(), status, time.monotonic_ns())


class _Assessment:
    """Looks at the batches so far, not more often than it is worth."""

    def __init__(
        self,
        reports: Reports,
        settings: MeasureSettings,
        warmup_s: float,
        at_least: float | None,
        power_is_tight: Callable[[Window], bool],
        seat: Seat | None,
    ) -> None:
        self._seat = seat
        self._reports = reports
        self._settings = settings
        self._warmup_s = warmup_s
        self._at_least = at_least
        self._power_is_tight = power_is_tight
        self._next_ns = 0
        longest_s = settings.max_seconds
        self._longest_ns = longest_s * 1e9
        self._grace_ns = (2 * warmup_s + longest_s + max(_GRACE_SHARE * longest_s, _GRACE_S)) * 1e9

    def window(self) -> Window | None:
        """The window of the batches so far; of a job that ended within its warm-up, what there is."""
        reports = self._reports
        floor = self._floor()
        if self._seat is not None:
            end = len(reports.stamps_ns) if self._seat.end_ns is None else bisect_right(reports.stamps_ns, self._seat.end_ns)
            return find_window(reports.stamps_ns[:end], reports.items[:end], floor)
        return find_window(reports.stamps_ns, reports.items, floor) or (find_window(reports.stamps_ns, reports.items) if floor else None)

    def _floor(self) -> int:
        ready_ns, stamps = self._reports.ready_ns, self._reports.stamps_ns
        floor = 0 if ready_ns is None else warmup_floor(stamps, ready_ns, self._warmup_s)
        if self._seat is None:
            return floor
        begin_ns = self._seat.begin_ns
        return len(stamps) if begin_ns is None else max(floor, bisect_left(stamps, begin_ns))

    def verdict(self, now_ns: int) -> Stop | None:
        """A reason to stop, or None; beside other runs, not before they have one too."""
        seat = self._seat
        if seat is None:
            return self._own_verdict(now_ns, self._reports.ready_ns)
        if seat.begin_ns is None:
            return self._warming(now_ns, seat)
        stop = self._own_verdict(now_ns, seat.begin_ns)
        if stop is not None and stop != "too_slow":
            seat.measured(now_ns)
            return stop if seat.end_ns is not None else None
        return stop

    def _warming(self, now_ns: int, seat: Seat) -> Stop | None:
        """Of a run that is ready, while others may not be."""
        ready_ns, stamps = self._reports.ready_ns, self._reports.stamps_ns
        if ready_ns is None:
            return None
        if len(stamps) > warmup_floor(stamps, ready_ns, self._warmup_s):
            seat.warm(now_ns)
            return None
        return "too_slow" if now_ns - ready_ns > self._grace_ns else None

    def _own_verdict(self, now_ns: int, ready_ns: int | None) -> Stop | None:
        """The longest window is counted from the end of the warm-up on, the grace from ready."""
        if ready_ns is None or (now_ns < self._next_ns and not self._reports.full):
            return None
        self._next_ns = now_ns + max(100_000_000, (now_ns - ready_ns) // 20)
        stamps, settings = self._reports.stamps_ns, self._settings
        floor = self._floor()
        window = find_window(stamps, self._reports.items, floor)
        if window is not None and self._is_tight(window):
            return "tight"
        if misses_by_far(window, self._at_least, min_seconds=settings.min_seconds):
            return "missed"
        if window is None:
            return "too_slow" if now_ns - ready_ns > self._grace_ns else None
        over = now_ns - stamps[floor] > self._longest_ns
        return "max_seconds" if over or self._reports.full else None

    def _is_tight(self, window: Window) -> bool:
        settings = self._settings
        tight = is_tight(window, min_seconds=settings.min_seconds, relative_error=settings.relative_error)
        return tight and self._power_is_tight(window)


class _Ended:
    """After the leader's end with status 0: some programs leave the work to a child, so reports that go on are listened to."""

    def __init__(self) -> None:
        self._n_bytes = -1
        self._since = 0.0

    def silent(self, n_bytes: int, is_open: bool) -> bool:
        """Whether nothing more is to be expected."""
        now = time.monotonic()
        if n_bytes != self._n_bytes:
            self._n_bytes, self._since = n_bytes, now
        return not is_open or now - self._since > _ORPHANED_S


def drain(streams: Streams, timeout_s: float) -> None:
    """Read what is left in the pipes of a job that ended; its children may still hold them, so not for long."""
    deadline = time.monotonic() + timeout_s
    while streams.open and time.monotonic() < deadline:
        before = streams.output_bytes
        streams.pump(0.02)
        if streams.output_bytes == before and time.monotonic() > deadline - timeout_s + 0.1:
            return


def stop_gently(child: Child, streams: Streams) -> int | None:
    """SIGTERM, and a moment to obey it in while its pipes are drained; its exit status, or None where it still runs."""
    child.terminate()
    deadline = time.monotonic() + _STOP_S
    while child.poll() is None and time.monotonic() < deadline:
        streams.pump(0.02)
    return child.poll()
