"""Reading on a beat: the extension's thread and the Python thread give the same; what only the extension can do stands below."""

import ctypes
import gc
import itertools
import os
import threading
import time
from pathlib import Path

import pytest
from energy_fakes import moving_text, put, put_broadwell_ep, put_two_socket_powercap
from patience import wait_for

from bayestuner.measure.energy.meter import EnergySample, MeterFault
from bayestuner.measure.energy.perf import open_perf
from bayestuner.measure.energy.powercap import open_powercap
from bayestuner.measure.energy.recorder import ThreadRecorder, housekeeping_cpu, open_recorder


@pytest.fixture
def folders(roots):
    put_broadwell_ep(roots)
    return put_two_socket_powercap(roots)


@pytest.fixture
def moving(folders):
    """What moves the counters, for as long as the test runs or until it is stopped."""
    with moving_text(folders) as running:
        yield running


@pytest.fixture
def meter(roots, moving):
    """A powercap meter whose counters move (synthetic energy)."""
    opened = open_powercap(roots)
    yield opened
    opened.close()


@pytest.fixture
def record(request):
    """``record(meter, ...)``: a recorder that is started now and stopped at the end."""

    def start(meter, **options):
        recorder = open_recorder(meter, **options)
        request.addfinalizer(recorder.stop)
        recorder.start()
        return recorder

    return start


def collected(recorder, n):
    """At least `n` samples."""
    samples = []

    def enough():
        samples.extend(recorder.collect())
        return len(samples) >= n

    wait_for(enough)
    return samples


def test_samples_are_those_of_the_meter_in_order_of_time(way, meter, record):
    before = meter.read()
    recorder = record(meter, hz=100.0)
    samples = collected(recorder, 20)
    recorder.stop()
    after = meter.read()
    samples = [before, *samples, *recorder.collect(), after]
    assert recorder.fault is None
    assert all(len(s.raw_counts) == len(meter.domains) for s in samples)
    assert all(a.stamp_ns < b.stamp_ns for a, b in itertools.pairwise(samples))
    assert all(a.raw_counts <= b.raw_counts for a, b in itertools.pairwise(samples))
    assert all(s.uncertainty_ns >= 0 for s in samples)
    assert recorder.recording().native is (way == "extension")


@pytest.mark.usefixtures("way")
def test_the_first_sample_is_there_after_the_start_and_the_last_is_taken_at_the_stop(meter, record):
    recorder = record(meter, hz=0.01)  # no beat within this test
    first = recorder.collect()
    stamp_ns = time.monotonic_ns()
    recorder.stop()
    recorder.stop()
    last = recorder.collect()
    assert len(first) == len(last) == 1
    assert first[0].stamp_ns < stamp_ns <= last[0].stamp_ns
    assert recorder.collect() == []
    assert recorder.recording().samples == 2


@pytest.mark.usefixtures("way")
def test_the_beat_is_kept(meter, record):
    recorder = record(meter, hz=50.0)
    samples = collected(recorder, 25)
    seconds = (samples[24].stamp_ns - samples[0].stamp_ns) / 1e9
    assert seconds >= 24 / 50.0 * 0.9  # never faster; a loaded machine may be slower
    recorder.stop()
    recording = recorder.recording()
    assert recording.hz == 50.0
    assert recording.lost == 0
    assert recording.cpu_s is not None
    assert 0 <= recording.cpu_s < seconds


@pytest.mark.usefixtures("way")
def test_what_was_read_before_a_fault_is_kept_and_the_fault_names_its_file(meter, moving, folders, record):
    recorder = record(meter, hz=100.0)
    collected(recorder, 3)
    (folders["dram-1"] / "energy_uj").rename(folders["dram-1"] / "gone")  # opened once: the name isn't needed any more
    collected(recorder, 3)
    assert recorder.fault is None
    moving.stop()
    seen = recorder.recording().samples
    wait_for(lambda: recorder.recording().samples > seen + 3)
    os.truncate(folders["dram-1"] / "gone", 0)
    recorder.stop()
    assert recorder.collect()
    assert isinstance(recorder.fault, MeterFault)
    assert "EINVAL" in str(recorder.fault)
    assert "intel-rapl:2:0/energy_uj" in str(recorder.fault)
    assert recorder.collect() == []


@pytest.mark.usefixtures("way")
def test_a_meter_that_can_not_be_read_at_the_start_is_a_fault_and_no_exception(meter, moving, folders, record):
    moving.stop()
    os.truncate(folders["package-1"] / "energy_uj", 0)
    recorder = record(meter, hz=10.0)
    assert recorder.collect() == []
    assert "intel-rapl:2/energy_uj" in str(recorder.fault)


@pytest.mark.usefixtures("way")
def test_stopping_what_never_started_does_nothing(meter):
    recorder = open_recorder(meter)
    recorder.stop()
    assert recorder.collect() == []
    assert recorder.recording().samples == 0


@pytest.mark.parametrize("hz", [0.0, -1.0, 1001.0, float("nan")])
def test_rates_that_make_no_sense_are_refused(meter, hz):
    with pytest.raises(MeterFault, match=r"readings a second were asked for; give a number above 0 and up to 1000"):
        open_recorder(meter, hz=hz)


@pytest.mark.parametrize(
    ("job", "allowed", "expected"),
    [((0, 1), {0, 1, 2, 3}, 2), ((2, 3), {0, 1, 2, 3}, 0), ((0, 1), {0, 1}, None), (None, {0, 1}, None), ((0,), {5, 7}, 5)],
)
def test_the_housekeeping_cpu_is_never_a_jobs(job, allowed, expected):
    assert housekeeping_cpu(job, allowed) == expected


