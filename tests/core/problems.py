"""Random data sets on a small mixed grid, and their description for the oracle."""

import numba
import numpy as np
import reference

from bayestuner.space import Categorical, Integer, Ordinal, Space
from bayestuner.surrogate.covariance import CATEGORICAL, WARPED, Geometry
from bayestuner.surrogate.fit import Priors


def from_python(helper):
    """A helper of _core, compiled with its own options into something that Python can call."""
    if not hasattr(helper, "py_func"):  # nothing is compiled
        return helper
    return numba.njit(nogil=True, fastmath=helper.targetoptions["fastmath"], error_model="numpy")(helper.py_func)


SPACE = Space(
    Integer("cores", 1, 9),
    Ordinal("batch_size", [1, 2, 4, 8, 16, 32]),
    Categorical("precision", ["fp32", "bf16", "int8"]),
    Ordinal("flag", [0, 1]),
)


class Problem:
    """n observations of SPACE with theta drawn from the prior."""

    def __init__(self, n, seed, form="product", family="matern52", rows=None):
        rng = np.random.default_rng(seed)
        self.space, self.form, self.family = SPACE, form, family
        self.geometry = Geometry.of(SPACE, form=form, family=family)
        self.prior_mean, self.prior_sd = Priors().pack(self.geometry)
        self.theta = self.prior_mean + self.prior_sd * rng.standard_normal(self.prior_mean.size)
        self.rows = rng.choice(SPACE.n_rows, n, replace=False) if rows is None else np.asarray(rows)
        self.codes = SPACE.codes(self.rows)
        self.y = rng.standard_normal(n)
        self.reps = rng.integers(1, 4, n).astype(float)
        self.known_noise = rng.choice([0.0, 0.01], n)

    @property
    def noise(self):
        return np.exp(self.theta[self.geometry.d + 1]) / self.reps + self.known_noise

    def points(self, rows):
        """Coordinates of rows for the oracle: warped numbers, or codes for categories."""
        w = self.theta[self.geometry.d + 3 :]
        out = []
        for row in rows:
            point = []
            for d, (knob, value) in enumerate(zip(SPACE.knobs, SPACE.config(int(row)).values(), strict=True)):
                kind = self.geometry.kinds[d]
                if kind == CATEGORICAL:
                    point.append(knob.code(value))
                elif kind == WARPED:
                    point.append(reference.warp(value, knob.values[0], knob.values[-1], w[d]))
                else:
                    point.append(float(value))
            out.append(point)
        return out

    @property
    def oracle(self):
        d = self.geometry.d
        return {
            "kinds": ["category" if k == CATEGORICAL else "number" for k in self.geometry.kinds],
            "lengthscales": np.exp(self.theta[:d]),
            "signal_variance": np.exp(self.theta[d]),
            "trend_variance": np.exp(self.theta[d + 2]),
            "form": self.form,
            "family": self.family,
        }


FORMS = [(form, family) for form in ("product", "ard") for family in ("matern52", "matern32", "rbf")]
