"""A recommended configuration as what production runs things with: a systemd unit, docker, compose, Kubernetes, a shell, JSON.

Each form is text, made of a `Launch` alone; what a form can't carry over is said in its comments.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bayestuner.errors import BayesTunerError
from bayestuner.measure.cgroup.cpulist import format_list
from bayestuner.report.apply import Launch, apply_line, left_out, way_here

DEFAULT_PORT = 8000
IMAGE = "IMAGE"
"""Stands for a container image that was not named."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """What is to be run, and what a form may need besides.

    Attributes
    ----------
    launch : Launch
        Without a load generator: the server alone.
    image : str
        Of a container.
    heading : tuple of str
        Lines that say where this comes from; the first comments of each form.
    """

    launch: Launch
    image: str
    heading: tuple[str, ...]

    @property
    def slug(self) -> str:
        """The job's name as units, containers and pods may be called."""
        return re.sub(r"[^a-z0-9]+", "-", self.launch.name.lower()).strip("-")[:50].strip("-") or "job"


def served(launch: Launch, port: int = DEFAULT_PORT) -> Launch:
    """What is deployed of a run: of a server behind the load generator the server alone, listening on `port`."""
    from bayestuner.measure.http_load import PORT, server_command

    server = server_command(launch.command)
    return launch if server is None else replace(launch, command=tuple(word.replace(PORT, str(port)) for word in server))


def form(kind: str, deployment: Deployment) -> str:
    """The deployment in one of `FORMS`.

    Raises
    ------
    BayesTunerError
        A word of the command or a variable holds what the form can't express.
    """
    launch = deployment.launch
    texts = [*launch.command, *launch.env.values(), launch.cwd or "", launch.user or ""]
    if kind != "json" and any("\n" in text or "\r" in text for text in texts):
        raise BayesTunerError(
            f"the command or a variable of {launch.name!r} holds a line break, which no file of this form takes; use --as json"
        )
    return FORMS[kind](deployment)


def _shell(deployment: Deployment) -> str:
    way = way_here(deployment.launch.controllers)
    lacks = left_out(deployment.launch, way)
    return _comments([*deployment.heading, *([lacks] if lacks else [])]) + apply_line(deployment.launch, way) + "\n"


def _json(deployment: Deployment) -> str:
    launch = deployment.launch
    settings = [{"knob": knob, "target": target, "value": asked} for knob, target, asked in launch.settings]
    told = {"name": launch.name, "command": list(launch.command), "environment": dict(launch.env), "working_directory": launch.cwd}
    limits = {"cpus": list(launch.cpus), "memory_nodes": list(launch.memory_nodes), "memory_max_bytes": launch.memory_max_bytes}
    return json.dumps({**told, "user": launch.user, **limits, "settings": settings}, indent=2) + "\n"


# -- systemd --------------------------------------------------------------------------------------------------------------


def _systemd(deployment: Deployment) -> str:
    unit = [
        "[Unit]",
        f"Description={_specifier(deployment.launch.name)}, as BayesTuner recommends it",
        "",
        "[Service]",
        *_service(deployment),
        "",
        "[Install]",
        "WantedBy=multi-user.target",
    ]
    where = f"save as /etc/systemd/system/{deployment.slug}.service, then: systemctl daemon-reload && systemctl start {deployment.slug}"
    return _comments([*deployment.heading, where, *_platform_settings(deployment)]) + "\n".join(unit) + "\n"


def _systemd_drop_in(deployment: Deployment) -> str:
    where = "save as /etc/systemd/system/YOUR.service.d/bayestuner.conf, then: systemctl daemon-reload && systemctl restart YOUR"
    lines = ["[Service]", "ExecStart=", *_service(deployment)]
    return _comments([*deployment.heading, where, *_platform_settings(deployment)]) + "\n".join(lines) + "\n"


