"""Our own Tuner, through the same process and lines as the peers; one thread. The only adapter that imports the project."""

import bayestuner as bt

PACKAGES = ["bayestuner", "numpy", "numba"]


class Peer:
    """See the module."""

    def __init__(self, problem, variant):
        self.problem, self.trial = problem, None
        knobs = [
            (bt.Categorical if k["kind"] == "categorical" else bt.Ordinal)(name, k["levels"])
            for name, k in zip(problem.names, problem.knobs, strict=True)
        ]
        self.space = bt.Space(*knobs) if problem.product else bt.Space.from_rows(knobs, self.values(knobs))
        goal = bt.Goal(minimize="objective", subject_to=[bt.AtLeast("constraint", problem.threshold)])
        self.tuner = bt.Tuner(self.space, goal, seed=problem.seed, budget=problem.budget, threads=1)

    def values(self, knobs):
        """Each row's knob values."""
        return [tuple(k.values[c] for k, c in zip(knobs, codes, strict=True)) for codes in self.problem.codes.tolist()]

    def ask(self):
        """Return a row; nothing is snapped."""
        self.trial = self.tuner.ask()
        return self.trial.row

    def tell(self, result):
        """Tell the trial asked, or one of the caller's own choice."""
        trial = self.trial if result.suggested else self.tuner.adopt(self.space.config(result.row))
        self.trial = None
        if result.failed:
            self.tuner.tell_failed(trial, "error")
        else:
            self.tuner.tell(trial, objective=result.objective, constraint=result.constraint)
