"""Made-up servers of twelve knobs on which 40 % of the configurations fail; SIMULATED, every formula is in this file.

A run fails where what some knobs eat (batch size, streams, caches ...) exceeds what another one grants (memory): two such resources, each
with three knobs that eat it, cut so that each fails about a quarter of the configurations. Power and throughput rise with most knobs; the
goal is the least power at a throughput that 30 % of the configurations that run reach.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

import bayestuner as bt

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

N_ROWS = 2000  # configurations listed, drawn from the product grid
FAILING = 0.4
REACHED = 0.3  # share of the rows that run whose throughput meets the goal
LEVELS = ([1, 2, 3, 4], [1, 2, 4, 8, 16], [10, 20, 40, 80], [1, 2, 3], [0.5, 0.75, 1.0])
EATERS = 3  # knobs that eat each resource


@dataclass(frozen=True)
class Server:
    """One made-up server: its space, what each row gives, and which rows fail, and for want of which resource (0, 1; -1: runs)."""

    space: bt.Space
    goal: bt.Goal
    power: FloatArray
    throughput: FloatArray
    lacks: npt.NDArray[np.int64]

    @property
    def feasible(self) -> BoolArray:
        """Which rows run and meet the goal."""
        return (self.lacks < 0) & (self.throughput >= self.goal.bounds[0].limit)

    def random_regret(self, n: int = 20) -> float:
        """Random search's expected regret after n rows, exactly (see `benchmarks.search_quality.figures`)."""
        values = np.sort(self.power[self.feasible])
        left = self.power.size - np.arange(values.size)
        misses = np.concatenate([[1.0], np.cumprod(np.maximum(1.0 - n / left, 0.0))])
        return float((values * (misses[:-1] - misses[1:])).sum() + misses[-1] * values[-1] - values[0])


def make_server(seed: int, *, hints: bool = False, failing: float = FAILING) -> Server:
    """A server; with `hints` its knobs say what limits a resource and what is hungry for it."""
    rng = np.random.default_rng([seed, 12])
    roles = ["memory_0", "memory_1", *(f"eats{r}_{i}" for r in range(2) for i in range(EATERS)), *(f"other_{i}" for i in range(3)), "mode"]
    knobs = [_knob(name, rng, hints) for name in roles]
    grid = bt.Space(*knobs)
    rows = rng.choice(grid.n_rows, N_ROWS, replace=False)
    codes = grid.codes(rows)
    x = codes / (np.array(grid.shape) - 1.0)
    x[:, -1] = rng.permutation(len(knobs[-1]))[codes[:, -1]] / (len(knobs[-1]) - 1.0)
    use = np.stack([_use(x, r, rng) for r in range(2)])
    lacks = _lacking(use, failing)
    gain = rng.gamma(1.5, 1.0, x.shape[1]) * (rng.random(x.shape[1]) < 0.75)
    throughput = np.exp(1.2 * _curve(x, gain, rng) + 0.02 * rng.standard_normal(N_ROWS))
    power = np.exp(0.8 * _curve(x, gain * rng.uniform(0.3, 1.7, gain.size), rng) + 0.02 * rng.standard_normal(N_ROWS))
    limit = float(np.quantile(throughput[lacks < 0], 1.0 - REACHED))
    space = bt.Space.from_rows(knobs, [tuple(grid.config(int(row)).values()) for row in rows])
    return Server(space, bt.Goal(minimize="power", subject_to=[bt.AtLeast("throughput", limit)]), power, throughput, lacks)


def _knob(name: str, rng: np.random.Generator, hints: bool) -> bt.Ordinal | bt.Categorical:
    values = LEVELS[int(rng.integers(len(LEVELS)))]
    if name == "mode":
        return bt.Categorical(name, ["a", "b", "c"])
    if hints and name.startswith("memory"):
        return bt.Ordinal(name, values, more_is="safer")
    if hints and name.startswith("eats"):
        return bt.Ordinal(name, values, hungry_for=f"memory_{name[4]}")
    return bt.Ordinal(name, values)


def _use(x: FloatArray, resource: int, rng: np.random.Generator) -> FloatArray:
    """What a row eats of a resource, over what it is granted, in logarithms."""
    first = 2 + EATERS * resource
    weights = rng.uniform(0.5, 1.5, EATERS)
    return np.asarray((weights * x[:, first : first + EATERS] ** rng.uniform(0.6, 1.6, EATERS)).sum(axis=1) - 1.5 * x[:, resource])


def _lacking(use: FloatArray, failing: float) -> npt.NDArray[np.int64]:
    """Which resource each row lacks; both limits at the same quantile, so that a share `failing` of the rows fails."""
    low, high = 0.0, 1.0
    for _ in range(40):
        share = 0.5 * (low + high)
        over = use > np.quantile(use, 1.0 - share, axis=1, keepdims=True)
        low, high = (share, high) if over.any(axis=0).mean() < failing else (low, share)
    return np.where(over[0], 0, np.where(over[1], 1, -1))


def _curve(x: FloatArray, gain: FloatArray, rng: np.random.Generator) -> FloatArray:
    """A smooth, mostly rising function of the knobs with a few interactions, of a spread of about 1."""
    y = (gain * x ** rng.uniform(0.5, 1.8, gain.size)).sum(axis=1)
    for _ in range(3):
        a, b = rng.choice(gain.size, 2, replace=False)
        y += rng.normal(0.0, 0.7) * x[:, a] * x[:, b]
    return np.asarray((y - y.mean()) / y.std())
