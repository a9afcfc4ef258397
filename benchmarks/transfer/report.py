"""Cold searches against searches with earlier studies: scores, and the difference on the same problems and seeds with its interval."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from benchmarks.search_quality.figures import BUDGET, CAP, CLOSE, Run, random_regret, regrets
from benchmarks.search_quality.problems import Problem

FloatArray = npt.NDArray[np.float64]

AT = (3, 5, 8, 10, 15, 20)
COMPARED_AT = (5, 8, 10, 20)
DRAWS = 2000


class Curves:
    """Scores (seeds, n) of one tuner on each problem, and runs to within 5 % of the optimum (seeds,); n + 1 where it was not reached."""

    def __init__(self, problems: list[Problem], runs: list[Run], seeds: Iterable[int]) -> None:
        wanted = set(seeds)
        self.families = {p.name: p.family for p in problems}
        self.scores: dict[str, FloatArray] = {}
        self.close: dict[str, FloatArray] = {}
        for problem in problems:
            own = {r.seed: r for r in runs if r.problem == problem.name and r.seed in wanted}
            curves = np.array([regrets(problem, own[seed].rows) for seed in sorted(own)])
            scale = max(random_regret(problem), 1e-12 * abs(problem.optimum))
            self.scores[problem.name] = np.minimum(curves / scale, CAP)
            near = curves <= CLOSE * abs(problem.optimum)
            self.close[problem.name] = np.where(near.any(axis=1), near.argmax(axis=1) + 1.0, BUDGET + 1.0)

    def mean(self, values: dict[str, FloatArray]) -> FloatArray:
        """Over seeds, then over the problems of a family, then over families."""
        by_family = defaultdict(list)
        for name, of_seeds in values.items():
            by_family[self.families[name]].append(of_seeds.mean(axis=0))
        return np.asarray(np.mean([np.mean(group, axis=0) for group in by_family.values()], axis=0))

    def interval(self, values: dict[str, FloatArray]) -> FloatArray:
        """Half the width of a 95 % interval of `mean`, by the bootstrap over the problems of each family and over seeds."""
        rng = np.random.default_rng(0)
        by_family = defaultdict(list)
        for name in values:
            by_family[self.families[name]].append(name)
        draws = []
        for _ in range(DRAWS):
            means = []
            for names in by_family.values():
                drawn = [values[names[i]] for i in rng.integers(0, len(names), len(names))]
                means.append(np.mean([v[rng.integers(0, len(v), len(v))].mean(axis=0) for v in drawn], axis=0))
            draws.append(np.mean(means, axis=0))
        low, high = np.percentile(draws, [2.5, 97.5], axis=0)
        return np.asarray((high - low) / 2.0)


def table(problems: list[Problem], tuners: dict[str, list[Run]], seeds: Iterable[int]) -> str:
    """Markdown: scores, runs to within 5 % of the optimum, and differences to ``cold``; the lower the better."""
    seeds = list(seeds)
    cold = Curves(problems, tuners["cold"], seeds)
    heads = ["history", *(f"score @{n}" for n in AT), "runs to 5 %", *(f"d @{n}" for n in COMPARED_AT), "@5, @10 of cold's"]
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    base = cold.mean(cold.scores)
    for name, runs in sorted(tuners.items(), key=lambda item: (item[0] != "cold", item[0])):
        made = {(run.problem, run.seed) for run in runs}
        if not all((problem.name, seed) in made for problem in problems for seed in seeds):
            continue  # of other seeds or problems, or not all made yet
        curves = Curves(problems, runs, seeds)
        mean = curves.mean(curves.scores)
        cells = [name, *(f"{mean[n - 1]:.2f}" for n in AT), f"{float(curves.mean(curves.close)):.1f}"]
        if name == "cold":
            cells += [""] * (len(COMPARED_AT) + 1)
        else:
            difference = {key: curves.scores[key] - cold.scores[key] for key in curves.scores}
            d, width = cold.mean(difference), cold.interval(difference)
            cells += [f"{d[n - 1]:+.2f} ± {width[n - 1]:.2f}" for n in COMPARED_AT]
            cells.append(", ".join(f"{mean[n - 1] / base[n - 1]:.2f}" if base[n - 1] else "none left" for n in (5, 10)))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
