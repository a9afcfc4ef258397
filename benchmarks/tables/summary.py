"""``python -m benchmarks.tables.summary FOLDER``: what each job of the zoo is, and what it did when it was measured."""

from __future__ import annotations

import argparse
from pathlib import Path

from bayestuner.simulate.tables import MeasuredTable, read_table
from bayestuner.trial import Measured
from bayestuner.zoo import registry

HEADS = (
    "job", "parameters", "GMAC per item", "unit", "items/s, 1 core, batch 1", "1 core, best", "all cores, batch 1",
    "all cores, best", "at batch", "memory MiB, batch 1", "memory MiB, largest batch", "paper's bound",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tables.summary", description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="of tables by bayestuner measure-grid")
    args = parser.parse_args()
    print(f"| {' | '.join(HEADS)} |\n|{'---|' * len(HEADS)}")
    for path in sorted(args.folder.glob("*.csv")):
        table = read_table(path)
        print(f"| {' | '.join(cells(table))} |")


def cells(table: MeasuredTable) -> list[str]:
    """A row of the table."""
    about = registry.describe(table.job)
    runs = [(config, outcome.metrics) for config, outcome in zip(table.space, table.outcomes, strict=True) if isinstance(outcome, Measured)]
    cores, batches = (sorted({config[knob] for config, _ in runs}) for knob in ("cores", "batch_size"))

    def fastest(n_cores: int, batch: int | None = None) -> tuple[float, int]:
        of = [(m["throughput"].value, c["batch_size"]) for c, m in runs if c["cores"] == n_cores and batch in (None, c["batch_size"])]
        return max(of)

    def memory_mib(batch: int) -> float:
        """The least memory that was ever in use: where the limit is wide the page cache counts too."""
        return min(m["memory_peak_bytes"].value for c, m in runs if c["batch_size"] == batch and c["cores"] == cores[-1]) / 2**20

    best, at = fastest(cores[-1])
    speeds = (fastest(cores[0], batches[0])[0], fastest(cores[0])[0], fastest(cores[-1], batches[0])[0], best)
    largest = max(c["batch_size"] for c, _ in runs if c["cores"] == cores[-1])
    return [
        table.job,
        f"{about['parameters']:,}",
        f"{about['gmac_per_item']:.3f}",
        table.unit,
        *(f"{speed:.4g}" for speed in speeds),
        str(at),
        f"{memory_mib(batches[0]):.0f}",
        f"{memory_mib(largest):.0f} ({largest})",
        f"{about['paper_throughput']:g}",
    ]


if __name__ == "__main__":
    main()
