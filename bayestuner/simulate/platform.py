"""A job on the paper's server, SIMULATED: the figures of every configuration, and test runs that read them with noise, drift and failures.

How long a batch takes is computed in `bayestuner.simulate.work`. Here the frequency at which the first package settles under its power
limit is found together with how busy its cores are, since each depends on the other.
"""

from __future__ import annotations

import numpy as np

from bayestuner.errors import InvalidSpace
from bayestuner.goal import Goal
from bayestuner.simulate.profiles import Profile, profile
from bayestuner.simulate.runs import Behaviour, FloatArray, SimulatedRuns
from bayestuner.simulate.server import E5_2680_V4, Server
from bayestuner.simulate.work import FIRST_ACTIVITY, ROUNDS, Work, damped
from bayestuner.space import Integer, Ordinal, Space

METRICS = ("power_w", "throughput", "latency_p50_s", "energy_j_per_item", "cpu_s_per_item", "memory_peak_bytes")


def large_space() -> Space:
    """The paper's 28 x 8 x 32 = 7168 configurations."""
    return Space(Integer("cores", 1, 28), Integer("memory_gib", 1, 8, more_is="safer"), Integer("batch_size", 1, 32))


def small_space() -> Space:
    """The paper's 7 x 4 x 8 = 224 configurations: cores and batch in steps of 4, memory in steps of 2 GiB."""
    return Space(Integer("cores", 4, 28, 4), Ordinal("memory_gib", [2, 4, 6, 8], more_is="safer"), Integer("batch_size", 4, 32, 4))


def behaviour(job: Profile, cores: FloatArray, memory_gib: FloatArray, batch: FloatArray, server: Server = E5_2680_V4) -> Behaviour:
    """Compute the model for m configurations at once: cores, memory_gib, batch (m,).

    Cores are taken from the first socket until it is full, as the runner takes them.
    """
    near, far = np.minimum(cores, server.cores_per_socket), np.maximum(cores - server.cores_per_socket, 0.0)
    work = Work.of(job, near, far, batch, np.where(far > 0, 2.0, 1.0) * server.l3_mib, server)
    activity = np.full(cores.shape, FIRST_ACTIVITY)
    for _ in range(ROUNDS):
        ghz = server.frequency_ghz(near, activity)
        batch_s, busy = work.pace(ghz)
        activity = damped(activity, busy)
    power_w = (
        server.package_w(near, activity, ghz, far)
        + server.package_w(far, activity, ghz, near)
        + server.dram_w(work.traffic_gb / batch_s)
    )  # fmt: skip
    peak_bytes = work.peak_bytes()
    oom = peak_bytes > memory_gib * 2**30
    figures = (power_w, batch / batch_s, batch_s, power_w * batch_s / batch, cores * batch_s / batch, peak_bytes)
    return Behaviour({name: np.where(oom, np.nan, values) for name, values in zip(METRICS, figures, strict=True)}, oom, ghz)


class SimulatedJob(SimulatedRuns):
    """One of the paper's jobs on the paper's server. SIMULATED: its outcomes carry the flag ``simulated``.

    Called with a configuration it is an `evaluate` for `bayestuner.optimize`.

    Parameters
    ----------
    name : str
        One of `profiles.PROFILES`.
    space : Space, optional
        With the knobs cores, memory_gib and batch_size; by default `large_space`.
    noise : float
        Standard deviation of throughput and power from run to run, as a share of them; every reading has it as its `sd`.
    drift : float
        Share by which power rises within an hour of searching, as on a machine that warms up.
    transient : float
        Probability that a run fails because of the machine.
    seed : int
        The same configurations in the same order have the same outcomes with the same seed.

    Attributes
    ----------
    goal : Goal
        The least power at the throughput that the paper's Table 1 demands.
    table : Behaviour
        Of every row of the space.
    duration_s : ndarray, (n_rows,)
        How long a test run takes; one that is killed for memory takes as long as the start.
    elapsed_s : float
        Simulated time that the runs made so far took.
    """

    def __init__(
        self,
        name: str,
        space: Space | None = None,
        *,
        noise: float = 0.0,
        drift: float = 0.0,
        transient: float = 0.0,
        seed: int = 0,
        server: Server = E5_2680_V4,
    ) -> None:
        self.profile = profile(name)
        space = space if space is not None else large_space()
        goal = Goal(minimize="power_w", subject_to=[f"throughput >= {self.profile.constraint:g}"])
        table = behaviour(self.profile, *_columns(space), server)
        took_s = np.where(table.oom, 0.0, items_per_run(self.profile, server) / table.metrics["throughput"])
        duration_s = self.profile.startup_s + took_s
        noisy = ("power_w", "throughput")
        super().__init__(space, goal, table, duration_s, noisy, noise=noise, drift=drift, transient=transient, seed=seed)


def items_per_run(job: Profile, server: Server = E5_2680_V4) -> float:
    """Items of a test run: as many as let all runs of the small space together take as long as the paper's Table 2 says."""
    small = behaviour(job, *_columns(small_space()), server)
    seconds = float(np.nansum(1.0 / small.metrics["throughput"]))
    return (job.exhaustive_s - job.startup_s * small.oom.size) / seconds


def _columns(space: Space) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Values of cores, memory_gib and batch_size at every row, (n_rows,) each."""
    wanted = ("cores", "memory_gib", "batch_size")
    if set(space.names) != set(wanted):
        raise InvalidSpace(f"a simulated job has the knobs {', '.join(wanted)}; the space has {', '.join(space.names)}")
    cores, memory_gib, batch = (column(space, name) for name in wanted)
    return cores, memory_gib, batch


def column(space: Space, name: str) -> FloatArray:
    """Values of a knob whose values are numbers at every row, (n_rows,)."""
    d = space.names.index(name)
    return np.asarray(np.asarray(space.knobs[d].values, dtype=np.float64)[space.codes(np.arange(space.n_rows))[:, d]])
