"""A machine with known truth: the rows of a table, read with noise, drift, slow periods or a lucky first launch. SIMULATED disturbances."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.search_quality.problems import Problem

SLOW_CHANCE, SLOW_LAUNCHES, SLOW_DOWN = 0.08, 4, 0.7
"""A slow period begins before a launch with that chance, lasts up to so many launches, and lets so much of the throughput be."""

DRIFT_LAUNCHES = 40
"""Launches over which the drift of a scenario comes in full."""

LUCK = 1.3
"""What the first launch of a configuration reaches of its throughput, where it is lucky; the objective is so much better too."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """What the machine does to the readings.

    Attributes
    ----------
    noise : float
        Standard deviation from launch to launch, as a share; independent in both metrics.
    drift : float
        Change of both metrics over `DRIFT_LAUNCHES` launches, as a share: the throughput falls, the objective rises.
    slow : bool
        Whether there are slow periods.
    lucky : bool
        Whether the first launch of every configuration but the default is lucky.
    """

    noise: float
    drift: float = 0.0
    slow: bool = False
    lucky: bool = False

    @property
    def name(self) -> str:
        """For the table."""
        more = [f"drift {100 * self.drift:+.0f} %"] if self.drift else []
        more += ["slow periods"] if self.slow else []
        more += ["lucky first launches"] if self.lucky else []
        return ", ".join([f"{100 * self.noise:g} %", *more])


_DISTURBANCES: tuple[dict[str, Any], ...] = ({}, {"drift": 0.15}, {"drift": -0.15}, {"slow": True}, {"lucky": True})
SCENARIOS = tuple(Scenario(noise, **disturbance) for noise in (0.01, 0.05, 0.2) for disturbance in _DISTURBANCES)


class Machine:
    """Launches of a problem's rows.

    Parameters
    ----------
    problem : Problem
    scenario : Scenario
    default : int
        The default configuration's row.
    seed : int
    """

    def __init__(self, problem: Problem, scenario: Scenario, default: int, seed: int) -> None:
        self.problem, self.scenario, self.default = problem, scenario, default
        self.made = 0
        self._rng = np.random.default_rng(seed)
        self._launched: set[int] = set()
        self._slow_left = 0

    def launch(self, row: int) -> Mapping[str, float] | None:
        """Metrics of a launch; None where the table's run failed."""
        objective_factor, constraint_factor = self._state()
        first = row not in self._launched
        self._launched.add(row)
        self.made += 1
        if not self.problem.ok[row]:
            return None
        if self.scenario.lucky and first and row != self.default:
            objective_factor, constraint_factor = objective_factor / LUCK, constraint_factor * LUCK
        noise = np.exp(self.scenario.noise * self._rng.standard_normal(2))
        return {
            "objective": float(self.problem.objective[row] * objective_factor * noise[0]),
            "constraint": float(self.problem.constraint[row] * constraint_factor * noise[1]),
        }

    def fork(self, seed: int) -> Machine:
        """The same machine as it stands now, with other noise to come: every rule starts from the same search."""
        twin = Machine(self.problem, self.scenario, self.default, seed)
        twin.made, twin._launched, twin._slow_left = self.made, set(self._launched), self._slow_left
        return twin

    @property
    def drifted(self) -> float:
        """What the throughput is now, of what it was at the start."""
        return math.exp(-self.scenario.drift * self.made / DRIFT_LAUNCHES)

    def _state(self) -> tuple[float, float]:
        """Factors of objective and constraint in the launch to come."""
        if self._slow_left == 0 and self.scenario.slow and self._rng.random() < SLOW_CHANCE:
            self._slow_left = int(self._rng.integers(1, SLOW_LAUNCHES + 1))
        slow = SLOW_DOWN if self._slow_left else 1.0
        self._slow_left = max(self._slow_left - 1, 0)
        return 1.0 / (self.drifted * slow), self.drifted * slow
