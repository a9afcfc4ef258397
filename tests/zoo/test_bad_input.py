"""What is wrong with a zoo job is an outcome of its run and one sentence, by the runner that `tune` uses."""

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bayestuner.cli.main import main
from bayestuner.measure.job.command import text_of
from bayestuner.measure.job.parser import parse_job
from bayestuner.tune.grid import measure_grid
from bayestuner.zoo import registry

pytest.importorskip("onnxruntime")
pytestmark = [pytest.mark.zoo, pytest.mark.cgroup]

JOBS = Path(__file__).resolve().parents[2] / "examples" / "jobs"
needs_memory_limits = pytest.mark.skipif(os.geteuid() != 0, reason="needs root and writable cgroup controllers")


@pytest.fixture
def outcome_of(tmp_path):
    """Measure one configuration of a zoo job for real; returns its status and message."""

    def measure(name, replace=(), **more):
        text = re.sub(r"min_seconds = \d+", "min_seconds = 0.3", (JOBS / f"{name}.toml").read_text())
        text = text.replace("relative_error = 0.03", "relative_error = 0.9")
        for old, new in replace:
            assert old in text
            text = text.replace(old, new)
        job = parse_job(text, tmp_path / "job.toml")
        only = {knob: [text_of(value)] for knob, value in (job.all_max_config() | more).items()}
        measure_grid(job, tmp_path / "table.csv", only=only, allow_affinity=True)
        with (tmp_path / "table.csv").open(newline="") as file:
            (row,) = csv.DictReader(file)
        return row["status"], row["message"]

    return measure


@needs_memory_limits
def test_a_memory_limit_below_what_loading_needs_is_out_of_memory(outcome_of, zoo_cache):
    registry.build("mobilenet_v2")
    status, message = outcome_of("mobilenet_v2", [("min = 128, max = 1024, step = 64", "values = [24, 1024]")], memory_mib=24, batch_size=1)
    assert (status, message) == ("oom", "killed for memory at its limit of 24 MiB")


@needs_memory_limits
def test_one_instance_of_several_killed_for_memory_is_out_of_memory(outcome_of, zoo_cache):
    registry.build("resnet_v2", 0.3)
    small = [('"resnet_v2", ', '"resnet_v2", "--scale", "0.3", '), ("min = 512, max = 4096, step = 256", "values = [96, 4096]")]
    status, message = outcome_of("resnet_v2_serving", small, memory_mib=96, batch_size=16)
    assert (status, message) == ("oom", "killed for memory at its limit of 96 MiB")


def test_a_huge_batch_is_an_error_that_says_so(outcome_of, zoo_cache):
    status, message = outcome_of("mobilenet_v2", [("min = 1, max = 32", "values = [1, 100000000]")])
    assert status == "error"
    assert "exit status 1" in message
    assert "give a smaller --batch" in message


def test_an_unusable_cache_is_an_error_that_names_the_folder(outcome_of, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.delenv("BAYESTUNER_CACHE", raising=False)
    status, message = outcome_of("mobilenet_v2", batch_size=1)
    assert status == "error"
    assert f"the cache folder {tmp_path / 'file'}" in message
    assert "set BAYESTUNER_CACHE to a folder you may write to" in message


def test_without_onnxruntime_the_error_names_the_extra(outcome_of, tmp_path):
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('not here')")
    status, message = outcome_of("mobilenet_v2", [("[knobs]", f'env = {{ PYTHONPATH = "{tmp_path}" }}\n[knobs]')], batch_size=1)
    assert status == "error"
    assert "exit status 3" in message
    assert "pip install 'bayestuner[zoo]'" in message


def test_an_unknown_name_is_answered_with_the_nearest(capsys):
    for action in ("build", "run"):
        assert main(["zoo", action, "mobilenet"]) == 2
        assert capsys.readouterr().err == "bayestuner: there is no zoo model 'mobilenet'; did you mean 'mobilenet_v2'?\n"


def test_the_command_line_passes_a_nets_options_on(zoo_cache):
    command = [sys.executable, "-m", "bayestuner", "zoo", "run", "mobilenet_v2", "--scale", "0.1", "--batch"]
    wrong = subprocess.run([*command, "0"], capture_output=True, text=True, timeout=120, check=False)
    assert wrong.returncode == 2
    assert "--batch is at least 1, not 0" in wrong.stderr
    right = subprocess.run([*command, "3", "--seconds", "0.3"], capture_output=True, text=True, timeout=120, check=True)
    assert right.stdout.startswith("mobilenet_v2: batch 3, ")


def test_the_list_shows_memory_at_both_ends(capsys, zoo_cache):
    assert main(["zoo", "list"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line}
    memory = registry.spec("deepvs").memory_mib
    assert f"{memory[1]} MiB" in lines["deepvs"]
    assert f"{memory[32]} MiB" in lines["deepvs"]
