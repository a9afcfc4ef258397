"""The metrics that a test run can report, in one table: job files are checked against it, the runner fills it, tables and docs print it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Mode = Literal["batches", "to_completion"]
"""What one run of a job is: a window over the batches of a job that goes on until it is stopped, or executions from start to exit."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric that a test run can report by itself; a job file may add others. Every such metric is above 0.

    Attributes
    ----------
    unit : str
        The unit it is stored in; ``1`` for a share.
    meaning : str
        One line for the reference of job files.
    label : str
        What tables call it; ``{unit}`` stands for the job's unit (image, request, ...).
    shown_unit, shown_factor : str, float
        The unit that people read it in, likewise, and how many of these one of `unit` is.
    needs_meter : bool
        Whether only an energy meter (or the labelled estimate) can tell it.
    needs_batches : bool
        Whether the job has to report each batch: lines of output say nothing of a single one.
    highest : float or None
        The largest value it can have, where there is one.
    only : str or None
        The one mode of jobs that reports it; None: both do.
    """

    unit: str
    meaning: str
    label: str
    shown_unit: str
    shown_factor: float = 1.0
    needs_meter: bool = False
    needs_batches: bool = False
    highest: float | None = None
    only: Mode | None = None


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "duration_s": Metric(
            "s",
            'time of one execution, from ready (from its start where it never says so) to its exit; only with `mode = "to_completion"`',
            "duration",
            "s",
            only="to_completion",
        ),
        "power_w": Metric(
            "W",
            "mean power of the whole machine's packages and memory over the window, or over the executions; needs an energy meter",
            "power",
            "W",
            needs_meter=True,
        ),
        "energy_j": Metric(
            "J",
            'energy of one execution; only with `mode = "to_completion"`; needs an energy meter',
            "energy",
            "J",
            needs_meter=True,
            only="to_completion",
        ),
        "energy_j_per_item": Metric(
            "J",
            "energy over the window, or of an execution, divided by the items done in it; needs an energy meter",
            "energy per {unit}",
            "J",
            needs_meter=True,
        ),
        "throughput": Metric(
            "items/s",
            "items done per second between the first and the last batch completion of the window, or in an execution that reports items",
            "throughput",
            "{unit}/s",
        ),
        "latency_p50_s": Metric(
            "s",
            "median latency of a batch: as the job reports it, else the time from one completion to the next; none by `throughput_regex`",
            "latency p50",
            "ms",
            1e3,
            needs_batches=True,
            only="batches",
        ),
        "latency_p99_s": Metric(
            "s", "99th percentile of the latency of a batch, likewise", "latency p99", "ms", 1e3, needs_batches=True, only="batches"
        ),
        "cpu_s": Metric(
            "s",
            'CPU time of all the job\'s processes in one execution; only with `mode = "to_completion"`',
            "CPU time",
            "s",
            only="to_completion",
        ),
        "cpu_s_per_item": Metric("s", "CPU time of all the job's processes per item", "CPU time per {unit}", "ms", 1e3),
        "cpu_utilisation": Metric(
            "1",
            "CPU time of all the job's processes divided by wall time times cores; 1 is all cores busy",
            "CPU utilisation",
            "%",
            1e2,
            highest=1.0,
        ),
        "memory_peak_bytes": Metric(
            "bytes", "largest memory use of the run, page cache included; needs cgroup limits", "memory peak", "MiB", 2.0**-20
        ),
    }
)
"""By name. A run leaves out the metrics that can't be known on its machine."""

LATENCY_METRICS = frozenset(name for name, metric in METRICS.items() if metric.needs_batches)
POWER_METRICS = frozenset(name for name, metric in METRICS.items() if metric.needs_meter)


def metrics_of_mode(mode: Mode) -> tuple[str, ...]:
    """The built-in metrics that runs of a job of this mode can report."""
    return tuple(name for name, metric in METRICS.items() if metric.only in (None, mode))
