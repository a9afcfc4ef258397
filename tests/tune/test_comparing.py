"""Strategies are compared on the same searches whenever they are made, and what was made is not made again."""

import json

import pytest

from bayestuner.errors import StoreError
from bayestuner.goal import Goal
from bayestuner.report.comparison import best_after, comparison_table, plot_comparison
from bayestuner.simulate.platform import SimulatedJob, small_space
from bayestuner.tune.comparing import CURVES, Curve, compare

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


CURVES_OF_TWO = [
    Curve("bayes", 0, (None, 110.0, 100.0), (60.0, 120.0, 180.0), 1),
    Curve("bayes", 1, (130.0, 120.0, 104.0), (60.0, 120.0, 300.0), 0),
    Curve("random", 0, (None, None, None), (60.0, 120.0, 180.0), 3),
]


def test_the_table_counts_a_search_that_found_nothing_as_infinitely_bad():
    lines = comparison_table(CURVES_OF_TWO, "power_w", 3, optimum=100.0).splitlines()
    assert "worse than the optimum" in lines[0]
    assert lines[4].split() == ["bayes", "2", "0", "(0", "to", "4)", "100", "%", "0.5", "4.0", "min"]
    assert lines[5].split()[:3] == ["random", "1", "-"]


def test_the_plot_is_drawn_where_something_was_found(tmp_path):
    plot_comparison(CURVES_OF_TWO, "power_w", tmp_path / "c.svg", "two searches", 3)
    text = (tmp_path / "c.svg").read_text()
    assert "<!-- bayes -->" in text
    assert "<!-- random -->" not in text  # which found nothing
    assert json.dumps("two searches")[1:-1] in text
