"""The tuners that can be replayed here by name: this project's strategies, and the Tuner's variants of the ablation."""

from __future__ import annotations

from typing import Any

import bayestuner as bt
from bayestuner.search.random_search import RandomSearch
from benchmarks.search_quality.problems import Problem
from benchmarks.search_quality.replay import Maker


def _bayes(**options: Any) -> Maker:
    def make(problem: Problem, seed: int, budget: int) -> Any:
        return bt.Tuner(problem.space, problem.goal, seed=seed, budget=budget, **options)

    return make


def _random(problem: Problem, seed: int, budget: int) -> Any:
    return RandomSearch(problem.space, problem.goal, seed=seed)


TUNERS: dict[str, Maker] = {
    "bayes": _bayes(),
    "random": _random,
}
