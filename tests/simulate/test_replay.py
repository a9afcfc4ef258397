"""Tables of real runs are replayed as they were measured; what can't be replayed is a sentence."""

import json
from pathlib import Path

import numpy as np
import pytest
from measured_tables import row, write_table

from bayestuner.errors import InvalidGoal, StoreError
from bayestuner.goal import Goal
from bayestuner.measure.table import Provenance, Table
from bayestuner.simulate.replay import TableJob
from bayestuner.simulate.tables import read_table
from bayestuner.space import Categorical, Ordinal
from bayestuner.trial import Failed, Measured, Reading

GOAL = Goal(minimize="cpu_s_per_item", subject_to=["throughput >= 60%"])


def test_a_table_as_measure_grid_writes_it_is_read_back(tmp_path):
    """Held against the writer itself, so that neither changes alone."""
    table = Table(
        tmp_path / "t.csv",
        Provenance(["cores"], {"name": "net", "unit": "image"}, {"source": "model", "estimated": True, "boundary": "model"}),
    )
    table.begin({"knobs": [{"name": "cores", "kind": "cores", "ordered": True, "values": [1, 2, 3], "part": [1, 2]}]})
    metrics = {
        "throughput": Reading(20.0, 0.5),
        "power_w": Reading(7.0, 0.1),
        "cpu_s_per_item": Reading(0.1),
        "latency_p50_s": Reading(0.05),
    }
    table.add({"cores": 2}, Measured(metrics, ("unsteady",)), {"duration_s": 4.5})
    table.add({"cores": 1}, Failed("timeout", "too slow, 3 s"), {"duration_s": 9.0})
    read = read_table(tmp_path / "t.csv")
    assert (read.job, read.unit) == ("net", "image")
    assert list(read.space) == [{"cores": 1}, {"cores": 2}]
    assert read.outcomes[0] == Failed("timeout", "replayed: too slow, 3 s")
    renamed = {"estimated_power_w": Reading(7.0, 0.1), **{name: r for name, r in metrics.items() if name != "power_w"}}
    assert read.outcomes[1] == Measured(renamed, ("replayed", "unsteady"))
    assert read.duration_s.tolist() == [9.0, 4.5]
    assert "power_w" not in read.metrics


def test_a_search_meets_what_was_measured(tmp_path):
    job = TableJob(read_table(write_table(tmp_path)), GOAL)
    assert str(job.goal) == "minimize cpu_s_per_item subject to throughput >= 24"  # of the largest configuration's 40
    assert job.space.n_rows == 8
    oom = job.run({"cores": 1, "memory_mib": 128, "batch_size": 8})
    assert oom == Failed("oom", "replayed: killed for memory")
    assert job.elapsed_s == 0.5
    good = job.run({"cores": 2, "memory_mib": 128, "batch_size": 1})
    assert good.metrics["throughput"] == Reading(30.0, 0.3)
    assert job.elapsed_s == 3.5
    assert job.space.config(job.optimum) == {"cores": 2, "memory_mib": 256, "batch_size": 8}
    assert int(job.feasible.sum()) == 3
    assert float(job.duration_s.sum()) == pytest.approx(6 * 3.0 + 2 * 0.5)


def test_the_knobs_are_the_jobs_where_the_table_says_so_else_by_their_values_and_names(tmp_path):
    by_name = read_table(write_table(tmp_path)).space
    assert by_name.knobs == (Ordinal("cores", [1, 2]), Ordinal("memory_mib", [128, 256], more_is="safer"), Ordinal("batch_size", [1, 8]))
    knobs = [
        {"name": "cores", "kind": "cores", "ordered": True, "values": [1, 2], "part": [1, 2]},
        {"name": "memory_mib", "kind": "argument", "ordered": True, "values": [128, 256], "part": [128, 256]},
        {"name": "batch_size", "kind": "argument", "ordered": False, "values": [8, 1], "part": [1, 8]},
    ]
    told = read_table(write_table(tmp_path, knobs=knobs)).space
    assert told.knobs[1:] == (Ordinal("memory_mib", [128, 256]), Categorical("batch_size", [8, 1]))


def test_labels_and_switches_keep_their_kind(tmp_path):
    rows = [row("false", "last", 1), row("false", "never", 1), row("true", "last", 1), row("true", "never", 1)]
    space = read_table(write_table(tmp_path, names=("smt", "spin", "batch_size"), rows=rows)).space
    assert space.knobs == (Categorical("smt", ["false", "true"]), Categorical("spin", ["last", "never"]), Ordinal("batch_size", [1]))
    knobs = [
        {"name": "smt", "kind": "smt", "ordered": True, "values": [False, True], "part": [False, True]},
        {"name": "spin", "kind": "argument", "ordered": False, "values": ["never", "last"], "part": ["never", "last"]},
        {"name": "batch_size", "kind": "argument", "ordered": True, "values": [1, 2], "part": [1]},
    ]
    space = read_table(write_table(tmp_path, names=("smt", "spin", "batch_size"), rows=rows, knobs=knobs)).space
    assert space.knobs == (Ordinal("smt", [False, True]), Categorical("spin", ["never", "last"]), Ordinal("batch_size", [1]))
    assert space.config(0) == {"smt": False, "spin": "never", "batch_size": 1}


def test_two_parts_of_a_grid_are_a_list_of_rows(tmp_path):
    rows = [row(1, 128, 1), row(1, 128, 8), row(2, 256, 1)]
    table = read_table(write_table(tmp_path, rows=rows))
    assert [list(config.values()) for config in table.space] == [[1, 128, 1], [1, 128, 8], [2, 256, 1]]
    with pytest.raises(InvalidGoal, match=r"relative bound is a share of what .*'batch_size': 8.* reaches, which the table t.csv lacks"):
        TableJob(table, GOAL)
    assert TableJob(table, Goal(minimize="cores")).space.n_rows == 3


