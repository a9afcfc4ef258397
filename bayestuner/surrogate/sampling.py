"""Exact joint samples of a posterior: over a whole product grid at once, or at listed rows."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from bayestuner.errors import BayesTunerError
from bayestuner.space import Space
from bayestuner.surrogate.covariance import FORMS
from bayestuner.surrogate.gp import GaussianProcess

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

MAX_CELLS = 2_000_000  # of a product grid that is sampled as a whole: 16 MB a sample
MAX_DENSE = 4096  # rows whose covariance matrix is factored: 128 MB
CHUNK = 4_000_000  # cells sampled at a time where only some of them are kept
BLOCK = 1 << 15  # normal numbers drawn at a time, few enough to stay in the cache
MIN_JITTER, MAX_JITTER = 1e-10, 1e-4


def joint_samples(gp: GaussianProcess, space: Space, count: int, rng: np.random.Generator, rows: npt.ArrayLike | None = None) -> FloatArray:
    """Draw joint samples of the smooth function, without the rows' own deviations and without noise.

    A process of the product form is sampled over the whole product grid (a Kronecker sample of the prior, and Matheron's rule). Where that
    grid is too large or costs more than the wanted rows, and in the ard form, the covariance matrix of the rows is factored.

    Parameters
    ----------
    gp : GaussianProcess
        Conditioned on at least one observation, over the knobs of `space`.
    space : Space
    count : int
        Number of samples.
    rng : Generator
    rows : array_like of int, (m,), optional
        Rows of the space; None takes all, forbidden ones included.

    Returns
    -------
    ndarray, (count, m)
        In the process's standardised units.

    Raises
    ------
    BayesTunerError
        More than 4096 rows are wanted where they can't be sampled as a product grid.

    References
    ----------
    Wilson, Borovitskiy, Terenin, Mostowsky, Deisenroth (2020), Efficiently sampling functions from Gaussian process posteriors.
    """
    if gp.n == 0:
        raise BayesTunerError("a process without observations has no posterior to sample; fit it first")
    wanted = np.arange(space.n_rows, dtype=np.int64) if rows is None else np.asarray(rows, dtype=np.int64)
    if _grid_is_cheaper(gp, space, count, wanted.size):
        return _from_grid(gp, space, count, rng, None if rows is None and space.table is None else wanted)
    if wanted.size > MAX_DENSE:
        raise BayesTunerError(
            f"{wanted.size} rows can't be sampled jointly here: the limit is {MAX_DENSE} rows, or in the product form a product grid of "
            f"{MAX_CELLS} cells; give fewer rows"
        )
    return _dense(gp, space.codes(wanted), count, rng)


def _grid_is_cheaper(gp: GaussianProcess, space: Space, count: int, m: int) -> bool:
    cells = math.prod(space.shape)
    if gp.geometry.form != FORMS["product"] or cells > MAX_CELLS:
        return False
    by_grid = count * cells * (sum(space.shape) / 2 + gp.n) + sum(size**3 for size in space.shape) / 6
    by_rows = m * m * (m / 6 + gp.n + count)
    return m > MAX_DENSE or by_grid < by_rows


def _from_grid(gp: GaussianProcess, space: Space, count: int, rng: np.random.Generator, rows: IntArray | None) -> FloatArray:
    from bayestuner._core.sampling import sample_grid

    g = gp.geometry
    cells = math.prod(space.shape)
    at = None if rows is None else np.ravel_multi_index(tuple(space.codes(rows).T), space.shape)
    observed = np.ravel_multi_index(tuple(gp.codes.T), space.shape).astype(np.int64)
    parts = []
    per_chunk = count if at is None else max(1, CHUNK // cells)
    for first in range(0, count, per_chunk):
        size = min(per_chunk, count - first)
        x = _normals(rng, size, cells)
        status = sample_grid(
            gp.theta, gp.codes, observed, gp.noise, gp.W, gp.beta, g.shape, g.level_starts, g.kinds, g.family, gp.z_levels,
            _normals(rng, size, 1 + g.d), _normals(rng, size, gp.n), x,
        )  # fmt: skip
        if status != 0:
            raise BayesTunerError(f"the covariance of knob {space.names[status - 1]!r}'s levels is not positive definite; please report it")
        parts.append(x if at is None else x[:, at])
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _normals(rng: np.random.Generator, count: int, size: int) -> FloatArray:
    """Standard normals, (count, size)."""
    from bayestuner._core.box_muller import normals_from_uniforms

    even = count * size + count * size % 2
    out = np.empty(even)
    uniforms = np.empty(min(even, BLOCK))
    for first in range(0, even, BLOCK):
        part = out[first : first + BLOCK]
        rng.random(out=uniforms[: part.size])
        normals_from_uniforms(uniforms[: part.size], part)
    return out[: count * size].reshape(count, size)


def _dense(gp: GaussianProcess, codes: IntArray, count: int, rng: np.random.Generator) -> FloatArray:
    from bayestuner._core.sampling import joint_posterior

    g = gp.geometry
    m = codes.shape[0]
    mean, covariance = np.empty(m), np.empty((m, m))
    joint_posterior(
        gp.theta, gp.codes, gp.W, gp.beta, np.ascontiguousarray(codes), g.level_starts, g.kinds, g.form, g.family, gp.z_levels,
        mean, covariance,
    )  # fmt: skip
    jitter = MIN_JITTER
    while True:
        np.einsum("ii->i", covariance)[:] += jitter
        try:
            lower = np.linalg.cholesky(covariance.T)  # reads the lower triangle of its argument
        except np.linalg.LinAlgError:
            if jitter >= MAX_JITTER:
                raise BayesTunerError(
                    f"the posterior covariance of {m} rows is not positive definite even with jitter {jitter:g}; please report it"
                ) from None
            jitter *= 10.0
            continue
        return np.asarray(mean + _normals(rng, count, m) @ lower.T)
