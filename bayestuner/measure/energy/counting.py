"""What perf, powercap and MSR have in common: counters read back to back, proven to move before they are trusted."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from bayestuner.measure.cgroup.isolation import Refusal
from bayestuner.measure.energy.counts import Counter, energies_j
from bayestuner.measure.energy.meter import EnergySample, MeterFault

PROOF_S = 0.1
"""How long a counter may take to move before it is called dead. Real ones step every millisecond."""

STAMP_LIMIT_NS = 100_000
STAMP_TRIES = 5


class Refused(Exception):
    """A meter can't be used here; carries the `Refusal` that says why."""

    def __init__(self, what: str, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.refusal = Refusal(what, reason, remedy)


class CountingMeter:
    """An energy meter made of counters; see `bayestuner.measure.energy.meter.EnergyMeter` for the interface.

    Parameters
    ----------
    source : str
        ``perf``, ``powercap`` or ``msr``.
    counters : sequence of Counter
        One per domain, package and DRAM domains of every socket; never psys, core or uncore, which are parts or sums of these.
    read_counts : callable
        Returns one raw count per counter, in their order; raises OSError.
    close : callable
        Releases the descriptors.
    notes : sequence of str
        What a reader of the results should know: dropped domains, units taken, ...
    """

    estimated = False

    def __init__(
        self,
        source: str,
        counters: Sequence[Counter],
        read_counts: Callable[[], Sequence[int]],
        close: Callable[[], None],
        notes: Sequence[str] = (),
    ) -> None:
        self.source = source
        self.counters = tuple(counters)
        self.domains = tuple(counter.name for counter in counters)
        self.boundary = "pkg+dram" if any(counter.kind == "dram" for counter in counters) else "pkg"
        self.max_interval_s = min(counter.safe_interval_s for counter in counters)
        self.notes = tuple(notes)
        self._read_counts = read_counts
        self._close = close
        self._closed = False

    def read(self) -> EnergySample:
        """Read every domain back to back; raises MeterFault when one can't be read any more.

        A reading that took over 100 us (we were scheduled away in the middle) is repeated, up to five times; the tightest is returned.
        """
        if self._closed:
            raise MeterFault(f"the {self.source} meter is closed; open a new one")
        best: EnergySample | None = None
        for _ in range(STAMP_TRIES):
            before = time.monotonic_ns()
            try:
                counts = tuple(self._read_counts())
            except OSError as error:
                raise MeterFault(
                    f"the {self.source} meter could not be read any more ({describe(error)}); a package may have gone offline or the "
                    "driver been removed: run `bayestuner doctor`"
                ) from error
            after = time.monotonic_ns()
            sample = EnergySample((before + after) // 2, (after - before + 1) // 2, counts)
            if best is None or sample.uncertainty_ns < best.uncertainty_ns:
                best = sample
            if after - before <= STAMP_LIMIT_NS:
                break
        assert best is not None  # noqa: S101 - the loop runs at least once
        return best

    def energy_j(self, first: EnergySample, last: EnergySample) -> float:
        """Joules of all domains together; see `EnergyMeter.energy_j`."""
        return sum(self.domain_energies_j(first, last))

    def domain_energies_j(self, first: EnergySample, last: EnergySample) -> tuple[float, ...]:
        """Joules of each domain, in the order of `domains`; raises MeterFault as `energy_j` does."""
        return energies_j(self.counters, first.raw_counts, last.raw_counts, (last.stamp_ns - first.stamp_ns) / 1e9)

    def close(self) -> None:
        """Release the descriptors; may be called twice."""
        if not self._closed:
            self._closed = True
            self._close()


def moving(read_counts: Callable[[], Sequence[int]], *, timeout_s: float = PROOF_S) -> tuple[bool, ...]:
    """Which counters change within `timeout_s`; returns as soon as all did. Raises OSError as `read_counts` does."""
    first = tuple(read_counts())
    moved = [False] * len(first)
    deadline = time.monotonic() + timeout_s
    while True:
        late = time.monotonic() >= deadline  # asked before the read, so that one read always follows the whole wait
        for index, count in enumerate(read_counts()):
            moved[index] = moved[index] or count != first[index]
        if all(moved) or late:
            return tuple(moved)
        time.sleep(0.005)


def usable_domains(what: str, names: Sequence[str], moved: Sequence[bool], dead_remedy: str) -> tuple[tuple[bool, ...], tuple[str, ...]]:
    """Which domains to keep, and notes about those left out.

    A package counter that stands still refuses the meter. DRAM is kept when every socket that has a package counter has a moving
    DRAM counter, and otherwise left out everywhere: a total that holds the DRAM of one socket only has no name.
    """
    dead = [name for name, ok in zip(names, moved, strict=True) if name.startswith("package-") and not ok]
    if dead:
        raise Refused(what, f"the counter of {', '.join(dead)} did not move within {PROOF_S * 1000:.0f} ms, so it is dead", dead_remedy)
    sockets = {name.partition("-")[2] for name in names if name.startswith("package-")}
    with_dram = {name.partition("-")[2] for name, ok in zip(names, moved, strict=True) if name.startswith("dram-") and ok}
    keep_dram = bool(with_dram) and with_dram == sockets
    notes: list[str] = []
    if not keep_dram and any(name.startswith("dram-") for name in names):
        lacking = ", ".join(f"dram-{socket}" for socket in sorted(sockets - with_dram))
        notes.append(f"DRAM left out of the total: {lacking} does not count")
    return tuple(keep_dram or not name.startswith("dram-") for name in names), tuple(notes)


def describe(error: OSError) -> str:
    """``"EACCES: Permission denied"``, with the file where it is known."""
    import errno

    name = errno.errorcode.get(error.errno or 0, "error")
    where = f" ({error.filename})" if error.filename else ""
    return f"{name}: {error.strerror or error}{where}"


HIDDEN_BY_VM = 'this is a virtual machine, which hides the energy counters: run on bare metal, or accept the estimate (energy = ["model"])'
