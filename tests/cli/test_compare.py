"""``bayestuner compare`` on simulated and on real jobs."""

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from jobs import bayestuner, processes_of, write_job
from leftovers import alive
from measured_tables import default_rows, row, write_table
from patience import wait_for
from study_doubles import pretend_run, small_space

from bayestuner.cli import compare
from bayestuner.cli.compare import show_search
from bayestuner.goal import Goal
from bayestuner.measure.job.parser import load_job
from bayestuner.study.study import Study
from bayestuner.tune.comparing import Curve, SearchProgress

WAIT_S = 240
needs_cgroup = pytest.mark.skipif(os.geteuid() != 0, reason="needs root and writable cgroup controllers")


def run_cli(*args):
    return subprocess.run(bayestuner(*args), capture_output=True, text=True, timeout=WAIT_S, check=False)


@pytest.mark.slow
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
    assert (form["simulated"], form["kind"], form["estimated"], form["budget"]) == (True, "simulated", False, 6)
    assert [(c["strategy"], c["seed"], len(c["best"])) for c in form["curves"]] == [
        (s, seed, 6) for seed in (0, 1) for s in ("bayes", "annealing", "random")
    ]


@pytest.mark.slow
def test_jobs_that_share_the_simulated_server_are_compared_as_one(tmp_path):
    arguments = ["compare", "--simulate", "text_cnn+mobilenet_v2", "--strategies", "random", "--repeats", 1, "--budget", 3]
    done = run_cli(*arguments, "--out", tmp_path / "kept")
    assert done.returncode == 0, done.stderr
    assert "42588 configurations, SIMULATED" in done.stdout
    assert "text_cnn_throughput >= 3750, mobilenet_v2_throughput >= 37.5" in done.stdout
    assert "has one size" in run_cli(*arguments, "--space", "small", "--out", tmp_path / "other").stderr


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


