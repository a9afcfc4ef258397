"""`tune` with `measure.stop`: it ends early, says and stores why, and keeps to it."""

import json

from jobs import RECOMMENDED, write_job
from tune_runs import NEEDS_CGROUP, run_cli

from bayestuner.study.study import Study

pytestmark = NEEDS_CGROUP
STOP = ("repeats = 2", 'repeats = 2\nstop = ["regret < 5%"]')


def test_a_rule_ends_the_search_and_later_calls_keep_to_it(tmp_path):
    job = write_job(tmp_path, budget=15, minimize="latency_p50_s", replace=[STOP])
    done = run_cli("tune", job, "--study", tmp_path / "s")
    assert done.returncode in RECOMMENDED, done.stderr
    with Study.open(tmp_path / "s", read_only=True) as study:
        result = study.info.result
        n_search = sum(r.role != "repeat" for r in study.records())
        n_all = len(study.records())
    assert n_search < 15
    assert result["complete"] is True
    assert result["stopped_by"] == "regret < 5%"
    assert "joint samples" in result["stop_reason"]
    assert f"note: the search ends after {n_search} of 15 runs: in " in done.stdout
    assert "because in " in " ".join(done.stdout.split())

    again = run_cli("tune", job, "--study", tmp_path / "s", "--json")
    assert json.loads(again.stdout)["stop_reason"] == result["stop_reason"]
    with Study.open(tmp_path / "s") as study:  # as if killed between the search and the end of the repeats
        study.set_result({key: result[key] for key in ("stop_reason", "stopped_by")} | {"complete": False})
    again = run_cli("tune", job, "--study", tmp_path / "s", "--json")
    form = json.loads(again.stdout)
    assert form["complete"] is True
    assert form["stop_reason"] == result["stop_reason"]
    with Study.open(tmp_path / "s", read_only=True) as study:
        assert len(study.records()) == n_all

    job = write_job(tmp_path, budget=15, minimize="latency_p50_s")  # the rule is taken out: the search goes on
    assert json.loads(run_cli("tune", job, "--study", tmp_path / "s", "--json").stdout)["runs"] == 15


def test_a_time_limit_of_the_job_file(tmp_path):
    job = write_job(tmp_path, budget=15, replace=[("repeats = 2", 'repeats = 1\nstop = ["time > 0.001s"]')])
    form = json.loads(run_cli("tune", job, "--study", tmp_path / "s", "--json").stdout)
    assert form["runs"] == 1  # the default configuration
    assert form["stop_reason"] == "the time limit of 0.001 s is reached"
    assert json.loads(run_cli("tune", job, "--study", tmp_path / "s", "--json").stdout)["complete"] is True
