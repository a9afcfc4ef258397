"""Runs that are made at the same time: no measuring window begins before all jobs are warm, and no job stops before all are measured."""

from __future__ import annotations

import contextlib
import threading

from bayestuner.errors import BayesTunerError
from bayestuner.measure.cgroup.isolation import RunGroup


class SimultaneousRuns:
    """What n runs that are made at the same time share: one measuring window, and the CPU time of each.

    Each run has a `participant`, through which it says how far it is. Every method may be called from any thread.

    Parameters
    ----------
    n : int
        Number of runs.

    Attributes
    ----------
    window_begins_ns, window_ends_ns : int or None
        When the last run became warm, and when the last one had been measured (CLOCK_MONOTONIC); None before that.
    abandoned : bool
        True where a run ended before all were measured: the others would then measure a machine that is less loaded than was asked for.
    """

    def __init__(self, n: int) -> None:
        self.window_begins_ns: int | None = None
        self.window_ends_ns: int | None = None
        self.abandoned = False
        self._n = n
        self._warm: set[int] = set()
        self._measured: set[int] = set()
        self._groups: dict[int, RunGroup] = {}
        self._cpu_s: dict[int, float] = {}
        self._lock = threading.Lock()

    def participant(self, index: int) -> Participant:
        """Return what run number `index` (0, 1, ...) takes part with."""
        return Participant(self, index)

    def abandon(self) -> None:
        """Let every run end as soon as it can."""
        with self._lock:
            self.abandoned = True

    def note_warm(self, index: int, now_ns: int) -> None:
        """Note that a run is warm."""
        with self._lock:
            self._warm.add(index)
            if len(self._warm) == self._n and self.window_begins_ns is None:
                self.window_begins_ns = now_ns

    def note_measured(self, index: int, now_ns: int) -> None:
        """Note that a run needs no more time."""
        with self._lock:
            self._measured.add(index)
            if len(self._measured) == self._n and self.window_ends_ns is None:
                self.window_ends_ns = now_ns

    def note_ended(self) -> None:
        """Note that a run has ended, for whatever reason."""
        with self._lock:
            self.abandoned = self.abandoned or self.window_ends_ns is None

    def note_group(self, index: int, group: RunGroup) -> None:
        """Note the group that a run's processes are in."""
        with self._lock:
            self._groups[index] = group

    def cpu_s_of_other_runs(self, index: int) -> float:
        """Return the CPU seconds that the groups of the other runs have used so far; it never falls."""
        with self._lock:
            groups = {other: group for other, group in self._groups.items() if other != index}
        for other, group in groups.items():
            with contextlib.suppress(BayesTunerError, OSError):  # a group that was removed keeps its last figure
                self._cpu_s[other] = max(group.usage().cpu_s or 0.0, self._cpu_s.get(other, 0.0))
        return sum(self._cpu_s.get(other, 0.0) for other in groups)


class Participant:
    """One of the runs that are made at the same time."""

    def __init__(self, runs: SimultaneousRuns, index: int) -> None:
        self._runs = runs
        self._index = index

    @property
    def window_begins_ns(self) -> int | None:
        """When the measuring window begins; None while some run is not warm."""
        return self._runs.window_begins_ns

    @property
    def window_ends_ns(self) -> int | None:
        """When the measuring window ends; None while some run has not been measured."""
        return self._runs.window_ends_ns

    @property
    def abandoned(self) -> bool:
        """True where this run is to end without a result, see `SimultaneousRuns`."""
        return self._runs.abandoned

    def note_warm(self, now_ns: int) -> None:
        """Note that this run is warm."""
        self._runs.note_warm(self._index, now_ns)

    def note_measured(self, now_ns: int) -> None:
        """Note that this run needs no more time."""
        self._runs.note_measured(self._index, now_ns)

    def note_group(self, group: RunGroup) -> None:
        """Note the group that this run's processes are in."""
        self._runs.note_group(self._index, group)

    def note_ended(self) -> None:
        """Note that this run has ended, for whatever reason."""
        self._runs.note_ended()

    def cpu_s_of_other_runs(self) -> float:
        """Return the CPU seconds that the other runs have used so far."""
        return self._runs.cpu_s_of_other_runs(self._index)
