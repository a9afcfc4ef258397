"""Measuring a whole grid into a table: every configuration is run once, in a random order; a stopped call can be gone on with."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from bayestuner.errors import InvalidSpace, RunFailed
from bayestuner.measure.cgroup.isolation import GroupFault
from bayestuner.measure.job.command import text_of
from bayestuner.measure.job.job import Job
from bayestuner.measure.machine.lock import machine_lock
from bayestuner.measure.machine.temperature import Cooldown
from bayestuner.measure.machine.topology import read_topology
from bayestuner.measure.run.knobs import open_knobs
from bayestuner.measure.run.placement import cpus_of
from bayestuner.measure.run.record import RunRecord
from bayestuner.measure.run.runner import Runner
from bayestuner.measure.run.warmup import warmup_s
from bayestuner.measure.table import Provenance, Table
from bayestuner.space import Categorical
from bayestuner.trial import Config, Failed, Outcome
from bayestuner.tune.machine import open_machine
from bayestuner.tune.programs import changed, fingerprints, latest_of
from bayestuner.tune.progress import Progress
from bayestuner.tune.rules import HOPELESS_RUNS, BusyGuard


@dataclass(frozen=True, slots=True)
class RowProgress:
    """Row k of n of the table is done.

    Attributes
    ----------
    k, n : int
    config : dict
    outcome : Measured or Failed
    seconds_left : float
        Estimated for all configurations that are still to be run.
    """

    k: int
    n: int
    config: Config
    outcome: Outcome
    seconds_left: float


class GridProgress(Progress):
    """Receives what `measure_grid` reports while it works. This one shows nothing: override the methods whose events you show."""

    def grid_began(self, job: Job, table: Table, n: int, done: int, facts: Mapping[str, Any]) -> None:
        """The machine is ready; `done` of n configurations are in the table already."""

    def row_finished(self, row: RowProgress) -> None:
        """A row has been written to the table."""


def measure_grid(
    job: Job,
    out: Path,
    *,
    only: Mapping[str, Sequence[str]] | None = None,
    progress: GridProgress | None = None,
    budget_s: float | None = None,
    seed: int = 0,
    allow_affinity: bool = False,
    wait: bool = False,
) -> bool:
    """Run every configuration of a job once and write its figures to a table; configurations that are in the table are not run again.

    The order is random (by `seed`), so that a slow drift of the machine is not taken for the effect of a knob, and an unfinished table
    covers the whole grid. A run that failed because of the machine gets no row: the next call makes it again.

    Parameters
    ----------
    job : Job
    out : Path
        The CSV file, see `bayestuner.measure.table.Table`.
    only : mapping of str to sequence of str, optional
        Knob -> the values of it to measure, as text; by default all values of all knobs.
    progress : GridProgress, optional
    budget_s : float, optional
        No run is started later than this after the call.
    seed, allow_affinity, wait
        As for `tune`.

    Returns
    -------
    bool
        True where the whole grid (or the part of it that was asked for) has been measured.

    Raises
    ------
    RunFailed
        The first runs have all failed, and not for lack of memory, or several in a row failed because of the machine.
    StoreError, MachineBusy, MeterUnavailable, IsolationUnavailable, KnobUnavailable
    """
    progress = progress or GridProgress()
    part = part_values(job, only or {})
    configs = part_of(job, only or {})
    begun = time.monotonic()
    with ExitStack() as stack:
        stack.enter_context(machine_lock(out, wait=wait, tell=progress.note))
        topology = read_topology(policy=job.measure.core_policy)
        isolation, meter, facts = open_machine(job, allow_affinity, progress)
        if meter is not None:
            stack.callback(meter.close)
        table = Table(out, Provenance(list(job.space.names), _job_facts(job), facts["meter"]))
        todo = [c for c in configs if table.key(c) not in table.measured]
        random.Random(seed).shuffle(todo)  # noqa: S311 - an order, no secret
        n = len(configs)
        progress.grid_began(job, table, n, n - len(todo), facts)
        if not todo:
            table.sort([table.key(c) for c in job.space])  # an earlier call may have been killed before it sorted the table
            return True
        programs = fingerprints(job)
        for path in changed(latest_of(table.starts), programs):
            progress.note(f"{path} has changed since rows of {out} were measured, so that they may not be comparable with later ones")
        table.begin({**facts, "knobs": _knob_facts(job, part), "programs": programs})
        knobs = open_knobs(job, cpus_of(job, job.all_max_config(), topology))
        warmup = warmup_s(job.measure, meter, facts["preflight"])
        runner = stack.enter_context(Runner(job, meter=meter, isolation=isolation, warmup_s=warmup, topology=topology, knobs=knobs))
        rows = _Rows(runner, Cooldown(job.measure.cooldown_seconds), table, progress)
        for i, config in enumerate(todo):
            if budget_s is not None and time.monotonic() - begun > budget_s:
                return False
            rows.measure(config, len(todo) - i - 1, n)
        if rows.missing == 0 and {table.key(c) for c in configs} <= table.measured:
            table.sort([table.key(c) for c in job.space])
            return True
        return False


class _Rows:
    """Runs configurations and writes each to a table."""

    def __init__(self, runner: Runner, cooldown: Cooldown, table: Table, progress: GridProgress) -> None:
        self.runner = runner
        self.cooldown = cooldown
        self.table = table
        self.progress = progress
        self.busy_guard = BusyGuard(runner.job.measure.max_outside_load)
        self.missing = 0
        self._took_s: list[float] = []
        self._transients = 0
        self._broken = 0

    def measure(self, config: Config, left: int, n: int) -> None:
        """Run a configuration; `left` of n are still to be run after it."""
        started = time.monotonic()
        self.cooldown.wait()
        try:
            record = self.runner.run(config)
        except GroupFault as error:
            record = RunRecord(Failed("transient", str(error)), {})
        self._took_s.append(time.monotonic() - started)
        outcome = record.outcome
        if isinstance(outcome, Failed) and outcome.kind == "transient":
            self._transient(outcome)
        else:
            self._transients = 0
            self.table.add(config, outcome, record.details)
        seconds_left = left * sum(self._took_s) / len(self._took_s)
        self.progress.row_finished(RowProgress(n - left, n, config, outcome, seconds_left))
        self.busy_guard.check(record.details)
        if isinstance(outcome, Failed) and outcome.kind in ("error", "timeout"):
            self._broken += 1
            if self._broken == len(self._took_s) == HOPELESS_RUNS:
                raise RunFailed("error", f"all of the first {HOPELESS_RUNS} runs failed, the last with: {outcome.message or outcome.kind}")

    def _transient(self, outcome: Failed) -> None:
        self.missing += 1
        self._transients += 1
        if self._transients >= HOPELESS_RUNS:
            raise RunFailed("transient", f"{HOPELESS_RUNS} runs in a row could not be measured, the last because {outcome.message}")


def part_of(job: Job, only: Mapping[str, Sequence[str]]) -> list[Config]:
    """The configurations of a job with these values of its knobs; raises `InvalidSpace` for a knob or value that it does not have."""
    part = part_values(job, only)
    return [dict(zip(part, values, strict=True)) for values in product(*part.values())]


def part_values(job: Job, only: Mapping[str, Sequence[str]]) -> dict[str, list[Any]]:
    """The values of every knob in the part of the grid that `only` describes."""
    known = {knob.name: {text_of(value): value for value in knob.values} for knob in job.space.knobs}
    for name, texts in only.items():
        if name not in known:
            raise InvalidSpace(f"{job.name} has no knob {name!r}; its knobs are {', '.join(known)}")
        for text in texts:
            if text not in known[name]:
                raise InvalidSpace(f"the knob {name} of {job.name} has no value {text!r}; its values are {', '.join(known[name])}")
    return {name: [known[name][text] for text in only.get(name, known[name])] for name in known}


def _knob_facts(job: Job, part: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    """What the file beside the table says of the knobs, and which part of the grid was asked for."""
    return [
        {
            "name": knob.knob.name,
            "kind": knob.kind,
            "ordered": not isinstance(knob.knob, Categorical),
            "values": list(knob.knob.values),
            "part": part[knob.knob.name],
        }
        for knob in job.knobs
    ]


def _job_facts(job: Job) -> dict[str, Any]:
    """What must be the same for all rows of a table; the folders of job file and table are not part of it."""
    measure = job.measure
    return {
        "name": job.name,
        "unit": job.unit,
        "command": list(job.command),
        "env": dict(job.env),
        "throughput_regex": job.throughput_regex,
        **({} if job.decimal_mark is None else {"decimal_mark": job.decimal_mark}),
        **({"mode": job.mode} if job.runs_to_completion else {}),
        **({"metrics": {name: metric.as_dict() for name, metric in job.metrics.items()}} if job.metrics else {}),
        "min_seconds": measure.min_seconds,
        "max_seconds": measure.max_seconds,
        "relative_error": measure.relative_error,
        "placement": measure.placement,
    }
