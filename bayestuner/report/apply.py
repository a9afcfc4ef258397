"""The command line that runs a job in the configuration a study recommends."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from bayestuner.study.summary import Side


def apply_line(side: Side, command: Sequence[str], env: Mapping[str, str], user: str | None = None) -> str:
    """A command line that runs the job in this configuration, with the variables and limits its test runs had."""
    variables = ["env", *(f"{name}={value}" for name, value in sorted(env.items()))] if env else []
    limits: list[str] = [] if user is None else [f"--uid={user}"]
    if side.cpus:
        limits += ["-p", f"AllowedCPUs={cpu_list(side.cpus)}"]
    if side.memory_max_bytes is not None:
        limits += ["-p", f"MemoryMax={side.memory_max_bytes}", "-p", "MemorySwapMax=0"]
    prefix = ["systemd-run", "--scope", *limits, "--"] if limits else []
    return shlex.join([*variables, *prefix, *command])


def cpu_list(cpus: Sequence[int]) -> str:
    """CPUs in the kernel's list format: 0-3,8."""
    parts: list[list[int]] = []
    for cpu in sorted(cpus):
        if parts and cpu == parts[-1][1] + 1:
            parts[-1][1] = cpu
        else:
            parts.append([cpu, cpu])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)