@pytest.mark.cgroup
@needs_cgroup
def test_an_interrupted_real_comparison_goes_on_and_an_exhaustive_search_may_have_all(tmp_path):
    small = [("[64, 128, 256]", "[128, 256]"), ("[1, 2, 4, 8, 16]", "[1, 2]")]
    job = write_job(tmp_path, replace=[*small, ("min_seconds = 0.2", "min_seconds = 0.4"), ("max_seconds = 0.5", "max_seconds = 0.8")])
    arguments = [
        "compare",
        "--job",
        job,
        "--strategies",
        "exhaustive,random",
        "--budget",
        "all",
        "--repeats",
        1,
        "--out",
        tmp_path / "kept",
    ]
    process = subprocess.Popen(bayestuner(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def finished():
        path = tmp_path / "kept" / "exhaustive-0"
        if not Study.exists(path):
            return []
        with Study.open(path, read_only=True) as study:
            return [r for r in study.records() if r.tell_seq is not None]

    wait_for(lambda: len(finished()) >= 2)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=WAIT_S)
    before = finished()
    assert process.returncode == 130
    assert f"every finished run is kept in {tmp_path / 'kept'}, go on with: bayestuner compare --job {job} --strategies" in errors
    assert processes_of(tmp_path / "program.py") == []
    done = run_cli(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    assert "search 2 of 2: random, seed 0" in done.stderr
    assert [(c["strategy"], len(c["best"])) for c in json.loads(done.stdout)["curves"]] == [("exhaustive", 4), ("random", 4)]
    after = finished()
    assert [(r.trial, r.tell_seq) for r in after[: len(before)]] == [(r.trial, r.tell_seq) for r in before]
    assert sorted(r.trial.row for r in after) == [0, 1, 2, 3]


@pytest.mark.slow
def test_a_measured_table_is_replayed_and_held_against_all_of_it(tmp_path):
    table = write_table(tmp_path)
    arguments = [
        "compare",
        "--table",
        table,
        "--strategies",
        "random,exhaustive",
        "--repeats",
        2,
        "--budget",
        3,
        "--out",
        tmp_path / "kept",
    ]
    done = run_cli(*arguments, "--plot", tmp_path / "plot.svg")
    assert done.returncode == 0, done.stderr
    assert "replay of measured table t.csv: net, 8 configurations; goal: minimize cpu_s_per_item subject to throughput >= 24" in done.stdout
    assert "exhaustive: all 8 runs, 19 s, 2 failed; best found: 0 % worse than the optimum" in done.stdout
    assert "replay of measured table t.csv" in (tmp_path / "plot.svg").read_text()
    form = json.loads(run_cli(*arguments, "--json").stdout)
    assert (form["simulated"], form["kind"], form["estimated"], form["configurations"]) == (False, "replayed", False, 8)
    assert [(c["strategy"], len(c["best"])) for c in form["curves"]] == [("random", 3), ("exhaustive", 8), ("random", 3)]
    assert form["curves"][1]["best"][-1] == form["optimum"]
    write_table(tmp_path, rows=[*default_rows()[:-1], row(2, 256, 8, throughput=41.0)])
    other = run_cli(*arguments)
    assert other.returncode == 4
    assert "holds a comparison of something else" in other.stderr


def test_a_goal_over_an_estimate_is_said_to_be_one(tmp_path):
    goal = ["--minimize", "estimated_power_w", "--subject-to", "throughput >= 20", "--subject-to", "cpu_s_per_item <= 1"]
    done = run_cli("compare", "--table", write_table(tmp_path), *goal, "--strategies", "random", "--out", tmp_path / "kept", "--json")
    form = json.loads(done.stdout)
    assert form["estimated"] is True
    assert "power ESTIMATED by a model and not measured" in form["label"]
    assert form["goal"] == "minimize estimated_power_w subject to throughput >= 20, cpu_s_per_item <= 1"


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_shows_which_search_it_is_and_what_is_left(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    curve = Curve("random", 7, (), (), 0)
    show_search(SearchProgress(1, 3, curve, True, None))
    show_search(SearchProgress(2, 3, curve, False, 65.0))
    show_search(SearchProgress(3, 3, curve, False, 0.0))
    first, second, third, end = sys.stderr.getvalue().replace("\n", "\r\n").split("\r")[1:]
    assert first == "\x1b[Ksearch 1 of 3: random, seed 7 (kept)"
    assert second == "\x1b[Ksearch 2 of 3: random, seed 7, about 1 min 05 s left"
    assert (third, end) == ("\x1b[Ksearch 3 of 3: random, seed 7", "\n")


def children_of(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "to_all", "code"), [(signal.SIGINT, True, 130), (signal.SIGTERM, False, 143), (signal.SIGKILL, False, -signal.SIGKILL)]
)
def test_stopped_over_processes_it_keeps_what_is_finished_and_leaves_none(tmp_path, number, to_all, code):
    arguments = ["compare", "--simulate", "resnet_v2", "--space", "small", "--strategies", "bayes,random", "--out", tmp_path / "kept"]
    again = ["--repeats", "5000", "--parallel", "2"]
    process = subprocess.Popen(
        bayestuner(*arguments, *again), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    kept = tmp_path / "kept" / "curves.jsonl"
    wait_for(lambda: process.poll() is not None or (len(children_of(process.pid)) >= 3 and kept.read_text().count("\n") > 12))
    children = children_of(process.pid)
    if to_all:  # as a terminal does
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    _, errors = process.communicate(timeout=WAIT_S)
    assert process.returncode == code
    wait_for(lambda: not any(map(alive, children)))
    assert "Traceback" not in errors
    if number != signal.SIGKILL:
        assert f"every finished search is kept in {tmp_path / 'kept'}, go on with: bayestuner compare --simulate resnet_v2" in errors
        assert "--repeats 5000" in errors
    before = kept.read_text()
    done = run_cli(*arguments, "--repeats", 2, "--json")
    assert len(json.loads(done.stdout)["curves"]) == 4
    assert kept.read_text().startswith(before[: before.rfind("\n")])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--simulate", "resnet", "--out", "x"], "there is no simulated job 'resnet'; did you mean 'resnet_v2'?"),
        (["--simulate", "resnet_v2", "--strategies", "bays"], "there is no strategy 'bays'; choose one of bayes"),
        (["--simulate", "resnet_v2", "--strategies", ","], "at least one strategy; name some with --strategies"),
        (["--simulate", "resnet_v2", "--plot", "x.doc"], "a plot is a .png, .svg or .pdf file, not 'x.doc'"),
        (["--simulate", "resnet_v2", "--minimize", "cores"], "--minimize is an option of --table"),
        (["--table", "t.csv", "--noise", "0.1"], "--noise is an option of --simulate"),
        (["--job", "job.toml", "--parallel", "2"], "those of a real job are made one after the other"),
    ],
)
def test_mistakes_are_one_sentence_and_leave_nothing(tmp_path, arguments, says):
    done = subprocess.run(bayestuner("compare", *arguments), capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("bayestuner: ")
    assert says in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_what_is_wrong_with_a_table_is_one_sentence(tmp_path):
    missing = run_cli("compare", "--table", tmp_path / "none.csv")
    assert (missing.returncode, missing.stderr.count("\n")) == (4, 1)
    assert "there is no table" in missing.stderr
    unknown = run_cli("compare", "--table", write_table(tmp_path), "--minimize", "power_w")
    assert (unknown.returncode, unknown.stderr.count("\n")) == (2, 1)
    assert "has no 'power_w'; a goal can use estimated_power_w" in unknown.stderr
    budget = run_cli("compare", "--table", tmp_path / "t.csv", "--budget", "none")
    assert "expected a whole number of at least 1, or all, not 'none'" in budget.stderr


@pytest.mark.parametrize("estimated", [True, False])
def test_real_runs_whose_power_was_estimated_say_so(tmp_path, estimated):
    goal = Goal(minimize="power_w", subject_to=["throughput >= 20"])
    details = {"power_source": "model" if estimated else "perf", "estimated": estimated, "duration_s": 2.0}
    with Study.create(tmp_path / "random-0", small_space(), goal, "random", 0, 2, name="toy", job={"unit": "image"}) as study:
        config = {"cores": 2, "memory_mib": 512, "batch_size": 8}
        study.tell(study.adopt(config, "search"), pretend_run(config), details)
    job = load_job(write_job(tmp_path, minimize="memory_mib"))
    subject = compare.Subject("toy", "real", goal, 48, "toy, 48 configurations, real runs; goal: x", {}, job=job)
    curve = Curve("random", 0, (40.0,), (2.0,), 0)
    said = compare._labelled_if_estimated(subject, [curve], tmp_path)
    assert said.estimated is estimated
    assert ("real runs, power ESTIMATED by a model and not measured; goal" in said.label) is estimated
