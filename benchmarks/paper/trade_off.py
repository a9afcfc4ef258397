"""One search for the whole trade-off of power and throughput, against one search for every threshold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import bayestuner as bt
from bayestuner.search.strategies.pareto import hypervolume, non_dominated
from bayestuner.search.strategies.random_search import RandomSearch
from bayestuner.search.strategies.trade_off import TradeOff
from bayestuner.simulate.platform import SimulatedJob
from benchmarks.paper import drawing
from benchmarks.paper.drawing import percent, section
from benchmarks.paper.searches import BUDGET, JOBS, each_seed, interval, job_of, rows_of

FloatArray = npt.NDArray[np.float64]

SHARES = (0.3, 0.45, 0.6, 0.75, 0.9)  # thresholds, as shares of the largest throughput there is
SHOWN = "mobilenet_v2"


def thresholds(job: SimulatedJob) -> FloatArray:
    """Of throughput, (5,)."""
    return np.array(SHARES) * float(np.nanmax(job.table.metrics["throughput"]))


def gaps(job: SimulatedJob, bounds: Sequence[FloatArray], tried: Sequence[Sequence[int]]) -> list[float]:
    """For each search and its thresholds, how much more than the optimum its best row draws, as a share, averaged over the thresholds.

    Where no row tried meets a threshold, the worst that meets it counts.
    """
    power_w, throughput = job.table.metrics["power_w"], np.nan_to_num(job.table.metrics["throughput"])
    out = []
    for limits, rows in zip(bounds, tried, strict=True):
        shares = []
        for limit in limits:
            feasible = throughput >= limit
            own = [power_w[row] for row in rows if feasible[row]]
            best = min(own) if own else power_w[feasible].max()
            shares.append(best / power_w[feasible].min() - 1.0)
        out.append(float(np.mean(shares)))
    return out


def area(job: SimulatedJob, rows: Sequence[int]) -> float:
    """What the rows dominate of what all rows do, in power and throughput up to the worst of each."""
    points = np.stack([job.table.metrics["power_w"], -job.table.metrics["throughput"]], axis=1)
    ran = points[~np.isnan(points).any(axis=1)]
    own = points[list(rows)]
    reference = ran.max(axis=0) + 1e-9
    return hypervolume(own[~np.isnan(own).any(axis=1)], reference) / hypervolume(ran, reference)


def front_search(name: str, budget: int, seed: int) -> list[int]:
    """Rows of one trade-off search."""
    job = job_of(name, "large")
    return rows_of(TradeOff(job.space, job.goal, seed=seed, budget=budget), SimulatedJob(name, job.space, seed=seed), budget)


def random_rows(name: str, budget: int, seed: int) -> list[int]:
    """Rows of one random search."""
    job = job_of(name, "large")
    return rows_of(RandomSearch(job.space, job.goal, seed=seed), SimulatedJob(name, job.space, seed=seed), budget)


def each_threshold(name: str, budget: int, seed: int) -> list[list[int]]:
    """Rows of one search for each threshold."""
    job = job_of(name, "large")
    goals = [bt.Goal(minimize="power_w", subject_to=[f"throughput >= {limit!r}"]) for limit in map(float, thresholds(job))]
    tuners = [bt.Tuner(job.space, goal, seed=seed, budget=budget) for goal in goals]
    return [rows_of(tuner, SimulatedJob(name, job.space, seed=seed), budget) for tuner in tuners]


def trade_off(folder: Path, seeds: int) -> str:
    """What one search of the front answers at five thresholds it was not told."""
    kinds = {
        f"trade-off search, {BUDGET} runs": (front_search, BUDGET, BUDGET),
        f"trade-off search, {2 * BUDGET} runs": (front_search, 2 * BUDGET, 2 * BUDGET),
        f"random, {2 * BUDGET} runs": (random_rows, 2 * BUDGET, 2 * BUDGET),
        f"BayesTuner, {BUDGET} runs for each threshold": (each_threshold, BUDGET, BUDGET * len(SHARES)),
    }
    lines, data, shown = [], [], {}
    for kind, (run, budget, runs) in kinds.items():
        found, shares = np.empty((len(JOBS), seeds)), np.empty((len(JOBS), seeds))
        for j, name in enumerate(JOBS):
            job = job_of(name, "large")
            bounds = thresholds(job)
            for seed, rows in enumerate(each_seed(run, name, budget, seeds=seeds)):
                parts = rows if run is each_threshold else [rows] * len(SHARES)
                found[j, seed] = np.mean([gaps(job, [bounds[k : k + 1]], [part])[0] for k, part in enumerate(parts)])
                every = [row for part in parts for row in part] if run is each_threshold else rows
                shares[j, seed] = area(job, every)
                data.append((kind, name, seed, found[j, seed], shares[j, seed]))
                if name == SHOWN and seed == 0:
                    shown[kind] = every
        worst = max(found.mean(axis=1))
        lines.append((kind, runs, percent(*interval(found.mean(axis=0))), f"{100 * worst:.2f}", percent(*interval(shares.mean(axis=0)))))
    drawing.write_csv(folder / "trade_off.csv", ("search", "job", "seed", "gap", "area"), data)
    _draw(folder, shown)
    heads = ("search", "runs", "gap %, mean", "of the worst job", "area %")
    return section(
        "Trade-off: one search for every threshold",
        f"Not in the paper. A trade-off search is told no threshold; afterwards it is asked for the least power at "
        f"{', '.join(f'{100 * s:.0f}' for s in SHARES)} % of the largest throughput. Gap: mean over these and the jobs, "
        "against the optimum of each. Area: what is dominated of all that can be, in power and throughput.",
        drawing.markdown(heads, lines),
        f"![The front of {SHOWN}](paper/trade_off.png)",
    )


def _draw(folder: Path, shown: dict[str, list[int]]) -> None:
    """The true front of one job, and what one search of each kind found."""
    job = job_of(SHOWN, "large")
    power_w, throughput = job.table.metrics["power_w"], job.table.metrics["throughput"]
    figure, panel = drawing.axes(size=(6.5, 3.8))
    every = np.flatnonzero(~np.isnan(power_w))
    _line(panel, power_w[every], throughput[every], "all 7168 configurations", color="0.2", linewidth=1)
    styles = (("#6fb1d8", "o"), ("#1b6ca8", "o"), ("#9a9a9a", "x"), ("#d9822b", "+"))
    for (kind, rows), (color, marker) in zip(shown.items(), styles, strict=True):
        own = np.array([row for row in rows if not np.isnan(power_w[row])])
        _line(panel, power_w[own], throughput[own], kind, color=color, marker=marker, markersize=4, linewidth=0.8)
    panel.set(xlabel="power, W", ylabel="throughput, image/s")
    panel.legend(fontsize=7, loc="lower right")
    drawing.save(figure, folder, "trade_off")


def _line(panel: Any, power_w: FloatArray, throughput: FloatArray, label: str, **style: Any) -> None:
    front = non_dominated(np.stack([power_w, -throughput], axis=1))
    panel.step(power_w[front], throughput[front], where="post", label=label, **style)
