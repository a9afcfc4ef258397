"""Which row to run next: posteriors, bounds and rows that are out, packed for the compiled scoring, spread over threads on large grids."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from bayestuner.space import Space
from bayestuner.surrogate.gp import GaussianProcess

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

# as in _core.screen; repeated so that importing this room imports no numba (a test compares them)
EXPECTED_IMPROVEMENT, LOWEST_MEAN, MOST_FEASIBLE = 0, 1, 2

INNER = (64, 512)  # wanted number of cells that share one outer part of a product grid
PER_OUTER = 48  # what an outer part costs, in cells
MIN_CHUNK = 50_000  # rows below which a thread costs more than it saves
ROWS_PER_ENTRY = 16  # listed rows a combined table of several knobs must serve for each of its entries
MAX_ENTRIES = 1024
NO_FLOOR = -1e300
NO_ROWS = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class ModelBound:
    """A bound in a model's own units: ``sign * (latent - limit) >= 0``, with `extra` variance added before Phi.

    model and limit are one for all samples of the hyperparameters, or a sequence with one for each.
    """

    model: int | Sequence[int]
    sign: float
    limit: float | Sequence[float]
    extra: float = 0.0


@dataclass(frozen=True, slots=True)
class KnobValues:
    """An objective that is a knob: its number among the knobs, and the objective's value at each of its levels."""

    knob: int
    values: FloatArray


@dataclass(frozen=True, slots=True)
class Skip:
    """Rows not to suggest, without an array over the rows.

    Attributes
    ----------
    taken : ndarray of int, (t,)
        Rows, in rising order.
    boxes : ndarray of int, (b, d, 2)
        Lowest and highest code of each knob, inclusive; all rows inside a box are out.
    closed : ndarray of bool, (sum of L,) or (0,)
        Levels of knobs, in the order of `Geometry.starts`, that are out (a bound on a knob).
    allowed : ndarray of bool, (n_rows,), optional
        `Space.allowed`, as it is.
    """

    taken: IntArray = field(default_factory=lambda: NO_ROWS)
    boxes: IntArray = field(default_factory=lambda: np.empty((0, 0, 2), dtype=np.int64))
    closed: BoolArray = field(default_factory=lambda: np.empty(0, dtype=np.bool_))
    allowed: BoolArray | None = None


@dataclass(slots=True)
class Packed:
    """Several posteriors over the same space as arrays; models with fewer observations are padded."""

    n_obs: IntArray
    codes: IntArray
    theta: FloatArray
    z_levels: FloatArray
    W: FloatArray
    beta: FloatArray
    form: IntArray
    family: IntArray

    @classmethod
    def of(cls, models: Sequence[GaussianProcess], d: int, n_levels: int) -> Packed:
        """Pack models, of which there may be none."""
        count, n = len(models), max((gp.n for gp in models), default=0)
        packed = cls(
            np.array([gp.n for gp in models], dtype=np.int64),
            np.zeros((count, n, d), dtype=np.int64),
            np.zeros((count, 2 * d + 3)),
            np.zeros((count, n_levels)),
            np.zeros((count, n, n)),
            np.zeros((count, n)),
            np.array([gp.geometry.form for gp in models], dtype=np.int64),
            np.array([gp.geometry.family for gp in models], dtype=np.int64),
        )
        for i, gp in enumerate(models):
            packed.codes[i, : gp.n] = gp.codes
            packed.theta[i] = gp.theta
            packed.z_levels[i] = gp.z_levels
            packed.W[i, : gp.n, : gp.n] = gp.W
            packed.beta[i, : gp.n] = gp.beta
        return packed


