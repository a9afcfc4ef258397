"""Student's t, against scipy's."""

import math

import pytest
from scipy import stats

from bayestuner.study.student_t import cdf, quantile


@pytest.mark.parametrize("dof", [0.5, 1, 2, 2.5, 3, 7, 30, 200, 1e4])
def test_chances_and_quantiles_are_scipys(dof):
    for t in (-50.0, -3.0, -1.0, -0.01, 0.0, 0.3, 1.0, 2.0, 5.0, 40.0):
        assert cdf(t, dof) == pytest.approx(stats.t.cdf(t, dof), abs=1e-9)
    for p in (0.6, 0.9, 0.975, 0.995):
        assert quantile(p, dof) == pytest.approx(stats.t.ppf(p, dof), rel=1e-8)


def test_the_ends():
    assert (cdf(math.inf, 3.0), cdf(-math.inf, 3.0)) == (1.0, 0.0)
