"""Simulated test runs: they are read from a table of all configurations' figures, with noise, drift and failures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bayestuner.errors import InvalidGoal, RunFailed
from bayestuner.goal import Goal
from bayestuner.space import Space
from bayestuner.trial import Config, Failed, Measured, Outcome, Reading

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

FLAG = "simulated"


@dataclass(frozen=True)
class Behaviour:
    """The figures of m configurations without noise; nan where one is killed for memory.

    Attributes
    ----------
    metrics : dict
        Name of each metric -> (m,).
    oom : ndarray of bool, (m,)
    ghz : ndarray, (m,)
        Frequency of the first package.
    """

    metrics: Mapping[str, FloatArray]
    oom: BoolArray
    ghz: FloatArray


class SimulatedRuns:
    """Test runs read from a table. SIMULATED: its outcomes carry the flag ``simulated``.

    Called with a configuration it is an `evaluate` for `bayestuner.optimize`.

    Parameters
    ----------
    space : Space
    goal : Goal
        With lower bounds only.
    table : Behaviour
        Of every row of the space; one of its metrics is ``power_w``.
    duration_s : ndarray, (n_rows,)
    noisy : tuple of str
        Metrics that are read with noise.
    noise, drift, transient, seed
        See `bayestuner.simulate.platform.SimulatedJob`.
    """

    def __init__(
        self,
        space: Space,
        goal: Goal,
        table: Behaviour,
        duration_s: FloatArray,
        noisy: tuple[str, ...],
        *,
        noise: float,
        drift: float,
        transient: float,
        seed: int,
    ) -> None:
        self.space, self.goal, self.table, self.duration_s, self.noisy = space, goal, table, duration_s, noisy
        self.noise, self.drift, self.transient = float(noise), float(drift), float(transient)
        self.elapsed_s = 0.0
        self._rng = np.random.default_rng(seed)

    def run(self, config: Config) -> Outcome:
        """Make one simulated test run."""
        row = self.space.row(config)
        self.elapsed_s += float(self.duration_s[row])
        if self.transient and self._rng.random() < self.transient:
            return Failed("transient", "simulated: the machine was at fault")
        if self.table.oom[row]:
            return Failed("oom", f"simulated: {self._killed(row)}killed for memory")
        values = {name: float(column[row]) for name, column in self.table.metrics.items()}
        for name in self.noisy:
            values[name] *= 1.0 + self.noise * self._rng.standard_normal() if self.noise else 1.0
        values["power_w"] *= 1.0 + self.drift * self.elapsed_s / 3600.0
        return Measured({name: self._reading(name, value) for name, value in values.items()}, (FLAG,))

    def __call__(self, config: Config) -> dict[str, Reading]:
        """Make one simulated test run, as an `evaluate` function of `bayestuner.optimize`; raises `RunFailed` for one that fails."""
        outcome = self.run(config)
        if isinstance(outcome, Failed):
            raise RunFailed(outcome.kind, outcome.message)
        return dict(outcome.metrics)

    @property
    def feasible(self) -> BoolArray:
        """Which rows meet the goal, (n_rows,)."""
        meets = ~self.table.oom if self.space.allowed is None else self.space.allowed & ~self.table.oom
        for bound in self.goal.bounds:
            meets = meets & (np.nan_to_num(self.table.metrics[bound.metric]) >= bound.limit)
        return np.asarray(meets)

    @property
    def optimum(self) -> int:
        """The row that meets the goal with the least power, without noise; raises `InvalidGoal` where none meets it."""
        feasible = self.feasible
        if not feasible.any():
            raise InvalidGoal(f"no configuration of {self.space!r} meets '{self.goal}' (simulated); ask for less, or allow more")
        return int(np.where(feasible, self.table.metrics["power_w"], np.inf).argmin())

    def _killed(self, row: int) -> str:
        """The job that is killed for memory, to begin a message with; empty where there is only one job."""
        return ""

    def _reading(self, name: str, value: float) -> Reading:
        return Reading(value, sd=self.noise * value if self.noise and name in self.noisy else None)
