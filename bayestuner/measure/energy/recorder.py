"""Reading a meter on a fixed beat while a job runs: by a thread of the C extension, or by a Python thread where that can't be.

The extension's thread needs no interpreter, so its stamps are good however busy Python is, and a counter that wraps in minutes is read in
time. Both give the same samples.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable

from bayestuner.errors import BayesTunerError
from bayestuner.measure.cgroup.spawn import extension_is_built
from bayestuner.measure.energy.counting import CountingMeter
from bayestuner.measure.energy.meter import EnergyMeter, EnergySample, MeterFault
from bayestuner.measure.energy.recording import Recorder, Recording

DEFAULT_HZ = 10.0
"""Enough for every counter there is, at well under a thousandth of a core; 100 Hz and 1 kHz are for looking closely."""

HZ_MAX = 1000.0


def open_recorder(meter: EnergyMeter, *, hz: float = DEFAULT_HZ, cpu: int | None = None) -> Recorder:
    """The best recorder for a meter; nothing is read before its `start`.

    Parameters
    ----------
    meter : EnergyMeter
        Stays the caller's to close.
    hz : float
        Readings in a second, up to 1000.
    cpu : int or None
        Where the extension's thread may run: a CPU that no job uses. A Python thread is not pinned.
    """
    if not 0 < hz <= HZ_MAX:
        raise MeterFault(f"{hz} readings a second were asked for; give a number above 0 and up to {HZ_MAX:.0f}")
    if isinstance(meter, CountingMeter) and meter.sources and extension_is_built():
        from bayestuner.measure.energy.recorder_native import NativeRecorder

        return NativeRecorder(meter, hz, cpu)
    return ThreadRecorder(meter, hz)


class ThreadRecorder:
    """A Python thread that reads any meter; see `Recorder`. Late whenever another thread holds the interpreter."""

    def __init__(self, meter: EnergyMeter, hz: float) -> None:
        self.fault: BayesTunerError | OSError | None = None
        self._meter = meter
        self._hz = hz
        self._samples: list[EnergySample] = []
        self._lock = threading.Lock()
        self._taken = self._missed = 0
        self._cpu_s: float | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="bayestuner-energy", daemon=True)

    def start(self) -> None:
        """Read once, then go on in the background."""
        self._read()
        self._thread.start()

    def stop(self) -> None:
        """End, then read a last time; may be called twice."""
        if self._thread.ident is not None and not self._stop.is_set():
            self._stop.set()
            self._thread.join()
            self._read()

    def collect(self) -> list[EnergySample]:
        """The samples since the last call, in order of time."""
        with self._lock:
            samples, self._samples = self._samples, []
        return samples

    def recording(self) -> Recording:
        """How it goes, or went."""
        return Recording(False, self._hz, self._taken, 0, self._missed, None, "", self._cpu_s)

    def _read(self) -> None:
        if self.fault is not None:
            return
        try:
            sample = self._meter.read()
        except (BayesTunerError, OSError) as error:
            self.fault = error
            return
        with self._lock:
            self._samples.append(sample)
            self._taken += 1

    def _run(self) -> None:
        period_s = 1.0 / self._hz
        due = time.monotonic() + period_s
        while not self._stop.wait(max(due - time.monotonic(), 0.0)):
            self._read()
            late = max(int((time.monotonic() - due) / period_s), 0)  # beats that can't be made up for
            self._missed += late
            due += (1 + late) * period_s
            self._cpu_s = time.thread_time()


def housekeeping_cpu(job_cpus: Iterable[int] | None, allowed: Iterable[int]) -> int | None:
    """The lowest CPU of ours that isn't a job's; None where the job has them all, or its CPUs aren't known.

    Jobs are given low numbers first and hyper-threads last, so the lowest free one is a core of its own as long as there is one.
    """
    if job_cpus is None:
        return None
    free = set(allowed) - set(job_cpus)
    return min(free) if free else None
