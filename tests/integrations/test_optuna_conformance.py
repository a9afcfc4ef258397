"""Optuna's own tests of a sampler, run on ours."""

import optuna
import pytest
from optuna.testing.pytest_samplers import BasicSamplerTestCase, RelativeSamplerTestCase, SingleOnlySamplerTestCase

from bayestuner.integrations.optuna import BayesTunerSampler

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


class TestBayesTunerSampler(BasicSamplerTestCase, RelativeSamplerTestCase, SingleOnlySamplerTestCase):
    @pytest.fixture(autouse=True)
    def quiet(self):
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        yield
        optuna.logging.set_verbosity(optuna.logging.INFO)

    @pytest.fixture
    def sampler(self):
        return lambda: BayesTunerSampler(seed=0)
