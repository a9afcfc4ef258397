"""Student's t intervals against scipy."""

import numpy as np
import pytest
from scipy import stats

from bayestuner.study.figures import figure


def test_interval_is_scipys():
    values = np.random.default_rng(0).normal(50, 3, 7)
    low, high = stats.t.interval(0.95, 6, values.mean(), stats.sem(values))
    found = figure(list(values))
    assert (found.mean, found.low, found.high, found.n) == (
        pytest.approx(values.mean()),
        pytest.approx(low, rel=1e-9),
        pytest.approx(high, rel=1e-9),
        7,
    )


def test_one_launch_has_no_interval():
    assert (figure([3.0]).low, figure([3.0]).half_width) == (None, None)
