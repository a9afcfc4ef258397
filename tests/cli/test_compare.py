"""``bayestuner compare`` on simulated and on real jobs."""

import json
import os
import subprocess

import pytest
from jobs import bayestuner, write_job

WAIT_S = 240
needs_cgroup = pytest.mark.skipif(os.geteuid() != 0, reason="needs root and writable cgroup controllers")


def run_cli(*args):
    return subprocess.run(bayestuner(*args), capture_output=True, text=True, timeout=WAIT_S, check=False)


def test_a_simulated_comparison_says_so_and_gives_each_strategy_the_same_runs(tmp_path):
    arguments = ["compare", "--simulate", "resnet_v2", "--space", "small", "--repeats", 2, "--budget", 6, "--out", tmp_path / "kept"]
    done = run_cli(*arguments, "--plot", tmp_path / "plot.png")
    assert done.returncode == 0, done.stderr
    assert "SIMULATED" in done.stdout
    assert [line.split()[0] for line in done.stdout.splitlines() if line[:6] in ("bayes ", "anneal", "random")] == [
        "bayes",
        "annealing",
        "random",
    ]
    assert (tmp_path / "plot.png").stat().st_size > 5000
    form = json.loads(run_cli(*arguments, "--json").stdout)
    assert form["simulated"] is True
    assert [(c["strategy"], c["seed"], len(c["best"])) for c in form["curves"]] == [
        (s, seed, 6) for seed in (0, 1) for s in ("bayes", "annealing", "random")
    ]


@pytest.mark.cgroup
@needs_cgroup
def test_real_searches_are_studies_that_are_not_made_twice(tmp_path):
    job = write_job(tmp_path, budget=4)
    arguments = ["compare", "--job", job, "--strategies", "bayes,random", "--budget", 3, "--repeats", 1, "--out", tmp_path / "kept"]
    done = run_cli(*arguments)
    assert done.returncode == 0, done.stderr
    assert "real runs" in done.stdout
    assert sorted(p.name for p in (tmp_path / "kept").iterdir()) == ["bayes-0", "random-0"]
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "kept").glob("*/study.sqlite")}
    form = json.loads(run_cli(*arguments, "--json").stdout)
    assert [len(c["best"]) for c in form["curves"]] == [3, 3]
    assert all(c["elapsed_s"] == sorted(c["elapsed_s"]) and c["elapsed_s"][0] > 0 for c in form["curves"])
    assert {p: p.stat().st_mtime_ns for p in before} == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--simulate", "resnet", "--out", "x"], "there is no simulated job 'resnet'; did you mean 'resnet_v2'?"),
        (["--simulate", "resnet_v2", "--strategies", "bays"], "there is no strategy 'bays'; choose one of bayes"),
        (["--simulate", "resnet_v2", "--repeats", "0"], "at least one strategy, one repeat and a budget of one run"),
        (["--simulate", "resnet_v2", "--plot", "x.doc"], "a plot is a .png, .svg or .pdf file, not 'x.doc'"),
    ],
)
def test_mistakes_are_one_sentence_and_leave_nothing(tmp_path, arguments, says):
    done = subprocess.run(bayestuner("compare", *arguments), capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("bayestuner: ")
    assert says in done.stderr
    assert list(tmp_path.iterdir()) == []
