"""`tune` on a real job in real limits: what it comes to, killed at any moment, stopped, resumed."""

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from jobs import RECOMMENDED, bayestuner, processes_of, write_job
from leftovers import groups_of
from tune_runs import NEEDS_CGROUP, WAIT_S, run_cli, told

from bayestuner.measure.job.parser import load_job
from bayestuner.study.study import Study
from bayestuner.trial import Measured

pytestmark = NEEDS_CGROUP


def wait_for(condition, what):
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError(f"waited in vain for {what}")


def test_the_whole_path(tmp_path):
    job = write_job(tmp_path, budget=12)
    done = run_cli("tune", job, "--study", tmp_path / "s", "--json")
    assert done.returncode in RECOMMENDED, done.stderr
    result = json.loads(done.stdout)
    assert result["version"] == 1
    assert result["complete"] is True
    assert result["recommended"]["meets_goal"] is True
    assert result["recommended"]["metrics"]["throughput"]["n"] >= 2
    assert result["all_max"]["config"] == {"cores": 1, "memory_mib": 256, "batch_size": 16}
    assert result["runs"] == 12
    with Study.open(tmp_path / "s", read_only=True) as study:
        records = study.records()
        assert [r.role for r in records[:12]] == ["baseline"] + ["search"] * 11
        assert all(r.trial.outcome is not None for r in records)
        # 16 * 8 MiB of ballast can't fit 64 MiB: learnt from, or at least never measured
        hopeless = [r for r in records if r.trial.config["batch_size"] == 16 and r.trial.config["memory_mib"] <= 128]
        assert all(r.trial.outcome.kind == "oom" for r in hopeless)
        assert [load_job(job).all_max_config()] == [records[0].trial.config]
    again = run_cli("tune", job, "--study", tmp_path / "s", "--json")
    assert again.returncode == done.returncode
    assert json.loads(again.stdout) == result
    more = run_cli("tune", job, "--study", tmp_path / "s", "--budget", "14", "--json")
    assert json.loads(more.stdout)["runs"] == 14


