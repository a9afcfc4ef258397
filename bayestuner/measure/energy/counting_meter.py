"""The meter that perf, powercap and MSR share: it reads a set of counters back to back, and trusts them only after they have moved."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from operator import mod

from bayestuner.measure.cgroup.isolation import Refused
from bayestuner.measure.energy.counter_energy import Counter, energies_j
from bayestuner.measure.energy.meter import EnergySample, MeterFault
from bayestuner.measure.energy.reader import Reader, Reading, Source, best_reader

PROOF_TIMEOUT_S = 0.1
"""How long a counter may take to move before it is called dead, seconds. Real ones step every millisecond."""

SLOW_COUNTER_S = 1.5
"""How long it is looked at a counter that didn't move in time, seconds, to say whether it is dead or only steps too slowly to measure with:
some virtual machines and firmwares step once a second."""

SLOW_READING_NS = 100_000
"""A reading of all counters that took longer was interrupted; it is repeated, up to `READING_TRIES` readings in all."""

READING_TRIES = 5

HIDDEN_BY_VM = 'this is a virtual machine, which hides the energy counters: run on bare metal, or accept the estimate (energy = ["model"])'


class CountingMeter:
    """An energy meter that adds up counters; see `bayestuner.measure.energy.meter.EnergyMeter` for the interface.

    Parameters
    ----------
    source : str
        ``perf``, ``powercap`` or ``msr``.
    counters : sequence of Counter
        One for each package and each DRAM domain of every socket; never psys, core or uncore, which are sums or parts of these.
    reader : callable
        Reads one raw count per counter, in their order; raises OSError.
    close : callable
        Closes the files that `reader` reads.
    notes : sequence of str
        What people who look at the results should know: domains left out, units assumed, ...
    sources : sequence of Source
        What `reader` reads; the C extension's recorder reads these itself.
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

        A reading that took more than `SLOW_READING_NS` (this thread lost its CPU in the middle) is repeated; the shortest one is returned.
        """
        if self._closed:
            raise MeterFault(f"the {self.source} meter is closed; open a new one")
        best = self._reading()
        for _ in range(READING_TRIES - 1):
            if best.after_ns - best.before_ns <= SLOW_READING_NS:
                break
            best = min(best, self._reading(), key=lambda reading: reading.after_ns - reading.before_ns)
        return self.sample(best)

    def sample(self, reading: Reading) -> EnergySample:
        """Turn a reading of this meter's sources into a sample: its stamp is the middle of the reading, unused upper bits are masked."""
        before_ns, after_ns = reading.before_ns, reading.after_ns
        return EnergySample((before_ns + after_ns) // 2, (after_ns - before_ns + 1) // 2, tuple(map(mod, reading.counts, self._moduli)))

    def fault(self, error: OSError) -> MeterFault:
        """The fault to raise when a source of this meter, named in `error`, can't be read any more."""
        return MeterFault(
            f"the {self.source} meter could not be read any more ({describe_os_error(error)}); a package may have gone offline or the "
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
    unusable_dram: Sequence[str] = (),
    make_reader: Callable[[Sequence[Source]], Reader] = best_reader,
) -> CountingMeter:
    """Make a meter of those counters that are seen to count.

    A package counter that stands still makes the whole meter unusable: no package draws 0 W, so the counter is dead. One that steps only
    once in a while is of no use either. DRAM is included only where every socket has a DRAM counter that can be read and moves, and
    otherwise left out with a note: a total with the DRAM of one socket only could not be compared with anything.

    Parameters
    ----------
    what : str
        The meter's source, for messages.
    found : sequence of (Counter, Source)
        The counters and how each is read.
    files : ExitStack
        Holds the opened files; the meter takes them over.
    unreadable_remedy, dead_remedy : str
        What to do where a counter can't be read, and where it stands still.
    notes : sequence of str
        See `CountingMeter`.
    unusable_dram : sequence of str
        Why DRAM counters that exist are not in `found`.
    make_reader : callable
        Makes the reader of a sequence of sources.

    Raises
    ------
    Refused
        A package's counter can't be read, stands still or steps too slowly.
    """
    found, unreadable = _without_unreadable_dram(found, make_reader)
    unusable_dram = (*unusable_dram, *unreadable)
    try:
        moved = which_moved(make_reader([source for _, source in found]), timeout_s=PROOF_TIMEOUT_S)
    except OSError as error:
        raise Refused(what, f"the energy counters can't be read: {describe_os_error(error)}", unreadable_remedy) from error
    alive = {counter.name for (counter, _), ok in zip(found, moved, strict=True) if ok}
    sockets = [counter.name.removeprefix("package-") for counter, _ in found if counter.kind == "package"]
    dead = [f"package-{socket}" for socket in sockets if f"package-{socket}" not in alive]
    if dead:
        raise _standing_still(what, dead, [s for c, s in found if c.name in dead], make_reader, dead_remedy)
    without_dram = [socket for socket in sockets if f"dram-{socket}" not in alive]
    kept = [(counter, source) for counter, source in found if counter.kind == "package" or not without_dram]
    if unusable_dram:
        notes = (*notes, f"DRAM is left out of the total: {'; '.join(unusable_dram)}")
    elif without_dram and any(counter.kind == "dram" for counter, _ in found):
        lacking = " and ".join(f"dram-{socket}" for socket in without_dram)
        notes = (*notes, f"DRAM is left out of the total: {lacking} does not count")
    sources = [source for _, source in kept]
    return CountingMeter(what, [counter for counter, _ in kept], make_reader(sources), files.pop_all().close, notes, sources)


def _without_unreadable_dram(
    found: Sequence[tuple[Counter, Source]], make_reader: Callable[[Sequence[Source]], Reader]
) -> tuple[list[tuple[Counter, Source]], list[str]]:
    """The counters without those of DRAM that can't be read, and a note on each of these."""
    kept, notes = [], []
    for counter, source in found:
        if counter.kind == "dram":
            try:
                make_reader([source])()
            except OSError as error:
                notes.append(f"{counter.name} can't be read: {describe_os_error(error)}")
                continue
        kept.append((counter, source))
    return kept, notes


def _standing_still(
    what: str, names: Sequence[str], sources: Sequence[Source], make_reader: Callable[[Sequence[Source]], Reader], dead_remedy: str
) -> Refused:
    """The refusal of a meter whose package counters didn't move in time: they are dead, or only step too slowly."""
    who, soon = " and ".join(names), f"within {PROOF_TIMEOUT_S * 1000:.0f} ms"
    try:
        slow = all(which_moved(make_reader(sources), timeout_s=SLOW_COUNTER_S, steps=1))
    except OSError:
        slow = False
    if slow:
        reason = (
            f"{who} moved once at most {soon}, but did within {SLOW_COUNTER_S:g} s: a counter that steps so slowly can't be measured with"
        )
        return Refused(what, reason, 'use another meter, or accept the estimate (energy = ["model"])')
    return Refused(what, f"{who} did not move {soon}, so the counter is dead", dead_remedy)


def which_moved(reader: Reader, *, timeout_s: float, steps: int = 2) -> tuple[bool, ...]:
    """Whether each counter changed `steps` times within `timeout_s` seconds; returns as soon as all have. Raises OSError as `reader` does.

    Twice, because a counter that steps once a second would otherwise be taken for a good one whenever its step happens to fall into the
    time.
    """
    before = reader().counts
    left = [steps] * len(before)
    deadline = time.monotonic() + timeout_s
    while True:
        late = time.monotonic() >= deadline  # asked before the read, so that one read always follows the whole wait
        counts = reader().counts
        left = [max(n - (count != last), 0) for n, count, last in zip(left, counts, before, strict=True)]
        before = counts
        if not any(left) or late:
            return tuple(n == 0 for n in left)
        time.sleep(0.005)


def describe_os_error(error: OSError) -> str:
    """``"EACCES: Permission denied"``, with the file where it is known."""
    name = errno.errorcode.get(error.errno or 0, "error")
    where = f" ({error.filename})" if error.filename else ""
    return f"{name}: {error.strerror or error}{where}"
