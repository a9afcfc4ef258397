"""Large grids, each in a process of its own: seconds a scoring of two metrics (n = 20), and how much memory it adds for each row.

pytest benchmarks/bench_scale.py --benchmark-columns=median
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CASES = [(6, 1, ()), (6, 2, ()), (7, 1, ()), (7, 2, ()), (6, 1, ("listed",)), (6, 2, ("listed",))]
MAX_BYTES_PER_ROW = 32


def score(exponent, threads, listed):
    command = [sys.executable, "-m", "benchmarks.scoring", str(exponent), "20", str(threads), *listed]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout)


@pytest.mark.parametrize(("exponent", "threads", "listed"), CASES, ids=lambda v: str(v) if isinstance(v, int) else "-".join(v) or "product")
def test_scoring_a_large_grid(benchmark, exponent, threads, listed):
    """The figure to read is seconds in `extra_info` (--benchmark-json); the timed call is the whole child process."""
    result = benchmark.pedantic(score, args=(exponent, threads, listed), rounds=1)
    benchmark.extra_info.update(result)
    what = f"10^{exponent} {'listed' if listed else 'product'} rows on {threads} threads"
    print(f"\n{what}: {result['seconds'] * 1e3:.1f} ms, {result['bytes_per_row']:.1f} bytes a row")
    assert result["found"][0] >= 0
    if not listed:
        assert result["bytes_per_row"] <= MAX_BYTES_PER_ROW
