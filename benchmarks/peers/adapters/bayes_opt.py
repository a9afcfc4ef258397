"""bayesian-optimization: integer and categorical parameters, a NonlinearConstraint, its default acquisition for one.

5 random points first, as its maximize() does, and random ones until something feasible is known: it refuses to suggest before. It can't
take a failure: a failed run is told as the worst objective and constraint seen so far. Duplicates are allowed, because a failed run's
neighbour may round to the same point.
"""

import contextlib
import warnings

import numpy as np
from bayes_opt import BayesianOptimization
from bayes_opt.exception import NoValidPointRegisteredError
from scipy.optimize import NonlinearConstraint

PACKAGES = ["bayesian-optimization", "scikit-learn"]
FIRST = 5

warnings.filterwarnings("ignore")


class Peer:
    """See the module."""

    def __init__(self, problem, variant):
        self.problem, self.told = problem, []
        bounds = {
            name: [str(v) for v in range(size)] if categorical else (0, size - 1, int) for name, size, categorical in problem.knob_list()
        }
        constraint = NonlinearConstraint(lambda **config: 0.0, problem.threshold, np.inf)
        self.optimizer = BayesianOptimization(
            None, bounds, constraint=constraint, random_state=problem.seed, verbose=0, allow_duplicate_points=True
        )

    def ask(self):
        """Return codes."""
        config = None
        if len(self.told) >= FIRST:
            with contextlib.suppress(NoValidPointRegisteredError):
                config = self.optimizer.suggest()
        config = config or self.optimizer.random_sample(1)[0]
        return [float(config[name]) for name in self.problem.names]

    def tell(self, result):
        """Register what was measured; it maximises."""
        self.told.append(result)
        config = {
            name: str(code) if categorical else code
            for name, code, categorical in zip(self.problem.names, result.codes, self.problem.categorical, strict=True)
        }
        good = [r for r in self.told if not r.failed]
        objective, constraint = result.objective, result.constraint
        if result.failed:
            threshold = self.problem.threshold
            objective = max((r.objective for r in good), default=1.0)
            constraint = min([r.constraint for r in good] + [threshold - 0.5 * abs(threshold)])
        self.optimizer.register(config, -objective, constraint)
