"""HEBO: all defaults (1 + number of knobs Sobol points first). It knows no constraint: the penalised cost."""

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
                else {"name": name, "type": "int", "lb": 0, "ub": size - 1}
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
