"""A line for a shell that runs a job as its recommended configuration was run: folder, variables, command, limits and settings.

How limits are set depends on the machine that the line is made on: by systemd where it runs and cgroup v2 limits both cores and memory,
else by writing to cgroup v1 or v2 as BayesTuner itself does, else by taskset, which limits no memory.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from bayestuner.measure.cgroup.cpulist import format_list
from bayestuner.measure.cgroup.hierarchy import OwnGroups, discover
from bayestuner.study.sides import Side
from bayestuner.study.store import Record
from bayestuner.study.summary import Summary

SYSTEMD = Path("/run/systemd/system")
"""There where systemd runs this machine."""

SERVER_PORT = '"${PORT:-8000}"'
"""Where a server listens that was measured on any free port: PORT, set in the shell, or 8000."""

_ENABLED = "cgroup.subtree_control"


_THREAD_VARIABLES = re.compile(
    r"\w+_(THREADS|THREAD_LIMIT)"  # OMP_NUM_THREADS, GOTO_NUM_THREADS, KMP_PLACE_THREADS, KMP_DEVICE_THREAD_LIMIT, ...
    r"|BLIS_[A-Z]{2}_NT"  # BLIS: threads in each of its loops
    r"|GOMAXPROCS|PYTHON_CPU_COUNT"
    r"|(OMP|MKL)_DYNAMIC|OMP_PLACES|OMP_PROC_BIND|GOMP_CPU_AFFINITY|KMP_AFFINITY|KMP_HW_SUBSET|KMP_TOPOLOGY_METHOD|KMP_SETTINGS"
    r"|OMPI_MCA_hwloc_base_binding_policy"
)


def sets_threads(name: str) -> bool:
    """Whether an environment variable sets the number or the place of a program's threads.

    The runs had none of those of the calling shell, since a job must go by the cores of its run. By a rule where there is one: a name that
    ends in ``_THREADS`` says how many, whichever library reads it.
    """
    return _THREAD_VARIABLES.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class Launch:
    """What a run of the configuration was.

    Attributes
    ----------
    name : str
        Of the job.
    command : tuple of str
    env : dict
        Variables that told the job its configuration, and those of its job file.
    cwd : str or None
    user : str or None
    cpus, memory_nodes : tuple of int
        Empty: not limited.
    memory_max_bytes : int or None
    settings : tuple of (str, str, str)
        Settings of the machine: the knob's name, what was set (a file, or a platform's own word for it) and to what.
    """

    name: str
    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str | None = None
    user: str | None = None
    cpus: tuple[int, ...] = ()
    memory_nodes: tuple[int, ...] = ()
    memory_max_bytes: int | None = None
    settings: tuple[tuple[str, str, str], ...] = ()

    @property
    def controllers(self) -> tuple[str, ...]:
        """The cgroup controllers that its limits need."""
        return (*(["cpuset"] if self.cpus else []), *(["memory"] if self.memory_max_bytes is not None else []))


@dataclass(frozen=True, slots=True)
class Way:
    """How limits can be set on a machine.

    Attributes
    ----------
    kind : str
    folders : dict of str to Path
        For each controller the folder to make the job's group in; of cgroup v2 all the same.
    """

    kind: Literal["systemd", "cgroup-v1", "cgroup-v2", "taskset"]
    folders: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Application:
    """How the recommended configuration is put to use on this machine.

    Attributes
    ----------
    folder : str or None
        Where the job was started; the line goes there itself. None where a study of an earlier version does not say.
    line : str
        For a shell.
    left_out : str or None
        What the line does not do although the runs had it, as a sentence.
    """

    folder: str | None
    line: str
    left_out: str | None


def application_of(summary: Summary, records: Sequence[Record]) -> Application | None:
    """How to apply what a study recommends; None where it recommends nothing, or does not say how the job is run."""
    if summary.recommended is None or not summary.command:
        return None
    launch = launch_of(summary, summary.recommended, records)
    way = way_here(launch.controllers)
    return Application(launch.cwd, apply_line(launch, way), left_out(launch, way))


def launch_of(summary: Summary, side: Side, records: Sequence[Record]) -> Launch:
    """How the configuration was run last; of a study of an older BayesTuner, whose runs say less, as its summary says."""
    found = (r.details for r in reversed(records) if r.trial.config == side.config and r.details.get("argv"))
    return _launch(summary, side, next(found, {}))


def _launch(summary: Summary, side: Side, details: Mapping[str, Any]) -> Launch:
    confined = details.get("mems") is not None or details.get("isolation", "affinity") == "affinity"  # else there is no knob for cores
    settings = [(str(s["knob"]), str(s["target"]), str(s["asked"])) for s in details.get("settings") or ()]
    return Launch(
        name=summary.name,
        command=tuple(map(str, details.get("argv") or summary.command)),
        env={str(n): str(v) for n, v in (details.get("env") or summary.env).items()},
        cwd=None if details.get("cwd") is None else str(details["cwd"]),
        user=None if details.get("user", summary.user) is None else str(details.get("user", summary.user)),
        cpus=tuple(map(int, side.cpus)) if confined else (),
        memory_nodes=tuple(map(int, details.get("mems") or ())),
        memory_max_bytes=side.memory_max_bytes,
        settings=tuple(settings),
    )


def way_here(controllers: Sequence[str], *, groups: OwnGroups | None = None, systemd: bool | None = None) -> Way:
    """How this machine can set limits with these controllers.

    Parameters
    ----------
    controllers : sequence of {"cpuset", "memory"}
    groups, systemd
        By default this process's own.
    """
    groups = groups or discover()
    on_systemd = SYSTEMD.exists() if systemd is None else systemd
    own = groups.v2
    if own is not None and on_systemd and set(controllers) <= _words(_managed(own.mount.point) / "cgroup.controllers"):
        return Way("systemd")
    v1 = {name: groups.v1[name].folder for name in controllers if name in groups.v1 and _may_make_groups(groups.v1[name].folder)}
    if len(v1) == len(controllers):
        return Way("cgroup-v1", v1)
    if own is not None:
        for folder in (own.folder, *own.folder.parents):
            if not folder.is_relative_to(own.mount.point):
                break
            if set(controllers) <= _words(folder / _ENABLED) and _may_make_groups(folder):
                return Way("cgroup-v2", dict.fromkeys(controllers, folder))
    return Way("taskset")


def _managed(top: Path) -> Path:
    """The group below which this user's systemd makes scopes: root's makes them anywhere, another user's within what it was given."""
    uid = os.geteuid()
    return top if uid == 0 else top / "user.slice" / f"user-{uid}.slice" / f"user@{uid}.service"


