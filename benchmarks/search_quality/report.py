"""The table and the plot of a folder of runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.search_quality.figures import BUDGET, FIRST_FEASIBLE_BY, Figures, Run, close, found_feasible, relative_regret, score
from benchmarks.search_quality.problems import Problem

AT = (5, 10, 15, 20)
CURVES_TOP = 8  # so many tuners are drawn at most


def table(problems: list[Problem], tuners: dict[str, list[Run]]) -> str:
    """Markdown: one line per tuner, the best at 20 runs first."""
    heads = [f"score @{n}" for n in AT] + [f"regret % @{n}" for n in AT]
    heads += [f"within 5 % @{BUDGET}", f"feasible by run {FIRST_FEASIBLE_BY}"]
    lines = []
    for tuner, runs in tuners.items():
        figures = Figures.of(problems, runs)
        if not figures.curves:
            continue
        seeds = sorted({len(c) for c in figures.curves.values()})
        seeds_text = str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]}-{seeds[-1]}"
        missing = len(problems) - len(figures.curves)
        cells = [tuner + (f" ({missing} problems missing)" if missing else ""), seeds_text]
        cells += [f"{figures.mean(score(n)):.2f} ± {figures.interval(score(n)):.2f}" for n in AT]
        cells += [f"{100 * figures.mean(relative_regret(n)):.1f}" for n in AT]
        cells += [f"{100 * figures.mean(close()):.0f} %", f"{100 * found_feasible(runs, problems):.1f} %"]
        lines.append((figures.mean(score(BUDGET)), cells))
    lines.sort(key=lambda line: line[0])
    return _markdown(["tuner", "seeds", *heads], [cells for _, cells in lines])


def family_table(problems: list[Problem], tuners: dict[str, list[Run]], n: int = BUDGET) -> str:
    """Markdown: the score after n runs by family."""
    families = sorted({p.family for p in problems})
    lines = []
    for tuner, runs in tuners.items():
        figures = Figures.of(problems, runs)
        if figures.curves:
            by = figures.by_family(score(n))
            lines.append((figures.mean(score(n)), [tuner, *(f"{by[f]:.2f}" if f in by else "" for f in families)]))
    lines.sort(key=lambda line: line[0])
    return _markdown([f"score @{n}", *families], [cells for _, cells in lines])


def problem_table(problems: list[Problem], tuners: dict[str, list[Run]], n: int = BUDGET) -> str:
    """Markdown: the score after n runs by problem."""
    all_figures = {tuner: Figures.of(problems, runs) for tuner, runs in tuners.items()}
    lines = []
    for problem in problems:
        cells = []
        for figures in all_figures.values():
            curves = figures.curves.get(problem.name)
            cells.append("" if curves is None else f"{float(score(n)(problem, curves).mean()):.2f}")
        lines.append([problem.name, *cells])
    return _markdown([f"score @{n}", *all_figures], lines)


def plot(problems: list[Problem], tuners: dict[str, list[Run]], path: Path) -> None:
    """Draw the score against the number of runs."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    curves = {}
    for tuner, runs in tuners.items():
        figures = Figures.of(problems, runs)
        if figures.curves:
            curves[tuner] = [figures.mean(score(n)) for n in range(1, BUDGET + 1)]
    shown = sorted(curves, key=lambda tuner: curves[tuner][-1])[:CURVES_TOP]
    figure, axes = plt.subplots(figsize=(7.5, 4.5), layout="constrained")
    for tuner in shown:
        axes.plot(
            range(1, BUDGET + 1), curves[tuner], label=f"{tuner} ({curves[tuner][-1]:.2f})", linewidth=2.4 if tuner == "bayes" else 1.2
        )
    axes.axhline(1.0, color="0.6", linewidth=0.8, linestyle="--")
    axes.set(
        xlabel="test runs", ylabel="regret / random search's expected regret at 20", xticks=np.arange(0, BUDGET + 1, 5), ylim=(0, None)
    )
    axes.set_title(f"Score after so many runs, {len(problems)} problems (0 = optimum)")
    axes.legend(title="tuner (score at 20)", fontsize=8)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _markdown(heads: list[str], lines: list[list[str]]) -> str:
    rule = ["---"] * len(heads)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [heads, rule, *lines])