def _service(deployment: Deployment) -> list[str]:
    launch = deployment.launch
    lines = [f"WorkingDirectory={_specifier(launch.cwd)}"] if launch.cwd is not None else []
    lines += [f"User={_specifier(launch.user)}", "NoNewPrivileges=yes"] if launch.user is not None else []
    lines += [f"Environment={_quoted(f'{name}={value}')}" for name, value in sorted(launch.env.items())]
    if launch.cpus:
        lines.append(f"AllowedCPUs={format_list(launch.cpus)}")
    if launch.cpus and launch.memory_nodes:
        lines.append(f"AllowedMemoryNodes={format_list(launch.memory_nodes)}")
    if launch.memory_max_bytes is not None:
        lines += [f"MemoryMax={launch.memory_max_bytes}", "MemorySwapMax=0"]
    before, after = _settings_set_and_restored(deployment)
    program, *words = launch.command
    if "/" in program and not program.startswith("/"):  # systemd takes an absolute path, or a name that it looks for
        program = str(Path(launch.cwd or "/", program))
    return [*lines, *before, "ExecStart=" + " ".join([_quoted(program), *(_quoted(word).replace("$", "$$") for word in words)]), *after]


def _settings_set_and_restored(deployment: Deployment) -> tuple[list[str], list[str]]:
    """Steps that keep each file's old content in the unit's runtime folder and write the new, and steps that put it back."""
    files = [(target, asked) for _, target, asked in deployment.launch.settings if target.startswith("/")]
    if not files:
        return [], []
    folder = f"/run/{deployment.slug}-settings"
    before, after = [f"RuntimeDirectory={deployment.slug}-settings"], []
    for number, (target, asked) in enumerate(files):
        kept, file = f"{folder}/{number}", shlex.quote(target)
        before.append(_root_shell("ExecStartPre", f"cat {file} > {kept} && echo {shlex.quote(asked)} > {file}"))
        after.append(_root_shell("ExecStopPost", f"if [ -e {kept} ]; then cat {kept} > {file}; fi"))
    return before, after[::-1]


def _root_shell(step: str, line: str) -> str:
    """A step that runs with full privileges whatever the unit's user, which the plus says."""
    return f"{step}=+/bin/sh -c {_quoted(line).replace('$', '$$')}"


def _quoted(text: str) -> str:
    """A word in systemd's quotes: backslashes and quotes escaped, percent signs doubled."""
    return '"' + _specifier(text).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _specifier(text: str) -> str:
    return text.replace("%", "%%")


# -- containers -----------------------------------------------------------------------------------------------------------


def _docker(deployment: Deployment) -> str:
    launch = deployment.launch
    options = [f"--name={deployment.slug}", "--rm"]
    if launch.cpus:
        options.append(f"--cpuset-cpus={format_list(launch.cpus)}")
    if launch.cpus and launch.memory_nodes:
        options.append(f"--cpuset-mems={format_list(launch.memory_nodes)}")
    if launch.memory_max_bytes is not None:
        options += [f"--memory={launch.memory_max_bytes}", f"--memory-swap={launch.memory_max_bytes}"]
    options += [f"--env={name}={value}" for name, value in sorted(launch.env.items())]
    options += [f"--workdir={launch.cwd}"] if launch.cwd is not None else []
    options += [f"--user={launch.user}", "--security-opt=no-new-privileges"] if launch.user is not None else []
    words = ["docker", "run", *options, deployment.image, *launch.command]
    return _comments([*deployment.heading, *_container_notes(deployment)]) + shlex.join(words) + "\n"


def _compose(deployment: Deployment) -> str:
    launch = deployment.launch
    service: dict[str, Any] = {"image": deployment.image, "command": list(launch.command)}
    service |= {"environment": dict(sorted(launch.env.items()))} if launch.env else {}
    service |= {"working_dir": launch.cwd} if launch.cwd is not None else {}
    service |= {"user": launch.user, "security_opt": ["no-new-privileges"]} if launch.user is not None else {}
    service |= {"cpuset": format_list(launch.cpus)} if launch.cpus else {}
    if launch.memory_max_bytes is not None:
        service |= {"mem_limit": launch.memory_max_bytes, "memswap_limit": launch.memory_max_bytes}
    text = _yaml({"services": {deployment.slug: service}}, escape=lambda value: value.replace("$", "$$"))
    return _comments([*deployment.heading, *_container_notes(deployment)]) + text


