"""Posteriors, bounds and excluded rows, as the arrays that the compiled scoring takes (`_core.score`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from bayestuner.surrogate.gp import GaussianProcess

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

NO_MIN_LOG_P = -1e300  # below every log probability: no row is left out for its chance to be feasible
NO_ROWS = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class ModelBound:
    """A bound in a model's own units: ``sign * (value - limit) >= 0``.

    Attributes
    ----------
    model : int, or sequence of int, (S,)
        Index of the bounded metric's model among those packed; a sequence has one for each sample of the hyperparameters.
    sign : float
        1 for a lower limit, -1 for an upper one.
    limit : float, or sequence of float, (S,)
    extra_variance : float
        Added to the model's variance before the probability is taken.
    """

    model: int | Sequence[int]
    sign: float
    limit: float | Sequence[float]
    extra_variance: float = 0.0


@dataclass(frozen=True, slots=True)
class KnobValues:
    """An objective that is a knob: the knob's position, and the objective's value at each of its levels, (L,)."""

    knob: int
    values: FloatArray


@dataclass(frozen=True, slots=True)
class Exclusions:
    """Rows not to suggest, described without an array over all rows.

    Attributes
    ----------
    taken : ndarray of int, (t,)
        Rows tried or outstanding, in rising order.
    boxes : ndarray of int, (b, d, 2)
        Lowest and highest code of each knob, inclusive; every row inside a box is excluded.
    infeasible_levels : ndarray of bool, (sum of L,) or (0,)
        Levels of knobs, in the order of `Geometry.level_starts`, that violate a bound on their knob.
    allowed : ndarray of bool, (n_rows,), optional
        `Space.allowed`.
    """

    taken: IntArray = field(default_factory=lambda: NO_ROWS)
    boxes: IntArray = field(default_factory=lambda: np.empty((0, 0, 2), dtype=np.int64))
    infeasible_levels: BoolArray = field(default_factory=lambda: np.empty(0, dtype=np.bool_))
    allowed: BoolArray | None = None

    def excludes(self, rows: IntArray, codes: IntArray, level_starts: IntArray) -> BoolArray:
        """Which of the rows (m,) with codes (m, d) are excluded, (m,)."""
        excluded = np.isin(rows, self.taken)
        if self.allowed is not None:
            excluded |= ~self.allowed[rows]
        if self.infeasible_levels.size:
            excluded |= self.infeasible_levels[level_starts[:-1] + codes].any(axis=1)
        for box in self.boxes:
            excluded |= ((codes >= box[:, 0]) & (codes <= box[:, 1])).all(axis=1)
        return excluded


@dataclass(slots=True)
class Packed:
    """Several posteriors over the same space as arrays with a first axis over models; models with fewer observations are padded.

    The arrays are those of `GaussianProcess`. noise (models,) is added to a model's variance: 0 to score the smooth function, the noise
    variance to score what a run would read.
    """

    n_obs: IntArray
    codes: IntArray
    theta: FloatArray
    z_levels: FloatArray
    W: FloatArray
    beta: FloatArray
    form: IntArray
    family: IntArray
    noise: FloatArray

    @classmethod
    def of(cls, models: Sequence[GaussianProcess], d: int, n_levels: int, noise: Sequence[float] | None = None) -> Packed:
        """Pack models (there may be none) with the variance to add to each; `noise` None adds nothing."""
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
            np.zeros(count) if noise is None else np.array(noise, dtype=np.float64),
        )
        for i, gp in enumerate(models):
            packed.codes[i, : gp.n] = gp.codes
            packed.theta[i] = gp.theta
            packed.z_levels[i] = gp.z_levels
            packed.W[i, : gp.n, : gp.n] = gp.W
            packed.beta[i, : gp.n] = gp.beta
        return packed

    @property
    def arrays(self) -> tuple[npt.NDArray[Any], ...]:
        """In the order that `_core.score` takes them."""
        return self.n_obs, self.codes, self.theta, self.z_levels, self.W, self.beta, self.form, self.family, self.noise


def goal_arrays(
    bounds: Sequence[ModelBound],
    objective: int | Sequence[int] = -1,
    known: FloatArray | KnobValues | None = None,
    best: float | Sequence[float] = 0.0,
    min_log_p: float = NO_MIN_LOG_P,
    shares: FloatArray | None = None,
) -> tuple[Any, ...]:
    """The acquisition as `_core.score` takes it, with a first axis over samples of the hyperparameters; parameters as of `Scorer.top`."""
    values = [objective, best, *(v for b in bounds for v in (b.model, b.limit))]
    samples = max(1 if isinstance(v, (int, float, np.generic)) else len(v) for v in values)
    indices, bests = np.empty(samples, dtype=np.int64), np.empty(samples)
    index, limit = np.empty((samples, len(bounds)), dtype=np.int64), np.empty((samples, len(bounds)))
    indices[:], bests[:] = objective, best
    for j, bound in enumerate(bounds):
        index[:, j], limit[:, j] = bound.model, bound.limit
    sign, extra = np.array([b.sign for b in bounds], dtype=np.float64), np.array([b.extra_variance for b in bounds], dtype=np.float64)
    rows = np.ascontiguousarray(known, dtype=np.float64) if isinstance(known, np.ndarray) else np.empty(0)
    knob, levels = (known.knob, known.values) if isinstance(known, KnobValues) else (-1, np.empty(0))
    # always the same types: for other ones everything would be compiled again, in the middle of a search
    levels = np.ascontiguousarray(levels, dtype=np.float64)
    log_shares = np.zeros((2, samples)) if shares is None else np.log(shares * [[samples], [1.0]])
    return indices, rows, int(knob), levels, bests, index, sign, limit, extra, log_shares, float(min_log_p)
