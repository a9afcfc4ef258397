"""The acquisition function, scored at every row of the grid; on several threads where the grid is large."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from bayestuner.search.engine.climbing import climb, sample
from bayestuner.search.engine.packed import NO_MIN_LOG_P, NO_ROWS, Exclusions, KnobValues, ModelBound, Packed, goal_arrays
from bayestuner.space import Space

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

__all__ = [
    "EXPECTED_IMPROVEMENT", "LOWEST_MEAN", "MOST_FEASIBLE", "NO_MIN_LOG_P", "Exclusions", "KnobValues", "ModelBound", "Packed", "Scorer",
    "log_ndtr",
]  # fmt: skip

# What is maximised. The same numbers stand in _core.screen; repeated here so that this module does not import numba (a test compares them).
EXPECTED_IMPROVEMENT, LOWEST_MEAN, MOST_FEASIBLE = 0, 1, 2

# The compiled loops split a product grid's cells into an outer part (leading knobs) and an inner part (trailing knobs).
MAX_INNER = 1024  # cells that share one outer part, at most
OUTER_COST = 48  # time to prepare one outer part, in cells scored
MIN_CHUNK = 50_000  # rows for a thread: for fewer it costs more than it saves
ROWS_PER_ENTRY = 16  # listed rows for each entry of a combined table of several knobs, at least: else filling it costs more than it saves
MAX_ENTRIES = 1024  # of a combined table
MAX_EXACT = 20_000_000  # rows of a product grid that are all scored


class Scorer:
    """Scores every row of a space and returns the best ones that are not excluded.

    Parameters
    ----------
    space : Space
    level_starts, kinds : ndarray
        Of the space's `Geometry`.
    threads : int
        At most this many threads on large grids; the result does not depend on it.

    Attributes
    ----------
    exact : bool
        False for a product grid of more than MAX_EXACT rows: `top` then looks at a sample and climbs from its best rows.
    """

    def __init__(self, space: Space, level_starts: IntArray, kinds: IntArray, *, threads: int = 1) -> None:
        self.space = space
        self.level_starts = level_starts
        self.kinds = kinds
        self.threads = threads
        self.exact = space.table is not None or space.n_rows <= MAX_EXACT
        self.shape = np.array(space.shape, dtype=np.int64)
        self._pool: ThreadPoolExecutor | None = None
        self._drawn: IntArray | None = None  # codes that every search of a grid too large to be scored whole begins with
        self._pool_pid = 0  # the process that has the pool's threads; a child that was forked from it has none
        d = len(space.knobs)
        self.table = space.table if space.table is not None else np.empty((0, d), dtype=np.int32)
        self.n_inner = inner_knobs(space.shape)
        group_starts = group_knobs(space.shape, space.n_rows) if space.table is not None else [0]
        self._group_starts = np.array(group_starts, dtype=np.int64)
        self._groups = combine(self.table, self.shape, group_starts)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pool": None}  # a copy starts threads of its own

    def best(
        self, mode: int, packed: Packed, bounds: Sequence[ModelBound], exclusions: Exclusions | BoolArray, **options: Any
    ) -> tuple[int, float]:
        """Best row and its value; (-1, -inf) where every row is excluded or worth nothing. See `top`."""
        rows, values = self.top(1, mode, packed, bounds, exclusions, **options)
        return int(rows[0]), float(values[0])

    def top(
        self,
        count: int,
        mode: int,
        packed: Packed,
        bounds: Sequence[ModelBound],
        exclusions: Exclusions | BoolArray,
        *,
        objective: int | Sequence[int] = -1,
        known: FloatArray | KnobValues | None = None,
        best: float | Sequence[float] = 0.0,
        min_log_p: float = NO_MIN_LOG_P,
        shares: FloatArray | None = None,
    ) -> tuple[IntArray, FloatArray]:
        """The best rows (count,) and their values (count,), best first, ties by the lowest row; -1 and -inf where there are no more.

        Parameters
        ----------
        mode : int
            EXPECTED_IMPROVEMENT, LOWEST_MEAN or MOST_FEASIBLE.
        exclusions : Exclusions, or ndarray of bool, (n_rows,)
            Rows not to return.
        objective : int, or sequence of int, (S,)
            Index of the objective's model (one for each sample of the hyperparameters), or -1 where it is known without a model.
        known : KnobValues, or ndarray, (n_rows,)
            The objective where it is known.
        best : float, or sequence of float, (S,)
            What is to be improved on, in the objective model's units.
        min_log_p : float
            Rows with a smaller log P(feasible) are excluded.
        shares : ndarray, (2, S), optional
            Each sample's weight, and the unit of its improvement; None weighs all the same.
        """
        if not self.exact:
            if not isinstance(exclusions, Exclusions) or isinstance(known, np.ndarray):
                raise ValueError(f"a grid of {self.space.n_rows} rows takes no arrays over its rows; give Exclusions and KnobValues")
            options = {"objective": objective, "known": known, "best": best, "min_log_p": min_log_p, "shares": shares}

            def values_at(codes: IntArray) -> FloatArray:
                return self.values(mode, packed, bounds, codes, **options)

            if self._drawn is None:
                self._drawn = sample(self.shape)
            return climb(self.shape, self.level_starts, count, values_at, packed, exclusions, self._drawn)
        goal = goal_arrays(bounds, objective, known, best, min_log_p, shares)
        excluded = exclusions if isinstance(exclusions, Exclusions) else Exclusions(allowed=~exclusions)

        def run(first: int, last: int) -> tuple[IntArray, FloatArray]:
            rows, values = np.full(count, -1, dtype=np.int64), np.full(count, -np.inf)
            self._score(mode, first, last, packed, excluded, goal, rows, values)
            return rows, values

        found = self._spread(run)
        if len(found) == 1:
            rows, values = found[0]
            return rows, values
        rows, values = (np.concatenate(part) for part in zip(*found, strict=True))
        order = np.lexsort((np.where(rows < 0, self.space.n_rows, rows), -values))[:count]
        return rows[order], values[order]

    def values(self, mode: int, packed: Packed, bounds: Sequence[ModelBound], codes: IntArray, **options: Any) -> FloatArray:
        """The acquisition (m,) at codes (m, d), excluded or not; options as for `top`, `known` as KnobValues."""
        from bayestuner._core.score import score

        d = self.shape.size
        table = np.ascontiguousarray(codes, dtype=np.int32)
        out = np.empty(table.shape[0])
        arguments: tuple[Any, ...] = (
            mode, 0, out.size, table, self.shape, self.level_starts, self.kinds, self.n_inner, table, np.arange(d + 1), *_NO_EXCLUSIONS,
            *packed.arrays, *goal_arrays(bounds, **options), NO_ROWS, np.empty(0), _NOTHING, _NOTHING, out,
        )  # fmt: skip
        score(*arguments)
        return out

    def posterior(self, packed: Packed) -> tuple[FloatArray, FloatArray]:
        """Mean and variance (models, n_rows) of every model at every row."""
        mean, variance = (np.empty((packed.n_obs.size, self.space.n_rows)) for _ in range(2))

        def run(first: int, last: int) -> None:
            part = [np.empty((packed.n_obs.size, last - first)) for _ in range(2)]
            self._score(MOST_FEASIBLE, first, last, packed, Exclusions(), goal_arrays([]), NO_ROWS, np.empty(0), *part)
            mean[:, first:last], variance[:, first:last] = part

        self._spread(run)
        return mean, variance

    def _score(
        self, mode: int, first: int, last: int, packed: Packed, exclusions: Exclusions, goal: tuple[Any, ...], rows: IntArray,
        values: FloatArray, *means_and_variances: FloatArray,
    ) -> None:  # fmt: skip
        from bayestuner._core.score import score

        allowed = exclusions.allowed if exclusions.allowed is not None else np.empty(0, dtype=np.bool_)
        arguments: tuple[Any, ...] = (
            mode, first, last, self.table, self.shape, self.level_starts, self.kinds, self.n_inner, self._groups, self._group_starts,
            allowed, exclusions.taken, exclusions.boxes, exclusions.infeasible_levels, *packed.arrays, *goal, rows, values,
            *(means_and_variances or (_NOTHING, _NOTHING)), np.empty(0),
        )  # fmt: skip
        score(*arguments)

    def _spread(self, run: Callable[[int, int], Any]) -> list[Any]:
        """Call run(first, last) on consecutive parts of the rows, on threads where there are many; results in the rows' order."""
        n = self.space.n_rows
        parts = min(self.threads, n // MIN_CHUNK)
        if parts <= 1:
            return [run(0, n)]
        if self._pool is None or self._pool_pid != os.getpid():
            self._pool, self._pool_pid = ThreadPoolExecutor(self.threads, thread_name_prefix="bayestuner-score"), os.getpid()
        boundaries = [n * i // parts for i in range(parts + 1)]
        return list(self._pool.map(run, boundaries[:-1], boundaries[1:]))


_NOTHING = np.empty((0, 0))
_NO_EXCLUSIONS = (np.empty(0, dtype=np.bool_), NO_ROWS, np.empty((0, 0, 2), dtype=np.int64), np.empty(0, dtype=np.bool_))


def inner_knobs(shape: Sequence[int]) -> int:
    """How many trailing knobs of a product grid make up the inner part of a cell: the number that costs least time."""
    best = (math.inf, 1)
    inner = 1
    for count, size in enumerate(reversed(shape), start=1):
        inner *= size
        if inner > MAX_INNER and count > 1:
            break
        outer = math.prod(shape) // inner
        best = min(best, (outer * (-(-inner // 32) * 32 + OUTER_COST), count))
    return best[1]


def group_knobs(shape: Sequence[int], n_rows: int) -> list[int]:
    """Group neighbouring knobs for listed rows, one combined table a group: as few groups as small tables allow.

    Group g holds knobs out[g] to out[g + 1] - 1.
    """
    max_size = min(MAX_ENTRIES, n_rows // ROWS_PER_ENTRY)
    group_starts, size = [0], 1
    for knob, levels in enumerate(shape):
        if knob > group_starts[-1] and size * levels > max_size:
            group_starts.append(knob)
            size = 1
        size *= levels
    return [*group_starts, len(shape)]


def combine(table: npt.NDArray[np.int32], shape: IntArray, group_starts: Sequence[int]) -> npt.NDArray[np.int32]:
    """Combined codes (m, groups) of listed rows' codes `table` (m, d): within a group the last knob varies fastest."""
    if len(group_starts) - 1 == shape.size:
        return table
    out = np.zeros((table.shape[0], len(group_starts) - 1), dtype=np.int32)
    for g, (begin, end) in enumerate(itertools.pairwise(group_starts)):
        for a in range(begin, end):
            out[:, g] = out[:, g] * shape[a] + table[:, a]
    return out


def log_ndtr(z: float) -> float:
    """Log of the standard normal distribution function at one number; in plain Python, so that explanations need no numba."""
    if z > 0.0:
        return math.log1p(-0.5 * math.erfc(z / math.sqrt(2.0)))
    if z > -30.0:
        return math.log(0.5 * math.erfc(-z / math.sqrt(2.0)))
    return -0.5 * z * z - math.log(-z) - 0.5 * math.log(2.0 * math.pi)
