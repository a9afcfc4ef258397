"""Choosing how limits are set: by cgroup v2, else by v1, else (only where that is allowed) by affinity.

Each way is proven first by running a trial program under limits.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from bayestuner.errors import IsolationUnavailable
from bayestuner.measure.cgroup.affinity import AffinityIsolation
from bayestuner.measure.cgroup.delegation import NotDelegated, prepare_base
from bayestuner.measure.cgroup.files import CgroupFiles, explain
from bayestuner.measure.cgroup.hierarchy import V1_CONTROLLERS, OwnGroups, discover
from bayestuner.measure.cgroup.isolation import GroupFault, Isolation, Launch, Limits, Refusal
from bayestuner.measure.cgroup.signals import defer_stop_signals
from bayestuner.measure.cgroup.v1 import V1Isolation
from bayestuner.measure.cgroup.v2 import V2Isolation

CONTROLLER = {"cores": "cpuset", "memory": "memory"}
"""What has to be limited -> the kernel's controller that limits it."""

_PROBE_MEMORY_BYTES = 64 * 2**20
_PROBE_TIMEOUT_S = 60.0
_SYSTEMD = Path("/run/systemd/system")


@dataclass(frozen=True, slots=True)
class _Machine:
    """Where to look for cgroups, and whether systemd runs here."""

    own_groups: OwnGroups
    files: CgroupFiles
    proc: Path
    on_systemd: bool

    @property
    def remedy(self) -> str:
        return _remedy(self.on_systemd)


def open_isolation(
    needs: frozenset[str],
    *,
    allow_affinity: bool = False,
    files: CgroupFiles | None = None,
    proc: Path = Path("/proc"),
    systemd: bool | None = None,
) -> tuple[Isolation, tuple[Refusal, ...]]:
    """The first way of setting limits that works here, and why those before it don't.

    A way is proven by making a group with limits on everything in `needs`, running ``true`` inside it and removing it.

    Parameters
    ----------
    needs : frozenset of str
        Of {"cores", "memory"}: what has to be limited.
    allow_affinity : bool
        Accept the affinity fallback, which does not limit memory: look at `controls` of what comes back.
    files, proc, systemd
        For tests: how cgroup files are accessed, where procfs is mounted, whether systemd runs this machine.

    Returns
    -------
    isolation : Isolation
    refusals : tuple of Refusal
        One for each way that was tried before and doesn't work.

    Raises
    ------
    IsolationUnavailable
        No way works; the message names each with its reason and says what to run.
    ValueError
        `needs` names something that can't be limited.
    """
    if not needs <= set(CONTROLLER):
        raise ValueError(f"needs is {sorted(needs)}; expected some of {sorted(CONTROLLER)}")
    machine = _Machine(discover(proc), files or CgroupFiles(), proc, _SYSTEMD.exists() if systemd is None else systemd)
    refusals: list[Refusal] = []
    for attempt in (_open_v2, _open_v1):
        found = attempt(machine, needs)
        if not isinstance(found, Refusal):
            return found, tuple(refusals)
        refusals.append(found)
    if allow_affinity:
        return AffinityIsolation(proc), tuple(refusals)
    raise IsolationUnavailable(
        f"limits on {' and '.join(sorted(needs)) or 'a run'} can't be set here ("
        + "; ".join(f"{refusal.what}: {refusal.reason}" for refusal in refusals)
        + f'): {machine.remedy}, or allow the weaker fallback with isolation = "affinity-allowed" under [measure]'
    )


def systemd_run_line() -> str:
    """The command line that runs this very program again, in a delegated group of its own."""
    who = "" if os.geteuid() == 0 else "--user "
    itself = bool(sys.argv) and Path(sys.argv[0]).name == "bayestuner"
    command = shlex.join(sys.argv) if itself else "bayestuner tune JOB.toml"
    return f"systemd-run {who}--scope -p Delegate=yes -- {command}"


def _remedy(on_systemd: bool) -> str:
    if on_systemd:
        return f"run {systemd_run_line()}"
    if os.geteuid() != 0:
        return f"run as root, or where systemd runs: {systemd_run_line()}"
    container = "give this container a writable cgroup mount (docker run --privileged --cgroupns=private)"
    return f"{container}, or where systemd runs: {systemd_run_line()}"


def _open_v2(machine: _Machine, needs: frozenset[str]) -> Isolation | Refusal:
    own = machine.own_groups.v2
    if own is None:
        return Refusal("cgroup-v2", machine.own_groups.problems.get("v2", "not found"), machine.remedy)
    if own.mount.read_only:
        return Refusal("cgroup-v2", f"{own.mount.point} is mounted read-only", machine.remedy)
    needed = frozenset(CONTROLLER[need] for need in needs)
    try:
        base, controllers = prepare_base(own, needed, machine.files, systemd=machine.on_systemd)
    except NotDelegated as error:
        return Refusal("cgroup-v2", str(error), error.remedy or machine.remedy)
    return _proven(V2Isolation(base, own.mount.point, controllers, machine.files, machine.proc), needs, machine.remedy)


def _open_v1(machine: _Machine, needs: frozenset[str]) -> Isolation | Refusal:
    states = {name: _v1_state(name, machine.own_groups) for name in sorted(V1_CONTROLLERS)}
    usable = {name: machine.own_groups.v1[name] for name, state in states.items() if state == "ok"}
    lacking = [CONTROLLER[need] for need in sorted(needs) if CONTROLLER[need] not in usable]
    if lacking or not usable:
        reason = ", ".join(f"{name}: {states[name]}" for name in lacking) or "no controller can be used"
        return Refusal("cgroup-v1", reason, machine.remedy, states)
    return _proven(V1Isolation(usable, machine.files, machine.proc), needs, machine.remedy)


def _v1_state(controller: str, own_groups: OwnGroups) -> str:
    """``ok`` or why groups can't be made in this controller's hierarchy."""
    own = own_groups.v1.get(controller)
    if own is None:
        return own_groups.problems.get(controller, "not found")
    if own.mount.read_only:
        return f"{own.mount.point} is mounted read-only"
    if not own.folder.is_dir():
        return f"{own.folder} does not exist"
    if not os.access(own.folder, os.W_OK | os.X_OK):
        return f"no permission to make groups in {own.folder}"
    return "ok"


def _proven(isolation: Isolation, needs: frozenset[str], remedy: str) -> Isolation | Refusal:
    """The isolation where ``true`` runs in a group with limits that it made; otherwise why not."""
    cpus = (min(os.sched_getaffinity(0)),) if "cores" in needs else None
    limits = Limits(cpuset_cpus=cpus, memory_max=_PROBE_MEMORY_BYTES if "memory" in needs else None)
    argv = [shutil.which("true") or "/bin/true"]
    try:
        with defer_stop_signals(), isolation.create(limits) as group, Path(os.devnull).open("wb") as null:
            child = group.launch(Launch(argv, {"PATH": os.defpath}, "/", null.fileno(), null.fileno()))
            status = child.wait(_PROBE_TIMEOUT_S)
    except OSError as error:
        return Refusal(isolation.name, explain(error), remedy)
    except GroupFault as error:
        return Refusal(isolation.name, str(error), remedy)
    if status != 0:
        return Refusal(isolation.name, f"{argv[0]} inside a trial group ended with {status} instead of 0", remedy)
    return isolation
