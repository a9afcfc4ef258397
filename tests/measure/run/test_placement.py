"""Where real runs are put: inside the CPUs that the tuner itself may use, and what is recorded of it."""

import json
import os
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from bayestuner.errors import InvalidJob
from bayestuner.measure.job.environment import OF_THE_CALLER
from bayestuner.measure.job.parser import parse_job
from bayestuner.measure.run.placement import environment
from bayestuner.measure.run.runner import Runner
from bayestuner.trial import Measured

JOBS = Path(__file__).parents[1] / "programs"


def test_a_tuner_that_is_bound_to_some_cpus_gives_jobs_no_others(tmp_path):
    """As under taskset or in somebody's cpuset: "all" is what is left, and the job sees no more."""
    mine = max(os.sched_getaffinity(0))
    (tmp_path / "job.toml").write_text(
        f"""
        [job]
        command = ["{{python}}", "{JOBS / "spin_job.py"}", "1"]
        [knobs]
        cores = {{ kind = "cores", min = 1, max = "all" }}
        [goal]
        minimize = "cpu_s_per_item"
        [measure]
        min_seconds = 0.3
        max_seconds = 3.0
        relative_error = 0.5
        """
    )
    code = f"""
        import json, os
        os.sched_setaffinity(0, {{{mine}}})
        from bayestuner.measure.cgroup.select import open_isolation
        from bayestuner.measure.job.parser import load_job
        from bayestuner.measure.run.runner import Runner
        job = load_job({str(tmp_path / "job.toml")!r})
        isolation, _ = open_isolation(job.needs, allow_affinity=True)
        record = Runner(job, meter=None, isolation=isolation).run(job.all_max_config())
        print(json.dumps([job.all_max_config(), record.details["cpus"], type(record.outcome).__name__]))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [{"cores": 1}, [mine], "Measured"]


def test_a_run_records_which_nodes_its_memory_may_come_from(make_job, isolation):
    if isolation.name == "affinity":
        pytest.skip("affinity chooses no memory nodes")
    job = make_job("spin_job.py", 1)
    with Runner(job, meter=None, isolation=isolation) as runner:
        record = runner.run(job.all_max_config())
    assert isinstance(record.outcome, Measured)
    assert set(record.details["mems_of_cpus"]) <= set(record.details["mems"])
    assert record.details["mems_of_cpus"] == list(runner.topology.memory_nodes_of(record.details["cpus"]))


SECRETS = """
    AWS_SECRET_ACCESS_KEY GITHUB_TOKEN HF_TOKEN KRB5CCNAME SSH_AUTH_SOCK SSH_AGENT_PID GPG_AGENT_INFO DBUS_SESSION_BUS_ADDRESS PGPASSWORD
    PYTHONPATH PYTHONSTARTUP LD_PRELOAD SUDO_COMMAND XDG_RUNTIME_DIR http_proxy BASH_ENV ENV OMP_NUM_THREADS OMP_PLACES GOTO_NUM_THREADS
    BLIS_JC_NT GOMAXPROCS KMP_AFFINITY BAYESTUNER_FD BAYESTUNER_DEBUG
"""
HARMLESS = {"LANG": "C.UTF-8", "LC_TIME": "C", "TZ": "UTC", "TMPDIR": "/var/tmp", "LD_LIBRARY_PATH": "/opt/cuda/lib", "SHELL": "/bin/sh"}
ENV_JOB = """
[job]
command = ["true"]
env = { MKL_NUM_THREADS = "7" }
env_keep = ["CUDA_VISIBLE_DEVICES", "HF_TOKEN", "NOT_SET"]
[knobs]
n = { kind = "environment", variable = "RAYON_NUM_THREADS", values = [3] }
[goal]
minimize = "cpu_s_per_item"
"""


@pytest.fixture
def shell(monkeypatch):
    """A shell's environment full of secrets, settings of threads, and what a job needs."""
    for name in SECRETS.split():
        monkeypatch.setenv(name, "secret")
    for name, text in {**HARMLESS, "CUDA_VISIBLE_DEVICES": "1", "PATH": "/usr/bin:/bin", "HOME": "/root"}.items():
        monkeypatch.setenv(name, text)


@pytest.mark.parametrize("user", [None, "nobody"])
def test_a_job_gets_what_every_program_needs_and_what_its_file_names_and_nothing_else_of_the_shell(tmp_path, shell, user):
    job = replace(parse_job(ENV_JOB, tmp_path / "job.toml"), user=user)
    env = environment(job, {"n": 3}, 2, None, 7)
    own = {"PATH": "/usr/bin:/bin", "LD_LIBRARY_PATH": "/opt/cuda/lib", "LANG": "C.UTF-8", "LC_TIME": "C", "TZ": "UTC"}
    named = {"CUDA_VISIBLE_DEVICES": "1", "HF_TOKEN": "secret"}
    told = {
        "OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "7", "RAYON_NUM_THREADS": "3",
        "BAYESTUNER_N": "3", "BAYESTUNER_CORES": "2", "BAYESTUNER_FD": "7",
    }  # fmt: skip
    assert own.items() | named.items() | told.items() <= env.items()
    rest = env.keys() - own.keys() - named.keys() - told.keys()
    assert rest <= {"HOME", "USER", "LOGNAME", "LANGUAGE"} | {n for n in os.environ if n.startswith("LC_")} | (
        set(OF_THE_CALLER) if user is None else set()
    )
    assert (env["HOME"], env.get("TMPDIR"), env.get("SHELL")) == (
        ("/root", "/var/tmp", "/bin/sh") if user is None else ("/nonexistent", None, None)
    )


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('"NOT_SET"', '"A=B"', r"job\.env_keep: no variable can be called 'A=B'"),
        ('"NOT_SET"', '""', r"job\.env_keep: no variable can be called ''"),
        ('"NOT_SET"', '"MKL_NUM_THREADS"', r"job\.env_keep: MKL_NUM_THREADS is also set in job\.env"),
        ("MKL_NUM_THREADS =", '"A\\u001b" =', r"job\.env: no variable can be called 'A\\x1b'"),
        ('"7"', '"a\\u0000b"', r"job\.env\.MKL_NUM_THREADS: holds a NUL character"),
    ],
)
def test_a_name_that_no_variable_can_have_is_a_mistake_of_the_job_file(tmp_path, old, new, problem):
    with pytest.raises(InvalidJob, match=problem):
        parse_job(ENV_JOB.replace(old, new), tmp_path / "job.toml")
