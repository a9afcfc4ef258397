"""Strategies beside each other: a table, and the best found against runs and against search time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bayestuner.report.tables import plain_table
from bayestuner.tune.comparing import Curve

FloatArray = npt.NDArray[np.float64]

SHOWN_AFTER = (5, 10, 20, 50, 100)
QUARTILES = (25, 50, 75)


def strategies_of(curves: Sequence[Curve]) -> list[str]:
    """In the order they came."""
    return list(dict.fromkeys(c.strategy for c in curves))


def best_after(curves: Sequence[Curve], n: int, *, lower: bool) -> FloatArray:
    """Objective of the best found by each search after n runs, (searches,): infinitely bad where nothing met the goal.

    A search that ended keeps its last.
    """
    return np.array([_number(c.best[min(n, len(c.best)) - 1] if c.best else None, lower) for c in curves])


def comparison_table(
    curves: Sequence[Curve], objective: str, budget: int, *, lower: bool = True, optimum: float | None = None, width: int = 100
) -> str:
    """One line a strategy: median and quartiles of the best found; with `optimum`, as how many per cent worse than it.

    A search that has found nothing counts as infinitely bad; a median or quartile that falls on one shows as ``-``.
    """
    marks = [n for n in SHOWN_AFTER if n < budget] + [budget]
    header = ["strategy", "searches", *(f"after {n}" for n in marks), "found", "runs failed", "search time"]
    rows = []
    for strategy in strategies_of(curves):
        own = [c for c in curves if c.strategy == strategy]
        cells = [_spread(best_after(own, n, lower=lower), optimum) for n in marks]
        found = np.isfinite(best_after(own, budget, lower=lower)).mean()
        failed = np.mean([c.failed for c in own])
        minutes = np.median([c.elapsed_s[-1] if c.elapsed_s else 0.0 for c in own]) / 60.0
        rows.append([strategy, str(len(own)), *cells, f"{100 * found:.0f} %", f"{failed:.1f}", f"{minutes:.1f} min"])
    unit = objective if optimum is None else f"% by which {objective} is worse than the optimum"
    head = f"median (quartiles) of {unit}, of the best found that meets the goal"
    return f"{head}\n\n{plain_table(header, rows, width=width, right=range(1, len(header)))}"


def plot_comparison(curves: Sequence[Curve], objective: str, path: Path, label: str, budget: int, *, lower: bool = True) -> None:
    """Draw median and quartiles of the best found against runs and against search time, from where half of the searches have one."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, (by_runs, by_time) = plt.subplots(1, 2, figsize=(9.5, 3.8), layout="constrained", sharey=True)
    runs = np.arange(1.0, budget + 1.0)
    longest_s = max((c.elapsed_s[-1] for c in curves if c.elapsed_s), default=0.0)
    seconds = np.linspace(0.0, longest_s, 200)
    for strategy in strategies_of(curves):
        own = [c for c in curves if c.strategy == strategy]
        _draw(by_runs, runs, np.array([best_after(own, int(n), lower=lower) for n in runs]), strategy)
        _draw(by_time, seconds / 60.0, np.array([[_at_time(c, t, lower) for c in own] for t in seconds]), strategy)
    by_runs.set(xlabel="test runs", ylabel=f"best {objective} that meets the goal")
    by_runs.xaxis.get_major_locator().set_params(integer=True)
    by_time.set(xlabel="search time, minutes")
    by_runs.legend(fontsize=8)
    figure.suptitle(label, fontsize=9)
    figure.savefig(path, dpi=140)
    plt.close(figure)


def _draw(axes: Any, x: FloatArray, values: FloatArray, strategy: str) -> None:
    quartiles = np.percentile(values, QUARTILES, axis=1, method="inverted_cdf")
    low, middle, high = np.where(np.isfinite(quartiles), quartiles, np.nan)
    if np.isfinite(middle).any():
        (line,) = axes.plot(x, middle, label=strategy)
        axes.fill_between(x, low, high, color=line.get_color(), alpha=0.15, linewidth=0)


def _at_time(curve: Curve, seconds: float, lower: bool) -> float:
    done = int(np.searchsorted(curve.elapsed_s, seconds, side="right"))
    return _number(curve.best[done - 1] if done else None, lower)


def _number(value: float | None, lower: bool) -> float:
    return (np.inf if lower else -np.inf) if value is None else value


def _spread(values: FloatArray, optimum: float | None) -> str:
    if optimum is not None:
        values = 100.0 * np.abs(values / optimum - 1.0)
    low, middle, high = (f"{v:.4g}" if np.isfinite(v) else "-" for v in np.percentile(values, QUARTILES, method="inverted_cdf"))
    return f"{middle} ({low} to {high})" if values.size > 1 else middle
