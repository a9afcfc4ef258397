"""Starting a process through the C extension: the request for `bt_spawn` is put together, and its status turned into an error."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from bayestuner.measure.cgroup.child import PidChild, reap_later
from bayestuner.measure.cgroup.isolation import Launch
from bayestuner.measure.cgroup.spawn_request import Confinement, Descriptors, SpawnFault, dies_with_this_thread


def spawn_native(program: str, launch: Launch, confinement: Confinement, opened: Descriptors) -> PidChild:
    """Start `program`; `SpawnFault` says which step failed. ImportError where the extension was not built."""
    from bayestuner._native import ffi, lib

    def string(text: str) -> Any:
        return ffi.new("char[]", os.fsencode(text))

    def numbers(values: Sequence[int]) -> Any:
        return ffi.new("int[]", list(values))

    # the request only points to these: they have to live until the call is over
    path, cwd = string(program), string(launch.cwd)
    arguments = [string(text) for text in launch.argv]
    environment = [string(f"{name}={value}") for name, value in launch.env.items()]
    argv, envp = ffi.new("char *[]", [*arguments, ffi.NULL]), ffi.new("char *[]", [*environment, ffi.NULL])
    joins, passes = numbers(opened.join), numbers(launch.pass_fds)
    mask_bytes = b"" if confinement.cpus is None else cpu_mask(confinement.cpus, ffi.sizeof("long"))
    mask = ffi.new("uint8_t[]", mask_bytes) if mask_bytes else ffi.NULL

    request = ffi.new("struct bt_spawn_request *")
    request.path, request.argv, request.envp, request.cwd = path, argv, envp, cwd
    request.cgroup_fd, request.join_fds, request.join_count = opened.cgroup, joins, len(opened.join)
    request.cpu_mask, request.cpu_mask_bytes = mask, len(mask_bytes)
    request.stdin_fd, request.stdout_fd, request.stderr_fd = opened.null, launch.stdout_fd, launch.stderr_fd
    request.pass_fds, request.pass_count = passes, len(launch.pass_fds)
    request.address_space = confinement.address_space_bytes or 0
    request.die_with_thread = dies_with_this_thread()
    who = launch.credentials
    if who is not None:
        credentials, groups = ffi.new("struct bt_credentials *"), ffi.new("uint32_t[]", list(who.groups))
        credentials.uid, credentials.gid, credentials.groups, credentials.group_count = who.uid, who.gid, groups, len(who.groups)
        request.credentials = credentials

    result = ffi.new("struct bt_spawn_result *")
    rc = lib.bt_spawn(request, result)
    if rc < 0:
        stage = ffi.typeof("enum bt_spawn_stage").elements[result.stage].removeprefix("BT_STAGE_").lower()
        if stage == "timeout":
            reap_later(PidChild(result.pid, -1))
        raise SpawnFault(stage, -rc, _path_of_stage(stage, result.index, program, confinement))
    return PidChild(result.pid, result.pidfd)


def _path_of_stage(stage: str, index: int, program: str, confinement: Confinement) -> str:
    if stage == "join":
        return str(confinement.join[index])
    if stage == "clone" and confinement.cgroup is not None:
        return str(confinement.cgroup)
    return program


def cpu_mask(cpus: Sequence[int], word_bytes: int) -> bytes:
    """The little-endian bit mask that sched_setaffinity takes, as long as a whole number of words."""
    bits = sum(1 << cpu for cpu in set(cpus))
    words = max(1, -(-bits.bit_length() // (8 * word_bytes)))
    return bits.to_bytes(words * word_bytes, "little")
