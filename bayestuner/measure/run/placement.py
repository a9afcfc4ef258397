"""From a configuration to what is started: CPUs, limits, environment, command line."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bayestuner.measure.cgroup.isolation import Credentials, Isolation, Limits
from bayestuner.measure.job.command import resolve_program, text_of
from bayestuner.measure.job.environment import is_inherited, variables_of
from bayestuner.measure.job.job import Job
from bayestuner.measure.job.user import credentials_of
from bayestuner.measure.machine.topology import Topology


@dataclass(frozen=True, slots=True)
class Placement:
    """What is started for a configuration on this machine: on which CPUs, under which limits, which command in which environment."""

    cpus: tuple[int, ...]
    limits: Limits
    argv: tuple[str, ...]
    env: Mapping[str, str]
    credentials: Credentials | None = None


def place(job: Job, config: Mapping[str, Any], topology: Topology, isolation: Isolation, report_fd: int | None) -> Placement:
    """Work out CPUs, limits, command and environment of a test run.

    Parameters
    ----------
    report_fd : int or None
        Descriptor of the report pipe's write end in the job; None where the job is read by its output.
    """
    cpus = cpus_of(job, config, topology)
    memory_bytes = job.memory_bytes_of(config)
    confined = "cores" in job.needs
    limits = Limits(
        cpuset_cpus=cpus if confined else None,
        cpuset_mems=topology.memory_nodes_for(cpus, memory_bytes) if confined and isolation.name != "affinity" else None,
        memory_max=memory_bytes if "memory" in isolation.controls else None,
    )
    argv = job.argv(config)
    argv = (resolve_program(argv[0], job.env), *argv[1:])
    env = environment(job, config, len(cpus), memory_bytes, report_fd)
    return Placement(cpus, limits, argv, env, credentials_of(job.user))


def cpus_of(job: Job, config: Mapping[str, Any], topology: Topology) -> tuple[int, ...]:
    """The CPUs of a configuration; where the job has no knob for cores, all that this process may use."""
    cores, siblings = job.cores_of(config), job.smt_of(config)
    if siblings is not None:
        return topology.pick_physical_cores(len(topology.order.first_threads) if cores is None else cores, siblings=siblings)
    return topology.numbers if cores is None else topology.pick_cpus(cores)


def environment(job: Job, config: Mapping[str, Any], n_cores: int, memory_bytes: int | None, report_fd: int | None) -> dict[str, str]:
    """The whole environment of a test run. What the job file sets takes precedence over what is set for every job here.

    Of the caller's variables a job gets the few that every program needs (`is_inherited`) and those that the job file names: any other may
    be a secret (a token, the socket of an SSH agent), and a run that depends on one could not be repeated from its job file.
    """
    env = {name: value for name, value in os.environ.items() if is_inherited(name, job.user)}
    if job.user is not None:
        env |= variables_of(job.user)
    env |= {name: os.environ[name] for name in job.env_keep if name in os.environ}
    if report_fd is None or any(metric.source != "pipe" and metric.file is None for metric in job.metrics.values()):
        env.setdefault("PYTHONUNBUFFERED", "1")  # lines of a Python program must come as they are printed
    env |= configuration_variables(job, config, n_cores, memory_bytes)
    if report_fd is not None:
        env["BAYESTUNER_FD"] = str(report_fd)
    return env


def configuration_variables(job: Job, config: Mapping[str, Any], n_cores: int, memory_bytes: int | None) -> dict[str, str]:
    """The variables that tell a job its configuration, and those of its job file: with them it runs alike without BayesTuner."""
    own = {} if job.user is None else variables_of(job.user)
    env = {**own, "OMP_NUM_THREADS": str(n_cores), **job.env}
    for knob in job.knobs:
        value = text_of(config[knob.name])
        env[f"BAYESTUNER_{knob.name.upper()}"] = value
        if knob.variable is not None:
            env[knob.variable] = value
    env["BAYESTUNER_CORES"] = str(n_cores)
    if memory_bytes is not None:
        env["BAYESTUNER_MEMORY_BYTES"] = str(memory_bytes)
    return env
