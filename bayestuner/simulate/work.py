"""How long a job's batches take on given cores of the paper's server at given frequencies, SIMULATED.

The model of a batch of b items (all times in seconds):

    t = (batch_s + b serial_s) (base / f)  +  max(b 2 gmac / (32 f efficiency width) (1 + stall spill),  traffic / bandwidth)

where f is the frequency, `width` the number of cores that a batch keeps busy (a core of the second socket counts less) and `spill` the
share of its working set that does not fit in the L3 cache.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bayestuner.simulate.profiles import Profile
from bayestuner.simulate.server import Server

FloatArray = npt.NDArray[np.float64]

FLOP_PER_CYCLE = 32.0  # two AVX2 multiply-adds of eight floats
STREAMING = 0.7  # share of the memory's peak that a program reaches (STREAM on Haswell-EP and later, roughly)
BOTH_SOCKETS = 1.6  # bandwidth with cores on both, of one's: most pages lie on the first. Assumed.
BUSY = 0.95  # activity of a core that computes, of pure vectorised code. Assumed.
WAITING = 0.12  # activity of a core whose thread spins for work, which runtimes do between operators. Assumed.
ROUNDS = 40  # in which frequency and activity settle together
FIRST_ACTIVITY = 0.5


@dataclass(frozen=True, slots=True)
class Work:
    """The work of a job's batches in m configurations: everything that does not depend on the frequency of its cores.

    Attributes
    ----------
    job : Profile
    server : Server
    cores, batch : ndarray, (m,)
    width : ndarray, (m,)
        Number of cores that a batch keeps busy.
    spill : ndarray, (m,)
        Share of its working set that does not fit in the L3 cache.
    traffic_gb : ndarray, (m,)
        Data that a batch reads from and writes to DRAM.
    bandwidth_gb_per_s : ndarray, (m,)
        Bandwidth of the DRAM that holds the job's pages, where no other job uses it.
    """

    job: Profile
    server: Server
    cores: FloatArray
    batch: FloatArray
    width: FloatArray
    spill: FloatArray
    traffic_gb: FloatArray
    bandwidth_gb_per_s: FloatArray

    @classmethod
    def of(cls, job: Profile, home: FloatArray, away: FloatArray, batch: FloatArray, l3_mib: FloatArray, server: Server) -> Work:
        """Compute the work of m configurations.

        Parameters
        ----------
        home, away : ndarray, (m,)
            Number of cores on the socket that holds the job's pages (that of its first core), and on the other one.
        batch : ndarray, (m,)
        l3_mib : ndarray, (m,)
            Size of the L3 cache that the job has.
        """
        wanted = job.grain * np.sqrt(batch)
        width = np.minimum(home, wanted) + job.remote * np.minimum(away, np.maximum(wanted - home, 0.0))
        working_mib = batch * job.activations_mib
        spill = np.maximum(1.0 - l3_mib / working_mib, 0.0)
        traffic_gb = (job.weights_mib + 32.0 * spill * working_mib) * 2**20 / 1e9  # spilt data crosses between layers again and again
        bandwidth = STREAMING * server.dram_gb_per_s * np.where(away > 0, BOTH_SOCKETS, 1.0)
        return cls(job, server, home + away, batch, width, spill, traffic_gb, bandwidth)

    def pace(self, ghz: FloatArray, stretch: FloatArray | float = 1.0) -> tuple[FloatArray, FloatArray]:
        """Seconds of a batch (m,), and the share of its time (m,) that a core of the job computes.

        Parameters
        ----------
        ghz : ndarray, (m,)
            Frequency of the job's cores.
        stretch : ndarray, (m,)
            Factor by which DRAM takes longer than where the job has it to itself.
        """
        job = self.job
        serial_s = (job.batch_s + self.batch * job.serial_s) * self.server.base_ghz / ghz
        compute_s = (
            self.batch * 2.0 * job.gmac / (FLOP_PER_CYCLE * ghz * job.efficiency * self.width) * (1.0 + job.stall * self.spill)
        )  # fmt: skip
        parallel_s = np.maximum(compute_s, self.traffic_gb / self.bandwidth_gb_per_s * stretch)
        batch_s = serial_s + parallel_s
        busy_s = parallel_s * self.width + serial_s
        return batch_s, busy_s / (batch_s * self.cores)

    def peak_bytes(self) -> FloatArray:
        """Memory that a run needs, (m,)."""
        return np.asarray((self.job.memory_mib[0] + self.job.memory_mib[1] * self.batch) * 2**20)


def damped(activity: FloatArray, busy: FloatArray) -> FloatArray:
    """The next guess of a core's mean activity (m,), halfway from the last one to what cores computing for that share of time give."""
    return np.asarray(0.5 * (activity + BUSY * busy + WAITING * (1.0 - busy)))
