"""The paper's exhibits are made from real searches of the simulated jobs, say that they are simulated, and come out the same each time."""

import csv
import multiprocessing
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.paper import colocation, searches, trade_off
from benchmarks.paper.drawing import percent
from benchmarks.paper.exhibits import EXHIBITS

ROOT = Path(__file__).parents[2]


def make(folder, *arguments):
    command = [sys.executable, "-m", "benchmarks.paper", *arguments, "--docs", str(folder)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_an_exhibit_is_written_as_data_and_as_plots(tmp_path):
    made = make(tmp_path, "fig4", "--seeds", "1")
    assert made.returncode == 0, made.stderr
    assert "gap % after 20 runs" in made.stdout
    with (tmp_path / "paper" / "fig4.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 8 * 20
    assert {r["job"] for r in rows} == set(searches.JOBS)
    assert (tmp_path / "paper" / "fig4.png").stat().st_size > 5000
    assert "SIMULATED" in (tmp_path / "paper" / "fig4.svg").read_text() or "SIMULATED" in made.stdout
    assert not (tmp_path / "paper.md").exists()  # the report is of all of them


def test_an_unknown_exhibit_is_named(tmp_path):
    made = make(tmp_path, "fig9")
    assert made.returncode == 2
    assert "there is no exhibit 'fig9'; there are fig1, fig2" in made.stderr


def test_the_report_in_docs_has_every_exhibit_and_says_what_it_is():
    report = (ROOT / "docs" / "paper.md").read_text()
    assert "**Everything on this page is SIMULATED.**" in report
    assert report.count("\n## ") == len(EXHIBITS)
    for line in report.splitlines():
        if line.startswith("!["):
            assert (ROOT / "docs" / line[line.index("(") + 1 : -1]).is_file(), line


def test_a_gap_is_the_best_feasible_power_over_the_optimum_s():
    found = searches.search("random", "resnet_v2", "small", 0.0, 3)
    job = searches.job_of("resnet_v2", "small")
    power_w = job.table.metrics["power_w"]
    best = min(power_w[row] for row in found.rows if job.feasible[row])
    assert found.gap[-1] == pytest.approx(best / power_w[job.optimum] - 1.0)
    assert (np.diff(found.gap) <= 0.0).all()
    assert found.elapsed_s == pytest.approx(job.duration_s[found.rows].sum())


def test_a_strategy_that_has_ended_keeps_its_last():
    found = searches.search("BatchSizer", "resnet_v2", "large", 0.0, 0)
    assert len(found.rows) <= 6
    assert found.gap.size == searches.BUDGET
    assert found.gap[-1] == found.gap[len(found.rows) - 1]


def test_every_strategy_meets_the_same_failures_and_knows_only_goal_and_space():
    truth = searches.job_of("nasnet_large", "large")
    for strategy in searches.STRATEGIES:
        found = searches.search(strategy, "nasnet_large", "large", 0.0, 0)
        assert len(set(found.rows)) == len(found.rows)
        assert all(truth.space.is_allowed(row) for row in found.rows)


def test_percent_leaves_out_an_interval_of_nothing():
    assert (percent(0.0123, 0.004), percent(0.2, 0.0)) == ("1.23 ± 0.40", "20.00")


def test_searches_on_several_processes_are_those_of_one(monkeypatch):
    alone = searches.each_seed(searches.search, "annealing", "resnet_v2", "small", 0.01, seeds=3)
    monkeypatch.setattr(searches, "MIN_PARALLEL", 2)
    try:
        together = searches.each_seed(searches.search, "annealing", "resnet_v2", "small", 0.01, seeds=3)
    finally:
        searches.end_workers()
    assert multiprocessing.active_children() == []
    assert [s.rows for s in together] == [s.rows for s in alone]


def test_a_division_of_the_server_is_held_against_the_best_one():
    pair = colocation.PAIRS[0]
    job = colocation.truth_of(pair)
    gaps = colocation.gaps_of("random", pair, 0)
    assert gaps.size == colocation.RUNS
    assert (gaps >= 0.0).all()
    assert (np.diff(gaps[np.isfinite(gaps)]) <= 0.0).all()
    assert job.feasible[job.optimum]


def test_one_trade_off_search_is_judged_at_every_threshold():
    job = searches.job_of("resnet_v2", "small")
    bounds = trade_off.thresholds(job)
    assert bounds.size == len(trade_off.SHARES)
    every = range(job.space.n_rows)
    assert trade_off.gaps(job, [bounds], [list(every)]) == pytest.approx([0.0])  # nothing is missed by running everything
    throughput = job.table.metrics["throughput"]
    slowest = int(np.nanargmin(throughput))
    assert trade_off.gaps(job, [bounds], [[slowest]])[0] > 0.1  # meets none of them: as bad as can be
    assert (trade_off.area(job, [job.optimum]) < 1.0) and trade_off.area(job, list(every)) == pytest.approx(1.0)