def _words(path: Path) -> set[str]:
    try:
        return set(path.read_text().split())
    except OSError:
        return set()


def _may_make_groups(folder: Path) -> bool:
    return os.access(folder, os.W_OK | os.X_OK)


def apply_line(launch: Launch, way: Way) -> str:
    """The line: it can be pasted into a shell of any folder and environment."""
    settings = [f"echo {shlex.quote(asked)} > {shlex.quote(target)}" for _, target, asked in launch.settings if target.startswith("/")]
    folder = [f"cd {shlex.quote(launch.cwd)}"] if launch.cwd is not None else []
    if way.kind in ("systemd", "taskset") or not launch.controllers:
        starter = _systemd_words(launch) if way.kind == "systemd" else _taskset_words(launch)
        return f"({' && '.join([*settings, *folder, _exec(launch, starter)])})"
    group = re.sub(r"[^A-Za-z0-9_.-]+", "_", launch.name).strip(".") or "job"
    limits = (_v1_steps if way.kind == "cgroup-v1" else _v2_steps)(launch, {n: str(f / group) for n, f in way.folders.items()})
    return "sh -c " + shlex.quote("; ".join(["set -e", *settings, *limits, *folder, _exec(launch, _user_words(launch))]))


def left_out(launch: Launch, way: Way) -> str | None:
    """What the line does not do although the runs had it, as a sentence; None where it does everything."""
    lacks = []
    if way.kind == "taskset" and launch.memory_max_bytes is not None:
        lacks.append(f"the memory limit of {launch.memory_max_bytes / 2**20:.0f} MiB, since no cgroup can be made here")
    lacks += [f"{knob}={asked} of a platform" for knob, target, asked in launch.settings if not target.startswith("/")]
    return f"the line leaves out {' and '.join(lacks)}" if lacks else None


