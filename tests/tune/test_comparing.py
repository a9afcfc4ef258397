"""Strategies are compared on the same searches whenever they are made, and what was made is not made again."""

import json
import math
import multiprocessing
import os
from functools import partial

import pytest

from bayestuner.errors import StoreError, WorkerLost
from bayestuner.goal import Goal
from bayestuner.report.comparison import best_after
from bayestuner.simulate.platform import SimulatedJob, small_space
from bayestuner.tune import comparing
from bayestuner.tune.comparing import CURVES, Curve, compare
from bayestuner.tune.processes import over_processes

GOAL = Goal(minimize="power_w", subject_to=["throughput >= 10"])
WHAT = {"simulated": "resnet_v2"}


class Counting:
    """Makes simulated jobs and counts their runs."""

    def __init__(self):
        self.runs = 0

    def __call__(self, seed):
        job = SimulatedJob("resnet_v2", small_space(), noise=0.01, seed=seed)
        run = job.run

        def counted(config):
            self.runs += 1
            return run(config)

        job.run = counted
        return job


def test_a_curve_holds_the_best_that_met_the_goal_after_each_run():
    runs = [
        ({"power_w": 50.0, "throughput": 5.0}, 2.0),
        ({}, 1.0),
        ({"power_w": 90.0, "throughput": 12.0}, 3.0),
        ({"power_w": 95.0, "throughput": 20.0}, 1.0),
        ({"power_w": 80.0, "throughput": 10.0}, 1.0),
    ]
    curve = Curve.of("random", 3, GOAL, runs)
    assert curve == Curve("random", 3, (None, None, 90.0, 90.0, 80.0), (2.0, 3.0, 6.0, 7.0, 8.0), 1)


def test_the_same_comparison_gives_the_same_curves_and_makes_no_run_twice(tmp_path):
    make = Counting()
    first = compare(make, ["bayes", "random"], seeds=[0, 1], budget=6, folder=tmp_path / "a", what=WHAT)
    assert make.runs == 24
    assert compare(make, ["bayes", "random"], seeds=[0, 1], budget=6, folder=tmp_path / "a", what=WHAT) == first
    assert make.runs == 24
    more = compare(make, ["bayes", "random", "annealing"], seeds=[0, 1], budget=6, folder=tmp_path / "a", what=WHAT)
    assert make.runs == 36
    assert [c for c in more if c.strategy != "annealing"] == first
    assert compare(Counting(), ["bayes", "random"], seeds=[0, 1], budget=6, folder=tmp_path / "b", what=WHAT) == first


def test_a_line_that_a_kill_cut_short_is_made_again(tmp_path):
    make = Counting()
    whole = compare(make, ["random"], seeds=[0, 1], budget=4, folder=tmp_path, what=WHAT)
    path = tmp_path / CURVES
    path.write_text(path.read_text()[:-30])
    assert compare(make, ["random"], seeds=[0, 1], budget=4, folder=tmp_path, what=WHAT) == whole
    assert make.runs == 12
    again = compare(make, ["random"], seeds=[0, 1], budget=4, folder=tmp_path, what=WHAT)
    assert (again, make.runs) == (whole, 12)


def test_a_folder_takes_curves_of_one_thing_only(tmp_path):
    compare(Counting(), ["random"], seeds=[0], budget=2, folder=tmp_path, what=WHAT)
    with pytest.raises(StoreError, match=r"holds a comparison of something else .*; name another with --out"):
        compare(Counting(), ["random"], seeds=[0], budget=2, folder=tmp_path, what={"simulated": "text_cnn"})


def test_a_strategy_that_ends_keeps_its_last():
    (curve,) = [Curve("batch_sizer", 0, (None, 7.0), (1.0, 2.0), 0)]
    assert [float(best_after([curve], n, lower=True)[0]) for n in (1, 2, 20)] == [float("inf"), 7.0, 7.0]


def test_an_exhaustive_search_runs_the_whole_space_once(tmp_path):
    make = Counting()
    curves = compare(make, ["random", "exhaustive"], seeds=[4, 5, 6], budget=3, folder=tmp_path, what=WHAT)
    assert [(c.strategy, c.seed, len(c.best)) for c in curves] == [
        ("random", 4, 3), ("exhaustive", 4, 224), ("random", 5, 3), ("random", 6, 3),
    ]  # fmt: skip
    assert make.runs == 3 * 3 + 224


