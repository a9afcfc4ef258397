"""A job on the paper's server, SIMULATED: what every configuration gives, and test runs that read it with noise, drift and failures.

The model of a batch of b items on c cores (all times in seconds):

    t = (batch_s + b serial_s) (base / f)  +  max(b 2 gmac / (32 f efficiency width) (1 + stall spill),  traffic / bandwidth)

with `width` the cores that a batch keeps busy (a core of the second socket adds less), `spill` the part of its working set beyond the L3
cache, and f the frequency that the first package settles at under its power limit, found together with how busy its cores are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bayestuner.errors import InvalidSpace, RunFailed
from bayestuner.goal import Goal
from bayestuner.simulate.profiles import Profile, profile
from bayestuner.simulate.server import E5_2680_V4, Server
from bayestuner.space import Integer, Ordinal, Space
from bayestuner.trial import Config, Failed, Measured, Outcome, Reading

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

FLOP_PER_CYCLE = 32.0  # two AVX2 multiply-adds of eight floats
STREAMING = 0.7  # share of the memory's peak that a program reaches (STREAM on Haswell-EP and later, roughly)
BOTH_SOCKETS = 1.6  # bandwidth with cores on both, of one's: most pages lie on the first. Assumed.
BUSY = 0.95  # activity of a core that computes, of pure vectorised code. Assumed.
WAITING = 0.12  # activity of a core whose thread spins for work, which runtimes do between operators. Assumed.
FLAG = "simulated"

METRICS = ("power_w", "throughput", "latency_p50_s", "energy_j_per_item", "cpu_s_per_item", "memory_peak_bytes")


def large_space() -> Space:
    """The paper's 28 x 8 x 32 = 7168 configurations."""
    return Space(Integer("cores", 1, 28), Integer("memory_gib", 1, 8, more_is="safer"), Integer("batch_size", 1, 32))


def small_space() -> Space:
    """The paper's 7 x 4 x 8 = 224 configurations: cores and batch in steps of 4, memory in steps of 2 GiB."""
    return Space(Integer("cores", 4, 28, 4), Ordinal("memory_gib", [2, 4, 6, 8], more_is="safer"), Integer("batch_size", 4, 32, 4))


@dataclass(frozen=True)
class Behaviour:
    """What a job does in each of m configurations, without noise; nan where it is killed for memory.

    Attributes
    ----------
    metrics : dict
        Each of `METRICS` -> (m,).
    oom : ndarray of bool, (m,)
    ghz : ndarray, (m,)
        Frequency of the first package.
    """

    metrics: Mapping[str, FloatArray]
    oom: BoolArray
    ghz: FloatArray


def behaviour(job: Profile, cores: FloatArray, memory_gib: FloatArray, batch: FloatArray, server: Server = E5_2680_V4) -> Behaviour:
    """Work out the model for m configurations at once: cores, memory_gib, batch (m,).

    Cores are taken from the first socket until it is full, as the runner takes them.
    """
    near, far = np.minimum(cores, server.cores_per_socket), np.maximum(cores - server.cores_per_socket, 0.0)
    sockets = np.where(far > 0, 2.0, 1.0)
    wanted = job.grain * np.sqrt(batch)
    width = np.minimum(near, wanted) + job.remote * np.minimum(far, np.maximum(wanted - near, 0.0))
    working_mib = batch * job.activations_mib
    spill = np.maximum(1.0 - sockets * server.l3_mib / working_mib, 0.0)
    traffic_gb = (job.weights_mib + 32.0 * spill * working_mib) * 2**20 / 1e9  # spilt data crosses between layers again and again
    feed_s = traffic_gb / (STREAMING * server.dram_gb_per_s * np.where(far > 0, BOTH_SOCKETS, 1.0))
    activity = np.full(cores.shape, 0.5)
    for _ in range(40):  # frequency and activity settle together
        ghz = server.frequency_ghz(near, activity)
        serial_s = (job.batch_s + batch * job.serial_s) * server.base_ghz / ghz
        compute_s = batch * 2.0 * job.gmac / (FLOP_PER_CYCLE * ghz * job.efficiency * width) * (1.0 + job.stall * spill)
        parallel_s = np.maximum(compute_s, feed_s)
        batch_s = serial_s + parallel_s
        busy_s = parallel_s * width + serial_s
        busy = busy_s / (batch_s * cores)
        activity = 0.5 * (activity + BUSY * busy + WAITING * (1.0 - busy))
    power_w = (
        server.package_w(near, activity, ghz, far)
        + server.package_w(far, activity, ghz, near)
        + server.dram_w(traffic_gb / batch_s)
    )  # fmt: skip
    peak_bytes = (job.memory_mib[0] + job.memory_mib[1] * batch) * 2**20
    oom = peak_bytes > memory_gib * 2**30
    figures = (power_w, batch / batch_s, batch_s, power_w * batch_s / batch, cores * batch_s / batch, peak_bytes)
    return Behaviour({name: np.where(oom, np.nan, values) for name, values in zip(METRICS, figures, strict=True)}, oom, ghz)


