"""Runs on disk: one JSON object per line, ``FOLDER/TUNER.jsonl``; anything that writes such lines can be reported beside the rest."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.search_quality.figures import Run


def path_of(folder: Path, tuner: str) -> Path:
    return folder / f"{tuner}.jsonl"


def append(folder: Path, run: Run) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    line = {"tuner": run.tuner, "problem": run.problem, "seed": run.seed, "rows": run.rows, "suggest_s": run.suggest_s}
    with path_of(folder, run.tuner).open("a") as stream:
        stream.write(json.dumps(line) + "\n")


def read(path: Path) -> list[Run]:
    """The runs of one tuner; of two with the same problem and seed, the later."""
    runs = {}
    for line in path.read_text().splitlines():
        entry = json.loads(line)
        run = Run(entry["tuner"], entry["problem"], entry["seed"], tuple(entry["rows"]), tuple(entry.get("suggest_s", ())))
        runs[run.problem, run.seed] = run
    return list(runs.values())


def read_all(folder: Path) -> dict[str, list[Run]]:
    """Runs of every tuner in a folder, by its name."""
    return {path.stem: read(path) for path in sorted(folder.glob("*.jsonl"))}
