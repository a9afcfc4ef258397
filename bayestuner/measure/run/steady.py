"""Warm-up, steady state and confidence intervals: pure functions of time stamps and counts.

A run is a series of batch completions ``stamps_ns`` (n,) with ``items`` (n,). Where the warm-up ends is decided by the marginal standard
error rule (White, "An effective truncation heuristic for bias reduction in simulation output", Simulation 69, 1997; MSER): it drops as many
leading blocks as make the standard error of the remaining mean smallest, half of the series at most. The confidence interval comes from the
means of blocks of neighbouring batches; they are not independent, so that their number n is corrected for their lag-1 autocorrelation r,
n_eff = n (1 - r) / (1 + r).

A completion may have 0 items: a program that prints its rate says 0 while it stands still. Its time counts, and a block of nothing but such
completions has a rate of 0 and no time per item, so the series is then judged by its rates.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

MIN_BATCHES = 4
"""Fewest completions that make a window: the first one begins it, three intervals follow."""

N_BLOCKS = 20
WARMUP_BATCHES = 20
"""Batches that belong to the warm-up where a shortest warm-up is asked for, as long as they come within twice its length."""

_SHORTEST_S = 1e-9
_DRIFT_T = 3.0
"""Standard errors that a trend within a run must exceed to count as drift."""

_FAR_BELOW = 0.8
"""Share of a throughput bound below which a run misses it by far."""

_FAR_WINDOW_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its standard error and the half-width of its 95 % confidence interval; infinite where one value is all there is."""

    mean: float
    se: float
    half_width: float


@dataclass(frozen=True, slots=True)
class Window:
    """The measured part of a run, from one batch completion to another.

    Attributes
    ----------
    first, last : int
        Indices of the completions that begin and end it: batches ``first + 1 .. last`` are inside.
    start_ns, end_ns : int
        Their stamps.
    items : float
        Items inside.
    throughput : Interval
        Items per second.
    drift : float
        Change of the throughput from the beginning of the window to its end, by a straight line through it, as a share of the throughput;
        0 where it is not significant.
    """

    first: int
    last: int
    start_ns: int
    end_ns: int
    items: float
    throughput: Interval
    drift: float

    @property
    def duration_s(self) -> float:
        """Length of the window."""
        return (self.end_ns - self.start_ns) / 1e9

    @property
    def batches(self) -> int:
        """Batches inside."""
        return self.last - self.first

    @property
    def relative_error(self) -> float:
        """Half-width of the throughput's interval as a share of it."""
        return self.throughput.half_width / self.throughput.mean


def find_window(stamps_ns: Sequence[int], items: Sequence[float], first_batch: int = 0) -> Window | None:
    """Cut off the warm-up and measure what is left; None with fewer than `MIN_BATCHES` completions, no time between them or no item done.

    The first batch is always cut off: it is slower than those that follow.

    Parameters
    ----------
    stamps_ns, items : sequences, (n,)
    first_batch : int
        Index of the first completion that may begin the window, see `first_batch_after_warmup`.
    """
    window = _find_window(np.asarray(stamps_ns[first_batch:], dtype=np.int64), np.asarray(items[first_batch:], dtype=np.float64))
    if window is None or first_batch == 0:
        return window
    return replace(window, first=window.first + first_batch, last=window.last + first_batch)


def first_batch_after_warmup(stamps_ns: Sequence[int], ready_ns: int, warmup_s: float) -> int:
    """Index of the first completion after a warm-up of at least `warmup_s` and `WARMUP_BATCHES` batches; n where there is none yet.

    Where batches are so slow that `WARMUP_BATCHES` of them take more than twice `warmup_s`, the warm-up ends after that double time.
    """
    if warmup_s <= 0:
        return 0
    by_time = bisect_left(stamps_ns, ready_ns + round(warmup_s * 1e9))
    latest = bisect_left(stamps_ns, ready_ns + round(2 * warmup_s * 1e9))
    return max(by_time, min(WARMUP_BATCHES, latest))


