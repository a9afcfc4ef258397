"""`bayestuner check`: what would be run, and the two short runs, for real."""

import pytest
from jobs import write_job

from bayestuner.cli.main import main
from bayestuner.measure.job.parser import load_job
from bayestuner.tune.checking import smallest_config

OOM = ("values = [1, 2, 4, 8, 16]", "values = [1, 16, 1024]")  # 8 MiB an item: the all-max one is killed at 256 MiB


def test_a_check_shows_what_would_be_started_and_starts_nothing(tmp_path, capsys):
    path = write_job(tmp_path, replace=[('[job]\nname = "sleeper"', '[job]\nname = "sleeper"\nenv = {OWN = "x y"}')])
    assert main(["check", str(path)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"sleeper: {path} can be tuned" in said
    assert "goal minimize cpu_s_per_item subject to throughput >= 50" in said
    assert "space 15 configurations" in said
    assert "the all-max configuration: cores=1 memory_mib=256 batch_size=16" in said
    assert "the smallest configuration: cores=1 memory_mib=64 batch_size=1" in said
    assert f"{tmp_path / 'program.py'} 16" in said
    assert "BAYESTUNER_BATCH_SIZE=16 BAYESTUNER_CORES=1 BAYESTUNER_MEMORY_BYTES=268435456" in said
    assert "OWN=x y" in said
    assert "5 runs of the search take 1 s at least" in said
    assert "short run" not in said


@pytest.mark.cgroup
@pytest.mark.slow
@pytest.mark.parametrize(("replaced", "code"), [((), 0), ((OOM,), 1)])
def test_short_runs_show_that_reports_and_limits_work(tmp_path, capsys, replaced, code):
    assert main(["check", str(write_job(tmp_path, replace=replaced)), "--run"]) == code
    first, smallest = capsys.readouterr().out.split("short run")[1:]
    assert ("oom: killed for memory" in first) == (code == 1)
    assert "ended well; in a window of 2 s at most" in smallest
    assert "throughput" in smallest


def test_errors_are_those_of_tune(tmp_path, capsys):
    path = write_job(tmp_path, replace=[("throughput >= 50", "thruput >= 50")])
    assert main(["check", str(path)]) == 2
    assert "did you mean" in capsys.readouterr().err
    path = write_job(tmp_path, minimize="power_w")  # no meter here but the estimate, which the file does not accept
    assert main(["check", str(path)]) == 3


def test_the_smallest_configuration_keeps_choices(tmp_path):
    job = load_job(
        write_job(
            tmp_path,
            replace=[("[goal]", 'engine = { kind = "environment", variable = "ENGINE", values = ["a", "b"], ordered = false }\n[goal]')],
        )
    )
    assert smallest_config(job) == {"cores": 1, "memory_mib": 64, "batch_size": 1, "engine": "a"}
