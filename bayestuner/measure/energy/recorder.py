"""Reading a meter at a fixed rate while a job runs: by a thread of the C extension, or by a Python thread where that isn't possible.

The extension's thread doesn't wait for the Python interpreter, so it reads on time however busy Python is, also a counter that wraps within
minutes. Both give the same samples.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable

from bayestuner.errors import BayesTunerError
from bayestuner.measure.cgroup.spawn import extension_is_built
from bayestuner.measure.energy.counting_meter import CountingMeter
from bayestuner.measure.energy.meter import EnergyMeter, EnergySample, MeterFault
from bayestuner.measure.energy.recording import Recorder, Recording

DEFAULT_HZ = 10.0
"""Readings a second. 10 are enough for every counter there is and take well under a thousandth of a core; more show power within a run."""

HZ_MAX = 1000.0


def open_recorder(meter: EnergyMeter, *, hz: float = DEFAULT_HZ, cpu: int | None = None) -> Recorder:
    """The best recorder there is for a meter; it reads nothing before its `start`.

    Parameters
    ----------
    meter : EnergyMeter
        The caller closes it.
    hz : float
        Readings a second, up to 1000.
    cpu : int or None
        The only CPU on which the extension's thread may run; choose one that no job uses. A Python thread is not pinned.

    Raises
    ------
    MeterFault
        `hz` is out of range.
    """
    if not 0 < hz <= HZ_MAX:
        raise MeterFault(f"{hz} readings a second were asked for; give a number above 0 and up to {HZ_MAX:.0f}")
    if isinstance(meter, CountingMeter) and meter.sources and extension_is_built():
        from bayestuner.measure.energy.recorder_native import NativeRecorder

        return NativeRecorder(meter, hz, cpu)
    return ThreadRecorder(meter, hz)


class ThreadRecorder:
    """A Python thread that reads any meter; see `Recorder`. It reads late whenever another thread holds the interpreter."""

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
            late = max(int((time.monotonic() - due) / period_s), 0)  # readings that were due meanwhile; they are not made up for
            self._missed += late
            due += (1 + late) * period_s
            self._cpu_s = time.thread_time()


def housekeeping_cpu(job_cpus: Iterable[int] | None, allowed: Iterable[int]) -> int | None:
    """The CPU to measure from: the lowest one of `allowed` that is no CPU of the job.

    None where the job has all of them, or where its CPUs aren't known. Jobs get low numbers first and second threads of cores last, so the
    lowest free CPU is on a physical core of its own as long as there is one.
    """
    if job_cpus is None:
        return None
    free = set(allowed) - set(job_cpus)
    return min(free) if free else None
