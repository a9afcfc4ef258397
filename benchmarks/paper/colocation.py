"""Two jobs that share the simulated server: how good a division 20 and 40 runs find."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bayestuner.search.engine.tuner import Tuner
from bayestuner.search.strategies.annealing import Annealing
from bayestuner.search.strategies.random_search import RandomSearch
from bayestuner.simulate.colocation import SimulatedColocation, shared_space
from benchmarks.paper import drawing
from benchmarks.paper.drawing import percent, section
from benchmarks.paper.searches import BUDGET, each_seed, interval, rows_of

FloatArray = npt.NDArray[np.float64]

PAIRS = (("text_cnn", "mobilenet_v2"), ("resnet_v2", "deepspeech2"))
RUNS = 2 * BUDGET
MAKERS = {"BayesTuner": Tuner, "annealing": Annealing, "random": RandomSearch}


@functools.cache
def truth_of(pair: tuple[str, str]) -> SimulatedColocation:
    """The two jobs without noise."""
    return SimulatedColocation(pair, shared_space(pair))


def gaps_of(strategy: str, pair: tuple[str, str], seed: int) -> FloatArray:
    """After each of RUNS runs, how much more than the optimum the best division tried draws, as a share; inf while none meets the goal."""
    job = truth_of(pair)
    options = {} if strategy == "random" else {"budget": RUNS}
    rows = rows_of(MAKERS[strategy](job.space, job.goal, seed=seed, **options), job, RUNS)
    power_w = job.table.metrics["power_w"]
    best = np.minimum.accumulate(np.where(job.feasible[rows], power_w[rows], np.inf))
    return np.asarray(best / power_w[job.optimum] - 1.0)


def colocation(folder: Path, seeds: int) -> str:
    """The gap to the best division, for two pairs and three strategies."""
    lines, data = [], []
    figure, panels = drawing.axes(len(PAIRS), size=(7.5, 3.2))
    for pair, panel in zip(PAIRS, panels, strict=True):
        job = truth_of(pair)
        for strategy in MAKERS:
            gaps = np.array(each_seed(gaps_of, strategy, pair, seeds=seeds))
            name = " + ".join(pair)
            cells = [_cell(gaps[:, n - 1]) for n in (BUDGET, RUNS)]
            lines.append((name, len(job.space), f"{job.table.metrics['power_w'][job.optimum]:.1f}", strategy, *cells))
            data += [(name, strategy, seed, n + 1, float(g)) for seed, curve in enumerate(gaps) for n, g in enumerate(curve)]
            middle = 100.0 * np.median(gaps, axis=0)
            shown = np.where(np.isfinite(middle), middle, np.nan)
            panel.plot(range(1, RUNS + 1), shown, label=strategy, color=drawing.COLORS[strategy], drawstyle="steps-post")
        panel.set(title=name, xlabel="test runs", ylabel="median gap to the optimum, %", ylim=(0, None))
        panel.legend(fontsize=8)
    drawing.save(figure, folder, "colocation")
    drawing.write_csv(folder / "colocation.csv", ("jobs", "strategy", "seed", "runs", "gap"), data)
    heads = ("jobs", "divisions", "optimum W", "strategy", f"gap % after {BUDGET} runs", f"after {RUNS}")
    return section(
        "Two jobs on one server",
        "Not in the paper (after CLITE). Two jobs share the server's 28 cores and 8 GiB, each with a bound of its own: 75 % of the "
        "paper's. A run runs both; one search finds how to divide the server and how each job uses its part. What jobs do to each other is "
        "assumed. In brackets: searches that found no division that meets both bounds, which are left out of the mean.",
        drawing.markdown(heads, lines),
        "![Gap of the best division](paper/colocation.png)",
    )


def _cell(gaps: FloatArray) -> str:
    found = gaps[np.isfinite(gaps)]
    none = "" if found.size == gaps.size else f" ({gaps.size - found.size} of {gaps.size})"
    return (percent(*interval(found)) if found.size else "-") + none