def _find_window(stamps: IntArray, counts: FloatArray) -> Window | None:
    if stamps.size < MIN_BATCHES or stamps[-1] <= stamps[0]:
        return None
    first = warmup_cut(stamps, counts)
    last = int(stamps.size - 1)
    if stamps[last] <= stamps[first]:
        first = 0
    duration_s = float(stamps[last] - stamps[first]) / 1e9
    inside = float(counts[first + 1 :].sum())
    if inside <= 0:
        return None
    pace, rises_with_throughput = _pace(*_blocks(stamps[first:], counts[first + 1 :], N_BLOCKS))
    mean = mean_interval(pace)
    throughput = inside / duration_s
    share = mean.se / mean.mean if mean.mean > 0 else math.inf
    width = mean.half_width / mean.mean if mean.mean > 0 else math.inf
    rate = Interval(throughput, share * throughput, width * throughput)
    change = -drift(pace) if rises_with_throughput else drift(pace)
    return Window(first, last, int(stamps[first]), int(stamps[last]), inside, rate, change)


def _pace(seconds: FloatArray, items: FloatArray) -> tuple[FloatArray, bool]:
    """How fast each block went, and whether more means faster: seconds per item, or items per second where a block has no item."""
    if items.size and items.min() <= 0:
        return items / np.maximum(seconds, _SHORTEST_S), True
    return seconds / items, False


