"""``python -m benchmarks.tables FOLDER``: write ``problems.json`` for the tables that ``bayestuner measure-grid`` has put into a folder.

Each table becomes one problem for `benchmarks.search_quality`: minimise a column subject to a share of the throughput that the largest
configuration (the last row: a whole table stands in the grid's order) reaches. A table without a feasible row is left out, and said so.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path
from typing import Any

OBJECTIVE = "cpu_s_per_item"


def problem_of(path: Path, objective: str = OBJECTIVE, share: float = 0.6) -> dict[str, Any] | None:
    """The entry of ``problems.json`` for a table; None where its largest configuration failed, so that no bound can be named."""
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    about = json.loads(path.with_suffix(".json").read_text())
    if not rows or rows[-1]["status"] != "ok" or objective not in rows[-1]:
        return None
    return {
        "name": about["job"]["name"],
        "file": path.name,
        "family": "measured",
        "objective": objective,
        "constraint": "throughput",
        "threshold": share * float(rows[-1]["throughput"]),
        "knobs": [{"name": name, "type": _type_of([row[name] for row in rows])} for name in about["knobs"]],
    }


def _type_of(column: list[str]) -> str:
    try:
        [float(text) for text in column]
    except ValueError:
        return "categorical"
    return "ordinal"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tables", description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--objective", default=OBJECTIVE, help=f"column to minimise (default: {OBJECTIVE})")
    parser.add_argument(
        "--share", type=float, default=0.6, help="of the largest configuration's throughput that must be reached (default: 0.6)"
    )
    args = parser.parse_args()
    problems = []
    for path in sorted(args.folder.glob("*.csv")):
        problem = problem_of(path, args.objective, args.share)
        if problem is None:
            print(f"{path.name} is left out: its last row has no throughput or no {args.objective}")
        else:
            problems.append(problem)
    (args.folder / "problems.json").write_text(json.dumps(problems, indent=1) + "\n")
    print(f"{len(problems)} problems in {args.folder / 'problems.json'}")


if __name__ == "__main__":
    main()
