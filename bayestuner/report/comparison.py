"""Several strategies compared: a table, and plots of the best found against runs and against search time."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bayestuner.files.outputs import replacing_file
from bayestuner.report.tables import plain_table
from bayestuner.report.words import duration
from bayestuner.tune.comparing import Curve

FloatArray = npt.NDArray[np.float64]

SHOWN_AFTER = (5, 10, 20, 50, 100)
QUARTILES = (25, 50, 75)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


def strategies_of(curves: Sequence[Curve]) -> list[str]:
    """The strategies of some curves, in the order of their first curve."""
    return list(dict.fromkeys(c.strategy for c in curves))


def best_after(curves: Sequence[Curve], n: int, *, lower: bool) -> FloatArray:
    """Objective of the best found by each search after n runs, (searches,): infinitely bad where nothing met the goal.

    A search that ended earlier keeps the best that it had found.
    """
    return np.array([_number(c.best[min(n, len(c.best)) - 1] if c.best else None, lower) for c in curves])


def comparison_table(
    curves: Sequence[Curve], objective: str, budget: int, *, lower: bool = True, optimum: float | None = None, width: int | None = 100
) -> str:
    """One line for each strategy: median and quartiles of the best found; with `optimum`, by how many per cent it is worse than that.

    A search that has found nothing counts as infinitely bad; a median or quartile that is infinite shows as ``-``. A search of more runs
    than the budget, such as an exhaustive one, is a reference: it has a line of its own below the table, and the table says which share of
    its search time the other strategies took (as the paper's Table 2 does).
    """
    marks = [n for n in SHOWN_AFTER if n < budget] + [budget]
    strategies = {strategy: [c for c in curves if c.strategy == strategy] for strategy in strategies_of(curves)}
    whole_s = next((_median_s(own) for own in strategies.values() if is_reference(own, budget)), None)
    header = [
        "strategy",
        "searches",
        *(f"after {n}" for n in marks),
        "found",
        "runs failed",
        "search time",
        *(["of all runs"] if whole_s else []),
    ]
    rows, below = [], []
    for strategy, own in strategies.items():
        found = np.isfinite(_at_end(own, lower)).mean()
        time_s = _median_s(own)
        if is_reference(own, budget):
            n = max(len(c.best) for c in own)
            at_end = f"{_spread(_at_end(own, lower), optimum, lower)}{'' if optimum is None else ' % worse than the optimum'}"
            below.append(
                f"{strategy}: all {n} runs, {duration(time_s)}, {np.mean([c.failed for c in own]):.0f} failed; best found: {at_end}"
            )
            continue
        cells = [_spread(best_after(own, n, lower=lower), optimum, lower) for n in marks]
        failed = np.mean([c.failed for c in own])
        share = [f"{100.0 * time_s / whole_s:.2g} %"] if whole_s else []
        rows.append([strategy, str(len(own)), *cells, f"{100 * found:.0f} %", f"{failed:.1f}", duration(time_s), *share])
    unit = objective if optimum is None else f"% by which {objective} is worse than the optimum"
    parts = [f"median (quartiles) of {unit}, of the best found that meets the goal"]
    if rows:
        parts.append(plain_table(header, rows, width=width, right=range(1, len(header))))
    return "\n\n".join([*parts, *(["\n".join(below)] if below else [])])


def is_reference(own: Sequence[Curve], budget: int) -> bool:
    """Whether the curves of a strategy have more runs than the budget, since it searched the whole space."""
    return max(len(c.best) for c in own) > budget


def plot_comparison(
    curves: Sequence[Curve],
    objective: str,
    path: Path,
    label: str,
    budget: int,
    *,
    lower: bool = True,
    optimum: float | None = None,
) -> None:
    """Draw median and quartiles of the best found against runs and against search time, from where half of the searches have found one.

    A reference (see `comparison_table`) is drawn as a level line, and so is the optimum where there is no reference.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, (by_runs, by_time) = plt.subplots(1, 2, figsize=(9.5, 4.4), layout="constrained", sharey=True)
    strategies = {strategy: [c for c in curves if c.strategy == strategy] for strategy in strategies_of(curves)}
    references = {strategy: own for strategy, own in strategies.items() if is_reference(own, budget)}
    searches = {strategy: own for strategy, own in strategies.items() if strategy not in references}
    longest_s = max((_length_s(c) for own in (searches or references).values() for c in own), default=0.0)
    unit_s, unit = _time_unit(longest_s)
    runs = np.arange(1, budget + 1)
    seconds = np.linspace(0.0, longest_s, 400)
    for k, (strategy, own) in enumerate(searches.items()):
        look = {"color": f"C{k}", "drawstyle": "steps-post", "marker": MARKERS[k % len(MARKERS)], "markersize": 3.5}
        after = np.array([best_after(own, int(n), lower=lower) for n in runs])
        _draw(by_runs, runs.astype(np.float64), after, strategy, look)
        at_time = np.array([[_at_time(c, t, lower) for c in own] for t in seconds])
        _draw(by_time, seconds / unit_s, at_time, strategy, {**look, "markevery": 20})
    for name, level in _levels(references, optimum, lower).items():
        for axes in (by_runs, by_time):
            axes.axhline(level, color="0.35", linewidth=1.0, linestyle="--", label=name, zorder=1)
    by_runs.set(xlabel="test runs", ylabel=f"best {objective} that meets the goal", xlim=(0.5, budget + 0.5))
    by_runs.xaxis.get_major_locator().set_params(integer=True)
    by_time.set(xlabel=f"search time, {unit}", xlim=(0.0, max(longest_s / unit_s, 1e-9)))
    for axes in (by_runs, by_time):
        axes.grid(color="0.9", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = by_runs.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=min(len(handles), 5), fontsize=8, frameon=False)
    figure.suptitle("\n".join([*textwrap.wrap(label, 125), _what_is_drawn(searches)]), fontsize=8.5, parse_math=False)
    with replacing_file(Path(path)) as file:
        figure.savefig(file, dpi=140, format=Path(path).suffix.removeprefix(".") or "png")
    plt.close(figure)


def _what_is_drawn(searches: Mapping[str, Sequence[Curve]]) -> str:
    most = max((len(own) for own in searches.values()), default=0)
    return f"median and quartiles of {most} searches each" if most > 1 else "one search each"


def _levels(references: Mapping[str, Sequence[Curve]], optimum: float | None, lower: bool) -> dict[str, float]:
    """Name -> value of each level line."""
    levels = {}
    for strategy, own in references.items():
        level = float(np.median(_at_end(own, lower)))
        if np.isfinite(level):
            name = f"{strategy}: {max(len(c.best) for c in own)} runs, {duration(_median_s(own))}"
            levels[name] = level
    return levels or ({} if optimum is None else {"optimum": optimum})


def _draw(axes: Any, x: FloatArray, values: FloatArray, strategy: str, look: Mapping[str, Any]) -> None:
    quartiles = np.percentile(values, QUARTILES, axis=1, method="inverted_cdf")
    low, middle, high = np.where(np.isfinite(quartiles), quartiles, np.nan)
    if np.isfinite(middle).any():
        axes.plot(x, middle, label=strategy, linewidth=1.6, **look)
        axes.fill_between(x, low, high, step="post", color=look["color"], alpha=0.13, linewidth=0)
    else:
        axes.plot([], [], label=f"{strategy} (nothing found in half of its searches)", linewidth=1.6, **look)


def _time_unit(longest_s: float) -> tuple[float, str]:
    """The unit that times are drawn in: its length in seconds, and its name."""
    return next(((s, name) for s, name in ((3600.0, "hours"), (60.0, "minutes")) if longest_s >= 3.0 * s), (1.0, "seconds"))


def _median_s(curves: Sequence[Curve]) -> float:
    return float(np.median([_length_s(c) for c in curves]))


def _length_s(curve: Curve) -> float:
    return curve.elapsed_s[-1] if curve.elapsed_s else 0.0


def _at_end(curves: Sequence[Curve], lower: bool) -> FloatArray:
    return np.array([_number(c.best[-1] if c.best else None, lower) for c in curves])


def _at_time(curve: Curve, seconds: float, lower: bool) -> float:
    done = int(np.searchsorted(curve.elapsed_s, seconds, side="right"))
    return _number(curve.best[done - 1] if done else None, lower)


def _number(value: float | None, lower: bool) -> float:
    return (np.inf if lower else -np.inf) if value is None else value


def _spread(values: FloatArray, optimum: float | None, lower: bool) -> str:
    """Median (quartiles), the better one first."""
    digits = 4
    if optimum is not None:
        digits = 3
        values = 100.0 * (1.0 if lower else -1.0) * (values - optimum) / abs(optimum)
        lower = True
    ordered = np.sort(values) if lower else np.sort(values)[::-1]
    low, middle, high = (ordered[max(int(np.ceil(q / 100.0 * ordered.size)) - 1, 0)] + 0.0 for q in QUARTILES)
    texts = [f"{v:.{digits}g}" if np.isfinite(v) else "-" for v in (low, middle, high)]
    return f"{texts[1]} ({texts[0]} to {texts[2]})" if values.size > 1 else texts[1]
