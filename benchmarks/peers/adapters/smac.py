"""SMAC3 by ask and tell: BlackBoxFacade (variant ``smac_bb``, a GP) or HyperparameterOptimizationFacade (``smac_hpo``, a random forest).

Deterministic, with n_trials set to the budget, which its initial design is a quarter of. It knows no constraint: the penalised cost, failed
runs included (its own cost of a crash is infinite, which is no number for a GP). Where results were given before the
first ask, its initial design is one point instead, the least it takes: it would be gone through however much is known.
"""

import logging
import tempfile
import warnings

from ConfigSpace import Categorical, Configuration, ConfigurationSpace, Integer
from smac import BlackBoxFacade, HyperparameterOptimizationFacade, Scenario
from smac.runhistory.dataclasses import TrialInfo, TrialValue

PACKAGES = ["smac", "ConfigSpace", "scikit-learn"]

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)


class Peer:
    """See the module."""

    def __init__(self, problem, variant):
        self.problem, self.info = problem, None
        self.space = ConfigurationSpace(seed=problem.seed)
        self.space.add(
            [
                Categorical(name, list(range(size))) if categorical else Integer(name, (0, size - 1))
                for name, size, categorical in problem.knob_list()
            ]
        )
        self.folder = tempfile.TemporaryDirectory()
        scenario = Scenario(self.space, deterministic=True, n_trials=problem.budget, seed=problem.seed, output_directory=self.folder.name)
        facade = BlackBoxFacade if variant == "smac_bb" else HyperparameterOptimizationFacade
        design = {"initial_design": facade.get_initial_design(scenario, n_configs=1)} if problem.given else {}
        self.facade = facade(scenario, lambda config, seed=0: 0.0, overwrite=True, logging_level=False, **design)

    def ask(self):
        """Return codes."""
        self.info = self.facade.ask()
        return [self.info.config[name] for name in self.problem.names]

    def tell(self, result):
        """Tell the cost of what was run, in place of what was asked where it was snapped."""
        info = self.info
        if not result.suggested:
            info = TrialInfo(Configuration(self.space, values=self.problem.config(result)), seed=0 if info is None else info.seed)
        self.facade.tell(info, TrialValue(cost=self.problem.penalised(result)))
