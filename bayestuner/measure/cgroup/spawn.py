"""Starting a process that is inside its limits before its first instruction.

With the C extension this is one call (`bt_spawn`). Where it wasn't built, a small Python program (`shim.py`) is started instead, joins the
groups and then becomes the job by exec: slower by the start of a Python, but as free of races. Neither uses `subprocess`'s
``preexec_fn``, which may deadlock in a program with threads.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bayestuner.measure.cgroup.child import PidChild, reap_dead
from bayestuner.measure.cgroup.files import explain
from bayestuner.measure.cgroup.isolation import GroupFault, Launch
from bayestuner.measure.cgroup.spawn_request import Confinement, Descriptors, SpawnFault
from bayestuner.measure.cgroup.spawn_shim import spawn_shim

_FIRST_FREE_FD = 3
_MUST_READ = "must be able to execute it and to enter every folder on the way to it"
_NO_CLONE_INTO_CGROUP = frozenset({errno.ENOSYS, errno.EPERM, errno.E2BIG, errno.EINVAL})
"""What clone3 answers on kernels that can't start a process inside a cgroup, and under seccomp filters that forbid clone3."""


def find_program(launch: Launch) -> str:
    """The file to execute, looked up in the job's own PATH, relative to its own folder; FileNotFoundError where there is none."""
    name = launch.argv[0]
    if "/" in name:
        return name
    for folder in launch.env.get("PATH", os.defpath).split(":"):
        candidate = Path(launch.cwd, folder, name)
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return str(candidate)
    raise FileNotFoundError(errno.ENOENT, "no such program in the PATH of the job", name)


def spawn(launch: Launch, confinement: Confinement) -> PidChild:
    """Start `launch` inside `confinement`.

    Raises
    ------
    OSError
        The program can't be started; `filename` is the program or the folder it was to run in.
    GroupFault
        It can't be put into its limits.
    ValueError
        The launch itself has no meaning: no program, a NUL byte, a descriptor that can't be passed.
    """
    reap_dead()
    _check(launch)
    program = find_program(launch)
    try:
        try:
            return _spawn_once(program, launch, confinement)
        except SpawnFault as fault:
            if confinement.cgroup is None or fault.stage != "clone" or fault.number not in _NO_CLONE_INTO_CGROUP:
                raise
        return _spawn_once(program, launch, confinement.by_joining())
    except SpawnFault as fault:
        raise _public_error(fault, program, launch) from None


def _check(launch: Launch) -> None:
    if not launch.argv:
        raise ValueError("the command is empty: give at least the program to run")
    texts = [*launch.argv, *launch.env, *launch.env.values(), launch.cwd]
    if any("\0" in text for text in texts):
        raise ValueError(f"a NUL byte in the command, environment or folder of {launch.argv[0]!r}: programs can't be given one")
    if any("=" in name or not name for name in launch.env):
        raise ValueError("a name in the environment is empty or holds '='")
    if any(fd < _FIRST_FREE_FD for fd in launch.pass_fds):
        raise ValueError(f"pass_fds {launch.pass_fds}: 0, 1 and 2 are the job's own stdin, stdout and stderr")


def _public_error(fault: SpawnFault, program: str, launch: Launch) -> Exception:
    if fault.stage == "chdir":
        return OSError(fault.number, f"the folder to run in: {os.strerror(fault.number)}", launch.cwd)
    if fault.stage == "exec":
        if fault.number == errno.ENOENT and Path(launch.cwd, program).exists():
            return OSError(fault.number, "the interpreter that its first line or header names does not exist", program)
        asked = "" if launch.credentials is None or fault.number != errno.EACCES else f"; uid {launch.credentials.uid} {_MUST_READ}"
        return OSError(fault.number, os.strerror(fault.number) + asked, program)
    if fault.stage in ("join", "clone", "affinity"):
        error = OSError(fault.number, os.strerror(fault.number), fault.path)
        return GroupFault(f"{launch.argv[0]} can't be started inside its limits ({fault.stage}): {explain(error)}")
    if fault.stage == "user" and launch.credentials is not None:
        return OSError(fault.number, f"can't be started as uid {launch.credentials.uid}: {os.strerror(fault.number)}", program)
    if fault.stage == "timeout":
        return OSError(fault.number, "did not start within 30 s: its group is frozen, or its file can't be read", program)
    return OSError(fault.number, f"can't be started ({fault.stage}): {os.strerror(fault.number)}", program)


def extension_is_built() -> bool:
    """Whether the C extension can be loaded."""
    try:
        import bayestuner._native  # noqa: F401  (only whether it loads)
    except ImportError:
        return False
    return True


def _spawn_once(program: str, launch: Launch, confinement: Confinement) -> PidChild:
    from bayestuner.measure.cgroup.spawn_native import spawn_native

    with _opened(confinement) as opened:
        if extension_is_built():
            return spawn_native(program, launch, confinement, opened)
        if confinement.cgroup is not None:
            raise SpawnFault(
                "clone",
                errno.ENOSYS,
                str(confinement.cgroup),
                # only the extension can create a process inside a group: the caller lets it join instead
            )
        return spawn_shim(program, launch, confinement, opened)


@contextmanager
def _opened(confinement: Confinement) -> Iterator[Descriptors]:
    """Open what `confinement` names; a failed open is a failed join."""
    opened: list[int] = []

    def open_one(path: Path, flags: int, stage: str) -> int:
        try:
            fd = os.open(path, flags | os.O_CLOEXEC)
        except OSError as error:
            raise SpawnFault(stage, error.errno or errno.EIO, str(path)) from None
        opened.append(fd)
        return fd

    try:
        cgroup_fd = -1 if confinement.cgroup is None else open_one(confinement.cgroup, os.O_RDONLY | os.O_DIRECTORY, "join")
        join_fds = [open_one(path, os.O_WRONLY, "join") for path in confinement.join]
        yield Descriptors(cgroup_fd, join_fds, open_one(Path(os.devnull), os.O_RDONLY, "stdio"))
    finally:
        for fd in opened:
            os.close(fd)
