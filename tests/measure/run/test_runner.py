"""Real test runs of small real jobs: the figures of a good one, and how each kind of bad one ends."""

import gc
import json
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
from leftovers import alive, assert_all_dead, groups_of, own_groups
from patience import wait_for

from bayestuner.errors import InvalidSpace
from bayestuner.measure.cgroup.affinity import AffinityIsolation
from bayestuner.measure.cgroup.signals import defer_stop_signals
from bayestuner.measure.energy.meter import EnergySample, MeterFault
from bayestuner.measure.run.runner import Runner
from bayestuner.trial import Failed, Measured

JOBS = Path(__file__).parents[1] / "programs"
pytestmark = pytest.mark.usefixtures("nothing_left")


def run(job, isolation, meter=None, **config):
    with Runner(job, meter=meter, isolation=isolation) as runner:
        return runner.run({**job.all_max_config(), **config})


class SteadyMeter:
    """A DOUBLE, not a meter: 50 W, exactly; a real one can't be had on a virtual machine. `fails_after` readings it is gone."""

    source, estimated, boundary, domains, max_interval_s = "double", False, "pkg", ("package-0",), 60.0

    def __init__(self, fails_after=10**9):
        self.left = fails_after
        self.closed = False

    def read(self):
        self.left -= 1
        if self.left < 0:
            raise MeterFault("package-0 went offline")
        now = time.monotonic_ns()
        return EnergySample(now, 0, (now * 50,))

    def energy_j(self, first, last):
        return (last.raw_counts[0] - first.raw_counts[0]) / 1e9

    def close(self):
        self.closed = True


# -- good runs ----------------------------------------------------------------------------------------------------------


def test_a_good_run(make_job, isolation):
    job = make_job("spin_job.py", "{batch}", "0.002", knobs='batch = { kind = "argument", values = [1, 4] }', max_seconds=5.0)
    meter = SteadyMeter()
    record = run(job, isolation, meter)
    assert meter.closed
    assert isinstance(record.outcome, Measured), record.outcome
    values = record.outcome.values
    assert values["power_w"] == pytest.approx(50.0, rel=1e-6)
    assert values["energy_j_per_item"] * values["throughput"] == pytest.approx(values["power_w"], rel=1e-6)
    assert 20 < values["throughput"] <= 510  # 2 ms of CPU an item: 500/s on a free core, less on a shared one
    assert values["latency_p50_s"] >= 0.0079
    assert values["latency_p99_s"] >= values["latency_p50_s"]
    assert values["cpu_s_per_item"] == pytest.approx(0.002, rel=0.3)
    assert 0 < values["cpu_utilisation"] < 1.2
    details = record.details
    json.dumps(details)
    assert details["window_s"] >= 0.3
    assert details["batches"] * 4 == details["items"]
    assert details["warmup_s"] > 0
    assert details["duration_s"] >= details["window_s"]
    assert details["power_source"] == "double"
    assert [recording["native"] for recording in details["recordings"]] == [False]  # only Python can read a double
    assert details["stop"] in ("tight", "max_seconds")
    assert record.outcome.metrics["throughput"].sd > 0


def test_without_a_meter_there_is_no_power(make_job, isolation):
    record = run(make_job("spin_job.py", "2"), isolation)
    assert isinstance(record.outcome, Measured), record.outcome
    assert not {"power_w", "energy_j_per_item"} & set(record.outcome.metrics)
    assert record.details["power_source"] is None


