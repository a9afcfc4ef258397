"""scikit-optimize: Optimizer with all defaults (GP, gp_hedge, 10 random points first). It knows no constraint: the penalised cost."""

import warnings

from skopt import Optimizer
from skopt.space import Categorical, Integer

PACKAGES = ["scikit-optimize", "scikit-learn"]

warnings.filterwarnings("ignore")


class Peer:
    """See the module."""

    def __init__(self, problem, variant):
        self.problem = problem
        dimensions = [
            Categorical(list(range(size))) if categorical else Integer(0, size - 1) for _, size, categorical in problem.knob_list()
        ]
        self.optimizer = Optimizer(dimensions, random_state=problem.seed)

    def ask(self):
        """Return codes."""
        return self.optimizer.ask()

    def tell(self, result):
        """Fit, which is where its work is done."""
        self.optimizer.tell(list(result.codes), self.problem.penalised(result))
