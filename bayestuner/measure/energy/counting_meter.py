"""What perf, powercap and MSR have in common: counters read back to back, proven to move before they are trusted."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from operator import mod

from bayestuner.measure.cgroup.isolation import Refusal
from bayestuner.measure.energy.counts import Counter, energies_j
from bayestuner.measure.energy.meter import EnergySample, MeterFault
from bayestuner.measure.energy.reader import Reader, Reading, Source, best_reader

PROOF_S = 0.1
"""How long a counter may take to move before it is called dead. Real ones step every millisecond."""

STAMP_LIMIT_NS = 100_000
STAMP_TRIES = 5

HIDDEN_BY_VM = 'this is a virtual machine, which hides the energy counters: run on bare metal, or accept the estimate (energy = ["model"])'


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
    reader : callable
        Reads one raw count per counter, in their order; raises OSError.
    close : callable
        Releases the descriptors.
    notes : sequence of str
        What a reader of the results should know: dropped domains, units taken, ...
    sources : sequence of Source
        What `reader` reads, for those who read it another way.
    """

    estimated = False

    def __init__(
        self,
        source: str,
        counters: Sequence[Counter],
        reader: Reader,
        close: Callable[[], None],
        notes: Sequence[str] = (),
        sources: Sequence[Source] = (),
    ) -> None:
        self.source = source
        self.counters = tuple(counters)
        self.domains = tuple(counter.name for counter in counters)
        self.boundary = "pkg+dram" if any(counter.kind == "dram" for counter in counters) else "pkg"
        self.max_interval_s = min(counter.safe_interval_s for counter in counters)
        self.notes = tuple(notes)
        self.sources = tuple(sources)
        self._moduli = tuple(counter.modulus for counter in counters)
        self._reader = reader
        self._close = close
        self._closed = False

    def read(self) -> EnergySample:
        """Read every domain back to back; raises MeterFault when one can't be read any more.

        A reading that took over 100 us (we were scheduled away in the middle) is repeated, up to five times; the tightest is returned.
        """
        if self._closed:
            raise MeterFault(f"the {self.source} meter is closed; open a new one")
        best = self._reading()
        for _ in range(STAMP_TRIES - 1):
            if best.after_ns - best.before_ns <= STAMP_LIMIT_NS:
                break
            best = min(best, self._reading(), key=lambda reading: reading.after_ns - reading.before_ns)
        return self.sample(best)

    def sample(self, reading: Reading) -> EnergySample:
        """A reading of this meter's sources as a sample: stamped in its middle, reserved upper bits masked."""
        before_ns, after_ns = reading.before_ns, reading.after_ns
        return EnergySample((before_ns + after_ns) // 2, (after_ns - before_ns + 1) // 2, tuple(map(mod, reading.counts, self._moduli)))

    def fault(self, error: OSError) -> MeterFault:
        """What it means when this meter's sources can't be read; `error` names the source."""
        return MeterFault(
            f"the {self.source} meter could not be read any more ({describe(error)}); a package may have gone offline or the "
            "driver been removed: run `bayestuner doctor`"
        )

    def _reading(self) -> Reading:
        try:
            return self._reader()
        except OSError as error:
            raise self.fault(error) from error

    def energy_j(self, first: EnergySample, last: EnergySample) -> float:
        """Joules of all domains together; see `EnergyMeter.energy_j`."""
        return sum(self.domain_energies_j(first, last))

    def domain_energies_j(self, first: EnergySample, last: EnergySample) -> tuple[float, ...]:
        """Joules of each domain, in the order of `domains`; raises MeterFault as `energy_j` does."""
        duration_ns, uncertainty_ns = last.stamp_ns - first.stamp_ns, first.uncertainty_ns + last.uncertainty_ns
        return energies_j(self.counters, first.raw_counts, last.raw_counts, duration_ns / 1e9, uncertainty_ns / 1e9)

    def close(self) -> None:
        """Release the descriptors; may be called twice."""
        if not self._closed:
            self._closed = True
            with suppress(OSError):  # a device that has gone says so once more; the descriptor is released all the same
                self._close()


def proven_meter(
    what: str,
    found: Sequence[tuple[Counter, Source]],
    files: ExitStack,
    *,
    unreadable_remedy: str,
    dead_remedy: str,
    notes: Sequence[str] = (),
    make_reader: Callable[[Sequence[Source]], Reader] = best_reader,
) -> CountingMeter:
    """Prove that the counters count and make a meter of those that do; it takes over what `files` holds.

    A package counter that stands still refuses the meter: it is dead, not at 0 W. DRAM is kept when every socket has a moving DRAM
    counter, and otherwise left out everywhere, with a note: a total that holds the DRAM of one socket only has no name.

    Raises
    ------
    Refused
    """
    try:
        moved = moving(make_reader([source for _, source in found]), timeout_s=PROOF_S)
    except OSError as error:
        raise Refused(what, f"the energy counters can't be read: {describe(error)}", unreadable_remedy) from error
    alive = {counter.name for (counter, _), ok in zip(found, moved, strict=True) if ok}
    sockets = [counter.name.removeprefix("package-") for counter, _ in found if counter.kind == "package"]
    dead = [f"package-{socket}" for socket in sockets if f"package-{socket}" not in alive]
    if dead:
        reason = f"{' and '.join(dead)} did not move within {PROOF_S * 1000:.0f} ms, so the counter is dead"
        raise Refused(what, reason, dead_remedy)
    without_dram = [socket for socket in sockets if f"dram-{socket}" not in alive]
    kept = [(counter, source) for counter, source in found if counter.kind == "package" or not without_dram]
    if without_dram and any(counter.kind == "dram" for counter, _ in found):
        lacking = " and ".join(f"dram-{socket}" for socket in without_dram)
        notes = (*notes, f"DRAM is left out of the total: {lacking} does not count")
    sources = [source for _, source in kept]
    return CountingMeter(what, [counter for counter, _ in kept], make_reader(sources), files.pop_all().close, notes, sources)


def moving(reader: Reader, *, timeout_s: float) -> tuple[bool, ...]:
    """Which counters change within `timeout_s`; returns as soon as all did. Raises OSError as `reader` does."""
    first = reader().counts
    moved = [False] * len(first)
    deadline = time.monotonic() + timeout_s
    while True:
        late = time.monotonic() >= deadline  # asked before the read, so that one read always follows the whole wait
        for index, count in enumerate(reader().counts):
            moved[index] = moved[index] or count != first[index]
        if all(moved) or late:
            return tuple(moved)
        time.sleep(0.005)


def describe(error: OSError) -> str:
    """``"EACCES: Permission denied"``, with the file where it is known."""
    name = errno.errorcode.get(error.errno or 0, "error")
    where = f" ({error.filename})" if error.filename else ""
    return f"{name}: {error.strerror or error}{where}"
