"""Several of the paper's jobs at once on its server, SIMULATED: they share its packages, caches, memory and memory bandwidth.

One search finds how to divide the server among jobs that each have a bound of their own, as CLITE does (Patel and Tiwari, "CLITE: Efficient
and QoS-Aware Co-Location of Multiple Latency-Critical Jobs for Warehouse Scale Computers", HPCA 2020). What jobs do to each other here is
assumed, not measured:

* Cores are handed out in order, the first job's from core 0 on; a job's pages lie on the package of its first core.
* A package has one frequency, settled by how busy all cores on it are. A job on both packages holds both to the slower one's.
* The L3 cache of a package is shared in proportion to cores.
* Jobs whose pages lie on one package share its memory bandwidth. Where together they want more than there is, DRAM takes longer by the same
  factor for each of them; a job that is busy computing meanwhile is not slowed by that.
* A job's memory is its own; power is the whole server's.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bayestuner.errors import InvalidSpace
from bayestuner.goal import Goal
from bayestuner.simulate.platform import column, items_per_run
from bayestuner.simulate.profiles import Profile, profile
from bayestuner.simulate.runs import Behaviour, BoolArray, FloatArray, SimulatedRuns
from bayestuner.simulate.server import E5_2680_V4, Server
from bayestuner.simulate.work import FIRST_ACTIVITY, ROUNDS, Work, damped
from bayestuner.space import Integer, Knob, Ordinal, Space
from bayestuner.trial import Config

MEMORY_GIB = 8
"""What all jobs together may have: the most that a single job of the paper may. Assumed."""

LOAD = 0.75
"""Share of the paper's throughput that each job has to reach beside others."""

KNOBS = ("cores", "memory_gib", "batch_size")
METRICS = ("throughput", "latency_p50_s", "cpu_s_per_item", "memory_peak_bytes")
"""The metrics of each job, whose names have the job's name in front; ``power_w`` is that of the server."""


@dataclass(frozen=True, slots=True)
class Share:
    """The part of the server that one job has in m configurations: cores, memory_gib, batch (m,). Without cores it does not run."""

    cores: FloatArray
    memory_gib: FloatArray
    batch: FloatArray


def prefixes(names: Sequence[str]) -> tuple[str, ...]:
    """The text that the knobs and metrics of each job begin with: its name, with a number where a job runs more than once."""
    return tuple(name if names.count(name) == 1 else f"{name}_{names[: i + 1].count(name)}" for i, name in enumerate(names))


@functools.cache
def shared_space(names: tuple[str, ...], server: Server = E5_2680_V4) -> Space:
    """Every way to divide the server among two or three jobs, in steps that keep it at some ten thousand rows.

    Knobs are each job's ``NAME_cores``, ``NAME_memory_gib`` and ``NAME_batch_size``; allowed is what fits the server's cores and
    `MEMORY_GIB`.

    Raises
    ------
    InvalidSpace
        With any other number of jobs, whose steps have to be chosen.
    """
    if len(names) not in (2, 3):
        raise InvalidSpace(f"there are ready-made steps for 2 or 3 jobs that share the server, not for {len(names)}; give a space")
    step, memory, batch = (2, (1, 2, 4, 6), (1, 2, 4, 8, 16, 32)) if len(names) == 2 else (4, (1, 2, 4), (1, 4, 16))
    n_cores = 2 * server.cores_per_socket
    knobs: list[Knob] = []
    jobs = prefixes(names)
    for job in jobs:
        knobs += [
            Integer(f"{job}_cores", step, n_cores - step * (len(jobs) - 1), step),
            Ordinal(f"{job}_memory_gib", memory, more_is="safer"),
            Ordinal(f"{job}_batch_size", batch),
        ]

    def fits(config: Config) -> bool:
        cores, memory_gib = (sum(config[f"{job}_{knob}"] for job in jobs) for knob in ("cores", "memory_gib"))
        return bool(cores <= n_cores and memory_gib <= MEMORY_GIB)

    return Space(*knobs, where=fits)