def test_a_table_in_any_order_is_the_same_job(tmp_path):
    ordered = read_table(write_table(tmp_path))
    lines = ordered.path.read_text().splitlines(keepends=True)
    ordered.path.write_text("".join([lines[0], *reversed(lines[1:])]))
    mixed = read_table(ordered.path)
    assert mixed.space == ordered.space
    assert mixed.outcomes == ordered.outcomes
    assert np.array_equal(mixed.duration_s, ordered.duration_s)


@pytest.mark.parametrize("knobs", [None, "said"])
def test_a_half_measured_table_says_how_much_is_missing(tmp_path, knobs):
    rows = [row(2, 256, 8), row(1, 128, 1), row(1, 256, 1)]
    said = [
        {"name": name, "kind": "argument", "ordered": True, "values": values, "part": values}
        for name, values in {"cores": [1, 2], "memory_mib": [128, 256], "batch_size": [1, 8]}.items()
    ]
    path = write_table(tmp_path, rows=rows, knobs=said if knobs else None)
    with pytest.raises(StoreError, match=r"half measured: 5 of its 8 configurations are missing; go on with measure-grid"):
        read_table(path)


def test_a_part_that_was_asked_for_is_whole(tmp_path):
    rows = [row(1, 128, 1), row(1, 128, 8)]
    part = {"cores": ([1, 2], [1]), "memory_mib": ([128, 256], [128]), "batch_size": ([1, 8], [1, 8])}
    knobs = [{"name": n, "kind": "argument", "ordered": True, "values": v, "part": p} for n, (v, p) in part.items()]
    assert read_table(write_table(tmp_path, rows=rows, knobs=knobs)).space.n_rows == 2


def damaged(change):
    def make(path):
        path.write_text(change(path.read_text()))

    return make


def changed_about(**new):
    def make(path):
        beside = path.with_suffix(".json")
        beside.write_text(json.dumps({k: v for k, v in {**json.loads(beside.read_text()), **new}.items() if v is not None}))

    return make


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: path.unlink(), "there is no table"),
        (lambda path: path.with_suffix(".json").unlink(), "which says what the columns of t.csv are: No such file"),
        (lambda path: path.with_suffix(".json").write_text("{"), "t.json is damaged"),
        (changed_about(version=2), "is not of a table of version 1"),
        (changed_about(knobs=None), "t.json is damaged: KeyError"),
        (changed_about(knobs=["cores", "memory_mib", "batch_size", "ghz"]), "it has no column ghz"),
        (damaged(lambda text: text[:-4]), "its last line is cut short"),
        (damaged(lambda text: text.splitlines(keepends=True)[0]), "it has no rows"),
        (damaged(lambda text: ""), "damaged"),
        (damaged(lambda text: text + text.splitlines(keepends=True)[-1]), "the same configuration"),
        (damaged(lambda text: text + "1,2\n"), "line 10 has 2 cells where the first has"),
        (damaged(lambda text: text.replace(",oom,", ",eaten,", 1)), "a failure is one of oom, timeout"),
        (damaged(lambda text: text.replace("30,0.3", "thirty,0.3", 1)), "'thirty' as its throughput, which is no number"),
        (damaged(lambda text: text.replace("30,0.3", "nan,0.3", 1)), "'nan' as its throughput, which is no number"),
    ],
)
def test_a_damaged_table_is_one_sentence(tmp_path, make, says):
    path = write_table(tmp_path)
    make(path)
    with pytest.raises(StoreError) as error:
        read_table(path)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("goal", "says"),
    [
        (Goal(minimize="power_w"), "the table t.csv has no 'power_w'; a goal can use estimated_power_w, throughput, cpu_s_per_item, cores"),
        (Goal(minimize="cores", subject_to=["latency <= 1"]), "the table t.csv has no 'latency'"),
        (Goal(minimize="cores", subject_to=["throughput >= 500"]), "; the nearest has throughput 40; ask for less with --subject-to"),
    ],
)  # fmt: skip
def test_a_goal_that_a_table_cant_be_searched_for_is_one_sentence(tmp_path, goal, says):
    table = read_table(write_table(tmp_path))
    with pytest.raises(InvalidGoal) as error:
        TableJob(table, goal)
    assert says in str(error.value)


def test_a_relative_bound_needs_the_largest_configurations_run(tmp_path):
    table = read_table(write_table(tmp_path, rows=[row(1, 128, 1), row(2, 128, 1, status="oom")]))
    with pytest.raises(InvalidGoal, match=r"its run failed \(oom\); give absolute bounds, as in --subject-to 'throughput >= 10'"):
        TableJob(table, GOAL)
    assert TableJob(table, Goal(minimize="cpu_s_per_item", subject_to=["throughput >= 10"])).optimum == 0


def test_a_table_of_failures_and_a_metric_that_a_run_lacks(tmp_path):
    with pytest.raises(InvalidGoal, match=r"every run of the table .* failed"):
        TableJob(read_table(write_table(tmp_path, rows=[row(1, 128, 1, status="oom")])), Goal(minimize="cores"))
    lacking = read_table(write_table(tmp_path, rows=[row(1, 128, 1), row(2, 128, 1, throughput="")]))
    with pytest.raises(InvalidGoal, match=r"has no throughput of \{'cores': 2"):
        TableJob(lacking, GOAL)


def test_a_table_that_may_not_be_read_is_one_sentence(tmp_path, monkeypatch):
    def denied(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "exists", denied)  # as in a folder that this user may not enter
    with pytest.raises(StoreError, match=r"can't read .*t\.json, which says what the columns of t\.csv are: Permission denied"):
        read_table(tmp_path / "t.csv")
