"""The parent of several instances: inside BayesTuner it only starts and ends them; by hand it also reads and prints their figures."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence

from bayestuner.zoo import registry, session
from bayestuner.zoo.instances import Instances, threads_per_instance
from bayestuner.zoo.tally import Tally, own_peak_bytes, show

_NOT_PASSED_ON = ("--instances", "--threads", "--seconds")


def run_instances(options: argparse.Namespace, arguments: Sequence[str], seconds_alone: float) -> bool:
    """Run ``options.instances`` processes with the same arguments; see ``python -m bayestuner.zoo --help``.

    Parameters
    ----------
    seconds_alone : float
        How long they run outside BayesTuner where ``--seconds`` says nothing.

    Returns
    -------
    bool
        False where they were interrupted before all of them had loaded their model; inside BayesTuner, which knows, always True.

    Raises
    ------
    InstanceFailed
        One of them failed; the others have ended too.
    """
    net = registry.spec(options.name)
    threads = options.threads or session.granted_cores()
    passed_on = _without(arguments, _NOT_PASSED_ON)
    if "BAYESTUNER_FD" in os.environ:
        if options.seconds:
            passed_on += ["--seconds", str(options.seconds)]
        _run(passed_on, threads_per_instance(threads, options.instances), int(os.environ["BAYESTUNER_FD"]))
        return True
    passed_on += ["--seconds", str(options.seconds or seconds_alone)]
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as reports, Instances(passed_on, threads_per_instance(threads, options.instances), writer) as instances:
        os.close(writer)
        loaded = instances.all_loaded()
        begun_ns = last_ns = time.monotonic_ns()
        instances.go()
        tally = Tally(options.batch, threads, options.instances)
        for line in reports:  # ends when the last instance has
            _, _, stamp_ns, latency_ns = line.split()
            last_ns = int(stamp_ns)
            tally.latencies_s.append(int(latency_ns) / 1e9)
        instances.wait()
    if not loaded:
        return False
    tally.duration_s = (last_ns - begun_ns) / 1e9
    tally.memory_peak_bytes = instances.memory_peak_bytes + own_peak_bytes()
    show(tally.as_dict(net.name, net.unit), as_json=options.json)
    return True


def _run(arguments: Sequence[str], threads: Sequence[int], report_fd: int) -> None:
    from bayestuner.measure.reporter import ready

    with Instances(arguments, threads, report_fd) as instances:
        if instances.all_loaded():
            ready()
        instances.go()
        os.close(report_fd)  # so that the pipe closes when the instances have ended
        instances.wait()


def _without(arguments: Sequence[str], flags: Sequence[str]) -> list[str]:
    """The arguments without these flags and their values."""
    kept: list[str] = []
    skip = False
    for word in arguments:
        if skip:
            skip = False
        elif word in flags:
            skip = True
        elif not word.startswith(tuple(f"{flag}=" for flag in flags)):
            kept.append(word)
    return kept