def behaviour_together(jobs: Sequence[Profile], shares: Sequence[Share], server: Server = E5_2680_V4) -> tuple[Behaviour, list[BoolArray]]:
    """Compute the model for m configurations at once, and for each job in which of them (m,) it is killed for memory.

    The metrics are `METRICS` with the jobs' `prefixes` in front, and ``power_w``. A job without cores does nothing; all others behave as if
    it did not exist.
    """
    cores, at_home = _placed([share.cores for share in shares], server)
    active = cores.sum(axis=0)
    part = cores / np.maximum(active, 1.0)  # share of each package's cores, (jobs, 2, m)
    works = []
    for j, (job, share) in enumerate(zip(jobs, shares, strict=True)):
        home = np.where(at_home[j] == 0, cores[j, 0], cores[j, 1])
        away = share.cores - home
        l3_mib = server.l3_mib * part[j, 0] + server.l3_mib * part[j, 1]
        works.append(Work.of(job, np.where(share.cores > 0, home, 1.0), away, share.batch, l3_mib, server))
    activity, ghz, batch_s = _settled(works, shares, part, active, at_home, server)
    busy = (part * activity[:, None]).sum(axis=0)
    runs = [share.cores > 0 for share in shares]
    gb_per_s = np.sum([np.where(run, work.traffic_gb / s, 0.0) for run, work, s in zip(runs, works, batch_s, strict=True)], axis=0)
    power_w = (
        server.package_w(active[0], busy[0], ghz[0], active[1])
        + server.package_w(active[1], busy[1], ghz[1], active[0])
        + server.dram_w(gb_per_s)
    )  # fmt: skip
    killed = [np.asarray(run & (w.peak_bytes() > s.memory_gib * 2**30)) for run, w, s in zip(runs, works, shares, strict=True)]
    oom = np.asarray(np.any(killed, axis=0))
    figures: dict[str, FloatArray] = {"power_w": power_w}
    for name, run, work, share, s in zip(prefixes([job.name for job in jobs]), runs, works, shares, batch_s, strict=True):
        of_job = (np.where(run, share.batch / s, 0.0), s, share.cores * s / share.batch, work.peak_bytes())
        figures |= {f"{name}_{metric}": values for metric, values in zip(METRICS, of_job, strict=True)}
    return Behaviour({name: np.where(oom, np.nan, values) for name, values in figures.items()}, oom, ghz[0]), killed