class Doubled:
    """A DOUBLE of a meter that has no sources for the extension to read."""

    def read(self):
        return EnergySample(time.monotonic_ns(), 0, (1,))


def test_a_meter_without_sources_is_read_by_a_python_thread():
    assert isinstance(open_recorder(Doubled()), ThreadRecorder)


# -- the extension's thread ---------------------------------------------------------------------------------------------


@pytest.fixture
def native():
    pytest.importorskip("bayestuner._native", exc_type=ImportError)


def hog(milliseconds):
    """Hold the interpreter without a break: a call into C that doesn't let go of it."""
    ctypes.PyDLL(None).usleep(milliseconds * 1000)


def inside(samples, begin_ns, end_ns):
    return [s for s in samples if begin_ns < s.stamp_ns < end_ns]


@pytest.mark.usefixtures("native")
def test_a_program_that_holds_the_interpreter_does_not_delay_its_samples(meter, record):
    recorder = record(meter, hz=100.0)
    begin_ns = time.monotonic_ns()
    hog(600)
    end_ns = time.monotonic_ns()
    recorder.stop()
    assert len(inside(recorder.collect(), begin_ns, end_ns)) >= 15  # of 60: others use this machine too


def test_a_python_thread_is_held_up_by_it(meter, request):
    """Why the extension has a thread of its own."""
    recorder = ThreadRecorder(meter, 100.0)
    request.addfinalizer(recorder.stop)
    recorder.start()
    begin_ns = time.monotonic_ns()
    hog(600)
    end_ns = time.monotonic_ns()
    recorder.stop()
    assert len(inside(recorder.collect(), begin_ns + 50_000_000, end_ns - 50_000_000)) == 0


@pytest.mark.usefixtures("native")
def test_closing_the_meter_too_early_does_not_make_it_read_other_files(meter, record, tmp_path):
    recorder = record(meter, hz=200.0)
    collected(recorder, 2)
    meter.close()
    others = [put(tmp_path / f"other{n}", "7").open("rb") for n in range(8)]  # take the numbers of the descriptors closed
    samples = collected(recorder, 5)
    recorder.stop()
    for file in others:
        file.close()
    assert recorder.fault is None
    assert all(count != 7 for sample in samples[1:] for count in sample.raw_counts)


@pytest.mark.usefixtures("native")
def test_it_runs_on_the_cpu_it_was_given_or_says_that_it_does_not(meter, record):
    cpu = max(os.sched_getaffinity(0))
    assert record(meter, cpu=cpu).recording().cpu == cpu
    elsewhere = record(meter, hz=100.0, cpu=4000)
    recording = elsewhere.recording()
    assert recording.cpu is None
    assert recording.note == "not pinned to CPU 4000: Invalid argument"
    assert len(collected(elsewhere, 3)) >= 3


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # newer Pythons warn of forks beside threads, which is the point here
@pytest.mark.usefixtures("native")
def test_a_forked_child_loses_it_and_the_parent_keeps_it(meter, record):
    recorder = record(meter, hz=100.0)
    collected(recorder, 2)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            recorder.collect()
            told = "in a forked child" in str(recorder.fault)
            recorder.stop()
            del recorder
            gc.collect()
            code = 0 if told else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(collected(recorder, 5)) >= 5
    recorder.stop()
    assert recorder.fault is None


def descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def kernel_threads():
    return len(list(Path("/proc/self/task").iterdir()))


@pytest.mark.usefixtures("native")
def test_nothing_is_left_of_it_stopped_or_forgotten(meter):
    gc.collect()  # what earlier tests left to be collected
    before = descriptors(), kernel_threads()
    for n in range(30):
        recorder = open_recorder(meter, hz=1000.0)
        recorder.start()
        if n % 2:
            recorder.stop()
    del recorder
    gc.collect()
    assert (descriptors(), kernel_threads()) == before


@pytest.mark.usefixtures("native")
def test_it_may_be_collected_and_stopped_from_several_threads(meter):
    recorder = open_recorder(meter, hz=1000.0)
    recorder.start()
    taken, end = [], threading.Event()

    def work():
        while not end.is_set():
            taken.extend(recorder.collect())

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    recorder.stop()
    end.set()
    for thread in threads:
        thread.join()
    taken.extend(recorder.collect())
    assert len(taken) == recorder.recording().samples
    assert len({sample.stamp_ns for sample in taken}) == len(taken)


@pytest.mark.usefixtures("native")
def test_real_perf_events_are_recorded(roots, record):
    """cpu-clock of CPU 0 read as 1 W, see test_energy_perf: the kernel's own counter through the extension's thread."""
    put_broadwell_ep(roots)
    pmu = roots.sys_path("bus/event_source/devices/power")
    put(pmu / "type", "1")
    put(pmu / "cpumask", "0")
    put(pmu / "format/event", "config:0-7")
    put(pmu / "events/energy-pkg", "event=0x00")
    put(pmu / "events/energy-pkg.scale", "1.0e-9")
    put(pmu / "events/energy-pkg.unit", "Joules")
    try:
        meter = open_perf(roots)
    except Exception as refused:
        if "EACCES" in str(refused) or "EPERM" in str(refused):
            pytest.skip("perf_event_paranoid forbids system-wide events here")
        raise
    samples = collected(record(meter, hz=100.0), 30)
    seconds = (samples[-1].stamp_ns - samples[0].stamp_ns) / 1e9
    counted = samples[-1].raw_counts[0] - samples[0].raw_counts[0]
    assert counted / 1e9 == pytest.approx(seconds, rel=0.3)
    meter.close()
