"""Types of command line arguments that several subcommands take; each says in one sentence what was given and what is expected."""

from __future__ import annotations

import argparse
import math
import os
from pathlib import Path

from bayestuner.errors import BayesTunerError

LARGEST_SEED = 2**63 - 1
"""What a study can store."""


def positive_count(text: str) -> int:
    """A whole number of at least 1."""
    return _whole(text, 1, "a whole number of at least 1")


def seed(text: str) -> int:
    """A whole number from 0 to `LARGEST_SEED`."""
    return _whole(text, 0, "a whole number of at least 0")


def positive_number(text: str) -> float:
    """A finite number above 0."""
    value = _number(text)
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"expected a number above 0, not {text!r}")
    return value


def share(text: str) -> float:
    """A number from 0 to 1."""
    value = _number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a share from 0 to 1, such as 0.01, not {text!r}")
    return value


def check_can_write(path: Path, option: str) -> None:
    """Raise where a file can't be made or replaced, before work is done whose result it is to hold.

    Raises
    ------
    BayesTunerError
    """
    folder = path.parent
    if path.is_dir():
        problem = f"{path} is a folder; name a file"
    elif not folder.is_dir():
        problem = f"there is no folder {folder}; make it first, or name a file elsewhere"
    elif not os.access(path if path.exists() else folder, os.W_OK):
        problem = f"{path} may not be written by this user; name a file elsewhere"
    else:
        return
    raise BayesTunerError(f"{option}: {problem}")


def _whole(text: str, least: int, expected: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if not least <= value <= LARGEST_SEED:
        too_large = f" and at most {LARGEST_SEED}" if value > LARGEST_SEED else ""
        raise argparse.ArgumentTypeError(f"expected {expected}{too_large}, not {text!r}")
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
