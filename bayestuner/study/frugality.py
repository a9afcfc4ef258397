"""Which of two configurations takes less of the machine, and how much memory one was seen to need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bayestuner.study.store import Record
from bayestuner.study.study import Study
from bayestuner.trial import Failed

HEADROOM = 0.1
"""What a memory limit leaves free above the measured peak, as a share of it, where the job file does not ask for more."""


class Frugality:
    """What configurations take of the machine, and the memory that they were seen to need.

    A peak counts the page cache, so a job that reads large files fills whatever limit it has; it then has no twin with less memory.
    """

    def __init__(self, study: Study, records: Sequence[Record]) -> None:
        job = study.info.job or {}
        self._space = study.space
        self._kinds: Mapping[str, str] = job.get("knobs", {})
        self._asked = float(job.get("measure", {}).get("memory_headroom") or 0.0)
        self._knob = next((k for k in study.space.knobs if self._kinds.get(k.name) == "memory"), None)
        self._peaks: dict[int, float] = {}
        self._limits: dict[int, float] = {}
        self._failed = {r.trial.row for r in records if isinstance(r.trial.outcome, Failed) and r.trial.outcome.kind != "transient"}
        for record in records:
            row = record.trial.row
            peak, limit = record.trial.metrics.get("memory_peak_bytes"), record.details.get("memory_max")
            if peak is not None and limit is not None:
                self._peaks[row] = max(self._peaks.get(row, 0.0), peak)
                self._limits[row] = float(limit)

    def key(self, row: int) -> tuple[float, ...]:
        """Sort key: too little free memory last, then fewer cores, less memory, lower values of knobs with a hint."""
        config, knobs = self._space.config(row), self._space.knobs
        cores = [float(config[k.name]) for k in knobs if self._kinds.get(k.name) == "cores"]
        memory = [float(config[self._knob.name])] if self._knob is not None else []
        hinted = [float(k.code(config[k.name])) for k in knobs if k.more_is is not None and k is not self._knob]
        return (float(not self._leaves(row, max(self._asked, HEADROOM))), *cores, *memory, *hinted)

    def fits(self, row: int) -> bool:
        """Whether the memory limit leaves as much free above the measured peak as the job file asks for."""
        return not self._asked or self._leaves(row, self._asked)

    def twin(self, row: int) -> int | None:
        """The same configuration with the least memory that leaves headroom above its peak; more than its own only where that is asked."""
        if self._knob is None or row not in self._peaks:
            return None
        config = self._space.config(row)
        bytes_per_unit = self._limits[row] / float(config[self._knob.name])
        needed = (1.0 + max(self._asked, HEADROOM)) * self._peaks[row]
        enough = [value for value in self._knob.values if value * bytes_per_unit >= needed]
        if not self._asked:
            enough = [value for value in enough if value <= config[self._knob.name]]
        for value in enough:
            found = self._space.find([k.code(value if k is self._knob else config[k.name]) for k in self._space.knobs])
            if found == row:
                return None
            if found is not None and found not in self._failed:
                return found
        return None

    def _leaves(self, row: int, headroom: float) -> bool:
        return row not in self._peaks or self._limits[row] >= (1.0 + headroom) * self._peaks[row]
