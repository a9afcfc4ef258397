"""What a program that embeds the Tuner waits for and how much memory it takes, with the compiled code in its cache and with nothing cached.

pytest benchmarks/bench_cold.py -s, or python -m benchmarks.bench_cold for the table alone. Every figure is of a process of its own.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STEPS = ("import", "first ask", "first model-based ask", "20 asks")
WARM_ROUNDS, EMPTY_ROUNDS = 9, 3
MAX_MIB = 150
MAX_COMPILE_CPU_S = 15


def run(cache, *options):
    """Figures of one process (see `embedding`)."""
    command = [sys.executable, "-m", "benchmarks.embedding", str(time.monotonic()), *options]
    environment = {**os.environ, "BAYESTUNER_CACHE": str(cache), "OPENBLAS_NUM_THREADS": "1"}
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT, env=environment).stdout)


def measure():
    """Runs with an empty cache, then runs with a full one."""
    empty = []
    with tempfile.TemporaryDirectory() as folder:
        for i in range(EMPTY_ROUNDS):
            empty.append(run(Path(folder) / str(i), "compile"))
        warm = [run(Path(folder) / "0") for _ in range(WARM_ROUNDS)]
    return warm, empty


def table(warm, empty):
    """Medians, with the least of all rounds in brackets."""

    def line(what, unit, digits, figures):
        return f"{what:<44} {statistics.median(figures):8.{digits}f} ({min(figures):.{digits}f}) {unit}"

    lines = [line(f"start to {step}, warm cache", "s", 3, [r["seconds"][step] for r in warm]) for step in STEPS]
    lines += [
        line("peak memory, warm cache", "MiB", 1, [r["peak_mib"] for r in warm]),
        line("threads, warm cache", "", 0, [r["threads"] for r in warm]),
        line("start to first ask, nothing cached", "s", 3, [r["seconds"]["first ask"] for r in empty]),
        line("start to everything compiled", "s", 1, [r["seconds"]["compiled"] for r in empty]),
        line("CPU of the whole process, nothing cached", "s", 1, [r["cpu_s"] for r in empty]),
        line("peak memory, nothing cached", "MiB", 1, [r["peak_mib"] for r in empty]),
    ]
    return "\n".join(lines)


def test_cold_start():
    warm, empty = measure()
    print("\n" + table(warm, empty))
    assert max(r["peak_mib"] for r in warm) <= MAX_MIB
    assert max(r["threads"] for r in warm) <= 2  # the program's own and the warm-up; no pool that nobody asked for
    assert min(r["cpu_s"] for r in empty) <= MAX_COMPILE_CPU_S  # of the least disturbed round
    for rounds in (warm, empty):
        assert min(r["seconds"]["first ask"] for r in rounds) <= 0.4
    assert min(r["seconds"]["first model-based ask"] for r in warm) <= 1.2


if __name__ == "__main__":
    print(table(*measure()))
