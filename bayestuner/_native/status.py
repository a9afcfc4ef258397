"""Turning the status that a function of the extension returns into an exception."""

from __future__ import annotations

import os


def check(rc: int, path: str, value: str | None = None) -> int:
    """Return a status that is no error; raise `OSError` for ``-errno``.

    Parameters
    ----------
    rc : int
        What a ``bt_`` function returned.
    path : str
        The file, program or folder it was about.
    value : str, optional
        What was being written.

    Raises
    ------
    OSError
        The subclass that belongs to the errno (`FileNotFoundError`, `PermissionError`, ...), `filename` set.
    """
    if rc >= 0:
        return rc
    reason = os.strerror(-rc)
    raise OSError(-rc, reason if value is None else f"{reason} (writing {value!r})", path)
