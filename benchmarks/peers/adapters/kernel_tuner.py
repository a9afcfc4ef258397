"""Kernel Tuner's Bayesian optimisation (strategy ``bayes_opt``): its class, which runs the loop itself, in a thread.

Not its defaults: popsize 5, because 20 would be the whole budget; method ``multi-fast``, which is what its default comes to where a run
takes seconds (the default skips fits while a run is quicker than a prediction, as a look-up is). Its candidates are the table's rows, so
nothing is snapped. It knows no constraint: the penalised cost, failures as its own invalid value. The cost is told as its exponential, in
the objective's unit: its exploration divides by the best cost, which only makes sense of a positive one (told the logarithm, it scores 0.77
instead of 0.41 on the 13 development tables, 5 seeds). It fits once for three suggestions.
"""

import math
import queue
import threading
import types
import warnings

import numpy as np
from kernel_tuner.strategies import bayes_opt as strategy

PACKAGES = ["kernel_tuner", "scikit-learn"]
FIRST = 5
INVALID = 1e20
SILENCE_S = 600.0

warnings.filterwarnings("ignore")


class Loop(strategy.BayesianOptimization):
    """Its loop, with a first sample that can be given."""

    first: tuple = ()

    def draw_latin_hypercube_samples(self, num_samples):
        """Return (configuration, index) pairs."""
        return list(self.first) or super().draw_latin_hypercube_samples(num_samples)


class Cost:
    """Its cost function: hands a configuration over and waits for its cost."""

    runner = types.SimpleNamespace(dev=types.SimpleNamespace(max_threads=10**9))

    def __init__(self, known):
        self.known, self.asked, self.told = known, queue.Queue(), queue.Queue()

    def __call__(self, point):
        if point in self.known:
            return self.known[point]
        self.asked.put(point)
        return self.told.get()


class Peer:
    """See the module."""

    def __init__(self, problem, variant):
        self.problem, self.thread = problem, None
        self.known = {}  # costs of what was given before the first ask
        hypercube = strategy.LatinHypercube
        strategy.LatinHypercube = lambda d: getattr(hypercube, "unseeded", hypercube)(d, seed=problem.seed)
        strategy.LatinHypercube.unseeded = getattr(hypercube, "unseeded", hypercube)
        parameters = {name: list(range(size)) for name, size, _ in problem.knob_list()}
        self.cell = 1 / max(problem.sizes)
        self.dictionaries = strategy.generate_normalized_param_dicts(parameters, self.cell)
        self.points = strategy.normalize_parameter_space([tuple(c) for c in problem.codes.tolist()], parameters, self.dictionaries[0])
        self.parameters = parameters

    def start(self):
        """Begin its loop."""
        self.cost = Cost(self.known)
        self.kind = type("Given", (Loop,), {"first": tuple((p, self.points.index(p)) for p in self.known)})
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        """Run its loop to the end of the budget."""
        size, budget = len(self.known) or FIRST, self.problem.budget
        options = types.SimpleNamespace(
            tune_params=self.parameters,
            strategy_options={"popsize": size, "max_fevals": budget, "method": "multi-fast"},
            verbose=False,
        )
        valid = types.SimpleNamespace(is_param_config_valid=lambda config: True)  # only the table's rows are offered
        loop = self.kind(self.points, valid, [None] * len(self.parameters), options, *self.dictionaries, self.cost)
        loop.optimize(budget)

    def ask(self):
        """Return the row its loop waits for."""
        if self.thread is None:
            self.start()
        point = self.cost.asked.get(timeout=SILENCE_S)
        return self.problem.row_of(np.round(np.array(point) / self.cell - 0.5))

    def tell(self, result):
        """Answer its loop."""
        cost = INVALID if result.failed else math.exp(self.problem.penalised(result))
        if self.thread is None:
            self.known[self.points[result.row]] = cost
        else:
            self.cost.told.put(cost)
