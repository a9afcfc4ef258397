"""Ax: its Client with all defaults (centre, Sobol, then Modular BoTorch) and an outcome constraint.

Ordinal knobs are integer range parameters, categorical ones unordered choice parameters. A suggestion that was snapped is marked abandoned
and the row really run is attached as a trial; a failed run is marked failed.
"""

import logging
import warnings

import torch  # its thread pool starts here, not in the first suggestion
from ax.api.client import Client
from ax.api.configs import ChoiceParameterConfig, RangeParameterConfig

PACKAGES = ["ax-platform", "botorch", "torch"]

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)


class Peer:
    """See the module."""

    def __init__(self, problem, variant):
        torch.manual_seed(problem.seed)
        self.problem, self.trial = problem, None
        self.client = Client(random_seed=problem.seed)
        self.client.configure_experiment(
            parameters=[
                ChoiceParameterConfig(name=name, values=list(range(size)), parameter_type="int", is_ordered=False)
                if categorical
                else RangeParameterConfig(name=name, parameter_type="int", bounds=(0, size - 1))
                for name, size, categorical in problem.knob_list()
            ]
        )
        self.client.configure_optimization(objective="-objective", outcome_constraints=[f"constraint >= {problem.threshold!r}"])

    def ask(self):
        """Return codes."""
        ((self.trial, config),) = self.client.get_next_trials(max_trials=1).items()
        return [config[name] for name in self.problem.names]

    def tell(self, result):
        """Finish the trial asked for, or give it up and attach another."""
        trial = self.trial
        if not result.suggested:
            if trial is not None:
                self.client.mark_trial_abandoned(trial)
            trial = self.client.attach_trial(self.problem.config(result))
        if result.failed:
            self.client.mark_trial_failed(trial)
        else:
            self.client.complete_trial(trial, raw_data={"objective": result.objective, "constraint": result.constraint})
        self.trial = None