def test_the_job_sees_its_configuration(make_job, isolation, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_PLACES", "cores")
    monkeypatch.setenv("BAYESTUNER_STALE", "1")
    out = tmp_path / "seen.json"
    code = (
        "import json,os,sys,time; from bayestuner.measure.reporter import done,ready;"
        f"json.dump([dict(os.environ), sorted(os.sched_getaffinity(0)), os.getcwd(), sys.argv[1:]], open('{out}', 'w'));"
        "ready();\\nwhile True: time.sleep(0.01); done(1)"
    ).replace("\\n", "\n")
    script = tmp_path / "job.py"
    script.write_text(code)
    knobs = """cores = { kind = "cores", min = 1, max = 1 }
batch_size = { kind = "argument", values = [3] }
spin = { kind = "environment", variable = "MY_SPIN", values = [false, true] }"""
    job = make_job(script, "{batch_size}", knobs=knobs, job='env = { EXTRA = "yes" }')
    record = run(job, isolation, spin=True)
    assert isinstance(record.outcome, Measured), record.outcome
    env, cpus, cwd, argv = json.loads(out.read_text())
    assert env["BAYESTUNER_BATCH_SIZE"] == "3"
    assert env["BAYESTUNER_SPIN"] == env["MY_SPIN"] == "true"
    assert env["BAYESTUNER_CORES"] == env["OMP_NUM_THREADS"] == "1"
    assert env["EXTRA"] == "yes"
    assert "OMP_PLACES" not in env
    assert "BAYESTUNER_STALE" not in env
    assert cpus == record.details["cpus"]
    assert (cwd, argv) == (str(tmp_path), ["3"])


def test_a_job_that_ends_by_itself_after_enough_batches_is_measured(make_job, isolation, tmp_path):
    record = run(make_job("misbehave.py", "ends", tmp_path / "pids", min_seconds=60.0, max_seconds=60.0), isolation)
    assert isinstance(record.outcome, Measured), record.outcome
    assert record.details["exit_status"] == 0
    assert "imprecise" in record.outcome.flags  # shorter than min_seconds


def test_a_foreign_program_is_read_by_its_output(make_job, isolation, tmp_path):
    script = tmp_path / "foreign.py"
    script.write_text("import time\nprint('model loaded')\nwhile True:\n    time.sleep(0.02)\n    print('did 8 images')\n")
    patterns = "throughput_regex = 'did (\\d+) images'\nready_regex = 'model loaded'"
    record = run(make_job(script, job=patterns), isolation)
    assert isinstance(record.outcome, Measured), record.outcome
    assert 20 < record.outcome.values["throughput"] <= 410
    assert record.details["output_tail"][-1] == "did 8 images"


@pytest.mark.parametrize(
    "program", ["print('\\r 8.0it/s', end='', file=sys.stderr)", "print('\\r 8.0it/s', end='')"], ids=["stderr", "stdout"]
)
def test_a_progress_bar_on_either_stream_is_read(program, make_job, isolation, tmp_path):
    script = tmp_path / "bar.py"
    script.write_text(f"import sys, time\nwhile True:\n    time.sleep(0.02)\n    {program}\n    sys.stdout.flush()\n")
    record = run(make_job(script, job="throughput_regex = '(?P<rate>[0-9.]+)it/s'"), isolation)
    assert isinstance(record.outcome, Measured), record.outcome
    assert record.outcome.values["throughput"] == pytest.approx(8.0)
    assert "latency_p50_s" not in record.outcome.values


def test_standard_output_may_be_closed_where_the_numbers_are_on_the_other_stream(make_job, isolation, tmp_path):
    script = tmp_path / "quiet.py"
    script.write_text("import os, sys, time\nos.close(1)\nwhile True:\n    time.sleep(0.02)\n    print('did 8', file=sys.stderr)\n")
    record = run(make_job(script, job="throughput_regex = 'did (\\d+)'"), isolation)
    assert isinstance(record.outcome, Measured), record.outcome
    assert record.details["stop"] in ("tight", "max_seconds")


def test_a_pattern_that_never_ends_does_not_stop_the_clock(make_job, isolation, tmp_path):
    script = tmp_path / "hostile.py"
    script.write_text("import time\nwhile True:\n    print('a' * 5000)\n    time.sleep(0.01)\n")
    record = run(make_job(script, job="throughput_regex = '(?:a+)+b (\\d+)'"), isolation)
    assert record.outcome.kind == "error"
    assert "take too long on the job's output" in record.outcome.message
    assert record.details["duration_s"] < 20


def test_the_estimate_is_labelled(make_job, isolation):
    meter = SteadyMeter()
    meter.estimated, meter.source = True, "model"
    record = run(make_job("spin_job.py", "2"), isolation, meter)
    assert "estimated_power" in record.outcome.flags
    assert record.details["estimated"] is True


def test_a_configuration_of_another_space_is_refused(make_job, isolation):
    with pytest.raises(InvalidSpace), Runner(make_job("spin_job.py", "2"), meter=None, isolation=isolation) as runner:
        runner.run({"cores": 99})


# -- bad jobs -----------------------------------------------------------------------------------------------------------

QUICK = {"startup_timeout_s": 3.0, "max_seconds": 1.0}


@pytest.mark.parametrize(
    ("what", "kind", "words"),
    [
        ("silent", "timeout", ["reported nothing (it must", "within 3 s of its start", "BAYESTUNER_FD", "printed nothing"]),
        ("hangs", "timeout", ["0 batches in", "too few to measure"]),
        ("slow", "timeout", ["2 batches in", "its throughput is at most"]),
        ("exits", "error", ["exit status 3", "no model here"]),
        ("exits0", "error", ["ended with status 0 before it reported anything", "it last printed: bye"]),
        ("segfaults", "error", ["signal SIGSEGV"]),
        ("stops", "timeout", ["0 batches in"]),
        ("closes_at_once", "error", ["closed its reports before it reported anything"]),
        ("garbage", "error", ["report lines make no sense", "'no idea what this is'"]),
        ("some_garbage", "error", ["report lines make no sense", "'oops'"]),
        ("backwards", "error", ["report lines make no sense", "time goes backwards"]),
        ("items", "error", ["report lines make no sense", "above 0"]),
    ],
)
def test_a_bad_job_ends_in_one_sentence(what, kind, words, make_job, isolation, tmp_path):
    pids = tmp_path / "pids"
    slow_start = {"startup_timeout_s": 60.0} if what not in ("silent", "garbage") else {}
    record = run(make_job("misbehave.py", what, pids, **(QUICK | slow_start)), isolation)
    assert isinstance(record.outcome, Failed), record.outcome
    assert record.outcome.kind == kind, record.outcome
    for word in words:
        assert word in record.outcome.message, record.outcome.message
    assert "\n" not in record.outcome.message
    json.dumps(record.details)
    assert_all_dead(pids)


@pytest.mark.parametrize("what", ["ignores_term", "children", "halves", "daemon", "one_bad_line", "floods"])
def test_a_rude_job_is_measured_all_the_same(what, make_job, isolation, tmp_path):
    pids = tmp_path / "pids"
    record = run(make_job("misbehave.py", what, pids), isolation)
    assert isinstance(record.outcome, Measured), record.outcome
    assert record.outcome.values["throughput"] > 0
    if what == "floods":
        assert record.details["output_bytes"] > 100_000_000
        assert "flood over" in record.details["output_tail"]
        assert sum(map(len, record.details["output_tail"])) < 40_000
    if what == "one_bad_line":
        assert record.details["report_faults"] == 1
    assert_all_dead(pids)


def test_a_job_that_closes_its_pipe_after_enough_batches_is_measured(make_job, isolation, tmp_path):
    record = run(make_job("misbehave.py", "closes", tmp_path / "pids"), isolation)
    assert isinstance(record.outcome, Measured), record.outcome
    assert record.details["stop"] == "closed"
    assert_all_dead(tmp_path / "pids")


def test_a_bad_bound_says_what_the_throughput_can_be_at_most(make_job, isolation, tmp_path):
    record = run(make_job("misbehave.py", "slow", tmp_path / "pids", **(QUICK | {"startup_timeout_s": 60.0})), isolation)
    assert 0 < record.details["throughput_at_most"] < 12 / 0.4


def test_a_program_that_can_not_be_executed(make_job, isolation, tmp_path):
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x7fELF nothing")
    broken.chmod(0o755)
    job = make_job("spin_job.py", "1")
    from dataclasses import replace

    record = run(replace(job, command=(str(broken),)), isolation)
    assert record.outcome.kind == "error"
    assert "can't be started" in record.outcome.message


def test_a_meter_that_fails_makes_the_run_transient(make_job, isolation):
    record = run(make_job("spin_job.py", "2", min_seconds=2.0), isolation, SteadyMeter(fails_after=3))
    assert record.outcome == Failed("transient", "the run could not be measured to its end: package-0 went offline")


@pytest.mark.parametrize("what", ["ends", "ignores_term", "children", "hangs"])
def test_the_affinity_fallback(what, make_job, tmp_path):
    """No cgroup, so no CPU time of a group's dead; but the same verdicts, and nothing left."""
    isolation = AffinityIsolation()
    job = make_job("misbehave.py", what, tmp_path / "pids", max_seconds=1.0)
    record = run(job, isolation, SteadyMeter())
    assert isinstance(record.outcome, Failed if what == "hangs" else Measured), record.outcome
    assert record.details["isolation"] == "affinity"
    assert record.details["memory_max"] is None
    assert_all_dead(tmp_path / "pids")


# -- memory -------------------------------------------------------------------------------------------------------------

MEMORY = 'memory_mib = { kind = "memory", values = [32, 512] }'


@pytest.fixture
def limits_memory(isolation):
    if "memory" not in isolation.controls:
        pytest.skip("memory can't be limited here")


@pytest.mark.cgroup
@pytest.mark.usefixtures("limits_memory")
@pytest.mark.parametrize("extra", [(), ("child",)], ids=["alone", "child"])
def test_out_of_memory_is_told_apart(extra, make_job, isolation):
    job = make_job("hog_memory.py", "120", *extra, knobs=MEMORY)
    record = run(job, isolation, memory_mib=32)
    assert record.outcome == Failed("oom", "killed for memory at its limit of 32 MiB"), record.outcome
    assert record.details["oom_kills"] >= 1
    assert record.details["memory_max"] == 32 << 20
    record = run(job, isolation, memory_mib=512)
    assert isinstance(record.outcome, Measured), record.outcome
    if not extra:
        assert record.outcome.values["memory_peak_bytes"] > 100 << 20


@pytest.mark.cgroup
@pytest.mark.usefixtures("limits_memory")
def test_a_limit_below_any_program_is_out_of_memory_too(make_job, isolation):
    knobs = 'memory_kib = { kind = "memory", values = [128, 524288] }'
    record = run(make_job("spin_job.py", "1", knobs=knobs), isolation, memory_kib=128)
    assert record.outcome.kind == "oom", record.outcome


# -- interruptions ------------------------------------------------------------------------------------------------------


def tuner_process(job_text, tmp_path):
    """A process of its own that makes one long run, as a tuner would."""
    job_file = tmp_path / "long.toml"
    job_file.write_text(job_text)
    code = textwrap.dedent(f"""
        from bayestuner.measure.cgroup.select import open_isolation
        from bayestuner.measure.job.parser import load_job
        from bayestuner.measure.run.runner import Runner
        job = load_job({str(job_file)!r})
        isolation, _ = open_isolation(job.needs, allow_affinity=True)
        try:
            Runner(job, meter=None, isolation=isolation).run(job.all_max_config())
        except KeyboardInterrupt:
            print("interrupted", flush=True)
    """)
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def long_run(tmp_path):
    """A tuner in the middle of a run of a job with five stubborn children; its process, and the file of pids."""
    pids = tmp_path / "pids"
    process = tuner_process(
        f"""
        [job]
        command = ["{{python}}", "{JOBS / "misbehave.py"}", "children", "{pids}"]
        [knobs]
        cores = {{ kind = "cores", min = 1, max = 1 }}
        [goal]
        minimize = "cpu_s_per_item"
        [measure]
        min_seconds = 300
        max_seconds = 300
        """,
        tmp_path,
    )
    deadline = time.monotonic() + 60
    while (not pids.exists() or len(pids.read_text().split()) < 6) and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    return process, pids


def test_what_a_sigkill_leaves_is_swept_at_the_next_start(tmp_path, isolation):
    process, pids = long_run(tmp_path)
    process.kill()
    process.communicate(timeout=60)
    isolation.sweep()
    assert_all_dead(pids)
    assert groups_of(process.pid) == []


@pytest.mark.parametrize("impatient", [False, True], ids=["once", "twice"])
def test_ctrl_c_leaves_nothing_behind(impatient, tmp_path):
    process, pids = long_run(tmp_path)
    process.send_signal(signal.SIGINT)
    if impatient:
        time.sleep(0.01)
        process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert "interrupted" in out or (impatient and "KeyboardInterrupt" in err), (out, err)
    assert_all_dead(pids)
    assert groups_of(process.pid) == []


@pytest.mark.parametrize("other_thread", [False, True])
def test_signals_wait_until_a_group_is_gone(other_thread):
    """Also where another thread than the main one takes the signal in."""
    done = []
    with pytest.raises(KeyboardInterrupt):
        with defer_stop_signals():
            if other_thread:
                thread = threading.Thread(target=lambda: signal.pthread_kill(threading.get_ident(), signal.SIGINT))
                thread.start()
                thread.join()
            else:
                signal.raise_signal(signal.SIGINT)
            time.sleep(0.01)
            done.append("removed")
    assert done == ["removed"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_exception_of_a_broken_part_leaves_nothing_behind(make_job, isolation, tmp_path, monkeypatch):
    running = tmp_path / "pids"
    monkeypatch.setattr("bayestuner.measure.run.runner.watch", lambda *a, **k: wait_for(running.exists) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(make_job("misbehave.py", "children", tmp_path / "pids"), isolation)
    assert own_groups() == []
    assert_all_dead(tmp_path / "pids")


def open_descriptors():
    gc.collect()  # what tests left to be collected counts neither before nor after
    return len(list(Path("/proc/self/fd").iterdir()))


def test_no_descriptor_leaks(make_job, isolation, tmp_path):
    job = make_job("misbehave.py", "exits0", tmp_path / "pids")
    run(job, isolation)
    before = open_descriptors()
    for _ in range(3):
        run(job, isolation)
    assert open_descriptors() == before
    assert not alive(int((tmp_path / "pids").read_text().split()[-1]))
