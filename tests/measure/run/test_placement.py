"""Where real runs are put: inside the CPUs that the tuner itself may use, and what is recorded of it."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

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


EXPORTED = {
    "OPENBLAS_NUM_THREADS",
    "GOTO_NUM_THREADS",
    "OPENBLAS_DEFAULT_NUM_THREADS",
    "MKL_NUM_THREADS",
    "MKL_DOMAIN_NUM_THREADS",
    "MKL_DYNAMIC",
    "OMP_NUM_THREADS",
    "OMP_THREAD_LIMIT",
    "KMP_DEVICE_THREAD_LIMIT",
    "KMP_ALL_THREADS",
    "KMP_MAX_THREADS",
    "OMP_DYNAMIC",
    "KMP_PLACE_THREADS",
    "KMP_TOPOLOGY_METHOD",
    "KMP_AFFINITY",
    "KMP_HW_SUBSET",
    "OMP_PLACES",
    "OMP_PROC_BIND",
    "GOMP_CPU_AFFINITY",
    "NUMEXPR_NUM_THREADS",
    "NUMEXPR_MAX_THREADS",
    "BLIS_NUM_THREADS",
    "BLIS_JC_NT",
    "NUMBA_NUM_THREADS",
    "RAYON_NUM_THREADS",
    "GOMAXPROCS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
    "ATEN_NUM_THREADS",
    "POLARS_MAX_THREADS",
    "TBB_NUM_THREADS",
    "JULIA_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "OMPI_MCA_hwloc_base_binding_policy",
    "PYTHON_CPU_COUNT",
}


def test_no_variable_of_the_shell_that_counts_or_places_threads_reaches_a_job(tmp_path, monkeypatch):
    for name in EXPORTED:
        monkeypatch.setenv(name, "1")
    kept = {"OMP_WAIT_POLICY": "passive", "KMP_BLOCKTIME": "0", "MKL_ENABLE_INSTRUCTIONS": "AVX2", "THREADS_OF_LIFE": "3"}
    for name, text in kept.items():
        monkeypatch.setenv(name, text)
    text = (
        '[job]\ncommand = ["true"]\nenv = { MKL_NUM_THREADS = "7" }\n[knobs]\nn = { kind = "environment", variable = "RAYON_NUM_THREADS", '
    )
    job = parse_job(text + 'values = [3] }\n[goal]\nminimize = "cpu_s_per_item"\n', tmp_path / "job.toml")
    env = environment(job, {"n": 3}, 2, None, None)
    assert {name: env[name] for name in EXPORTED & env.keys()} == {"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "7", "RAYON_NUM_THREADS": "3"}
    assert kept.items() <= env.items()
