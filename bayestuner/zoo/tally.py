"""The figures of a job process that is run by hand, and how they are printed."""

from __future__ import annotations

import json
import resource
from array import array
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Tally:
    """What a run has done since its first batch, which is not counted.

    Attributes
    ----------
    batch_size, threads, instances : int
        Threads of all instances together.
    latencies_s : array of float
        Latency of each batch.
    duration_s : float
        Wall time.
    decoding_s : float or None
        Time spent in the input pipeline, of all instances; None where there is none.
    memory_peak_bytes : int
        Resident memory at its peak, summed over processes.
    """

    batch_size: int
    threads: int
    instances: int = 1
    latencies_s: array[float] = field(default_factory=lambda: array("d"))
    duration_s: float = 0.0
    decoding_s: float | None = None
    memory_peak_bytes: int = 0

    def as_dict(self, name: str, unit: str) -> dict[str, Any]:
        """The figures of the run: times in seconds, memory in bytes."""
        import numpy as np

        batches = len(self.latencies_s)
        items = batches * self.batch_size
        p50, p99 = np.quantile(self.latencies_s, [0.5, 0.99]).tolist() if batches else (None, None)
        return {
            "name": name,
            "unit": unit,
            "batch_size": self.batch_size,
            "threads": self.threads,
            "instances": self.instances,
            "batches": batches,
            "items": items,
            "duration_s": self.duration_s,
            "throughput": items / self.duration_s if batches and self.duration_s > 0 else 0.0,
            "latency_p50_s": p50,
            "latency_p99_s": p99,
            "pipeline_s_per_item": self.decoding_s / items if items and self.decoding_s is not None else None,
            "memory_peak_bytes": self.memory_peak_bytes,
        }


def own_peak_bytes() -> int:
    """Resident memory of this process at its peak."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def show(result: dict[str, Any], *, as_json: bool) -> None:
    """Print the figures of `Tally.as_dict`."""
    if as_json:
        print(json.dumps(result))
        return
    unit = result["unit"]
    threads = _counted(result["threads"], "thread")
    instances = f", {_counted(result['instances'], 'instance')}" if result["instances"] > 1 else ""
    print(f"{result['name']}: batch {result['batch_size']}, {threads}{instances}")
    print(f"  items        {result['items']} in {result['duration_s']:.2f} s ({result['batches']} batches)")
    print(f"  throughput   {result['throughput']:.4g} {unit}/s")
    if result["batches"]:
        print(f"  latency      p50 {1e3 * result['latency_p50_s']:.4g} ms, p99 {1e3 * result['latency_p99_s']:.4g} ms per batch")
    if result["pipeline_s_per_item"] is not None:
        print(f"  pipeline     {1e3 * result['pipeline_s_per_item']:.4g} ms per {unit}, within the latency")
    print(f"  memory peak  {result['memory_peak_bytes'] / 2**20:.0f} MiB")


def _counted(n: int, word: str) -> str:
    return f"{n} {word}{'s' * (n != 1)}"