def _exec(launch: Launch, starter: Sequence[str]) -> str:
    """The last command of the line: variables, what sets limits and user, and the job; a load generator's server in its place."""
    from bayestuner.measure.http_load import server_command  # here, since it loads http.client, which nothing else in `tune` needs

    server = server_command(launch.command)
    unset = [word for name in sorted(os.environ) if sets_threads(name) and name not in launch.env for word in ("-u", name)]
    variables = [*unset, *(f"{name}={value}" for name, value in sorted(launch.env.items()))]
    words = [*(["env", *variables] if variables else []), *starter]
    return (
        f"exec {' '.join([*map(shlex.quote, words), *map(_server_word, server)])}"
        if server
        else f"exec {shlex.join([*words, *launch.command])}"
    )


def _server_word(word: str) -> str:
    from bayestuner.measure.http_load import PORT

    return SERVER_PORT.join(shlex.quote(part) if part else "" for part in word.split(PORT)) or "''"


def _systemd_words(launch: Launch) -> list[str]:
    properties = [*([f"AllowedCPUs={format_list(launch.cpus)}"] if launch.cpus else [])]
    if launch.cpus and launch.memory_nodes:
        properties.append(f"AllowedMemoryNodes={format_list(launch.memory_nodes)}")
    if launch.memory_max_bytes is not None:
        properties += [f"MemoryMax={launch.memory_max_bytes}", "MemorySwapMax=0"]
    who = [*([] if os.geteuid() == 0 else ["--user"]), *([f"--uid={launch.user}"] if launch.user is not None else [])]
    if not properties:
        return _user_words(launch)
    return ["systemd-run", *who, "--scope", *(word for p in properties for word in ("-p", p)), "--"]


def _taskset_words(launch: Launch) -> list[str]:
    return [*(["taskset", "-c", format_list(launch.cpus)] if launch.cpus else []), *_user_words(launch)]


def _user_words(launch: Launch) -> list[str]:
    if launch.user is None:
        return []
    return ["runuser", "-u", launch.user, "--", "setpriv", "--no-new-privs", "--"]


def _v1_steps(launch: Launch, groups: Mapping[str, str]) -> list[str]:
    steps = [f"mkdir -p {shlex.join(groups.values())}"]
    if launch.cpus:
        group = groups["cpuset"]
        nodes = (
            f"echo {format_list(launch.memory_nodes)}"
            if launch.memory_nodes
            else f"cat {_file(str(Path(group).parent), 'cpuset.effective_mems')}"
        )
        steps += [f"{nodes} > {_file(group, 'cpuset.mems')}", f"echo {format_list(launch.cpus)} > {_file(group, 'cpuset.cpus')}"]
    if launch.memory_max_bytes is not None:
        group, limit = groups["memory"], launch.memory_max_bytes
        with_swap = _file(group, "memory.memsw.limit_in_bytes")
        steps += [
            f"if [ -e {with_swap} ]; then echo -1 > {with_swap}; fi",  # a lower one, of an earlier start, would refuse a higher limit
            f"echo {limit} > {_file(group, 'memory.limit_in_bytes')}",
            f"if [ -e {with_swap} ]; then echo {limit} > {with_swap}; fi",
        ]
    return [*steps, *(f"echo $$ > {_file(group, 'cgroup.procs')}" for group in groups.values())]


def _v2_steps(launch: Launch, groups: Mapping[str, str]) -> list[str]:
    group = next(iter(groups.values()))
    steps = [f"mkdir -p {shlex.quote(group)}"]
    if launch.cpus:
        if launch.memory_nodes:
            steps.append(f"echo {format_list(launch.memory_nodes)} > {_file(group, 'cpuset.mems')}")
        steps.append(f"echo {format_list(launch.cpus)} > {_file(group, 'cpuset.cpus')}")
    if launch.memory_max_bytes is not None:
        swap = _file(group, "memory.swap.max")
        steps += [f"echo {launch.memory_max_bytes} > {_file(group, 'memory.max')}", f"if [ -e {swap} ]; then echo 0 > {swap}; fi"]
    return [*steps, f"echo $$ > {_file(group, 'cgroup.procs')}"]


def _file(group: str, name: str) -> str:
    return shlex.quote(f"{group}/{name}")
