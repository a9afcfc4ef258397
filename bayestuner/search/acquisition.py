"""Which row to run next: posteriors and bounds packed for the compiled scoring, spread over threads where the grid is large."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bayestuner.space import Space
from bayestuner.surrogate.gp import GaussianProcess

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

# as in _core.score; repeated so that importing this room imports no numba (a test compares them)
EXPECTED_IMPROVEMENT, LOWEST_MEAN, MOST_FEASIBLE = 0, 1, 2

MIN_INNER = 128  # cells that share one outer part; enough for the inner loops to be vectorised
MIN_CHUNK = 100_000  # rows below which a thread costs more than it saves
NO_FLOOR = -1e300


@dataclass(frozen=True, slots=True)
class ModelBound:
    """A bound in a model's own units: ``sign * (latent - limit) >= 0``, with `extra` variance added before Phi."""

    model: int
    sign: float
    limit: float
    extra: float = 0.0


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
    """Scores every row of a space under an acquisition and returns the best free one.

    Parameters
    ----------
    space : Space
    starts, kinds : ndarray
        Of the space's `Geometry`.
    threads : int
        At most this many threads on large grids.
    """

    def __init__(self, space: Space, starts: IntArray, kinds: IntArray, *, threads: int = 1) -> None:
        self.space = space
        self.starts = starts
        self.kinds = kinds
        self.threads = threads
        self.shape = np.array(space.shape, dtype=np.int64)
        self.table = space.table if space.table is not None else np.empty((0, len(space.knobs)), dtype=np.int32)
        inner, self.n_inner = 1, 0
        for size in reversed(space.shape):
            if inner >= MIN_INNER:
                break
            inner *= size
            self.n_inner += 1

    def best(
        self,
        mode: int,
        packed: Packed,
        bounds: Sequence[ModelBound],
        skip: BoolArray,
        *,
        objective: int = -1,
        known: FloatArray | None = None,
        best: float = 0.0,
        log_floor: float = NO_FLOOR,
    ) -> tuple[int, float]:
        """Best row and its value; (-1, -inf) where every row is skipped or worth nothing.

        Parameters
        ----------
        mode : int
            EXPECTED_IMPROVEMENT, LOWEST_MEAN or MOST_FEASIBLE.
        skip : ndarray of bool, (n_rows,)
        objective : int
            Index of the objective's model, or -1 with `known` (n_rows,) where it is known without a model.
        best : float
            What is to be improved on, in the objective model's units.
        log_floor : float
            Rows with a smaller log P(feasible) are out.
        """
        from bayestuner._core.score import score

        tables = _ceilings()
        model = np.array([b.model for b in bounds], dtype=np.int64)
        sign, limit, extra = (np.array([getattr(b, name) for b in bounds], dtype=np.float64) for name in ("sign", "limit", "extra"))
        known_values = known if known is not None else np.empty(0)
        if known is None and objective < 0:
            known_values = np.zeros(self.space.n_rows)

        def run(first: int, last: int) -> tuple[int, float]:
            row, value = score(
                mode, first, last,
                self.table, self.shape, self.starts, self.kinds, skip, packed.n_obs, packed.codes, packed.theta,
                packed.z_levels, packed.W, packed.beta, packed.form, packed.family, objective, known_values, best, model, sign,
                limit, extra, log_floor, self.n_inner, *tables, _NOTHING, _NOTHING,
            )  # fmt: skip
            return int(row), float(value)

        n = self.space.n_rows
        parts = min(self.threads, n // MIN_CHUNK)
        if parts <= 1:
            return run(0, n)
        edges = [n * i // parts for i in range(parts + 1)]
        with ThreadPoolExecutor(parts) as pool:
            found = list(pool.map(run, edges[:-1], edges[1:]))
        return max(found, key=lambda pair: (pair[1], -pair[0]))


_NOTHING = np.empty((0, 0))


@functools.cache
def _ceilings() -> tuple[FloatArray, FloatArray]:
    from bayestuner._core.score import ceilings

    log_h, log_ndtr = np.empty(1025), np.empty(1025)
    ceilings(log_h, log_ndtr)
    return log_h, log_ndtr


def log_ndtr(z: float) -> float:
    """Log Phi of one number, without numba: for explanations."""
    if z > 0.0:
        return math.log1p(-0.5 * math.erfc(z / math.sqrt(2.0)))
    if z > -30.0:
        return math.log(0.5 * math.erfc(-z / math.sqrt(2.0)))
    return -0.5 * z * z - math.log(-z) - 0.5 * math.log(2.0 * math.pi)
