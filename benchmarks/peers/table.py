"""What peers are run on: rows of level codes, what each measures, and which row stands in for a suggestion that can't be run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from benchmarks.search_quality.problems import Problem

FloatArray = npt.NDArray[np.float64]
Message = dict[str, Any]


@dataclass
class Table:
    """Rows that can be tried, with what each measures.

    Attributes
    ----------
    knobs : list of dict
        ``name``, ``kind`` ("ordinal" or "categorical") and ``levels`` of each.
    codes : ndarray of int, (rows, d)
        Level indices.
    objective, constraint : ndarray, (rows,)
        nan where the run failed. The objective is minimised, the constraint has to reach the threshold.
    threshold : float
    product : bool
        The rows are all combinations, last knob fastest; they are then not sent one by one.
    """

    knobs: list[Message]
    codes: npt.NDArray[np.int64]
    objective: FloatArray
    constraint: FloatArray
    threshold: float
    product: bool = False
    _span: FloatArray = field(init=False)
    _categorical: npt.NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        self._span = np.maximum([len(k["levels"]) - 1 for k in self.knobs], 1).astype(np.float64)
        self._categorical = np.array([k["kind"] == "categorical" for k in self.knobs])

    @classmethod
    def of(cls, problem: Problem) -> Self:
        """A search-quality problem; its rows keep their numbers."""
        knobs = [{"name": k.name, "kind": k.kind, "levels": list(k.values)} for k in problem.knobs]
        codes = [[k.code(v) for k, v in zip(problem.knobs, config, strict=True)] for config in problem.configs]
        return cls(knobs, np.array(codes, dtype=np.int64), problem.objective, problem.constraint, problem.threshold)

    @classmethod
    def server(cls) -> Self:
        """A smooth grid of the paper's size: 28 cores x 8 memory sizes x 32 batch sizes, power against throughput."""
        sizes = {"cores": 28, "memory_gib": 8, "batch_size": 32}
        codes = np.indices(tuple(sizes.values())).reshape(len(sizes), -1).T
        cores, memory, batch = (codes + 1.0).T
        speedup = 1.0 / (0.03 + 0.97 / cores)
        resident = np.minimum(1.0, memory / (1.0 + 0.1 * batch))  # below what the batch needs, it pages
        throughput = 8.0 * speedup * batch / (batch + 4.0) * resident**2
        power = 60.0 + 2.8 * cores**0.9 + 0.6 * memory + 0.35 * throughput**0.8
        knobs = [{"name": n, "kind": "ordinal", "levels": list(range(1, size + 1))} for n, size in sizes.items()]
        return cls(knobs, codes, power, throughput, 0.5 * float(throughput.max()), product=True)

    def message(self, seed: int, budget: int, given: Sequence[int] = ()) -> Message:
        """The line that starts a run; `given` are rows measured before the first ask."""
        rows = {} if self.product else {"rows": self.codes.tolist()}
        told = {"given": [self.result(r) for r in given]} if given else {}
        return {"knobs": self.knobs, **rows, "threshold": self.threshold, "seed": seed, "budget": budget, **told}

    def result(self, row: int) -> Message:
        """What a run of this row measures, as the peer is told."""
        y, c = float(self.objective[row]), float(self.constraint[row])
        if np.isfinite(y) and np.isfinite(c):
            return {"row": int(row), "objective": y, "constraint": c, "status": "ok"}
        return {"row": int(row), "objective": None, "constraint": None, "status": "failed"}

    def snap(self, asked: int | Sequence[float], tried: npt.NDArray[np.bool_]) -> tuple[int, bool]:
        """Row to run for a suggestion, and whether it is another configuration than the one asked.

        The nearest row not tried: distance in the unit cube, any two categories 1 apart, ties to the lowest row.

        Raises
        ------
        ValueError
            For a suggestion that has not one finite number a knob.
        """
        x = self.codes[asked].astype(np.float64) if isinstance(asked, int) else np.asarray(asked, dtype=np.float64)
        if x.shape != self._span.shape or not np.isfinite(x).all():
            raise ValueError(f"a suggestion is a row or {self._span.size} finite level indices, not {asked!r}")
        different = np.abs(self.codes - np.round(x)) > 0.5
        distance = np.where(self._categorical, different, np.abs(self.codes - x) / self._span)
        row = int(np.argmin(np.where(tried, np.inf, (distance**2).sum(1))))
        return row, bool(different[row].any())
