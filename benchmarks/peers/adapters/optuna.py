"""Optuna's GPSampler (variant ``optuna_gp``), TPESampler (``optuna_tpe``) or ours (``optuna_bayestuner``) by ask and tell; all defaults.

The constraint is told by constraints_func. A suggestion that was snapped is told as failed, and the row really run is added as a trial. A
failed run is told as failed. Optuna's own samplers forget what failed; ours learns from it.
"""

import sys
import warnings

import optuna
from optuna.distributions import CategoricalDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

PACKAGES = ["optuna"]

warnings.filterwarnings("ignore")
optuna.logging.set_verbosity(optuna.logging.ERROR)
if "optuna_gp" in sys.argv:  # what it would import at its first suggestion
    import optuna._gp.gp
    import scipy.optimize  # noqa: F401
    import torch  # noqa: F401

    PACKAGES = ["optuna", "scipy", "torch"]


def constraint(trial):
    """At most 0 is feasible."""
    return [trial.user_attrs["constraint"]]


def sampler_class(variant):
    """The sampler of this variant."""
    if variant == "optuna_bayestuner":
        from bayestuner.integrations.optuna import BayesTunerSampler

        return BayesTunerSampler
    return optuna.samplers.GPSampler if variant == "optuna_gp" else optuna.samplers.TPESampler


class Peer:
    """See the module."""

    def __init__(self, problem, variant):
        self.problem, self.trial = problem, None
        self.study = optuna.create_study(sampler=sampler_class(variant)(seed=problem.seed, constraints_func=constraint))
        self.distributions = {
            name: CategoricalDistribution(list(range(size))) if categorical else IntDistribution(0, size - 1)
            for name, size, categorical in problem.knob_list()
        }

    def ask(self):
        """Return codes."""
        self.trial = self.study.ask(self.distributions)
        return [self.trial.params[name] for name in self.problem.names]

    def tell(self, result):
        """Finish the trial asked for, or close it and add another."""
        violation = self.problem.threshold - result.constraint
        if result.suggested and not result.failed:
            self.trial.set_user_attr("constraint", violation)
            self.study.tell(self.trial, result.objective)
            return
        if self.trial is not None:
            self.study.tell(self.trial, state=TrialState.FAIL)
        self.trial = None
        if not result.failed:
            config, told = self.problem.config(result), {"constraint": violation}
            system = {"constraints": (violation,)}  # where constraints_func's answer is kept
            self.study.add_trial(
                create_trial(params=config, distributions=self.distributions, value=result.objective, user_attrs=told, system_attrs=system)
            )
