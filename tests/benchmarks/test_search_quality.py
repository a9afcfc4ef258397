"""The search-quality figures: regret, score and shares against by-hand values, and a replay from tables on disk to a printed report."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.search_quality import store, tuners
from benchmarks.search_quality.figures import Figures, Run, close, found_feasible, random_regret, regrets, relative_regret, score
from benchmarks.search_quality.problems import load
from benchmarks.search_quality.replay import replay
from benchmarks.search_quality.tuners import TUNERS

ROOT = Path(__file__).parents[2]


@pytest.fixture
def tables(tmp_path):
    """Two problems in one family and one in another; the first has a failed row."""
    rng = np.random.default_rng(0)
    entries = []
    for name, family, n in (("one", "a", 30), ("two", "a", 40), ("three", "b", 25)):
        lines = ["level,kind,objective,constraint,status"]
        for i in range(n):
            failed = name == "one" and i == 3
            values = ",," if failed else f"{10 + i},{rng.uniform(0, 10):.3f},"
            lines.append(f"{i // 2},{'xy'[i % 2]},{values}{'failed' if failed else 'ok'}")
        (tmp_path / f"{name}.csv").write_text("\n".join(lines) + "\n")
        knobs = [{"name": "level", "type": "ordinal"}, {"name": "kind", "type": "categorical"}]
        entries.append({"name": name, "file": f"{name}.csv", "family": family, "threshold": 5.0, "knobs": knobs})
    (tmp_path / "problems.json").write_text(json.dumps(entries))
    return tmp_path


def test_columns_may_have_other_names_or_be_described(tables):
    listed = json.loads((tables / "problems.json").read_text())
    listed[0]["objective"] = "mean power (W)"  # no column: says what `objective` holds
    listed[1]["constraint"] = "level"
    (tables / "problems.json").write_text(json.dumps(listed))
    one, two, _ = load(tables)
    assert one.objective[0] == 10.0
    assert list(two.constraint[:4]) == [0.0, 0.0, 1.0, 1.0]


def test_a_table_is_read_with_its_failures(tables):
    one = load(tables, only="one")[0]
    assert one.space.config(5) == {"level": 2, "kind": "y"}
    assert not one.ok[3] and not one.feasible[3]
    assert one.ok.sum() == 29
    assert one.optimum == one.objective[one.feasible].min()


def test_random_regret_is_what_random_draws_average_to(tables):
    problem = load(tables, only="two")[0]
    rng = np.random.default_rng(1)
    n = 4
    drawn = [regrets(problem, rng.permutation(40)[:n], n)[-1] for _ in range(20_000)]
    assert random_regret(problem, n) == pytest.approx(np.mean(drawn), abs=4 * np.std(drawn) / np.sqrt(len(drawn)))
    assert random_regret(problem, 40) == pytest.approx(0.0, abs=1e-9)


def test_regret_counts_the_worst_feasible_until_something_feasible_is_found(tables):
    problem = load(tables, only="one")[0]
    bad = int(np.flatnonzero(problem.ok & ~problem.feasible)[0])
    good = int(np.argmin(np.where(problem.feasible, problem.objective, np.inf)))
    curve = regrets(problem, [bad, 3, good], 5)
    np.testing.assert_allclose(curve, [problem.worst - problem.optimum] * 2 + [0.0] * 3)


def test_means_are_taken_within_families_first(tables):
    problems = load(tables)
    runs = [Run("t", p.name, seed, tuple(range(20))) for p in problems for seed in (0, 1)]
    figures = Figures.of(problems, runs)
    each = {p.name: min(regrets(p, range(20))[-1] / random_regret(p), 3.0) for p in problems}
    assert figures.mean(score(20)) == pytest.approx(((each["one"] + each["two"]) / 2 + each["three"]) / 2)
    assert figures.interval(score(20)) == 0.0
    near = {p.name: float(regrets(p, range(20))[-1] <= 0.05 * p.optimum) for p in problems}
    assert figures.mean(close()) == pytest.approx(((near["one"] + near["two"]) / 2 + near["three"]) / 2)
    assert figures.mean(relative_regret(20)) >= 0.0
    first = {p.name: float(p.feasible[:1].any()) for p in problems}
    assert found_feasible(runs, problems, 1) == pytest.approx(((first["one"] + first["two"]) / 2 + first["three"]) / 2)


def test_runs_come_back_from_disk_and_the_later_one_counts(tmp_path):
    store.append(tmp_path, Run("t", "p", 0, (1, 2)))
    store.append(tmp_path, Run("t", "p", 0, (3, 4), (0.1, 0.2)))
    assert store.read_all(tmp_path) == {"t": [Run("t", "p", 0, (3, 4), (0.1, 0.2))]}


def test_the_command_replays_reports_and_goes_on_where_it_stopped(tables, tmp_path):
    out = tmp_path / "runs"
    command = [sys.executable, "-m", "benchmarks.search_quality", "run", str(tables), "--tuners", "bayes,random", "--out", str(out)]
    first = subprocess.run([*command, "--seeds", "0:1"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "| bayes | 1 |" in first.stdout and "| random | 1 |" in first.stdout
    again = subprocess.run(
        [*command, "--seeds", "0:2", "--plot", str(tmp_path / "p.png")], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "bayes: 3 runs" in again.stderr
    runs = store.read(out / "bayes.jsonl")
    assert len(runs) == 6
    assert all(len(set(r.rows)) == 20 for r in runs)
    assert (tmp_path / "p.png").stat().st_size > 10_000
    wrong = subprocess.run([*command[:-4], "--tuners", "nobody", "--out", str(out)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert wrong.returncode == 1 and "there is no tuner 'nobody' here; there are bayes" in wrong.stderr


def test_the_simulated_jobs_are_problems_like_any_other():
    problems = load(Path("simulated-small"), only="mobilenet")
    assert [(p.name, p.family, len(p.configs)) for p in problems] == [("simulated-small-mobilenet_v2", "simulated-small", 224)]
    run = replay("bayes", TUNERS["bayes"], problems[0], 0, 20)
    assert regrets(problems[0], run.rows)[-1] <= 0.02 * problems[0].optimum


@pytest.fixture
def restored(monkeypatch):
    """Constants that a variant sets are put back after the test."""
    monkeypatch.setattr(tuners, "setattr", monkeypatch.setattr, raising=False)


@pytest.mark.parametrize("name", sorted(TUNERS))
def test_every_variant_sets_what_is_there(tables, restored, name):
    problem = load(tables)[0]
    if name in ("batch_sizer", "aimd"):  # for spaces with a batch size
        return
    assert TUNERS[name](problem, 0, 9).ask().row >= 0


def test_variants_of_the_priors_and_of_the_warp_reach_the_models(tables, restored):
    problem = load(tables)[0]

    def model_of(name):
        tuner = TUNERS[name](problem, 0, 9)
        for row in (4, 11, 20, 27):
            tuner.tell(tuner.adopt(problem.space.config(row)), objective=1.0 + row, constraint=2.0 + row)
        tuner.predict(problem.space.config(0))
        return tuner._posterior.models["objective"]

    default = model_of("bayes")
    for name in ("short-scales", "long-scales", "little-noise", "much-noise", "weak-trend"):
        assert (model_of(name).gp.prior_mean != default.gp.prior_mean).any(), name
    assert (model_of("no-warp").gp.geometry.kinds != default.gp.geometry.kinds).any()
