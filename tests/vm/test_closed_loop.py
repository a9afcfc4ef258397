"""The closed loop: `bayestuner tune` against an exhaustive run, through the kernel's energy drivers and cgroup v2.

The injected power depends on which of the guest's CPUs are busy: a package draws 20 W more as soon as one of its CPUs is, and 8 W for each.
So the power of a configuration can only be known by running the job in its limits and reading the meter. It is synthetic all the same.

What is to be found: 24 items a second need two cores with the largest batch, or a third core, which wakes the second package.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from vm.injector import Drivers

pytestmark = pytest.mark.vm
HERE = Path(__file__).parent
INJECTED = "package_mw=10000,10000 dram_mw=2000,2000 wake_mw=20000 cpu_mw=8000"
CORES, BATCHES = (1, 2, 3, 4), (1, 3, 6)
GRID = len(CORES) * len(BATCHES)
BUDGET = 8
MARGIN = 0.03
"""What the tuner recommends may draw this much more, by the exhaustive run's own figures, than the best of that run."""

JOB = """
[job]
name = "loop"
command = ["{{python}}", "-S", "{script}", "{{batch}}"]
env = {{ PYTHONPATH = "{checkout}" }}

[knobs]
cores = {{ kind = "cores", min = 1, max = 4 }}
batch = {{ kind = "argument", values = {batches} }}

[goal]
minimize = "power_w"
subject_to = ["throughput >= 24"]

[measure]
min_seconds = 0.8
max_seconds = 3.0
startup_timeout_s = 120.0
relative_error = 0.3
warmup_seconds = 0.5
idle_seconds = 0
cooldown_seconds = 0
retries = 0
reference_every = 0
housekeeping_cores = 0
repeats = {repeats}
max_outside_load = 1
"""


def bayestuner(folder, *words):
    """What the command line says, as JSON."""
    command = [sys.executable, "-m", "bayestuner", *map(str, words), "--json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    print(done.stderr)
    assert done.returncode in (0, 6)
    return json.loads(done.stdout)


def tune(folder, study, *words, repeats):
    """What `bayestuner tune` comes to."""
    values = {"script": HERE / "loop_job.py", "checkout": HERE.parents[1], "batches": list(BATCHES), "repeats": repeats}
    (folder / f"{study}.toml").write_text(JOB.format(**values))
    return bayestuner(folder, "tune", f"{study}.toml", "--study", study, *words)


def config_of(trial):
    return trial["config"]["cores"], trial["config"]["batch"]


def test_tune_finds_what_an_exhaustive_run_finds(tmp_path):
    with Drivers(INJECTED):
        tune(tmp_path, "everything", "--strategy", "exhaustive", "--budget", GRID, repeats=0)
        tuned = tune(tmp_path, "tuned", "--budget", BUDGET, repeats=1)

    trials = bayestuner(tmp_path, "show", "everything")["trials"]
    power_w = {config_of(trial): trial["metrics"]["power_w"] for trial in trials}
    feasible = [config_of(trial) for trial in trials if trial["metrics"]["throughput"] >= 24]
    assert len(power_w) == GRID
    best_w = min(power_w[config] for config in feasible)
    assert best_w < 0.8 * power_w[4, 6]  # there is something to find

    found = config_of(tuned["recommended"])
    print(f"exhaustive: {sorted((round(power_w[config], 1), config) for config in feasible)}; tune: {found}")
    assert tuned["runs"] <= BUDGET < GRID
    assert found in feasible
    assert power_w[found] <= (1 + MARGIN) * best_w
