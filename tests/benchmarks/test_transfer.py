"""The benchmark of learning from earlier studies: what history each condition gives, and differences on the same problems and seeds."""

import numpy as np
import pytest

import bayestuner as bt
from benchmarks.search_quality.figures import Run
from benchmarks.search_quality.problems import Problem
from benchmarks.transfer.histories import Problems
from benchmarks.transfer.report import table


def problem(name, family, factor):
    knobs = (bt.Integer("cores", 1, 6), bt.Integer("batch", 1, 4))
    configs = [(c, b) for c in range(1, 7) for b in range(1, 5)]
    objective = np.array([factor * (5.0 + c + 0.1 * b) for c, b in configs])
    constraint = np.array([factor * c * b**0.5 for c, b in configs])
    return Problem(name, family, knobs, configs, objective, constraint, factor * 4.0)


PROBLEMS = Problems((problem("a", "x", 1.0), problem("b", "x", 1.5), problem("c", "y", 3.0)))


@pytest.mark.parametrize(("condition", "name"), [("good", "b"), ("inverted", "b inverted"), ("unrelated", "c")])
def test_each_condition_gives_the_history_that_it_says(condition, name):
    first, again = (PROBLEMS.histories(PROBLEMS.all[0], 3, condition, 1) for _ in range(2))
    (study,) = first
    assert study.name == name
    assert study.trials == again[0].trials
    assert study.space.names == ("cores", "batch")
    measured = study.measured()
    assert len(measured) == 20
    dearer = [metrics["objective"].value for config, metrics in sorted(measured, key=lambda m: (m[0]["cores"], m[0]["batch"]))]
    assert (dearer == sorted(dearer)) == (condition != "inverted")


def test_the_difference_is_taken_on_the_same_problems_and_seeds():
    problems = list(PROBLEMS.all[:2])
    best = {p.name: int(np.argmin(np.where(p.feasible, p.objective, np.inf))) for p in problems}
    cold = [Run("cold", p.name, seed, tuple(range(20))) for p in problems for seed in range(2)]
    ideal = [Run("good-1", p.name, seed, (best[p.name],)) for p in problems for seed in range(2)]
    lines = table(problems, {"cold": cold, "good-1": ideal}, range(2)).splitlines()
    assert lines[3].startswith("| good-1 | 0.00 | 0.00 |")
    assert "| 1.0 |" in lines[3]  # runs to within 5 %
    assert "| -" in lines[3]
    assert "good-1" not in table(problems, {"cold": cold, "good-1": ideal[:1]}, range(2))
