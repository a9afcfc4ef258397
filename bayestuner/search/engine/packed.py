"""Posteriors, bounds and rows that are out, as the arrays that the compiled scoring takes."""

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

    def out(self, rows: IntArray, codes: IntArray, starts: IntArray) -> BoolArray:
        """Which of the rows (m,) with codes (m, d) are out, (m,)."""
        out = np.isin(rows, self.taken)
        if self.allowed is not None:
            out |= ~self.allowed[rows]
        if self.closed.size:
            out |= self.closed[starts[:-1] + codes].any(axis=1)
        for box in self.boxes:
            out |= ((codes >= box[:, 0]) & (codes <= box[:, 1])).all(axis=1)
        return out


@dataclass(slots=True)
class Packed:
    """Several posteriors over the same space as arrays; models with fewer observations are padded.

    noise (models,) is added to a model's variance: 0 for the latent function, the noise of a reading for a reading.
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
        """Pack models, of which there may be none, with the variance to add to each (None: 0)."""
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
        """As `_core.score` takes them."""
        return self.n_obs, self.codes, self.theta, self.z_levels, self.W, self.beta, self.form, self.family, self.noise


def goal_arrays(
    bounds: Sequence[ModelBound],
    objective: int | Sequence[int] = -1,
    known: FloatArray | KnobValues | None = None,
    best: float | Sequence[float] = 0.0,
    log_floor: float = NO_FLOOR,
) -> tuple[Any, ...]:
    """The acquisition as `_core.score` takes it, with an axis of samples; parameters as of `Scorer.top`."""
    values = [objective, best, *(v for b in bounds for v in (b.model, b.limit))]
    samples = max(1 if isinstance(v, (int, float, np.generic)) else len(v) for v in values)
    indices, bests = np.empty(samples, dtype=np.int64), np.empty(samples)
    index, limit = np.empty((samples, len(bounds)), dtype=np.int64), np.empty((samples, len(bounds)))
    indices[:], bests[:] = objective, best
    for j, bound in enumerate(bounds):
        index[:, j], limit[:, j] = bound.model, bound.limit
    sign, extra = np.array([b.sign for b in bounds], dtype=np.float64), np.array([b.extra for b in bounds], dtype=np.float64)
    rows = np.ascontiguousarray(known, dtype=np.float64) if isinstance(known, np.ndarray) else np.empty(0)
    knob, levels = (known.knob, known.values) if isinstance(known, KnobValues) else (-1, np.empty(0))
    # always of the same types: another would be compiled for anew
    levels = np.ascontiguousarray(levels, dtype=np.float64)
    return indices, rows, int(knob), levels, bests, index, sign, limit, extra, float(log_floor)
