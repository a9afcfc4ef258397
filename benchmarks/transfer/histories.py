"""Earlier studies for a problem: searches of other tables of its family, of other families, or with the objective turned upside down."""

from __future__ import annotations

import functools
import zlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import bayestuner as bt
from benchmarks.search_quality.problems import Problem
from benchmarks.search_quality.replay import replay

CONDITIONS = ("good", "unrelated", "inverted", "mixed")
STUDIES_PER_TABLE = 12  # searches of a table that its earlier study is drawn from
STUDY_RUNS = 20


@dataclass(frozen=True)
class Problems:
    """All problems of a benchmark, and the searches made of them so far (kept for the process)."""

    all: tuple[Problem, ...]

    def siblings(self, problem: Problem) -> list[Problem]:
        """Other problems of the same family."""
        return [p for p in self.all if p.family == problem.family and p.name != problem.name]

    def strangers(self, problem: Problem) -> list[Problem]:
        """Problems of other families."""
        return [p for p in self.all if p.family != problem.family]

    def histories(self, problem: Problem, seed: int, condition: str, count: int) -> list[Any]:
        """`count` earlier studies (fewer where the family is small); the same for every tuner.

        Parameters
        ----------
        condition : {"good", "unrelated", "inverted", "mixed"}
            Siblings; problems of other families, their knobs matched by position; siblings that were searched and told with one over
            their objective; one sibling, the rest inverted.
        """
        rng = np.random.default_rng([zlib.crc32(problem.name.encode()), seed, count])
        others = self.strangers(problem) if condition == "unrelated" else self.siblings(problem)
        chosen = [others[i] for i in rng.permutation(len(others))[:count]]
        studies = []
        for i, other in enumerate(chosen):
            number = int(rng.integers(STUDIES_PER_TABLE))
            if condition == "unrelated":
                studies.append(_matched_by_position(problem, other, number))
            else:
                inverted = condition == "inverted" or (condition == "mixed" and i > 0)
                studies.append(_study(_inverted(other) if inverted else other, number))
        return studies


@functools.cache
def _rows(name: str, number: int, problem: _ByName) -> tuple[int, ...]:
    return replay("bayes", _tuner, problem.problem, number, STUDY_RUNS).rows


class _ByName:
    """A problem as a key of a cache."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem

    def __hash__(self) -> int:
        return hash(self.problem.name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByName) and other.problem.name == self.problem.name


def _tuner(problem: Problem, seed: int, budget: int) -> Any:
    return bt.Tuner(problem.space, problem.goal, seed=seed, budget=budget)


def _inverted(problem: Problem) -> Problem:
    return replace(problem, name=f"{problem.name} inverted", objective=1.0 / problem.objective)


def _result(problem: Problem, row: int) -> Any:
    if not problem.ok[row]:
        return "error"
    return {"objective": float(problem.objective[row]), "constraint": float(problem.constraint[row])}


def _study(problem: Problem, number: int) -> Any:
    trials = [(problem.space.config(row), _result(problem, row)) for row in _rows(problem.name, number, _ByName(problem))]
    return bt.History(problem.name, problem.space, trials, problem.goal)


def _matched_by_position(problem: Problem, other: Problem, number: int) -> Any:
    """A study of a problem that has nothing to do with this one, as if it had been made with this one's knobs."""
    space = bt.Space(*problem.knobs)
    trials = []
    for row in _rows(other.name, number, _ByName(other)):
        codes = other.space.codes([row])[0]
        config = {}
        for a, knob in enumerate(problem.knobs):
            theirs = a % len(other.knobs)
            share = codes[theirs] / max(len(other.knobs[theirs]) - 1, 1)
            config[knob.name] = knob.values[round(share * (len(knob) - 1))]
        trials.append((config, _result(other, row)))
    return bt.History(other.name, space, trials, other.goal)
