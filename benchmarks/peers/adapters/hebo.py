"""HEBO: its defaults (1 + number of knobs Sobol points first). It knows no constraint: the penalised cost.

Ordinal knobs are continuous parameters, rounded by the driver, not its integers: with nothing but integers and categories its evolutionary
search runs out of different configurations and looks for more, 60 to 190 s for one suggestion on the small development tables.
"""

import warnings

import numpy as np
import pandas as pd
import torch
from hebo.design_space.design_space import DesignSpace
from hebo.optimizers.hebo import HEBO

PACKAGES = ["HEBO", "gpytorch", "torch", "numpy"]

warnings.filterwarnings("ignore")


class Peer:
    """See the module."""

    def __init__(self, problem, variant):
        torch.manual_seed(problem.seed)
        self.problem = problem
        space = DesignSpace().parse(
            [
                {"name": name, "type": "cat", "categories": list(range(size))}
                if categorical
                else {"name": name, "type": "num", "lb": 0, "ub": size - 1}
                for name, size, categorical in problem.knob_list()
            ]
        )
        self.hebo = HEBO(space, scramble_seed=problem.seed)

    def ask(self):
        """Return codes."""
        suggestion = self.hebo.suggest(n_suggestions=1)
        return [suggestion[name].iloc[0] for name in self.problem.names]

    def tell(self, result):
        """Keep what was measured."""
        row = pd.DataFrame([result.codes], columns=self.problem.names)
        self.hebo.observe(row, np.array([[self.problem.penalised(result)]]))