@pytest.mark.slow
def test_over_processes_the_curves_are_the_same_and_kept_as_they_come(tmp_path, monkeypatch):
    job = partial(SimulatedJob, "resnet_v2", small_space(), noise=0.01)
    options = {"seeds": range(3), "budget": 6, "what": WHAT}
    alone = compare(job, ["bayes", "random"], folder=tmp_path / "one", **options)
    monkeypatch.setattr(comparing, "WORTH_PROCESSES_S", 0.0)
    told, lines = [], []

    def tell(search):
        told.append((search.k, search.n, search.kept))
        lines.append(len((tmp_path / "two" / CURVES).read_text().splitlines()))

    assert compare(job, ["bayes", "random"], folder=tmp_path / "two", parallel=2, tell=tell, **options) == alone
    assert told == [(k, 6, False) for k in range(1, 7)]
    assert lines == list(range(2, 8))
    assert multiprocessing.active_children() == []
    assert compare(job, ["bayes", "random"], folder=tmp_path / "two", parallel=2, tell=tell, **options) == alone
    assert told[6:] == [(k, 6, True) for k in range(1, 7)]


def test_where_little_is_left_to_do_no_process_is_started(tmp_path, monkeypatch):
    monkeypatch.setattr(comparing, "over_processes", None)
    job = partial(SimulatedJob, "resnet_v2", small_space())
    assert len(compare(job, ["random"], seeds=range(5), budget=3, folder=tmp_path, what=WHAT, parallel=8)) == 5


@pytest.mark.slow
def test_processes_end_with_the_first_mistake_and_at_once_when_left():
    with pytest.raises(ValueError, match="math domain error"):
        list(over_processes(math.sqrt, [1.0, -1.0], processes=2))
    assert multiprocessing.active_children() == []
    made = over_processes(math.factorial, [3, 900_000, 900_000], processes=2)
    assert next(made) == (3, 6)
    made.close()
    assert multiprocessing.active_children() == []


def test_a_process_that_is_killed_is_a_sentence():
    with pytest.raises(WorkerLost, match="ended from outside, perhaps for memory"):
        list(over_processes(os._exit, [1], processes=1))


def test_a_search_whose_reference_failed_has_found_nothing():
    goal = Goal(minimize="power_w", subject_to=["throughput >= 60%"])
    runs = [({}, 1.0), ({"power_w": 50.0, "throughput": 5.0}, 2.0)]
    assert Curve.of("random", 0, goal, runs) == Curve("random", 0, (None, None), (1.0, 3.0), 1)


@pytest.mark.parametrize("text", ["no json\n", json.dumps(WHAT) + "\n{}\n"])
def test_a_damaged_folder_is_a_sentence(tmp_path, text):
    (tmp_path / CURVES).write_text(text)
    with pytest.raises(StoreError, match=r"curves\.jsonl is damaged: .*; move it away, or name another folder with --out"):
        compare(Counting(), ["random"], seeds=[0], budget=2, folder=tmp_path, what=WHAT)


def test_a_head_that_a_kill_cut_short_is_written_again(tmp_path):
    (tmp_path / CURVES).write_text('{"simu')
    assert len(compare(Counting(), ["random"], seeds=[0], budget=2, folder=tmp_path, what=WHAT)) == 1
    assert json.loads((tmp_path / CURVES).read_text().splitlines()[0]) == WHAT


@pytest.mark.parametrize("plant", ["link", "pipe", "writable folder"])
def test_curves_are_kept_only_in_a_folder_that_nobody_else_could_have_filled(tmp_path, plant):
    (tmp_path / "precious").write_text("precious")
    folder = tmp_path / "kept"
    folder.mkdir(mode=0o700)
    match plant:
        case "link":
            (folder / CURVES).symlink_to(tmp_path / "precious")
        case "pipe":
            os.mkfifo(folder / CURVES)
        case "writable folder":
            folder.chmod(0o777)
    with pytest.raises(StoreError, match=r"can't be kept in .*--out"):
        comparing._Kept(folder, {})
    assert (tmp_path / "precious").read_text() == "precious"
