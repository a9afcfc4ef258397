"""Runs one adapter inside its peer's own environment and talks JSON lines with the driver: ``python -P host.py ADAPTER.py VARIANT``.

Needs numpy and nothing of BayesTuner. What is said, one line each:

    host    {"ready": {package: version}, "import_s": seconds}
    driver  {"knobs": [{"name", "kind", "levels"}], "rows": [[code, ...], ...], "threshold", "seed", "budget", "given": [result, ...]}
    host    {"ask": row or [code, ...], "seconds": from the last line read to this suggestion}
    driver  {"row", "objective", "constraint", "status": "ok" or "failed"}, or the next problem, or the end of the stream

``rows`` is absent for a full product grid (last knob fastest); ``given`` holds results that were measured before the first ask. An adapter
is a file with ``PACKAGES``, the packages whose versions it reports, and a class ``Peer(problem, variant)`` with ``ask() -> row or codes``
and ``tell(result)``. A result may be of another row than the one asked: the driver replaces what is off the table or was tried.
"""

import importlib.metadata
import importlib.util
import json
import math
import os
import random
import sys
import time
from typing import Any, NamedTuple

import numpy as np


class Result(NamedTuple):
    """What was measured. `objective` and `constraint` are NaN where it failed; `suggested` is False for a row the peer did not ask for."""

    row: int
    codes: tuple[int, ...]
    objective: float
    constraint: float
    failed: bool
    suggested: bool


class Problem:
    """A table as its peer sees it.

    Attributes
    ----------
    codes : array of int, shape (rows, d)
        Level indices, which is all that any peer is told of a knob's values.
    unit : array of float, shape (rows, d)
        The same in [0, 1]; means nothing for a categorical knob.
    sizes : list of int
        Levels of each knob.
    categorical : list of bool
    threshold : float
        The constraint is met at or above it. The objective is minimised.
    budget, given : int
        Runs in all, and how many of them were measured before the first ask.
    product : bool
        The rows are all combinations of the levels, last knob fastest.
    """

    def __init__(self, message: dict[str, Any]) -> None:
        self.knobs = message["knobs"]
        self.names = [f"k{i}" for i in range(len(self.knobs))]  # a peer may refuse a knob's own name
        self.sizes = [len(k["levels"]) for k in self.knobs]
        self.categorical = [k["kind"] == "categorical" for k in self.knobs]
        self.threshold = float(message["threshold"])
        self.seed, self.budget = int(message["seed"]), int(message["budget"])
        self.given = len(message.get("given", []))
        rows = message.get("rows")
        self.product = rows is None
        codes = np.indices(self.sizes).reshape(len(self.sizes), -1).T if self.product else rows
        self.codes = np.ascontiguousarray(codes, dtype=np.int64)
        self.unit = self.codes / np.maximum(np.array(self.sizes) - 1, 1)
        self._row = {tuple(c): i for i, c in enumerate(self.codes.tolist())}
        self._worst = math.nan

    def knob_list(self) -> list[tuple[str, int, bool]]:
        """(name, number of levels, is categorical) of each knob."""
        return list(zip(self.names, self.sizes, self.categorical, strict=True))

    def config(self, result: Result) -> dict[str, int]:
        """Knob name -> level index."""
        return dict(zip(self.names, result.codes, strict=True))

    def row_of(self, codes: Any) -> int | None:
        """The row that has these level indices, if the table has one."""
        return self._row.get(tuple(int(c) for c in codes))

    def result(self, message: dict[str, Any], asked: Any = None) -> Result:
        """A result as the driver sends it; `asked` is the suggestion it answers."""
        row, failed = int(message["row"]), message["status"] != "ok"
        codes = tuple(self.codes[row].tolist())
        y, c = (math.nan, math.nan) if failed else (float(message["objective"]), float(message["constraint"]))
        suggested = asked is not None and (asked == row if isinstance(asked, int) else list(asked) == list(codes))
        return Result(row, codes, y, c, failed, suggested)

    def penalised(self, result: Result) -> float:
        """One number for a peer that knows no constraint: log objective + 2 x relative violation.

        At 2, giving up 1 % of the threshold has to gain more than 2 % of the objective to look like progress. A failed run is as bad as
        the worst told so far.
        """
        if result.failed:
            return 5.0 if math.isnan(self._worst) else self._worst
        if result.objective <= 0:
            raise ValueError(f"a penalty on the logarithm needs an objective above 0, not {result.objective}")
        shortfall = max(0.0, self.threshold - result.constraint) / (abs(self.threshold) or 1.0)
        score = math.log(result.objective) + 2.0 * shortfall
        self._worst = score if math.isnan(self._worst) else max(self._worst, score)
        return score


def plain(asked: Any) -> int | list[float]:
    """A suggestion as JSON takes it: numpy's numbers become Python's; whole floats stay floats."""
    if isinstance(asked, (int, np.integer)):
        return int(asked)
    return [v.item() if isinstance(v, np.generic) else v for v in asked]


def load_adapter(path: str) -> Any:
    """Import an adapter under a name that can't be its peer's."""
    spec = importlib.util.spec_from_file_location("peer_adapter", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"can't import {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules["peer_adapter"] = module  # pickling peers look their classes up here
    spec.loader.exec_module(module)
    return module


def serve(adapter: Any, variant: str, lines: Any, say: Any) -> None:
    """Answer the driver's lines until they end."""
    problem, peer, asked = None, None, None
    for line in lines:
        started = time.perf_counter()
        message = json.loads(line)
        if "knobs" in message:
            problem = Problem(message)
            random.seed(problem.seed)
            np.random.seed(problem.seed)  # peers that take no seed draw from here
            started = time.perf_counter()
            peer = adapter.Peer(problem, variant)
            for result in message.get("given", []):
                peer.tell(problem.result(result))
        else:
            peer.tell(problem.result(message, asked))
        asked = plain(peer.ask())
        say({"ask": asked, "seconds": round(time.perf_counter() - started, 7)})


def main() -> None:
    """Keep the channel for ourselves, so that whatever a peer prints goes to stderr; then import the peer and serve."""
    path, variant = sys.argv[1:]
    channel = os.fdopen(os.dup(1), "w", buffering=1)
    lines = os.fdopen(os.dup(0), "r")
    os.dup2(2, 1)
    sys.stdout.reconfigure(line_buffering=True)  # a process that is killed writes out nothing more
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)

    def say(message: dict[str, Any]) -> None:
        channel.write(json.dumps(message) + "\n")

    started = time.perf_counter()
    adapter = load_adapter(path)
    seconds = time.perf_counter() - started
    versions = {name: importlib.metadata.version(name) for name in adapter.PACKAGES}
    say({"ready": versions, "import_s": round(seconds, 4)})
    serve(adapter, variant, lines, say)


if __name__ == "__main__":
    main()
