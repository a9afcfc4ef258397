"""egobox: Egor.suggest with ordinal (or enumerated) inputs and one modelled constraint, all at its defaults.

Ours: the first points are its own Latin hypercube at the size it would choose itself, max(5, knobs + 1), because `suggest` wants
observations to start from. Failed runs are left out, which is its own default (rejection).
"""

import egobox
import numpy as np

PACKAGES = ["egobox"]


class Peer:
    """See the module."""

    def __init__(self, problem, variant):
        self.problem, self.told = problem, []
        self.specs = [
            egobox.XSpec(egobox.XType.ENUM, [size]) if categorical else egobox.XSpec(egobox.XType.ORD, [float(v) for v in range(size)])
            for _, size, categorical in problem.knob_list()
        ]
        self.first = max(5, len(problem.sizes) + 1)
        self.design = egobox.lhs(self.specs, self.first, seed=problem.seed)
        self.egor = egobox.Egor(self.specs, cstr_specs=[egobox.CstrSpec.geq(problem.threshold)], seed=problem.seed)

    def ask(self):
        """Return codes."""
        if len(self.told) < self.first:
            return self.design[len(self.told)]
        good = [r for r in self.told if not r.failed]
        x = np.array([r.codes for r in good], dtype=float)
        y = np.array([(r.objective, r.constraint) for r in good])
        return self.egor.suggest(x, y, seed=1000 * self.problem.seed + len(self.told))[0]  # one seed for all would repeat its starts

    def tell(self, result):
        """Keep what was measured."""
        self.told.append(result)