def test_of_a_goal_over_a_knob_no_run_is_spent_on_what_can_not_be_better(tmp_path):
    done = run_cli("tune", write_job(tmp_path, budget=12, minimize="memory_mib"), "--study", tmp_path / "s", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["recommended"]["config"]["memory_mib"] == 64  # the least there is, and it meets the goal
    assert result["runs"] < 12
    assert "no configuration that is left can be better than one found" in result["stop_reason"]


def test_killed_at_random_moments_and_started_again(tmp_path, long):
    """SIGKILL several times, also in mid-run: at the end every run is there once, with its outcome, and nothing is left running."""
    job = write_job(tmp_path, budget=8)
    moments = random.Random(os.environ.get("BAYESTUNER_TEST_SEED", "7"))
    kills, wanted = 0, 6 if long else 3
    for _ in range(40):
        with subprocess.Popen(
            bayestuner("tune", job, "--study", tmp_path / "s"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as process:
            try:
                if kills < wanted:
                    process.wait(timeout=moments.uniform(0.3, 1.6))
                else:
                    process.wait(timeout=WAIT_S)
            except subprocess.TimeoutExpired:
                kills += 1
                before = told(tmp_path / "s")
                process.kill()
                process.wait()
                after = told(tmp_path / "s")
                assert before.items() <= after.items(), "an outcome that was on disk is gone or changed"
                continue
            assert process.returncode in RECOMMENDED, process.stderr.read().decode()
            break
    assert kills >= wanted / 2
    with Study.open(tmp_path / "s", read_only=True) as study:
        records = study.records()
    searched = [r for r in records if r.role != "repeat"]
    assert len(searched) == 8
    assert len({r.trial.number for r in searched}) == 8
    assert all(r.trial.repeat for i, r in enumerate(searched) if r.trial.row in {s.trial.row for s in searched[:i]})
    assert all(r.trial.outcome is not None for r in records)
    assert sorted([r.ask_seq for r in records] + [r.tell_seq for r in records]) == list(range(1, 2 * len(records) + 1))
    wait_for(lambda: not processes_of(tmp_path / "program.py"), "the killed tuners' jobs to be gone")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stop_signal_leaves_nothing_running_and_says_how_to_go_on(tmp_path, number, code):
    job = write_job(tmp_path, budget=6, replace=[("max_seconds = 0.5", "max_seconds = 60"), ("min_seconds = 0.2", "min_seconds = 60")])
    process = subprocess.Popen(
        bayestuner("tune", job, "--study", tmp_path / "s"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_for(lambda: processes_of(tmp_path / "program.py"), "the job to run")
    assert groups_of(process.pid)
    process.send_signal(number)
    _, errors = process.communicate(timeout=WAIT_S)
    assert process.returncode == code
    assert "Traceback" not in errors
    assert f"go on with: bayestuner tune {job} --study {tmp_path / 's'}" in errors
    assert processes_of(tmp_path / "program.py") == []
    assert groups_of(process.pid) == []
    with Study.open(tmp_path / "s", read_only=True) as study:
        assert [r.orphaned for r in study.records()] == [True]
    quick = write_job(tmp_path, budget=6)
    done = run_cli("tune", quick, "--study", tmp_path / "s")
    assert done.returncode in RECOMMENDED, done.stderr
    with Study.open(tmp_path / "s", read_only=True) as study:
        records = study.records()
        assert records[0].trial.number == 0
        assert isinstance(records[0].trial.outcome, Measured)
        assert sum(r.role != "repeat" for r in records) == 6


def test_a_relative_goal_is_held_against_the_default(tmp_path):
    job = write_job(tmp_path, bound="throughput >= 60%")
    done = run_cli("tune", job, "--study", tmp_path / "s", "--json")
    result = json.loads(done.stdout)
    assert done.returncode == {"better": 0, "no_improvement": 6}[result["verdict"]], done.stderr
    limit = float(result["resolved_goal"].rpartition(" ")[2])
    assert limit == pytest.approx(0.6 * result["all_max"]["metrics"]["throughput"]["mean"], rel=1e-3)
    assert result["recommended"]["metrics"]["throughput"]["mean"] >= limit


def test_no_configuration_meets_the_goal(tmp_path):
    job = write_job(tmp_path, bound="throughput >= 1e6")
    done = run_cli("tune", job, "--study", tmp_path / "s")
    assert done.returncode == 1
    assert "no configuration that meets the goal was found" in done.stdout
    assert "nearest" in done.stdout


def test_another_job_in_a_study_that_is_not_finished_is_refused(tmp_path):
    job = write_job(tmp_path, budget=2)
    assert run_cli("tune", job, "--study", tmp_path / "s").returncode in RECOMMENDED
    with Study.open(tmp_path / "s") as study:
        study.set_result(None)  # as if it had been stopped before its end
    changes = ("[64, 128, 256]", "[64, 256]"), ("throughput >= 50", "throughput >= 51"), ('"item"', '"image"')
    for change in changes:
        write_job(tmp_path, budget=2, replace=[change])
        done = run_cli("tune", job, "--study", tmp_path / "s")
        assert done.returncode == 4, done.stdout
        assert "was begun for another job" in done.stderr
        assert done.stderr.count("\n") == 1
    write_job(tmp_path, budget=2)
    done = run_cli("tune", job, "--study", tmp_path / "s", "--seed", "5")
    assert (done.returncode, "begun with the seed 0, not 5" in done.stderr) == (4, True)


def test_without_a_meter_power_is_an_error_only_where_the_goal_needs_it(tmp_path):
    if Path("/sys/bus/event_source/devices/power/events/energy-pkg").exists():  # the driver alone is no meter
        pytest.skip("this machine has a power meter")
    job = write_job(tmp_path, minimize="power_w")
    done = run_cli("tune", job, "--study", tmp_path / "s")
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    assert "model" in done.stderr
    assert not (tmp_path / "s").exists()


def test_an_estimate_is_labelled_everywhere_and_no_saving_is_claimed(tmp_path):
    job = write_job(tmp_path, minimize="power_w", budget=3, replace=[('energy = ["perf"]', 'energy = ["model"]')])
    done = run_cli("tune", job, "--study", tmp_path / "s")
    assert done.returncode in RECOMMENDED, done.stderr
    shown = run_cli("show", tmp_path / "s")
    markdown = run_cli("show", tmp_path / "s", "--markdown")
    for text in (done.stdout, shown.stdout, markdown.stdout):
        for line in text.splitlines():
            if " W" in line.replace("/s", "") and "power" in line:
                assert "est" in line.lower(), line
        assert "saving " not in text.replace("no saving is claimed", "")
        assert "ESTIMATED" in text


def test_stop_signals_at_random_moments_leave_nothing(tmp_path, long):
    job = write_job(tmp_path, budget=15)
    moments = random.Random(os.environ.get("BAYESTUNER_TEST_SEED", "11"))
    for _ in range(6 if long else 3):
        command = bayestuner("tune", job, "--study", tmp_path / "s")
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        process.stdout.readline()  # the first line: from here on every signal is handled
        time.sleep(moments.uniform(0.0, 1.5))
        number = moments.choice([signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
        process.send_signal(number)
        _, errors = process.communicate(timeout=WAIT_S)
        assert process.returncode in (128 + number, 0)  # 0: it had just come to its end
        assert "Traceback" not in errors
        assert groups_of(process.pid) == []
        assert processes_of(tmp_path / "program.py") == []
    done = run_cli("tune", job, "--study", tmp_path / "s", "--json")
    assert json.loads(done.stdout)["runs"] == 15
