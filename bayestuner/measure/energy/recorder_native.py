"""The recorder that is a thread of the C extension. Import it only inside a function: the import fails where the extension isn't built."""

from __future__ import annotations

import os
import threading
from typing import Any

from bayestuner._native import ffi, lib
from bayestuner._native.status import check
from bayestuner.errors import BayesTunerError
from bayestuner.measure.energy.counting_meter import CountingMeter
from bayestuner.measure.energy.meter import EnergySample
from bayestuner.measure.energy.reader import Reading, source_table
from bayestuner.measure.energy.recording import Recording

RING_SECONDS = 120.0
"""The ring buffer holds the readings of this many seconds; a `collect` empties it."""

_CHUNK = 256


class NativeRecorder:
    """A thread of the C extension that reads a `CountingMeter`; see `Recorder`.

    Only the process that started it can collect from it or stop it: threads don't live on in a forked child.
    """

    def __init__(self, meter: CountingMeter, hz: float, cpu: int | None) -> None:
        self.fault: BayesTunerError | OSError | None = None
        self._meter = meter
        self._hz = hz
        self._cpu = cpu
        self._width = len(meter.sources)
        self._lock = threading.Lock()
        self._sampler: Any = None
        self._samples: list[EnergySample] = []  # what was left at the stop
        self._recording = Recording(True, hz, 0, 0, 0, None, "", None)
        self._records = ffi.new("struct bt_record[]", _CHUNK)
        self._counts = ffi.new("uint64_t[]", _CHUNK * self._width)

    def start(self) -> None:
        """Read once, then go on in the background."""
        options = ffi.new("struct bt_sampler_options *")
        options.period_ns = round(1e9 / self._hz)
        options.capacity = 1 << max(round(self._hz * RING_SECONDS) - 1, 1023).bit_length()
        options.cpu = -1 if self._cpu is None else self._cpu
        made = ffi.new("struct bt_sampler **")
        if self._check_status(lib.bt_sampler_start(source_table(self._meter.sources), self._width, options, made), "starting its thread"):
            self._sampler = ffi.gc(made[0], lib.bt_sampler_free)

    def collect(self) -> list[EnergySample]:
        """The samples since the last call, in order of time."""
        with self._lock:
            samples, self._samples = self._samples, []
            return samples + self._drain()

    def stop(self) -> None:
        """End, then read a last time; may be called twice."""
        with self._lock:
            if self._sampler is None:
                return
            self._check_status(lib.bt_sampler_stop(self._sampler), "stopping its thread")
            self._samples += self._drain()
            self._recording = self._statistics()
            ffi.release(self._sampler)
            self._sampler = None

    def recording(self) -> Recording:
        """How it goes, or went."""
        with self._lock:
            return self._recording if self._sampler is None else self._statistics()

    def _check_status(self, status: int, about: str) -> bool:
        """Return whether a status of the extension is no error; the first error becomes `fault`."""
        try:
            check(status, about)
        except OSError as error:
            self.fault = self.fault or self._meter.fault(error)
            return False
        return True

    def _drain(self) -> list[EnergySample]:
        samples: list[EnergySample] = []
        while self._sampler is not None and self.fault is None:
            n = lib.bt_sampler_drain(self._sampler, _CHUNK, self._records, self._counts)
            if not self._check_status(n, "in a forked child"):
                break
            for index in range(n):
                record = self._records[index]
                if not self._check_status(-record.error, self._label(record.failed)):
                    break
                counts = tuple(ffi.unpack(self._counts + index * self._width, self._width))
                half_ns = int(record.uncertainty_ns)
                samples.append(self._meter.sample(Reading(record.stamp_ns - half_ns, record.stamp_ns + half_ns, counts)))
            if n < _CHUNK:
                break
        return samples

    def _label(self, failed: int) -> str:
        return self._meter.sources[failed].label if 0 <= failed < self._width else "CLOCK_MONOTONIC"

    def _statistics(self) -> Recording:
        stats = ffi.new("struct bt_sampler_stats *")
        lib.bt_sampler_look(self._sampler, stats)
        pinned = self._cpu is not None and stats.pin_error == 0
        note = f"not pinned to CPU {self._cpu}: {os.strerror(stats.pin_error)}" if stats.pin_error else ""
        cpu_s = None if stats.cpu_ns < 0 else stats.cpu_ns / 1e9
        return Recording(True, self._hz, stats.taken, stats.lost, stats.missed, self._cpu if pinned else None, note, cpu_s)
