"""Warm-up cut, intervals and stop decision on series whose truth is known."""

from itertools import pairwise

import numpy as np
import pytest

from bayestuner.measure.run.steady import (
    MIN_BATCHES,
    find_window,
    first_batch_after_warmup,
    is_tight,
    latencies_s,
    mean_interval,
    misses_by_far,
    power_is_tight,
    student_t,
)


def series(seconds, items=8):
    stamps = np.concatenate([[0], np.cumsum(np.asarray(seconds) * 1e9)]).astype(np.int64) + 10**12
    return stamps, np.full(stamps.size, float(items))


def ar1(rng, n, r, sd):
    noise = rng.normal(size=n) * sd * np.sqrt(1 - r * r)
    out = np.empty(n)
    out[0] = rng.normal() * sd
    for i in range(1, n):
        out[i] = r * out[i - 1] + noise[i]
    return out


def test_a_constant_series():
    window = find_window(*series(np.full(100, 0.02)))
    assert window.throughput.mean == pytest.approx(400.0)
    assert window.relative_error < 1e-9
    assert window.drift == 0.0
    assert (window.first, window.batches) == (0, 100)
    assert window.items == 800
    assert window.duration_s == pytest.approx(2.0)


def test_too_few_batches_are_no_window():
    assert find_window(*series(np.full(MIN_BATCHES - 2, 0.1))) is None
    assert find_window(*series(np.full(MIN_BATCHES - 1, 0.1))) is not None
    assert find_window([], []) is None
    assert find_window([5] * 10, [1.0] * 10) is None


def test_one_burst_in_a_series_of_equal_stamps_is_no_crash():
    stamps = np.array([0, 0, 0, 0, 10**9, 10**9, 10**9, 10**9])
    window = find_window(stamps, np.ones(8))
    assert np.isfinite(window.throughput.mean)


def test_the_warm_up_is_cut_off():
    rng = np.random.default_rng(1)
    seconds = np.concatenate([np.full(15, 0.05), 0.02 + rng.normal(size=185) * 0.0004])
    window = find_window(*series(seconds))
    assert 13 <= window.first <= 30
    assert window.throughput.mean == pytest.approx(400.0, rel=0.01)
    assert window.drift == 0.0


def test_a_drifting_series_is_seen():
    rng = np.random.default_rng(2)
    seconds = 0.02 * np.linspace(1.0, 1.3, 300) + rng.normal(size=300) * 0.0002
    window = find_window(*series(seconds))
    assert window.drift < -0.05  # it gets slower
    assert not is_tight(window, min_seconds=1.0, relative_error=0.02)


def test_tight_needs_time_and_a_narrow_interval():
    rng = np.random.default_rng(3)
    window = find_window(*series(0.02 * (1 + 0.05 * rng.normal(size=200))))
    assert is_tight(window, min_seconds=1.0, relative_error=0.02)
    assert not is_tight(window, min_seconds=10.0, relative_error=0.02)
    assert not is_tight(window, min_seconds=1.0, relative_error=0.0005)
    assert not is_tight(None, min_seconds=1.0, relative_error=0.02)


@pytest.mark.parametrize(("r", "lowest"), [(0.0, 0.93), (0.4, 0.90), (0.7, 0.85)])
def test_the_interval_covers_the_truth(r, lowest):
    """95 % by name; the short series and the estimated autocorrelation cost a few percent."""
    rng = np.random.default_rng(4)
    inside = 0
    for _ in range(600):
        interval = mean_interval(10.0 + ar1(rng, 40, r, 1.0))
        inside += abs(interval.mean - 10.0) <= interval.half_width
    assert inside / 600 >= lowest


def test_windows_of_correlated_batches_cover_the_truth():
    """End to end: AR(1) batch times, warm-up cut included; without the correction this covers about 0.6."""
    rng = np.random.default_rng(5)
    inside = 0
    for _ in range(300):
        seconds = 0.02 * (1 + ar1(rng, 400, 0.7, 0.05))
        window = find_window(*series(seconds))
        inside += abs(window.throughput.mean - 400.0) <= window.throughput.half_width
    assert inside / 300 >= 0.87


def test_student_t_against_published_values():
    published = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 10: 2.228, 19: 2.093, 30: 2.042, 1000: 1.962}
    for df, t in published.items():
        assert student_t(df) == pytest.approx(t, rel=0.005)
    values = [student_t(df) for df in np.linspace(1, 50, 500)]
    assert all(a >= b for a, b in pairwise(values))


def test_short_series_say_that_they_know_nothing():
    assert mean_interval([3.0]).half_width == np.inf
    assert mean_interval([3.0, 3.0]).half_width == 0.0