class Scorer:
    """Scores every row of a space under an acquisition and returns the best free ones.

    Parameters
    ----------
    space : Space
    starts, kinds : ndarray
        Of the space's `Geometry`.
    threads : int
        At most this many threads on large grids; the result does not depend on it.
    """

    def __init__(self, space: Space, starts: IntArray, kinds: IntArray, *, threads: int = 1) -> None:
        self.space = space
        self.starts = starts
        self.kinds = kinds
        self.threads = threads
        self.shape = np.array(space.shape, dtype=np.int64)
        self._pool: ThreadPoolExecutor | None = None
        d = len(space.knobs)
        self.table = space.table if space.table is not None else np.empty((0, d), dtype=np.int32)
        self.n_inner = inner_knobs(space.shape)
        edges = group_edges(space.shape, space.n_rows) if space.table is not None else [0]
        self._edges = np.array(edges, dtype=np.int64)
        self._groups = combine(self.table, self.shape, edges)

    def best(self, mode: int, packed: Packed, bounds: Sequence[ModelBound], skip: Skip | BoolArray, **options: Any) -> tuple[int, float]:
        """Best row and its value; (-1, -inf) where every row is skipped or worth nothing. See `top`."""
        rows, values = self.top(1, mode, packed, bounds, skip, **options)
        return int(rows[0]), float(values[0])

    def top(
        self,
        count: int,
        mode: int,
        packed: Packed,
        bounds: Sequence[ModelBound],
        skip: Skip | BoolArray,
        *,
        objective: int | Sequence[int] = -1,
        known: FloatArray | KnobValues | None = None,
        best: float | Sequence[float] = 0.0,
        log_floor: float = NO_FLOOR,
    ) -> tuple[IntArray, FloatArray]:
        """The best rows (count,) and their values (count,), best first, ties by the lowest row; -1 and -inf where there are no more.

        Parameters
        ----------
        mode : int
            EXPECTED_IMPROVEMENT, LOWEST_MEAN or MOST_FEASIBLE.
        skip : Skip, or ndarray of bool, (n_rows,)
            Rows not to return.
        objective : int, or sequence of int, (S,)
            Index of the objective's model (of each sample of the hyperparameters), or -1 where it is known without a model.
        known : KnobValues, or ndarray, (n_rows,)
            The objective where it is known.
        best : float, or sequence of float, (S,)
            What is to be improved on, in the objective model's units.
        log_floor : float
            Rows with a smaller log P(feasible) are out.
        """
        goal = _goal(bounds, objective, known, best, log_floor)

        def run(first: int, last: int) -> tuple[IntArray, FloatArray]:
            rows, values = np.full(count, -1, dtype=np.int64), np.full(count, -np.inf)
            self._score(mode, first, last, packed, skip, goal, rows, values)
            return rows, values

        found = self._spread(run)
        rows, values = (np.concatenate(part) for part in zip(*found, strict=True))
        order = np.lexsort((rows, -values))[:count]
        return rows[order], values[order]

    def posterior(self, packed: Packed) -> tuple[FloatArray, FloatArray]:
        """Mean and variance (models, n_rows) of every model at every row."""
        mean, variance = (np.empty((packed.n_obs.size, self.space.n_rows)) for _ in range(2))
        goal = _goal([], -1, None, 0.0, NO_FLOOR)

        def run(first: int, last: int) -> None:
            part = [np.empty((packed.n_obs.size, last - first)) for _ in range(2)]
            self._score(MOST_FEASIBLE, first, last, packed, Skip(), goal, NO_ROWS, np.empty(0), *part)
            mean[:, first:last], variance[:, first:last] = part

        self._spread(run)
        return mean, variance

    def _score(
        self, mode: int, first: int, last: int, packed: Packed, skip: Skip | BoolArray, goal: tuple[Any, ...],
        rows: IntArray, values: FloatArray, mean: FloatArray = np.empty((0, 0)), variance: FloatArray = np.empty((0, 0)),  # noqa: B008
    ) -> None:  # fmt: skip
        from bayestuner._core.score import score

        if not isinstance(skip, Skip):
            skip = Skip(allowed=~skip)
        allowed = skip.allowed if skip.allowed is not None else np.empty(0, dtype=np.bool_)
        arguments: tuple[Any, ...] = (
            mode, first, last, self.table, self.shape, self.starts, self.kinds, self.n_inner, self._groups, self._edges,
            allowed, skip.taken, skip.boxes, skip.closed,
            packed.n_obs, packed.codes, packed.theta, packed.z_levels, packed.W, packed.beta, packed.form, packed.family,
            *goal, rows, values, mean, variance, np.empty(0),
        )  # fmt: skip
        score(*arguments)

    def _spread(self, run: Callable[[int, int], Any]) -> list[Any]:
        """Call run(first, last) on parts of the rows, on threads where there are many rows; the results in the order of the rows."""
        n = self.space.n_rows
        parts = min(self.threads, n // MIN_CHUNK)
        if parts <= 1:
            return [run(0, n)]
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="bayestuner-score")
        edges = [n * i // parts for i in range(parts + 1)]
        return list(self._pool.map(run, edges[:-1], edges[1:]))


def _goal(
    bounds: Sequence[ModelBound],
    objective: int | Sequence[int],
    known: FloatArray | KnobValues | None,
    best: float | Sequence[float],
    log_floor: float,
) -> tuple[Any, ...]:
    """The acquisition as `_core.score` takes it, with an axis of samples."""
    given = [np.asarray(objective), np.asarray(best), *(np.asarray(v) for b in bounds for v in (b.model, b.limit))]
    samples = max(v.size for v in given)

    def every(value: Any, dtype: type) -> npt.NDArray[Any]:
        return np.broadcast_to(np.asarray(value, dtype=dtype), samples)

    index = np.array([every(b.model, np.int64) for b in bounds], dtype=np.int64).reshape(len(bounds), samples)
    limit = np.array([every(b.limit, np.float64) for b in bounds], dtype=np.float64).reshape(len(bounds), samples)
    sign, extra = (np.array([getattr(b, name) for b in bounds], dtype=np.float64) for name in ("sign", "extra"))
    rows = known if isinstance(known, np.ndarray) else np.empty(0)
    knob, levels = (known.knob, known.values) if isinstance(known, KnobValues) else (-1, np.empty(0))
    return (
        every(objective, np.int64).copy(), rows, knob, levels, every(best, np.float64).copy(),
        np.ascontiguousarray(index.T), sign, np.ascontiguousarray(limit.T), extra, log_floor,
    )  # fmt: skip


def inner_knobs(shape: Sequence[int]) -> int:
    """How many trailing knobs of a product grid to take together: whichever number costs least."""
    best = (math.inf, 1)
    inner = 1
    for count, size in enumerate(reversed(shape), start=1):
        inner *= size
        if inner > INNER[1] and count > 1:
            break
        outer = math.prod(shape) // inner
        best = min(best, (outer * (-(-inner // 32) * 32 + PER_OUTER), count))
    return best[1]


def group_edges(shape: Sequence[int], n_rows: int) -> list[int]:
    """Edges of groups of knobs whose tables are combined for listed rows: few groups, of few entries each."""
    most = min(MAX_ENTRIES, n_rows // ROWS_PER_ENTRY)
    edges, size = [0], 1
    for knob, levels in enumerate(shape):
        if knob > edges[-1] and size * levels > most:
            edges.append(knob)
            size = 1
        size *= levels
    return [*edges, len(shape)]


def combine(table: npt.NDArray[np.int32], shape: IntArray, edges: Sequence[int]) -> npt.NDArray[np.int32]:
    """Combined codes (m, groups) of listed rows (m, d), each group's last knob fastest."""
    if len(edges) - 1 == shape.size:
        return table
    out = np.zeros((table.shape[0], len(edges) - 1), dtype=np.int32)
    for g, (begin, end) in enumerate(itertools.pairwise(edges)):
        for a in range(begin, end):
            out[:, g] = out[:, g] * shape[a] + table[:, a]
    return out


def log_ndtr(z: float) -> float:
    """Log Phi of one number, without numba: for explanations."""
    if z > 0.0:
        return math.log1p(-0.5 * math.erfc(z / math.sqrt(2.0)))
    if z > -30.0:
        return math.log(0.5 * math.erfc(-z / math.sqrt(2.0)))
    return -0.5 * z * z - math.log(-z) - 0.5 * math.log(2.0 * math.pi)
