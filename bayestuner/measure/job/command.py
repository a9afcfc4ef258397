"""A job's command: filling in its placeholders, and finding its program."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
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
    """The command as it is run: its placeholders filled in, and a program with a slash in its name resolved against `folder`.

    A ``{python}`` that runs a module or a text of code gets ``-P``, so that it doesn't look for modules in the current folder.
    """
    values = {**{name: text_of(value) for name, value in config.items()}, "python": sys.executable}

    def value_of(match: re.Match[str]) -> str:
        return "{" + match[1] + "}" if match[1] else values[match[2]]

    given = list(command)
    words = [_PLACEHOLDER.sub(value_of, word) for word in given]
    if "/" in words[0] and not words[0].startswith("/"):
        words[0] = str(folder / words[0])
    for place in reversed(_searching_interpreters(given)):
        words.insert(place + 1, "-P")
    return tuple(words)


def _searching_interpreters(command: Sequence[str]) -> list[int]:
    """Where in a command stands a ``{python}`` that would look for modules in the current folder first: with ``-m`` or ``-c``, no script.

    Whoever may write that folder could plant a module of any name there, and the job would run it. A script brings its own folder, which
    the job file names with it.
    """
    return [n for n, word in enumerate(command) if word == "{python}" and _takes_no_script(command[n + 1 :])]


def _takes_no_script(words: Sequence[str]) -> bool:
    """Whether these arguments of an interpreter hold ``-m`` or ``-c`` before any script."""
    takes_a_word = False
    for word in words:
        if takes_a_word:
            takes_a_word = False
            continue
        if not word.startswith("-") or word in ("-", "--"):
            return False
        if word.startswith("--"):
            continue
        for letter in word[1:]:
            if letter in "mc":
                return True
            if letter in "XW":
                takes_a_word = word.endswith(letter)
                break
    return False


def module_problem(command: Sequence[str], cwd: Path, env: Mapping[str, str]) -> str | None:
    """Why ``{python} -m NAME`` won't find the module NAME that lies in the job's folder; None where it will, or none lies there."""
    if "PYTHONPATH" in env:
        return None
    for place in _searching_interpreters(command):
        for option, name in pairwise(command[place + 1 :]):
            if option.startswith("-") and option.endswith("m") and not option.startswith("--"):
                found = [start for start, file in ((f"{name}.py", f"{name}.py"), (name, f"{name}/__main__.py")) if (cwd / file).is_file()]
                if found:
                    return (
                        f"Python doesn't look for the module {name!r} in the job's folder, where others could plant modules too; "
                        f'start it by its path, as in ["{{python}}", "{found[0]}", ...], or set PYTHONPATH in job.env'
                    )
                break
    return None


def text_of(value: Any) -> str:
    """A knob's value as the job gets it, on its command line and in its environment: ``true`` or ``false``, else Python's text of it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def program_problem(program: str, env: Mapping[str, str]) -> str | None:
    """Why this process can't execute a program; None where it can."""
    if "\0" in program:
        return None  # which is reported as what it is
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
