"""Runs that are measured at the same time: no window begins before all jobs are warm, and no job stops before all are measured."""

from __future__ import annotations

import contextlib
import threading

from bayestuner.errors import BayesTunerError
from bayestuner.measure.cgroup.isolation import RunGroup


class Together:
    """What n runs that are made at once know of each other; every method may be called from any thread.

    Parameters
    ----------
    n : int
        How many. Each takes one `seat`.

    Attributes
    ----------
    begin_ns, end_ns : int or None
        When the last one was warm, and when the last one was measured; None before.
    broken : bool
        One ended before all were measured: what the others would still measure is not what was asked for.
    """

    def __init__(self, n: int) -> None:
        self.begin_ns: int | None = None
        self.end_ns: int | None = None
        self.broken = False
        self._n = n
        self._warm: set[int] = set()
        self._measured: set[int] = set()
        self._groups: dict[int, RunGroup] = {}
        self._used_s: dict[int, float] = {}
        self._lock = threading.Lock()

    def seat(self, k: int) -> Seat:
        """The place of run k (0, 1, ...)."""
        return Seat(self, k)

    def stop(self) -> None:
        """Let every run end as soon as it can."""
        with self._lock:
            self.broken = True

    def warm(self, k: int, now_ns: int) -> None:
        """Note that run k could begin."""
        with self._lock:
            self._warm.add(k)
            if len(self._warm) == self._n and self.begin_ns is None:
                self.begin_ns = now_ns

    def measured(self, k: int, now_ns: int) -> None:
        """Note that run k needs no more time."""
        with self._lock:
            self._measured.add(k)
            if len(self._measured) == self._n and self.end_ns is None:
                self.end_ns = now_ns

    def leave(self) -> None:
        """Note that a run has ended, for whatever reason."""
        with self._lock:
            self.broken = self.broken or self.end_ns is None

    def enter(self, k: int, group: RunGroup) -> None:
        """Note the group that run k is in."""
        with self._lock:
            self._groups[k] = group

    def beside_s(self, k: int) -> float:
        """CPU seconds that the other runs' groups have used so far; never falls."""
        with self._lock:
            groups = {other: group for other, group in self._groups.items() if other != k}
        for other, group in groups.items():
            with contextlib.suppress(BayesTunerError, OSError):  # removed already: what it had used stays
                self._used_s[other] = max(group.usage().cpu_s or 0.0, self._used_s.get(other, 0.0))
        return sum(self._used_s.get(other, 0.0) for other in groups)


class Seat:
    """One run's place among those that are made at once."""

    def __init__(self, together: Together, k: int) -> None:
        self._together = together
        self._k = k

    @property
    def begin_ns(self) -> int | None:
        """When the window may begin; None: not yet."""
        return self._together.begin_ns

    @property
    def end_ns(self) -> int | None:
        """When the window ends; None: not yet."""
        return self._together.end_ns

    @property
    def broken(self) -> bool:
        """Whether to give up."""
        return self._together.broken

    def warm(self, now_ns: int) -> None:
        """This run could begin."""
        self._together.warm(self._k, now_ns)

    def measured(self, now_ns: int) -> None:
        """This run needs no more time."""
        self._together.measured(self._k, now_ns)

    def enter(self, group: RunGroup) -> None:
        """This run is in a group."""
        self._together.enter(self._k, group)

    def leave(self) -> None:
        """This run has ended."""
        self._together.leave()

    def beside_s(self) -> float:
        """CPU seconds of the others so far."""
        return self._together.beside_s(self._k)
