"""Plots, tables and text of the report; files are the same to the byte each time they are made."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
mpl.rcParams.update({"svg.hashsalt": "bayestuner", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False})

from matplotlib import pyplot as plt  # noqa: E402 - after the backend is chosen

COLORS = {
    "BayesTuner": "#1b6ca8", "Spearmint": "#6fb1d8", "CherryPick": "#c0504d", "annealing": "#d9822b", "random": "#9a9a9a",
    "BatchSizer": "#7a5195", "AIMD": "#3b8c5a",
}  # fmt: skip


def axes(columns: int = 1, rows: int = 1, size: tuple[float, float] = (6.5, 3.8)) -> tuple[Any, Any]:
    """A figure and its axes."""
    return plt.subplots(rows, columns, figsize=size, layout="constrained")


def save(figure: Any, folder: Path, name: str) -> None:
    """Write NAME.png and NAME.svg, marked as simulated."""
    figure.text(0.995, 0.005, "SIMULATED", ha="right", va="bottom", fontsize=7, color="0.5")
    figure.savefig(folder / f"{name}.png", dpi=130, metadata={"Software": None})
    figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
    plt.close(figure)


def write_csv(path: Path, heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table; floats with 6 digits."""
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(heads)
        for row in rows:
            writer.writerow([f"{v:.6g}" if isinstance(v, float) else v for v in row])


def markdown(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table for the report."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(str(c) for c in line) + " |" for line in lines)


def percent(mean: float, half: float) -> str:
    """A share and half its interval; the interval is left out where nothing varies."""
    return f"{100 * mean:.2f} ± {100 * half:.2f}" if half else f"{100 * mean:.2f}"


def section(title: str, *paragraphs: str) -> str:
    """A section of the report."""
    return "\n\n".join([f"## {title}", *paragraphs])
