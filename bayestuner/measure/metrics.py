"""The metrics that a test run can report, in one table: job files are checked against it, the runner fills it, and the docs print it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

METRICS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "power_w": ("W", "mean power of the whole machine's packages and memory over the window; needs an energy meter"),
        "energy_j_per_item": ("J", "energy over the window divided by the items done in it; needs an energy meter"),
        "throughput": ("items/s", "items done per second between the first and the last batch completion of the window"),
        "latency_p50_s": (
            "s",
            "median latency of a batch: as the job reports it, else the time from one completion to the next; none by `throughput_regex`",
        ),
        "latency_p99_s": ("s", "99th percentile of the latency of a batch, likewise"),
        "cpu_s_per_item": ("s", "CPU time of all the job's processes per item"),
        "cpu_utilisation": ("1", "CPU time of all the job's processes divided by wall time times cores; 1 is all cores busy"),
        "memory_peak_bytes": ("bytes", "largest memory use of the run, page cache included; needs cgroup limits"),
    }
)
"""Name of the metric -> (its unit, what it is). A run leaves out the metrics that can't be known on its machine."""

LATENCY_METRICS = frozenset({"latency_p50_s", "latency_p99_s"})
"""Those that need a report of each batch: lines of output say nothing of a single one."""

POWER_METRICS = frozenset({"power_w", "energy_j_per_item"})
"""Those that need an energy meter."""

HIGHEST: Mapping[str, float] = MappingProxyType({"cpu_utilisation": 1.0})
"""The largest value of those metrics that have one. Every metric of a run is above 0."""
