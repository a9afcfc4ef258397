"""The tuners that can be replayed here by name: this project's strategies, and variants of the Tuner for the ablation.

A variant that is no option of the Tuner sets a module's constant in the process it runs in (`run` gives each tuner processes of its own).
"""

from __future__ import annotations

import functools
from importlib import import_module
from typing import Any

import bayestuner as bt
from bayestuner.search.strategies.aimd import AIMD
from bayestuner.search.strategies.annealing import Annealing
from bayestuner.search.strategies.batch_sizer import BatchSizer
from bayestuner.search.strategies.random_search import RandomSearch
from bayestuner.surrogate.covariance import Geometry
from bayestuner.surrogate.fit import Priors
from benchmarks.search_quality.problems import Problem
from benchmarks.search_quality.replay import Maker


def _bayes(patches: dict[str, Any] | None = None, **options: Any) -> Maker:
    """A Tuner with other options, or with other constants: ``{"bayestuner.module:NAME": value}``."""

    def make(problem: Problem, seed: int, budget: int) -> Any:
        for target, value in (patches or {}).items():
            module, _, name = target.partition(":")
            owner = import_module(module)
            if not hasattr(owner, name):  # setting a name that nothing reads would replay the default under another name
                raise AttributeError(f"the variant sets {target}, which is not there")
            setattr(owner, name, value)
        return bt.Tuner(problem.space, problem.goal, seed=seed, budget=budget, **options)

    return make


def _prior(**values: tuple[float, float]) -> Maker:
    return _bayes({"bayestuner.surrogate.modelling:Priors": functools.partial(Priors, **values)})


def _random(problem: Problem, seed: int, budget: int) -> Any:
    return RandomSearch(problem.space, problem.goal, seed=seed)


def _annealing(problem: Problem, seed: int, budget: int) -> Any:
    return Annealing(problem.space, problem.goal, seed=seed, budget=budget)


class _Unwarped(Geometry):
    @classmethod
    def of(cls, *args: Any, **options: Any) -> Geometry:
        return Geometry.of(*args, **{**options, "warp": False})


TUNERS: dict[str, Maker] = {
    "bayes": _bayes(),
    "random": _random,
    "annealing-ours": _annealing,
    "batch_sizer": lambda problem, seed, _: BatchSizer(problem.space, problem.goal, seed=seed),
    "aimd": lambda problem, seed, _: AIMD(problem.space, problem.goal, seed=seed),
    "design-2": _bayes({"bayestuner.search.engine.design:N_DESIGN": 2}),
    "design-4": _bayes({"bayestuner.search.engine.design:N_DESIGN": 4}),
    "design-5": _bayes({"bayestuner.search.engine.design:N_DESIGN": 5}),
    "far-limits": _bayes({"bayestuner.search.engine.tuner:MAX_LIMIT_DISTANCE": 1e300}),
    "price-first": _bayes({"bayestuner.search.engine.tuner:FEASIBILITY_POWER": 1}),
    "log-only": _bayes({"bayestuner.surrogate.metric:COMPARE_AT": frozenset()}),
    "no-warp": _bayes({"bayestuner.surrogate.modelling:Geometry": _Unwarped}),
    "ard": _bayes(form="ard"),
    "matern32": _bayes(family="matern32"),
    "rbf": _bayes(family="rbf"),
    "samples-10": _bayes(samples=10),
    "short-scales": _prior(lengthscale=(-0.7, 0.8)),
    "long-scales": _prior(lengthscale=(0.26, 0.8)),
    "little-noise": _prior(noise_std=(-3.0, 0.8)),
    "much-noise": _prior(noise_std=(-1.5, 1.0)),
    "weak-trend": _prior(trend_std=(-1.2, 0.7)),
}