def _kubernetes(deployment: Deployment) -> str:
    launch = deployment.launch
    limits: dict[str, Any] = {"cpu": str(len(launch.cpus))} if launch.cpus else {}
    limits |= {"memory": str(launch.memory_max_bytes)} if launch.memory_max_bytes is not None else {}
    command = [_not_expanded(word) for word in launch.command]
    container: dict[str, Any] = {"name": deployment.slug, "image": deployment.image, "command": command[:1], "args": command[1:]}
    environment = [{"name": name, "value": _not_expanded(value)} for name, value in sorted(launch.env.items())]
    container |= {"env": environment} if environment else {}
    container |= {"workingDir": launch.cwd} if launch.cwd is not None else {}
    container |= {"resources": {"requests": limits, "limits": limits}} if limits else {}
    container |= {"securityContext": {"allowPrivilegeEscalation": False}} if launch.user is not None else {}
    notes = _container_notes(deployment)
    if launch.cpus:
        notes.append(
            "CPUs are the container's own only on nodes whose kubelet runs the static CPU manager policy, and which ones the kubelet"
        )
        notes.append("chooses; elsewhere this is a share of time on any CPU, which is not what was measured")
    if launch.user is not None:
        notes.append(f"runs were made as user {launch.user}: set securityContext.runAsUser to its number in the image")
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": deployment.slug}, "spec": {"containers": [container]}}
    return _comments([*deployment.heading, *notes]) + _yaml(pod)


def _not_expanded(text: str) -> str:
    """Kubernetes replaces ``$(NAME)``; a doubled dollar stays a dollar there."""
    return text.replace("$(", "$$(")


def _container_notes(deployment: Deployment) -> list[str]:
    notes = [f"put your image's name in the place of {IMAGE}"] if deployment.image == IMAGE else []
    notes.append("the command and its folder are those of the runs: the image must have them at the same paths")
    notes += [f"set on the host beforehand: {knob}: {asked} in {target}" for knob, target, asked in deployment.launch.settings]
    return notes


# -- text -----------------------------------------------------------------------------------------------------------------


def _platform_settings(deployment: Deployment) -> list[str]:
    return [
        f"not set here: {knob}={asked} of a platform" for knob, target, asked in deployment.launch.settings if not target.startswith("/")
    ]


def _comments(lines: Sequence[str]) -> str:
    return "".join(f"# {line}\n" for line in lines)


def _yaml(value: Any, depth: int = 0, *, escape: Callable[[str], str] = str) -> str:
    """Mappings, and lists of mappings, as YAML's blocks; all else as JSON, which YAML reads as it is."""
    indent, lines = "  " * depth, []
    for key, inner in value.items():
        name = key if _PLAIN_KEY.fullmatch(key) else json.dumps(key)
        if isinstance(inner, Mapping):
            lines.append(f"{indent}{name}:\n{_yaml(inner, depth + 1, escape=escape)}")
        elif isinstance(inner, list) and inner and all(isinstance(item, Mapping) for item in inner):
            items = [_yaml(item, depth + 2, escape=escape) for item in inner]
            lines.append(f"{indent}{name}:\n" + "".join(f"{indent}  - {item.lstrip()}" for item in items))
        else:
            lines.append(f"{indent}{name}: {json.dumps(_escaped(inner, escape))}\n")
    return "".join(lines)


_PLAIN_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_-]{3,}")  # longer than every word that YAML takes for a truth value, but "false"


def _escaped(value: Any, escape: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return escape(value)
    return [_escaped(inner, escape) for inner in value] if isinstance(value, list) else value


FORMS: Mapping[str, Callable[[Deployment], str]] = {
    "shell": _shell,
    "systemd": _systemd,
    "systemd-drop-in": _systemd_drop_in,
    "docker": _docker,
    "compose": _compose,
    "kubernetes": _kubernetes,
    "json": _json,
}
