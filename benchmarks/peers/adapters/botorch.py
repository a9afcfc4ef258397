"""BoTorch: a SingleTaskGP for the objective and one for the constraint, LogConstrainedExpectedImprovement over every untried row.

Ours, because BoTorch is a library without a loop of its own: 5 scrambled Sobol points first; probability of feasibility until something
feasible is known; failed runs left out. Categories are one-hot columns; the variant ``botorch_mixed`` uses MixedSingleTaskGP, which takes
seconds a suggestion.
"""

import warnings

import numpy as np
import torch
from botorch.acquisition.analytic import LogConstrainedExpectedImprovement, LogProbabilityOfFeasibility
from botorch.fit import fit_gpytorch_mll
from botorch.models import MixedSingleTaskGP, ModelListGP, SingleTaskGP
from botorch.optim import optimize_acqf_discrete
from gpytorch.mlls import SumMarginalLogLikelihood
from torch.quasirandom import SobolEngine

PACKAGES = ["botorch", "gpytorch", "torch"]
FIRST = 5
MIN_MEASURED = 2

torch.set_default_dtype(torch.double)
warnings.filterwarnings("ignore")


class Peer:
    """See the module."""

    def __init__(self, problem, variant):
        torch.manual_seed(problem.seed)
        self.problem, self.told, self.tried = problem, [], np.zeros(len(problem.codes), dtype=bool)
        self.design = SobolEngine(len(problem.sizes), scramble=True, seed=problem.seed).draw(FIRST).numpy()
        mixed = variant == "botorch_mixed"
        columns = [
            np.eye(size)[codes] if categorical and not mixed else (codes if categorical else unit)[:, None]
            for codes, unit, size, categorical in zip(problem.codes.T, problem.unit.T, problem.sizes, problem.categorical, strict=True)
        ]
        self.X = torch.tensor(np.hstack(columns), dtype=torch.double)
        self.cat_dims = [i for i, c in enumerate(problem.categorical) if c] if mixed else []

    def ask(self):
        """Return codes of the design, then rows."""
        if len(self.told) < FIRST:
            return np.floor(self.design[len(self.told)] * np.array(self.problem.sizes))
        left = np.flatnonzero(~self.tried)
        good = [r for r in self.told if not r.failed]
        if len(good) < MIN_MEASURED:
            return int(np.random.choice(left))
        x, _ = optimize_acqf_discrete(self.acquisition(good), q=1, choices=self.X[left])
        return int(left[(self.X[left] - x).abs().sum(-1).argmin()])

    def acquisition(self, good):
        """Fit both models and return what is to be maximised."""
        threshold = self.problem.threshold
        X = self.X[[r.row for r in good]]
        model = ModelListGP(self.gp(X, [r.objective for r in good]), self.gp(X, [r.constraint for r in good]))
        fit_gpytorch_mll(SumMarginalLogLikelihood(model.likelihood, model))
        feasible = [r.objective for r in good if r.constraint >= threshold]
        constraints = {1: (threshold, None)}
        if not feasible:
            return LogProbabilityOfFeasibility(model, constraints)
        return LogConstrainedExpectedImprovement(model, min(feasible), 0, constraints, maximize=False)

    def gp(self, X, y):
        """The library's own model with its own priors and scaling."""
        Y = torch.tensor(y, dtype=torch.double).unsqueeze(-1)
        return MixedSingleTaskGP(X, Y, cat_dims=self.cat_dims) if self.cat_dims else SingleTaskGP(X, Y)

    def tell(self, result):
        """Keep what was measured."""
        self.told.append(result)
        self.tried[result.row] = True
