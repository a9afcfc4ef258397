"""The vectorised Box-Muller transform against its formula, and at its ends."""

import numpy as np
from scipy import stats

from bayestuner._core.box_muller import normals_from_uniforms


def transform(u):
    out = np.empty_like(u)
    normals_from_uniforms(u, out)
    return out


def formula(u):
    half = u.size // 2
    radius = np.sqrt(-2.0 * np.log1p(-u[:half]))
    angle = 2.0 * np.pi * u[half:]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])


def test_normals_equal_the_formula():
    u = np.random.default_rng(0).random(20_000)
    np.testing.assert_allclose(transform(u), formula(u), atol=1e-13)


def test_the_ends_are_finite_and_equal_the_formula():
    radii = np.repeat([0.0, 2.0**-53, 0.5, 1.0 - 2.0**-53], 10)
    angles = np.tile([0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0 - 2.0**-53, 0.3], 4)
    u = np.concatenate([radii, angles])
    found = transform(u)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, formula(u), atol=1e-13)


def test_they_are_standard_normal_and_the_two_of_a_pair_uncorrelated():
    x = transform(np.random.default_rng(1).random(200_000))
    assert stats.kstest(x, "norm").pvalue > 1e-3
    assert abs(np.corrcoef(x[:100_000], x[100_000:])[0, 1]) < 4 / np.sqrt(100_000)
