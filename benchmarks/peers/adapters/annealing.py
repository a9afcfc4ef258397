"""Simulated annealing on the grid, a baseline: one step on one knob, the penalised cost, rows known already are not paid for again.

Temperature falls from 0.1 to 0.005 (of the cost, a logarithm) over the budget.
"""

import math
import random

PACKAGES = ["numpy"]
HOT, COLD = 0.1, 0.005
MOST_STEPS = 1000  # without meeting a new row; then it starts anywhere


class Peer:
    """See the module."""

    def __init__(self, problem, variant):
        self.problem, self.random = problem, random.Random(problem.seed)
        self.costs, self.here = {}, None

    def ask(self):
        """Return the next row it would have to pay for."""
        for _ in range(MOST_STEPS if self.costs else 0):
            row = self.neighbour()
            if row is None:
                continue
            if row not in self.costs:
                return row
            self.move(row)
        return self.random.choice([r for r in range(len(self.problem.codes)) if r not in self.costs])

    def neighbour(self):
        """A row one level off on one knob, or of another category; None where the table has none."""
        codes = self.problem.codes[self.here].tolist()
        k = self.random.randrange(len(codes))
        codes[k] = self.random.randrange(self.problem.sizes[k]) if self.problem.categorical[k] else codes[k] + self.random.choice([-1, 1])
        return self.problem.row_of(codes)

    def move(self, row):
        """Go there, surely if it is no worse."""
        temperature = HOT * (COLD / HOT) ** (len(self.costs) / max(1, self.problem.budget - 1))
        if self.here is None or self.random.random() < math.exp(min(0.0, (self.costs[self.here] - self.costs[row]) / temperature)):
            self.here = row

    def tell(self, result):
        """Take the cost and decide whether to go there."""
        self.costs[result.row] = self.problem.penalised(result)
        self.move(result.row)