def test_latencies_are_those_inside_the_window():
    seconds = np.array([0.5] * 3 + [0.1] * 40)
    stamps, items = series(seconds)
    window = find_window(stamps, items)
    latencies = latencies_s(stamps, np.full(len(stamps), np.nan), window, one_after_the_other=True)
    assert latencies.size == window.batches
    assert latencies.max() == pytest.approx(0.1)


def test_no_latency_is_made_of_intervals_that_are_not_a_batch_each():
    stamps, items = series(np.full(43, 0.1))
    window = find_window(stamps, items)
    unknown = np.full(len(stamps), np.nan)
    assert latencies_s(stamps, unknown, window, one_after_the_other=False).size == 0
    reported = np.where(np.arange(len(stamps)) % 2, 0.25, np.nan)
    for one_after_the_other in (False, True):
        assert set(latencies_s(stamps, reported, window, one_after_the_other=one_after_the_other)) == {0.25}


def test_completions_of_no_item_count_as_time():
    stamps, _ = series(np.full(100, 0.1))
    some = np.where(np.arange(101) % 10 == 5, 0.0, 10.0)
    window = find_window(stamps, some)
    assert window.throughput.mean == pytest.approx(90.0, rel=0.02)
    assert np.isfinite(window.relative_error)
    stalls = np.where((np.arange(101) // 20) % 2 == 1, 0.0, 10.0)
    window = find_window(stamps, stalls)
    assert window.throughput.mean == pytest.approx(window.items / window.duration_s)
    assert 0 < window.relative_error < np.inf
    assert find_window(stamps, np.zeros(101)) is None


def test_a_rate_that_falls_to_nothing_drifts_downwards():
    stamps, _ = series(np.full(200, 0.1))
    falling = np.linspace(20.0, 0.0, 201)
    falling[-6:] = 0.0
    assert find_window(stamps, falling).drift < 0
    assert find_window(stamps, falling[::-1]).drift > 0


def test_the_warm_up_has_a_least_length():
    stamps, items = series(np.full(400, 0.01))
    ready = int(stamps[0])
    assert first_batch_after_warmup(stamps, ready, 0.0) == 0
    first = first_batch_after_warmup(stamps, ready, 1.0)
    assert first == 100
    window = find_window(stamps, items, first)
    assert window.start_ns >= ready + 10**9
    assert (window.first, window.last) == (100, 400)
    assert window.throughput.mean == pytest.approx(800.0)
    assert first_batch_after_warmup(stamps, ready, 9.0) == stamps.size
    assert find_window(stamps, items, stamps.size) is None


def test_the_first_batches_are_warm_up_unless_they_are_slow():
    stamps, _ = series(np.full(100, 0.05))
    assert first_batch_after_warmup(stamps, int(stamps[0]), 0.5) == 20  # 10 by time alone
    slow, _ = series(np.full(100, 0.2))
    assert first_batch_after_warmup(slow, int(slow[0]), 0.5) == 5  # 20 would take 4 s


def test_a_bound_missed_by_far_is_seen_early_and_nothing_else_is():
    rng = np.random.default_rng(6)
    stamps, items = series(0.02 * (1 + 0.1 * rng.normal(size=60)))  # 1.2 s at 400 a second
    window = find_window(stamps, items)
    assert not is_tight(window, min_seconds=5.0, relative_error=0.02)
    assert misses_by_far(window, 800.0, min_seconds=5.0)
    assert not misses_by_far(window, 410.0, min_seconds=5.0)  # missed, but not by far
    assert not misses_by_far(window, 300.0, min_seconds=5.0)
    assert not misses_by_far(window, None, min_seconds=5.0)
    assert not misses_by_far(window, 800.0, min_seconds=10.0)  # too early
    assert not misses_by_far(None, 800.0, min_seconds=5.0)


def test_a_rising_throughput_is_not_given_up():
    rng = np.random.default_rng(7)
    window = find_window(*series(0.02 * np.linspace(3.0, 1.0, 100) * (1 + 0.01 * rng.normal(size=100))))
    assert window.drift > 0
    assert not misses_by_far(window, 800.0, min_seconds=1.0)


def test_power_needs_a_narrow_interval_and_no_drift():
    rng = np.random.default_rng(8)
    even = 80.0 + rng.normal(size=50)
    assert power_is_tight(even, relative_error=0.02)
    assert not power_is_tight(80.0 + 20.0 * rng.normal(size=50), relative_error=0.02)
    assert not power_is_tight(even * np.linspace(1.0, 1.05, 50), relative_error=0.02)  # it warms up
    assert power_is_tight(even[:5] * 3.0, relative_error=0.02)  # too few to tell
    assert power_is_tight(np.zeros(50), relative_error=0.02)
