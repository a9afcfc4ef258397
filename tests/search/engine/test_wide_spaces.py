"""Spaces with many knobs, many levels or many rows: searched in seconds, or refused in one sentence."""

import itertools

import numpy as np
import pytest

import bayestuner as bt
from bayestuner.errors import InvalidSpace
from bayestuner.search.engine import climbing, regret
from bayestuner.surrogate.metric import MAX_REFIT, REFIT_EVERY, MetricModel


def search(space, runs, seed=0):
    tuner = bt.Tuner(space, bt.Goal(minimize="p", subject_to=["t >= 0.5"]), seed=seed)
    scale = np.maximum(np.array(space.shape) - 1, 1)
    for _ in range(runs):
        trial = tuner.ask()
        x = space.codes([trial.row])[0] / scale
        tuner.tell(trial, p=1.0 + float(((x - 0.3) ** 2).mean()), t=float(x.mean()) + 0.2)
    return tuner


@pytest.mark.parametrize("knobs", [64 * [2], 20 * [1000], 7 * [1000] + [10**5, 10]])
def test_a_space_of_more_rows_than_64_bits_count_is_refused(knobs):
    with pytest.raises(InvalidSpace, match=r"more than 2\^63 configurations.*from_rows"):
        bt.Space(*(bt.Integer(f"k{i}", 1, levels) for i, levels in enumerate(knobs)))


def test_a_space_of_nearly_as_many_rows_as_64_bits_count_is_searched(monkeypatch):
    monkeypatch.setattr(climbing, "SAMPLE", 512)
    monkeypatch.setattr(climbing, "CLIMBERS", 2)
    space = bt.Space(*(bt.Integer(f"k{i}", 0, 1) for i in range(62)))
    tuner = search(space, 6)
    assert len({t.row for t in tuner.trials}) == 6
    assert space.row(space.config(space.n_rows - 1)) == space.n_rows - 1


def test_listed_rows_may_have_any_number_of_knobs():
    rng = np.random.default_rng(0)
    knobs = [bt.Integer(f"k{i}", 0, 15) for i in range(17)]
    rows = [tuple(int(v) for v in row) for row in rng.integers(0, 16, (60, 17))]
    space = bt.Space.from_rows(knobs, rows)
    tuner = search(space, 8)
    assert [space.row(t.config) for t in tuner.trials] == [t.row for t in tuner.trials]
    assert tuner.recommend(untried=True).row in range(60)


@pytest.mark.parametrize(
    "make",
    [
        lambda: bt.Integer("x", 1, 10**8),
        lambda: bt.Integer("x", -(10**30), 10**30),
        lambda: bt.Ordinal("x", range(10**8)),
        lambda: bt.Ordinal("x", itertools.count()),
        lambda: bt.Categorical("x", itertools.count()),
    ],
)
def test_a_knob_of_too_many_levels_is_refused_before_they_are_made(make):
    with pytest.raises(InvalidSpace, match="'x' has more than 100000 values"):
        make()


def test_a_where_over_too_many_rows_is_refused():
    knobs = [bt.Integer(name, 1, 10**5) for name in "ab"]
    with pytest.raises(InvalidSpace, match="would be called for each of 10000000000 configurations"):
        bt.Space(*knobs, where=lambda c: True)


def test_a_knob_of_many_levels_is_judged_on_a_sample_by_the_regret_rule(monkeypatch):
    monkeypatch.setattr(regret, "MAX_LISTED", 100)
    tuner = search(bt.Space(bt.Integer("x", 1, 30_000)), 8)
    monkeypatch.setattr("bayestuner.search.engine.remaining_gain.SAMPLE_RANDOM", 50)
    monkeypatch.setattr("bayestuner.search.engine.remaining_gain.SAMPLE_TOP", 20)
    seen, rows = tuner.remaining_gain().sampled
    assert seen < 100
    assert rows == 30_000
    assert np.isfinite(tuner.remaining_gain().regrets(16)).all()


def test_the_sample_of_a_large_grid_is_drawn_once(monkeypatch):
    drawn = []
    monkeypatch.setattr(climbing, "SAMPLE", 256)
    monkeypatch.setattr("bayestuner.search.engine.acquisition.sample", lambda shape: drawn.append(1) or climbing.sample(shape))
    search(bt.Space(*(bt.Integer(f"k{i}", 1, 10) for i in range(9))), 6)
    assert drawn == [1]


def test_a_sample_holds_each_row_once_in_the_order_of_rows():
    shape = np.array([3, 2, 4])
    codes = climbing.sample(shape)
    assert codes.tolist() == [list(c) for c in itertools.product(range(3), range(2), range(4))]


def test_the_more_is_known_the_rarer_are_fits(monkeypatch):
    fits = []
    monkeypatch.setattr(MetricModel, "_fit_as", lambda self, *arguments: fits.append(arguments[4]) or 0.0)
    geometry = bt.Tuner(bt.Space(bt.Integer("a", 1, 9)), bt.Goal(minimize="p"))._posterior.geometry
    model = MetricModel(geometry, power=1.0)
    merged = type("Merged", (), {"rows": None, "values": np.ones(1), "reps": np.ones(1)})()
    for n in range(1, 501):
        model.fit(np.zeros((n, 1), dtype=np.int64), merged, [0])
    fitted = [n for n, refit in enumerate(fits, start=1) if refit]
    assert fitted[:MAX_REFIT] == list(range(1, MAX_REFIT + 1))
    assert [n for n in fitted if 100 < n < 200] == [105, 110, 115, *range(120, 200, 2 * REFIT_EVERY)]
    assert [n for n in fitted if n > 440] == [460, 480]
