"""Posterior and grid scoring: against the oracle, and grid, listed rows and brute force against each other."""

import math

import numpy as np
import pytest
import reference
from core.problems import FORMS, SPACE, Problem
from scipy.stats import norm

from bayestuner import _core
from bayestuner._core import covariance, screen
from bayestuner._core.score import score
from bayestuner.search.engine import acquisition, climbing
from bayestuner.search.engine.acquisition import (
    EXPECTED_IMPROVEMENT,
    LOWEST_MEAN,
    MOST_FEASIBLE,
    Exclusions,
    KnobValues,
    ModelBound,
    Packed,
    Scorer,
)
from bayestuner.search.engine.hints import Hints
from bayestuner.space import Categorical, Integer, Ordinal, Space
from bayestuner.surrogate import covariance as surrogate_covariance
from bayestuner.surrogate.gp import GaussianProcess


def conditioned(p):
    gp = GaussianProcess(p.geometry, theta=p.theta)
    gp.fit(p.codes, p.y, p.reps, p.known_noise)
    return gp


@pytest.mark.parametrize(("form", "family"), FORMS)
def test_prediction_equals_the_oracle(form, family):
    p = Problem(11, 4, form, family)
    gp = conditioned(p)
    new = np.arange(0, SPACE.n_rows, 7)
    mean, variance = gp.predict(SPACE.codes(new))
    expected = reference.posterior(p.points(p.rows), p.y, p.noise + gp.jitter, p.points(new), **p.oracle)
    np.testing.assert_allclose(mean, expected[0], rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(variance, expected[1], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(("form", "family"), FORMS)
@pytest.mark.parametrize("listed", [False, True])
def test_grid_means_and_variances_equal_predict(form, family, listed):
    gps = [conditioned(Problem(9, 1, form, family)), conditioned(Problem(6, 2, form, family))]
    g = gps[0].geometry
    packed = Packed.of(gps, g.d, g.levels.size)
    every = np.arange(SPACE.n_rows)
    space = Space.from_rows(SPACE.knobs, list(SPACE)) if listed else SPACE
    for split in (1, 2, 3, 4):
        scorer = Scorer(space, g.level_starts, g.kinds)
        scorer.n_inner = split
        if listed:
            group_starts = [0, split, 4] if split < 4 else [0, 4]
            scorer._group_starts, scorer._groups = np.array(group_starts), acquisition.combine(space.table, g.shape, group_starts)
        mean, variance = scorer.posterior(packed)
        for m, gp in enumerate(gps):
            expected = gp.predict(SPACE.codes(every))
            np.testing.assert_allclose(mean[m], expected[0], rtol=1e-8, atol=1e-9)
            np.testing.assert_allclose(variance[m], expected[1], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("form", ["product", "ard"])
@pytest.mark.parametrize("listed", [False, True])
def test_noise_is_added_to_the_variance_at_every_row(form, listed):
    space = Space.from_rows(SPACE.knobs, list(SPACE)) if listed else SPACE
    scorer, packed, gps = scored(space, form=form)
    mean, variance = scorer.posterior(packed)
    noisy_mean, noisy_variance = scorer.posterior(Packed.of(gps, 4, gps[0].geometry.levels.size, [0.25, 0.5]))
    np.testing.assert_array_equal(noisy_mean, mean)
    np.testing.assert_array_equal(noisy_variance, variance + np.array([[0.25], [0.5]]))


def brute_force(gps, bounds, exclusions, best, mode, floor=-math.inf, noise=(0.0, 0.0)):
    every = SPACE.codes(np.arange(SPACE.n_rows))
    moments = [(mean, variance + extra) for (mean, variance), extra in zip((gp.predict(every) for gp in gps), noise, strict=True)]
    log_p = np.zeros(SPACE.n_rows)
    for b in bounds:
        mean, variance = moments[b.model]
        log_p += norm.logcdf(b.sign * (mean - b.limit) / np.sqrt(variance + b.extra_variance))
    mean, std = moments[0][0], np.sqrt(moments[0][1])
    u = (best - mean) / std
    with np.errstate(divide="ignore"):
        value = {
            EXPECTED_IMPROVEMENT: np.log(std * (u * norm.cdf(u) + norm.pdf(u))) + log_p,
            LOWEST_MEAN: -mean,
            MOST_FEASIBLE: log_p,
        }[mode]
    value = np.where((log_p < floor) | exclusions, -np.inf, value)
    return int(np.argmax(value)), float(value.max())


@pytest.mark.parametrize("mode", [EXPECTED_IMPROVEMENT, LOWEST_MEAN, MOST_FEASIBLE])
@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("noise", [(0.0, 0.0), (0.7, 0.3)])
def test_argmax_equals_brute_force(mode, listed, seed, noise):
    rng = np.random.default_rng(seed)
    gps = [conditioned(Problem(9, seed)), conditioned(Problem(9, seed + 50))]
    space = Space.from_rows(SPACE.knobs, list(SPACE)) if listed else SPACE
    exclusions = rng.random(SPACE.n_rows) < 0.3
    bounds = [ModelBound(1, 1.0, 0.2), ModelBound(1, -1.0, 1.5), ModelBound(0, -1.0, 2.0, 0.1)]
    floor = math.log(0.05) if mode == LOWEST_MEAN else -1e300
    scorer = Scorer(space, gps[0].geometry.level_starts, gps[0].geometry.kinds)
    packed = Packed.of(gps, SPACE and len(SPACE.knobs), gps[0].geometry.levels.size, noise)
    row, value = scorer.best(mode, packed, bounds, exclusions, objective=0, best=-0.3, min_log_p=floor)
    expected = brute_force(gps, bounds, exclusions, -0.3, mode, floor, noise)
    assert row == expected[0]
    assert value == pytest.approx(expected[1], rel=1e-6)


def test_ties_go_to_the_lowest_row_and_threads_agree(monkeypatch):
    monkeypatch.setattr(acquisition, "MIN_CHUNK", 10)
    gp = conditioned(Problem(3, 0))
    packed = Packed.of([gp], 4, gp.geometry.levels.size)
    exclusions = np.zeros(SPACE.n_rows, dtype=bool)
    exclusions[:17] = True
    for threads in (1, 4):
        scorer = Scorer(SPACE, gp.geometry.level_starts, gp.geometry.kinds, threads=threads)
        assert scorer.best(MOST_FEASIBLE, packed, [], exclusions) == (17, 0.0)


def scored(space, n=9, seed=3, form="product", threads=1):
    gps = [conditioned(Problem(n, seed, form)), conditioned(Problem(n, seed + 50, form))]
    g = gps[0].geometry
    return Scorer(space, g.level_starts, g.kinds, threads=threads), Packed.of(gps, g.d, g.levels.size), gps


@pytest.mark.parametrize("form", ["product", "ard"])
@pytest.mark.parametrize("listed", [False, True])
def test_a_value_has_the_same_bits_in_any_tile_and_on_any_number_of_threads(monkeypatch, form, listed):
    monkeypatch.setattr(acquisition, "MIN_CHUNK", 20)
    space = Space.from_rows(SPACE.knobs, list(SPACE)) if listed else SPACE
    bounds, found = [ModelBound(1, 1.0, 0.2)], []
    for threads in (1, 3, 7):
        scorer, packed, _ = scored(space, form=form, threads=threads)
        found.append(scorer.top(SPACE.n_rows, EXPECTED_IMPROVEMENT, packed, bounds, Exclusions(), objective=0, best=-0.3))
    for rows, values in found[1:]:
        np.testing.assert_array_equal(rows, found[0][0])
        np.testing.assert_array_equal(values, found[0][1])


@pytest.mark.compiled
def test_every_way_to_score_runs_the_same_compiled_code():
    """A second specialisation would cost seconds in the middle of a search."""
    mask = np.zeros(SPACE.n_rows, dtype=bool)
    masked = Space(*SPACE.knobs, where=lambda c: c["cores"] > 1)
    for space in (SPACE, Space.from_rows(SPACE.knobs, list(SPACE)), masked):
        scorer, packed, _ = scored(space)
        none = Packed.of([], packed.codes.shape[2], packed.z_levels.shape[1])
        scorer.best(MOST_FEASIBLE, none, [], Exclusions(allowed=space.allowed))
        scorer.best(LOWEST_MEAN, packed, [], mask, objective=0)
        scorer.top(
            3, EXPECTED_IMPROVEMENT, packed, [ModelBound([0, 1], 1.0, 0.2)], Exclusions(taken=np.array([3])), objective=[0, 1], best=1
        )
        scorer.best(EXPECTED_IMPROVEMENT, packed, [], Exclusions(), known=KnobValues(0, np.arange(9.0)), best=4.0, min_log_p=-1)
        scorer.values(MOST_FEASIBLE, packed, [], SPACE.codes([1, 2]))
        scorer.posterior(packed)
    assert len(score.signatures) == 1


def test_the_pool_of_threads_is_made_once(monkeypatch):
    monkeypatch.setattr(acquisition, "MIN_CHUNK", 20)
    scorer, packed, _ = scored(SPACE, threads=2)
    scorer.best(MOST_FEASIBLE, packed, [], Exclusions())
    pool = scorer._pool
    scorer.best(MOST_FEASIBLE, packed, [], Exclusions())
    assert scorer._pool is pool is not None
    assert len(pool._threads) <= 2


def test_the_best_rows_come_in_order():
    scorer, packed, _ = scored(SPACE)
    bounds = [ModelBound(1, 1.0, 0.2)]
    every = scorer.values(EXPECTED_IMPROVEMENT, packed, bounds, SPACE.codes(np.arange(SPACE.n_rows)), objective=0, best=-0.3)
    for count in (1, 7, SPACE.n_rows + 5):
        rows, values = scorer.top(count, EXPECTED_IMPROVEMENT, packed, bounds, Exclusions(), objective=0, best=-0.3)
        expected = np.argsort(-every, kind="stable")[:count]
        np.testing.assert_array_equal(rows[: expected.size], expected)
        np.testing.assert_allclose(values[: expected.size], every[expected], rtol=1e-9)
        assert (rows[expected.size :] == -1).all()
        assert (values[expected.size :] == -np.inf).all()


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("mode", [EXPECTED_IMPROVEMENT, LOWEST_MEAN, MOST_FEASIBLE])
@pytest.mark.parametrize("seed", range(4))
def test_a_compact_skip_equals_the_mask_it_describes(listed, mode, seed):
    rng = np.random.default_rng(seed)
    space = Space.from_rows(SPACE.knobs, list(SPACE)) if listed else SPACE
    scorer, packed, gps = scored(space, seed=seed)
    every = np.arange(SPACE.n_rows)
    codes = SPACE.codes(every)
    low = np.array([rng.integers(0, size, 3) for size in SPACE.shape]).T
    high = np.minimum(low + rng.integers(0, 4, low.shape), np.array(SPACE.shape) - 1)
    exclusions = Exclusions(
        taken=np.sort(rng.choice(SPACE.n_rows, 30, replace=False)),
        boxes=np.ascontiguousarray(np.stack([low, high], axis=-1)),
        infeasible_levels=rng.random(gps[0].geometry.levels.size) < 0.15,
        allowed=rng.random(SPACE.n_rows) < 0.8,
    )
    mask = ~exclusions.allowed
    mask[exclusions.taken] = True
    for row, code in enumerate(codes):
        mask[row] |= any(all(lo <= c <= hi for c, (lo, hi) in zip(code, box, strict=True)) for box in exclusions.boxes)
        mask[row] |= any(exclusions.infeasible_levels[scorer.level_starts[d] + c] for d, c in enumerate(code))
    assert 10 < mask.sum() < mask.size - 10
    np.testing.assert_array_equal(exclusions.excludes(every, codes, scorer.level_starts), mask)
    options = {"objective": 0, "best": -0.3}
    bounds = [ModelBound(1, 1.0, 0.2)]
    found = scorer.top(40, mode, packed, bounds, exclusions, **options)
    expected = scorer.top(40, mode, packed, bounds, mask, **options)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


def test_hinted_boxes_hold_what_the_hints_exclude():
    space = Space(Integer("memory", 1, 6, more_is="safer"), Ordinal("batch", [1, 2, 4, 8], more_is="riskier"), Categorical("p", ["a", "b"]))
    hints = Hints(space)
    assert hints.boxes().shape == (0, 3, 2)
    for row in (space.row({"memory": 2, "batch": 4, "p": "a"}), space.row({"memory": 4, "batch": 8, "p": "b"})):
        hints.failed(row)
    every = np.arange(space.n_rows)
    out = Exclusions(boxes=hints.boxes()).excludes(every, space.codes(every), np.array([0, 6, 10, 12]))
    configs = [space.config(int(row)) for row in every]
    expected = [
        (c["p"] == "a" and c["memory"] <= 2 and c["batch"] >= 4) or (c["p"] == "b" and c["memory"] <= 4 and c["batch"] >= 8)
        for c in configs
    ]
    np.testing.assert_array_equal(out, expected)
    assert 0 < out.sum() < out.size


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("knob", [0, 1, 3])
@pytest.mark.parametrize("mode", [EXPECTED_IMPROVEMENT, LOWEST_MEAN])
def test_a_knob_as_objective_equals_its_values_at_every_row(listed, knob, mode):
    space = Space.from_rows(SPACE.knobs, list(SPACE)) if listed else SPACE
    scorer, packed, _ = scored(space)
    values = np.random.default_rng(0).standard_normal(SPACE.shape[knob])
    bounds = [ModelBound(1, 1.0, 0.2)]
    rows = values[SPACE.codes(np.arange(SPACE.n_rows))[:, knob]]
    by_knob = scorer.top(50, mode, packed, bounds, Exclusions(), known=KnobValues(knob, values), best=0.5)
    by_row = scorer.top(50, mode, packed, bounds, Exclusions(), known=rows, best=0.5)
    np.testing.assert_array_equal(by_knob[0], by_row[0])
    np.testing.assert_array_equal(by_knob[1], by_row[1])


@pytest.mark.parametrize("mode", [EXPECTED_IMPROVEMENT, LOWEST_MEAN, MOST_FEASIBLE])
def test_samples_of_the_hyperparameters_equal_their_mean_by_brute_force(mode):
    samples, best = 3, [-0.4, -0.1, 0.2]
    gps = [conditioned(Problem(9, seed)) for seed in range(2 * samples)]
    g = gps[0].geometry
    scorer, packed = Scorer(SPACE, g.level_starts, g.kinds), Packed.of(gps, g.d, g.levels.size)
    every = SPACE.codes(np.arange(SPACE.n_rows))
    log_p, gain, means = [], [], []
    for s in range(samples):
        (mean, variance), (m, v) = gps[2 * s].predict(every), gps[2 * s + 1].predict(every)
        std = np.sqrt(variance)
        u = (best[s] - mean) / std
        log_p.append(norm.logcdf((m - 0.1 * s) / np.sqrt(v)))
        gain.append(std * (u * norm.cdf(u) + norm.pdf(u)))
        means.append(mean)
    p = np.exp(log_p)
    with np.errstate(divide="ignore"):
        value = {
            EXPECTED_IMPROVEMENT: np.log((np.array(gain) * p).mean(axis=0)),
            LOWEST_MEAN: np.where(p.mean(axis=0) >= 0.3, -np.mean(means, axis=0), -np.inf),
            MOST_FEASIBLE: np.log(p.mean(axis=0)),
        }[mode]
    bound = ModelBound([1, 3, 5], 1.0, [0.0, 0.1, 0.2])
    floor = math.log(0.3) if mode == LOWEST_MEAN else -1e300
    row, found = scorer.best(mode, packed, [bound], Exclusions(), objective=[0, 2, 4], best=best, min_log_p=floor)
    assert row == int(np.argmax(value))
    assert found == pytest.approx(value.max(), rel=1e-6)


def test_a_safe_search_takes_the_best_of_the_rows_likely_to_be_feasible():
    scorer, packed, gps = scored(SPACE, seed=4)
    bounds = [ModelBound(1, 1.0, 0.2)]
    every = SPACE.codes(np.arange(SPACE.n_rows))
    value = scorer.values(EXPECTED_IMPROVEMENT, packed, bounds, every, objective=0, best=0.3)
    mean, variance = gps[1].predict(every)
    log_p = norm.logcdf((mean - 0.2) / np.sqrt(variance))
    floor = (log_p[np.argmax(value)] + log_p.max()) / 2
    expected = np.where(log_p >= floor, value, -np.inf)
    assert np.argmax(expected) != np.argmax(value)
    row, _ = scorer.best(EXPECTED_IMPROVEMENT, packed, bounds, Exclusions(), objective=0, best=0.3, min_log_p=floor)
    assert row == int(np.argmax(expected))


@pytest.mark.parametrize("mode", [EXPECTED_IMPROVEMENT, LOWEST_MEAN, MOST_FEASIBLE])
@pytest.mark.parametrize("seed", range(3))
def test_climbing_finds_the_best_row_of_a_small_grid(monkeypatch, mode, seed):
    scorer, packed, _ = scored(SPACE, seed=seed)
    exclusions = Exclusions(taken=np.arange(0, SPACE.n_rows, 3))
    bounds = [ModelBound(1, 1.0, 0.2)]
    expected = scorer.best(mode, packed, bounds, exclusions, objective=0, best=-0.3)
    monkeypatch.setattr(climbing, "SAMPLE", 40)
    assert scorer.exact
    scorer.exact = False
    row, value = scorer.best(mode, packed, bounds, exclusions, objective=0, best=-0.3)
    assert row == expected[0]
    assert value == pytest.approx(expected[1], rel=1e-9)
    with pytest.raises(ValueError, match="Exclusions"):
        scorer.best(mode, packed, bounds, np.zeros(SPACE.n_rows, bool), objective=0)


@pytest.mark.compiled
def test_a_grid_of_a_thousand_million_rows_takes_no_array_over_them():
    space = Space(*(Integer(f"k{i}", 1, 64) for i in range(5)))
    g = surrogate_covariance.Geometry.of(space)
    scorer = Scorer(space, g.level_starts, g.kinds)
    assert not scorer.exact
    gp = GaussianProcess(g, theta=np.concatenate([np.full(5, np.log(0.5)), [0.0, -6.0, -1.0], np.full(5, 1.0)]))
    codes = np.random.default_rng(0).integers(0, 64, (20, 5))
    gp.fit(codes, ((codes / 63 - 0.3) ** 2).sum(axis=1), np.ones(20), np.zeros(20))
    packed = Packed.of([gp], 5, g.levels.size)
    row, value = scorer.best(LOWEST_MEAN, packed, [], Exclusions(), objective=0)
    better = [m for move in climbing.moves(scorer.shape) for m in [space.codes([row])[0] + move] if ((m >= 0) & (m < 64)).all()]
    assert (gp.predict(np.array(better))[0] >= -value).all()
    again, _ = scorer.best(LOWEST_MEAN, packed, [], Exclusions(taken=np.array([row])), objective=0)
    assert again not in (row, -1)


def test_everything_skipped_gives_no_row():
    gp = conditioned(Problem(3, 0))
    scorer = Scorer(SPACE, gp.geometry.level_starts, gp.geometry.kinds)
    found = scorer.best(EXPECTED_IMPROVEMENT, Packed.of([gp], 4, gp.geometry.levels.size), [], np.ones(SPACE.n_rows, bool), objective=0)
    assert found == (-1, -math.inf)


def test_a_known_objective_needs_no_model():
    gp = conditioned(Problem(8, 0))
    known = np.arange(SPACE.n_rows, dtype=float)[::-1].copy()
    scorer = Scorer(SPACE, gp.geometry.level_starts, gp.geometry.kinds)
    packed = Packed.of([gp], 4, gp.geometry.levels.size)
    row, value = scorer.best(EXPECTED_IMPROVEMENT, packed, [], np.zeros(SPACE.n_rows, bool), known=known, best=10.0)
    assert (row, value) == (SPACE.n_rows - 1, pytest.approx(math.log(10.0)))


@pytest.mark.parametrize(("form", "family"), FORMS)
def test_extending_one_by_one_equals_conditioning_once(form, family):
    p = Problem(20, 7, form, family)
    noise = p.noise
    whole = conditioned(p)
    part = GaussianProcess(p.geometry, theta=p.theta)
    part.fit(p.codes[:2], p.y[:2], p.reps[:2], p.known_noise[:2])
    for i in range(2, 20):
        assert part.extend(p.codes[i], p.y[i], noise[i])
    every = SPACE.codes(np.arange(SPACE.n_rows))
    for a, b in zip(part.predict(every), whole.predict(every), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-8)


def test_extending_by_a_duplicate_without_noise_changes_nothing_or_stays_finite():
    p = Problem(5, 1)
    gp = conditioned(p)
    gp.extend(p.codes[0], 0.0, 0.0)
    mean, variance = gp.predict(p.codes)
    assert np.isfinite(mean).all()
    assert (variance >= 0).all()


def test_constants_repeated_outside_core_are_the_same():
    assert surrogate_covariance.FAMILIES == {"matern52": covariance.MATERN52, "matern32": covariance.MATERN32, "rbf": covariance.RBF}
    assert surrogate_covariance.FORMS == {"product": covariance.PRODUCT, "ard": covariance.ARD}
    for name in ("FIXED", "WARPED", "CATEGORICAL"):
        assert getattr(surrogate_covariance, name) == getattr(covariance, name)
    for name in ("EXPECTED_IMPROVEMENT", "LOWEST_MEAN", "MOST_FEASIBLE"):
        assert getattr(acquisition, name) == getattr(screen, name)
    assert _core.__doc__