def warmup_cut(stamps_ns: IntArray, items: FloatArray) -> int:
    """Index of the completion that begins the steady part, by MSER over blocks; in the middle of the series at most."""
    y, _ = _pace(*_blocks(stamps_ns, items[1:], 2 * N_BLOCKS))
    n = y.size
    if n < 8:
        return 0
    # for every possible cut: number, sum and sum of squares of the blocks behind it, then their squared standard error
    n_left = np.arange(n, 0, -1, dtype=np.float64)
    total = np.cumsum(y[::-1])[::-1]
    squares = np.cumsum((y * y)[::-1])[::-1]
    squared_error = np.maximum(squares - total * total / n_left, 0.0) / n_left**2
    cut = int(np.argmin(squared_error[: n // 2 + 1]))
    return int(_block_boundaries(stamps_ns.size - 1, 2 * N_BLOCKS)[cut])


def _block_boundaries(n: int, n_blocks: int) -> IntArray:
    """Indices that cut n batches into at most `n_blocks` blocks of sizes as equal as possible, (blocks + 1,)."""
    blocks = min(n, n_blocks)
    return np.asarray(np.arange(blocks + 1, dtype=np.int64) * n // blocks)


def _blocks(stamps_ns: IntArray, items: FloatArray, n_blocks: int) -> tuple[FloatArray, FloatArray]:
    """Seconds and items of blocks of neighbouring batches, from n + 1 completions `stamps_ns` and the n batches between them, `items`."""
    boundaries = _block_boundaries(items.size, n_blocks)
    seconds = np.diff(stamps_ns[boundaries]).astype(np.float64) / 1e9
    return seconds, np.add.reduceat(items, boundaries[:-1])


def mean_interval(values: npt.ArrayLike) -> Interval:
    """Mean of a series of neighbouring values with a 95 % interval that allows for their autocorrelation.

    Parameters
    ----------
    values : array_like of float, (n,)
    """
    y = np.asarray(values, dtype=np.float64)
    n = y.size
    mean = float(y.mean()) if n else math.nan
    if n < 2:
        return Interval(mean, math.inf, math.inf)
    gaps = y - mean
    power = float(gaps @ gaps)
    if power <= 0.0:
        return Interval(mean, 0.0, 0.0)
    n_eff = effective_size(gaps, power)
    se = math.sqrt(power / (n - 1) / n_eff)
    # The correction is a rough guess in short series; below three degrees of freedom it would say more about itself than about them.
    return Interval(mean, se, student_t(max(n_eff - 1.0, min(n - 1.0, 3.0))) * se)


def effective_size(gaps: FloatArray, power: float) -> float:
    """How many independent values a series is worth; its lag-1 autocorrelation is corrected for the bias of short series (Kendall)."""
    n = gaps.size
    if n < 4:
        return float(n)
    r = float(gaps[1:] @ gaps[:-1]) / power
    r = min(max(r + (1.0 + 3.0 * r) / n, 0.0), 0.95)
    return max(n * (1.0 - r) / (1.0 + r), 2.0)


def student_t(df: float) -> float:
    """97.5 % quantile of Student's t, for df >= 1; within 0.5 %; by Abramowitz & Stegun 26.7.5 from 3 on, by table below."""
    if df < 2.0:
        return 12.7062 + (df - 1.0) * (4.3027 - 12.7062)
    if df < 3.0:
        return 4.3027 + (df - 2.0) * (3.1824 - 4.3027)
    z = 1.959964
    g1 = (z**3 + z) / 4
    g2 = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    g3 = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    g4 = (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160
    return z + g1 / df + g2 / df**2 + g3 / df**3 + g4 / df**4


def drift(per_item: FloatArray) -> float:
    """Change of the rate over the window by a straight line, as a share of it; 0 where it is no more than noise."""
    n = per_item.size
    if n < 8:
        return 0.0
    t = np.linspace(-0.5, 0.5, n)
    gaps = per_item - per_item.mean()
    slope = float(t @ gaps) / float(t @ t)
    rest = gaps - slope * t
    power = float(rest @ rest)
    n_eff = effective_size(rest, power) if power > 0 else float(n)
    se = math.sqrt(power / max(n_eff - 2.0, 1.0) / float(t @ t))
    return -slope / float(per_item.mean()) if abs(slope) > _DRIFT_T * se else 0.0


def is_tight(window: Window | None, *, min_seconds: float, relative_error: float) -> bool:
    """Whether a window needs no more time: it is long enough, its confidence interval narrow enough, and it drifts no more than that."""
    return (
        window is not None
        and window.duration_s >= min_seconds
        and window.relative_error <= relative_error
        and abs(window.drift) <= 2.0 * relative_error
    )


POWER_PARTS = 10
"""Fewest readings of the power that its precision is judged by."""


def power_is_tight(powers_w: FloatArray, *, relative_error: float) -> bool:
    """Whether the power needs no more time: its confidence interval is within half of `relative_error`, its drift within all of it.

    Power varies less than throughput, so that twice the precision costs little time. Too few readings to judge by are no reason to go on.

    Parameters
    ----------
    powers_w : ndarray, (k,)
        Mean power between neighbouring readings of a window.
    """
    if powers_w.size < POWER_PARTS:
        return True
    interval = mean_interval(powers_w)
    if interval.mean <= 0.0:
        return True
    return interval.half_width <= 0.5 * relative_error * interval.mean and abs(drift(powers_w)) <= relative_error


def misses_by_far(window: Window | None, min_throughput: float | None, *, min_seconds: float) -> bool:
    """Whether it is already clear, before the throughput is known precisely enough, that it misses its lower bound by far.

    It is clear where even the throughput plus twice the half-width of its interval is a fifth below the bound, a fifth of the shortest
    window and eight batches are over, and the throughput is not rising.
    """
    return (
        window is not None
        and min_throughput is not None
        and window.batches >= 8
        and window.duration_s >= _FAR_WINDOW_SHARE * min_seconds
        and window.drift <= 0.0
        and window.throughput.mean + 2.0 * window.throughput.half_width < _FAR_BELOW * min_throughput
    )


def latencies_s(stamps_ns: Sequence[int], reported_s: Sequence[float], window: Window, *, one_after_the_other: bool) -> FloatArray:
    """Latencies of the window's batches, as far as they are known.

    Those that the job reported, where it reported any. Else, of a job that works on one batch after the other, the time from each
    completion to the next. Else none: the time between two lines of output says nothing of a batch.

    Parameters
    ----------
    reported_s : sequence of float, (n,)
        nan where the job reported none.
    one_after_the_other : bool
        Whether each completion is that of one batch which began when the one before it ended.
    """
    given_s = np.asarray(reported_s[window.first + 1 : window.last + 1], dtype=np.float64)
    given_s = given_s[~np.isnan(given_s)]
    if given_s.size or not one_after_the_other:
        return given_s
    inside = np.asarray(stamps_ns[window.first : window.last + 1], dtype=np.int64)
    return np.diff(inside).astype(np.float64) / 1e9


def quantiles(values: FloatArray, *shares: float) -> list[float]:
    """Quantiles by linear interpolation."""
    found: Any = np.quantile(values, shares)
    return [float(v) for v in found]