class SimulatedColocation(SimulatedRuns):
    """Jobs that share the paper's server, tuned as one. SIMULATED: its outcomes carry the flag ``simulated``.

    Called with a configuration it is an `evaluate` for `bayestuner.optimize`.

    Parameters
    ----------
    names : sequence of str
        Of `profiles.PROFILES`; the first gets the first cores.
    space : Space, optional
        With the knobs that `shared_space` has, which is the default.
    load : float
        What each job has to reach, as a share of the paper's Table 1, whose bounds fill most of the server each.
    noise, drift, transient, seed
        As of a `SimulatedJob`; the noise is that of power and of each job's throughput.

    Attributes
    ----------
    goal : Goal
        The least power at that throughput of each job.
    table : Behaviour
        Of every row of the space; nan where the space forbids it.
    duration_s : ndarray, (n_rows,)
        How long a test run takes: all start at once, and none ends before each was measured.
    elapsed_s : float
        Simulated time that the runs made so far took.

    Raises
    ------
    InvalidSpace
        For an unknown job, or other knobs.
    """

    def __init__(
        self,
        names: Sequence[str],
        space: Space | None = None,
        *,
        load: float = LOAD,
        noise: float = 0.0,
        drift: float = 0.0,
        transient: float = 0.0,
        seed: int = 0,
        server: Server = E5_2680_V4,
    ) -> None:
        self.profiles = tuple(profile(name) for name in names)
        self.prefixes = prefixes(names)
        space = space if space is not None else shared_space(tuple(names), server)
        bounds = [f"{name}_throughput >= {load * job.constraint:g}" for name, job in zip(self.prefixes, self.profiles, strict=True)]
        goal = Goal(minimize="power_w", subject_to=bounds)
        table, self._killed_jobs = self._work_out(space, server)
        duration_s = self._durations(table, server)
        noisy = ("power_w", *(f"{name}_throughput" for name in self.prefixes))
        super().__init__(space, goal, table, duration_s, noisy, noise=noise, drift=drift, transient=transient, seed=seed)

    def _work_out(self, space: Space, server: Server) -> tuple[Behaviour, list[BoolArray]]:
        wanted = [f"{name}_{knob}" for name in self.prefixes for knob in KNOBS]
        if set(space.names) != set(wanted):
            raise InvalidSpace(f"these jobs have the knobs {', '.join(wanted)}; the space has {', '.join(space.names)}")
        columns = {name: column(space, name) for name in wanted}
        n_cores = 2 * server.cores_per_socket
        used = sum(columns[f"{name}_cores"] for name in self.prefixes)
        fits = (used <= n_cores) & (used >= 1)
        allowed = np.ones(space.n_rows, dtype=np.bool_) if space.allowed is None else space.allowed
        if (allowed & ~fits).any():
            raise InvalidSpace(f"a space of jobs that share the server allows 1 to {n_cores} cores in all; give it a where")
        shares = [Share(*(columns[f"{name}_{knob}"][allowed] for knob in KNOBS)) for name in self.prefixes]
        found, killed = behaviour_together(self.profiles, shares, server)

        def spread(values: FloatArray | BoolArray) -> FloatArray:
            whole = np.full(space.n_rows, np.nan)
            whole[allowed] = values
            return whole

        metrics = {name: spread(values) for name, values in found.metrics.items()}
        masks = [np.nan_to_num(spread(mask)) > 0 for mask in (found.oom, *killed)]
        return Behaviour(metrics, masks[0], spread(found.ghz)), masks[1:]

    def _durations(self, table: Behaviour, server: Server) -> FloatArray:
        startup_s = max(job.startup_s for job in self.profiles)
        longest_s = np.zeros(table.oom.shape)
        for name, job in zip(self.prefixes, self.profiles, strict=True):
            throughput = table.metrics[f"{name}_throughput"]
            run_s = items_per_run(job, server) / np.where(throughput > 0, throughput, np.inf)
            longest_s = np.maximum(longest_s, np.where(table.oom, 0.0, run_s))
        return startup_s + longest_s

    def _killed(self, row: int) -> str:
        names = [name for name, mask in zip(self.prefixes, self._killed_jobs, strict=True) if mask[row]]
        return f"{' and '.join(names)} "


def _placed(cores: Sequence[FloatArray], server: Server) -> tuple[FloatArray, FloatArray]:
    """Cores of each job on each package, (jobs, 2, m), and the package of its first one, (jobs, m)."""
    starts = np.cumsum([np.zeros_like(cores[0]), *cores[:-1]], axis=0)
    first = np.clip(server.cores_per_socket - starts, 0.0, np.asarray(cores))
    return np.stack([first, np.asarray(cores) - first], axis=1), np.where(starts < server.cores_per_socket, 0.0, 1.0)


def _settled(
    works: Sequence[Work], shares: Sequence[Share], part: FloatArray, active: FloatArray, at_home: FloatArray, server: Server
) -> tuple[FloatArray, FloatArray, list[FloatArray]]:
    """Activity of each job's cores (jobs, m), frequency of each package (2, m), and seconds of each job's batch (m,), found together."""
    straddled = np.any([(p[0] > 0) & (p[1] > 0) for p in part], axis=0)
    activity = np.full((len(works), *active[0].shape), FIRST_ACTIVITY)
    stretch = np.ones((2, *active[0].shape))
    batch_s: list[FloatArray] = []
    for _ in range(ROUNDS):
        ghz = np.array([server.frequency_ghz(active[p], (part[:, p] * activity).sum(axis=0)) for p in (0, 1)])
        ghz = np.where(straddled, ghz.min(axis=0), ghz)
        wanted = np.zeros_like(stretch)  # share of each package's bandwidth
        batch_s = []
        for j, (work, share) in enumerate(zip(works, shares, strict=True)):
            first = at_home[j] == 0
            s, busy = work.pace(np.where(first, ghz[0], ghz[1]), np.where(first, stretch[0], stretch[1]))
            batch_s.append(s)
            activity[j] = damped(activity[j], busy)
            used = np.where(share.cores > 0, work.traffic_gb / s / work.bandwidth_gb_per_s, 0.0)
            wanted += np.where(np.stack([first, ~first]), used, 0.0)
        stretch = np.maximum(stretch * wanted, 1.0)
    return activity, ghz, batch_s
