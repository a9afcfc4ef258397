"""First points from a quasi-random sequence, as the published optimisers start: Halton's, shifted at random by the seed.

Halton (1960), Numerische Mathematik 2; the shift of all points by one random vector, modulo 1, is Cranley and Patterson's (1976).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bayestuner.search.engine.design import Excluded, draw_rows
from bayestuner.space import Space

FloatArray = npt.NDArray[np.float64]

MAX_POINTS = 200  # of the sequence, before a row is drawn at random because nearly all rows are excluded
STREAM = 0x4A17  # keeps these draws apart from others of the same seed


def next_quasi_random(space: Space, excluded: Excluded, done: int, seed: int) -> int:
    """The row at the first point of the sequence, from number `done` on, that is not excluded; -1 where every row is.

    Where the space lists its rows, the sequence runs over their numbers instead of over the knobs.
    """
    listed = space.table is not None
    sizes = [space.n_rows] if listed else list(space.shape)
    shift = np.random.default_rng([seed, STREAM]).random(len(sizes))
    for number in range(done, done + MAX_POINTS):
        codes = ((halton(number + 1, len(sizes)) + shift) % 1.0 * sizes).astype(np.int64)
        row = int(codes[0]) if listed else space.find(codes)
        if row is not None and not excluded(np.array([row], dtype=np.int64))[0]:
            return row
    drawn = draw_rows(space, excluded, 1, np.random.default_rng([seed, STREAM, done]))
    return int(drawn[0]) if drawn.size else -1


def halton(number: int, d: int) -> FloatArray:
    """Point `number` (1, 2, ...) of Halton's sequence in d dimensions, (d,): its digits in the k-th prime's base, mirrored at the point."""
    return np.array([_radical_inverse(number, base) for base in first_primes(d)])


def first_primes(count: int) -> list[int]:
    """The first prime numbers."""
    primes: list[int] = []
    candidate = 2
    while len(primes) < count:
        if all(candidate % prime for prime in primes):
            primes.append(candidate)
        candidate += 1
    return primes


def _radical_inverse(number: int, base: int) -> float:
    value, scale = 0.0, 1.0
    while number:
        scale /= base
        number, digit = divmod(number, base)
        value += digit * scale
    return value
