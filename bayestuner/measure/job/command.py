"""A job's command: filling in its placeholders, and finding its program."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

_PLACEHOLDER = re.compile(r"\{\{([A-Za-z_]\w*)\}\}|\{([A-Za-z_]\w*)\}")

BUILT_IN_PLACEHOLDERS = ("python",)
"""Placeholders that every command may use; they name no knob."""


def placeholders(command: Iterable[str]) -> tuple[str, ...]:
    """The names that stand in braces, each once, in order; ``{{name}}`` is the literal text ``{name}`` and no placeholder."""
    names = [match[2] for word in command for match in _PLACEHOLDER.finditer(word) if match[2]]
    return tuple(dict.fromkeys(names))


def fill_placeholders(command: Iterable[str], config: Mapping[str, Any], folder: Path) -> tuple[str, ...]:
    """The command as it is run: its placeholders filled in, and a program with a slash in its name resolved against `folder`."""
    values = {**{name: text_of(value) for name, value in config.items()}, "python": sys.executable}

    def value_of(match: re.Match[str]) -> str:
        return "{" + match[1] + "}" if match[1] else values[match[2]]

    words = [_PLACEHOLDER.sub(value_of, word) for word in command]
    if "/" in words[0] and not words[0].startswith("/"):
        words[0] = str(folder / words[0])
    return tuple(words)


def text_of(value: Any) -> str:
    """A knob's value as the job gets it, on its command line and in its environment: ``true`` or ``false``, else Python's text of it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def program_problem(program: str, env: Mapping[str, str]) -> str | None:
    """Why this process can't execute a program; None where it can."""
    if "/" in program:
        path = Path(program)
        try:
            path.stat()
        except PermissionError:
            return f"no permission to reach {program}; let this user search the folders on the way to it, or run as one who may"
        except OSError:
            return f"there is no program {program}; a program with a slash is looked for from the job file's folder"
        effective = os.access in os.supports_effective_ids  # as exec will judge, capabilities included
        if path.is_dir() or not os.access(path, os.X_OK, effective_ids=effective):
            return f'{program} can\'t be executed; run chmod +x on it, or put its interpreter in front, as in ["{{python}}", ...]'
        return None
    if shutil.which(program, path=env.get("PATH")) is None:
        return f'the program {program!r} is not on PATH; give its full path, or one from the job file\'s folder, as in "./{program}"'
    return None


def resolve_program(program: str, env: Mapping[str, str]) -> str:
    """The full path of a program that `program_problem` found nothing wrong with."""
    return program if "/" in program else (shutil.which(program, path=env.get("PATH")) or program)
