"""Measured tables as problems, and the gap to the best of a grid."""

import json

import numpy as np
import pytest

from bayestuner.goal import Goal
from bayestuner.measure.job.parser import load_job
from bayestuner.simulate.replay import TableJob
from bayestuner.simulate.tables import read_table
from bayestuner.trial import Failed, Measured
from bayestuner.tune.grid import part_of
from bayestuner.zoo import registry
from benchmarks.search_quality.problems import load
from benchmarks.tables.__main__ import problem_of
from benchmarks.tables.gap import GOALS, gap_of, line
from benchmarks.tables.measure import JOBS, PARTS
from benchmarks.tables.summary import cells

TABLES = JOBS.parents[1] / "benchmarks" / "tables"


@pytest.mark.parametrize("name", PARTS)
def test_each_jobs_coarse_grid_is_a_part_of_its_own_with_its_largest_configuration(name):
    job = load_job(JOBS / f"{name}.toml")
    rows = part_of(job, {knob: values.split(",") for knob, values in PARTS[name].items()})
    assert rows[-1] == job.all_max_config()  # so that the table's last row names the bound
    assert 20 <= len(rows) / len(job.space.knobs[0]) <= 30


def test_all_eight_have_one():
    assert PARTS.keys() == {name for name in registry.names() if name not in ("resnet101_v2", "resnet152_v2")}


@pytest.fixture
def folder(tmp_path):
    """A MADE-UP table of 60 rows: cost rises with both knobs, throughput too, and large batches fail where memory is small."""
    lines = ["memory_mib,batch_size,precision,status,cpu_s_per_item,throughput,duration_s,flags,message"]
    for memory in (64, 128, 256):
        for batch in range(1, 11):
            for precision in ("fp32", "int8"):
                failed = batch * 16 > memory
                cost, rate = 1 + batch / 10 + (precision == "fp32"), 10.0 * batch
                lines.append(f"{memory},{batch},{precision},{'oom,,' if failed else f'ok,{cost},{rate}'},{0.5 if failed else 2.0},,")
    (tmp_path / "toy.csv").write_text("\n".join(lines) + "\n")
    about = {
        "version": 1,
        "knobs": ["memory_mib", "batch_size", "precision"],
        "job": {"name": "toy", "unit": "image"},
        "power": {"source": "none", "estimated": False, "boundary": ""},
        "units": {"cpu_s_per_item": "s", "throughput": "items/s"},
        "starts": [{"rows_before": 0}],
    }
    (tmp_path / "toy.json").write_text(json.dumps(about))
    return tmp_path


def problem(folder, **options):
    (folder / "problems.json").write_text(json.dumps([problem_of(folder / "toy.csv", **options)]))
    return load(folder)[0]


def test_a_table_becomes_a_problem(folder):
    made = problem(folder, share=0.5)
    assert made.threshold == 50.0
    assert made.space.names == ("memory_mib", "batch_size", "precision")
    assert made.optimum == 1.5  # int8 at the smallest batch that is fast enough
    assert (~made.ok).sum() == 2 * (6 + 2)


def test_a_table_whose_largest_configuration_failed_names_no_bound(folder):
    path = folder / "toy.csv"
    path.write_text(path.read_text().replace("256,10,int8,ok,2.0,100.0", "256,10,int8,timeout,,"))
    assert problem_of(path) is None


def test_the_gap_is_to_the_best_of_the_table_and_time_is_what_the_runs_took(folder):
    table = read_table(folder / "toy.csv")
    goal = Goal(minimize="cpu_s_per_item", subject_to=["throughput >= 50%"])
    gap = gap_of(table, goal, seeds=3)
    assert (gap.rows, gap.failed, gap.n_searches) == (60, 16, 3)
    assert gap.feasible == 2 * (4 + 6)  # batches from 5 on, up to 8 where memory allows
    assert gap.grid_s == pytest.approx(16 * 0.5 + 44 * 2.0)
    assert 20 * 0.5 < gap.search_s <= 20 * 2.0
    assert all(g >= 0 for g in gap.gaps)
    whole = gap_of(table, goal, strategy="random", seeds=2, budget=60)
    np.testing.assert_allclose(whole.gaps, [0.0, 0.0], atol=1e-12)
    assert whole.search_s == pytest.approx(whole.grid_s)


def test_a_goal_that_no_row_meets_is_said_in_its_line(folder):
    table = read_table(folder / "toy.csv")
    assert "no configuration of the table toy.csv meets" in line(
        table, Goal(minimize="cpu_s_per_item", subject_to=["throughput >= 500"]), "bayes", 1, 5
    )


# -- the tables that are kept here --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PARTS)
def test_a_kept_table_is_whole_says_where_it_is_from_and_calls_an_estimate_one(name):
    path = TABLES / f"{name}.csv"
    table = read_table(path)  # refuses one that is half measured
    about = json.loads(path.with_suffix(".json").read_text())
    assert table.job == name
    assert {type(outcome) for outcome in table.outcomes} <= {Measured, Failed}
    assert about["starts"][-1]["cpus"] == max(config["cores"] for config in table.space)
    assert about["power"]["estimated"] == ("estimated_power_w" in table.metrics) == ("power_w" not in table.metrics)
    for goal in (make(table) for make in GOALS.values()):
        assert TableJob(table, goal).feasible.sum() >= 3, goal


def test_the_docs_have_the_summary_of_the_kept_tables():
    page = (TABLES.parents[1] / "docs" / "measured.md").read_text()
    for name in PARTS:
        row = f"| {' | '.join(cells(read_table(TABLES / f'{name}.csv')))} |"
        assert row in page
