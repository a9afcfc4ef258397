"""Strategies beside each other, as a table and as a plot."""

import re

import pytest

from bayestuner.report.comparison import comparison_table, plot_comparison
from bayestuner.tune.comparing import Curve

CURVES = [
    Curve("bayes", 0, (None, 110.0, 100.0), (60.0, 120.0, 180.0), 1),
    Curve("bayes", 1, (130.0, 120.0, 104.0), (60.0, 120.0, 300.0), 0),
    Curve("random", 0, (None, None, None), (60.0, 120.0, 180.0), 3),
]
WHOLE = Curve("exhaustive", 0, (None, None, 120.0, 100.0), (600.0, 1200.0, 1800.0, 2400.0), 2)


def plotted(tmp_path, curves, **more):
    plot_comparison(curves, "power_w", tmp_path / "c.svg", "resnet_v2, SIMULATED", 3, **more)
    return re.findall("<!-- (.*?) -->", (tmp_path / "c.svg").read_text())


def test_a_table_may_have_any_name(tmp_path):
    plot_comparison(CURVES, "power_w", tmp_path / "c.svg", r"replay of table $\nothing{$ <b>", 3)
    assert "<b>" not in (tmp_path / "c.svg").read_text()


def test_the_table_counts_a_search_that_found_nothing_as_infinitely_bad():
    lines = comparison_table(CURVES, "power_w", 3, optimum=100.0).splitlines()
    assert "worse than the optimum" in lines[0]
    assert lines[4].split() == ["bayes", "2", "0", "(0", "to", "4)", "100", "%", "0.5", "4", "min", "00", "s"]
    assert lines[5].split()[:3] == ["random", "1", "-"]


def test_a_search_of_the_whole_space_is_what_the_others_are_held_against():
    text = comparison_table([*CURVES, WHOLE], "power_w", 3, optimum=100.0)
    assert text.splitlines()[-1] == "exhaustive: all 4 runs, 40 min 00 s, 2 failed; best found: 0 % worse than the optimum"
    assert text.splitlines()[2].endswith("search time  of all runs")
    assert text.splitlines()[4].endswith("  10 %")
    alone = comparison_table([WHOLE], "power_w", 3)
    assert alone.splitlines()[-1] == "exhaustive: all 4 runs, 40 min 00 s, 2 failed; best found: 100"


def test_the_best_of_a_maximised_objective_comes_first():
    curves = [Curve("random", seed, (best,), (1.0,), 0) for seed, best in enumerate([10.0, 30.0, 20.0, None])]
    lines = comparison_table(curves, "throughput", 1, lower=False).splitlines()
    assert "20 (30 to 10)" in lines[4]
    better = comparison_table(curves, "throughput", 1, lower=False, optimum=40.0).splitlines()
    assert "50 (25 to 75)" in better[4]


def test_the_plot_says_what_it_is_of_and_who_found_nothing(tmp_path):
    texts = plotted(tmp_path, CURVES, optimum=99.0)
    assert "resnet_v2, SIMULATED" in texts
    assert "median and quartiles of 2 searches each" in texts
    assert {"bayes", "optimum", "search time, minutes", "test runs"} <= set(texts)
    assert "random (nothing found in half of its searches)" in texts
    assert "random" not in texts


def test_the_plot_has_the_whole_space_as_a_level(tmp_path):
    texts = plotted(tmp_path, [*CURVES, WHOLE], optimum=99.0)
    assert "exhaustive: 4 runs, 40 min 00 s" in texts
    assert "optimum" not in texts
    assert "search time, minutes" in texts  # as long as the others' searches, not the whole space's


def test_a_plot_of_nothing_is_a_plot(tmp_path):
    assert "search time, seconds" in plotted(tmp_path, [Curve("random", 0, (), (), 0)])


def test_a_plot_follows_no_link(tmp_path):
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "c.svg").symlink_to("precious")
    with pytest.raises(OSError, match="is a link, no regular file"):
        plotted(tmp_path, [Curve("random", 0, (), (), 0)])
    assert (tmp_path / "precious").read_text() == "precious"
