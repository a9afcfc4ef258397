"""What reading on a beat costs, and how late it gets while a Python program computes."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bayestuner.measure.energy.counter_energy import Counter
from bayestuner.measure.energy.counting_meter import CountingMeter
from bayestuner.measure.energy.kernel_files import KernelRoots
from bayestuner.measure.energy.powercap import open_powercap
from bayestuner.measure.energy.reader import Source, SourceKind, native_reader
from bayestuner.measure.energy.recorder import ThreadRecorder, open_recorder
from bayestuner.measure.energy.recording import Recorder
from benchmarks.measuring import tree

RATES_HZ = (10.0, 100.0, 1000.0)
PERF_TYPE_SOFTWARE, CPU_CLOCK = 1, 0


@dataclass(frozen=True, slots=True)
class Cost:
    """One recording: its thread's CPU time as a share of a core, and how late its readings came."""

    share: float
    samples: int
    late_p50_s: float
    late_p99_s: float
    late_max_s: float


@contextmanager
def powercap_meter() -> Iterator[CountingMeter]:
    """Our meter over the made-up tree."""
    with tempfile.TemporaryDirectory(prefix="bayestuner-bench-") as name:
        energies = tree.make(Path(name))
        with tree.moving(energies):
            meter = open_powercap(KernelRoots(sysfs=f"{name}/sys", proc=f"{name}/proc"))
        try:
            yield meter
        finally:
            meter.close()


@contextmanager
def perf_meter() -> Iterator[CountingMeter]:
    """Real perf events of the kernel, as many as two sockets have domains; of software, since a virtual machine has no others."""
    from bayestuner._native import ffi, lib

    sources = []
    with ExitStack() as files:
        for index in range(tree.DOMAINS):
            cpu = sorted(os.sched_getaffinity(0))[index % len(os.sched_getaffinity(0))]
            fd = ffi.new("int *")
            status = lib.bt_perf_open(PERF_TYPE_SOFTWARE, CPU_CLOCK, cpu, fd)
            if status < 0:
                raise OSError(-status, os.strerror(-status), "perf_event_open")
            files.callback(os.close, fd[0])
            sources.append(Source(fd[0], SourceKind.PERF, f"cpu-clock of CPU {cpu}"))
        counters = [Counter(f"package-{index}", 1e-9, 1 << 64, 1000.0) for index in range(tree.DOMAINS)]
        yield CountingMeter("perf", counters, native_reader(sources), lambda: None, sources=sources)


def record(recorder: Recorder, hz: float, seconds: float) -> Cost:
    """Record for a while."""
    begun = time.monotonic()
    recorder.start()
    time.sleep(seconds)
    recorder.stop()
    elapsed = time.monotonic() - begun
    stamps = np.array([sample.stamp_ns for sample in recorder.collect()[:-1]], dtype=np.int64)  # without the one of the stop
    late_s = np.maximum(np.diff(stamps) / 1e9 - 1.0 / hz, 0.0)  # by how much a gap between two readings exceeds the beat
    cpu_s = recorder.recording().cpu_s or 0.0
    return Cost(cpu_s / elapsed, len(stamps), *(float(np.quantile(late_s, q)) for q in (0.5, 0.99, 1.0)))


@contextmanager
def computing() -> Iterator[None]:
    """A thread that runs Python without a pause, as a program between two batches may."""
    end = threading.Event()

    def run() -> None:
        total = 0
        while not end.is_set():
            for value in range(100_000):
                total += value * value

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


def native(meter: CountingMeter, hz: float) -> Recorder:
    """The extension's thread."""
    recorder = open_recorder(meter, hz=hz)
    assert recorder.recording().native
    return recorder


def plain(meter: CountingMeter, hz: float) -> Recorder:
    """The Python thread."""
    return ThreadRecorder(meter, hz)