class SimulatedJob:
    """One of the paper's jobs on the paper's server. SIMULATED: its outcomes carry the flag ``simulated``.

    Called with a configuration it is an `evaluate` for `bayestuner.optimize`.

    Parameters
    ----------
    name : str
        One of `profiles.PROFILES`.
    space : Space, optional
        With the knobs cores, memory_gib and batch_size; by default `large_space`.
    noise : float
        Standard deviation of throughput and power from run to run, as a share; every reading tells it.
    drift : float
        What power rises by over an hour of searching, as a share (a machine warming up).
    transient : float
        The chance that a run fails for no reason of its own.
    seed : int
        Same seed, same configurations in the same order: same outcomes.

    Attributes
    ----------
    goal : Goal
        The least power at the throughput of the paper's Table 1.
    table : Behaviour
        Of every row of the space.
    duration_s : ndarray, (n_rows,)
        How long a test run takes; one that is killed for memory takes the start-up.
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
        self.space = space if space is not None else large_space()
        self.goal = Goal(minimize="power_w", subject_to=[f"throughput >= {self.profile.constraint:g}"])
        self.noise, self.drift, self.transient = float(noise), float(drift), float(transient)
        self.elapsed_s = 0.0
        self.table = behaviour(self.profile, *_columns(self.space), server)
        self._rng = np.random.default_rng(seed)
        self.duration_s = self._durations(server)

    def run(self, config: Config) -> Outcome:
        """Make one simulated test run."""
        row = self.space.row(config)
        self.elapsed_s += float(self.duration_s[row])
        if self.transient and self._rng.random() < self.transient:
            return Failed("transient", "simulated: the machine was at fault")
        if self.table.oom[row]:
            return Failed("oom", "simulated: killed for memory")
        values = {name: float(column[row]) for name, column in self.table.metrics.items()}
        for name in ("power_w", "throughput"):
            values[name] *= 1.0 + self.noise * self._rng.standard_normal() if self.noise else 1.0
        values["power_w"] *= 1.0 + self.drift * self.elapsed_s / 3600.0
        return Measured({name: self._reading(name, value) for name, value in values.items()}, (FLAG,))

    def __call__(self, config: Config) -> dict[str, Reading]:
        """As `run`; raises `RunFailed` for a run that fails."""
        outcome = self.run(config)
        if isinstance(outcome, Failed):
            raise RunFailed(outcome.kind, outcome.message)
        return dict(outcome.metrics)

    @property
    def feasible(self) -> BoolArray:
        """Which rows meet the goal, (n_rows,)."""
        throughput = self.table.metrics["throughput"]
        return ~self.table.oom & (np.nan_to_num(throughput) >= self.profile.constraint)

    @property
    def optimum(self) -> int:
        """The row that meets the goal with the least power, without noise."""
        return int(np.where(self.feasible, self.table.metrics["power_w"], np.inf).argmin())

    def _reading(self, name: str, value: float) -> Reading:
        noisy = self.noise and name in ("power_w", "throughput")
        return Reading(value, sd=self.noise * value if noisy else None)

    def _durations(self, server: Server) -> FloatArray:
        items = items_per_run(self.profile, server)
        run_s = items / self.table.metrics["throughput"]
        return self.profile.startup_s + np.where(self.table.oom, 0.0, run_s)


def items_per_run(job: Profile, server: Server = E5_2680_V4) -> float:
    """Items of a test run: so many that all of the small space take as long as the paper's Table 2 says."""
    small = behaviour(job, *_columns(small_space()), server)
    seconds = float(np.nansum(1.0 / small.metrics["throughput"]))
    return (job.exhaustive_s - job.startup_s * small.oom.size) / seconds


def _columns(space: Space) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Values of cores, memory_gib and batch_size at every row, (n_rows,) each."""
    wanted = ("cores", "memory_gib", "batch_size")
    if set(space.names) != set(wanted):
        raise InvalidSpace(f"a simulated job has the knobs {', '.join(wanted)}; the space has {', '.join(space.names)}")
    codes = space.codes(np.arange(space.n_rows))

    def column(name: str) -> FloatArray:
        d = space.names.index(name)
        return np.asarray(np.asarray(space.knobs[d].values, dtype=np.float64)[codes[:, d]])

    return column("cores"), column("memory_gib"), column("batch_size")
