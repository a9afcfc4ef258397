"""The runtime folder, for files that mean nothing after a reboot: the machine's lock and the journals of changed settings."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from bayestuner.errors import NotPrivate, RuntimeFolderUnusable
from bayestuner.files.private import PrivateFolder

VARIABLE = "BAYESTUNER_RUNTIME_DIR"
ROOT_FOLDER = Path("/run/bayestuner")
ADVICE = f"set {VARIABLE} to a folder of your own"


def runtime_folder() -> Path:
    """The path of the runtime folder, whether it exists or not.

    It is ``BAYESTUNER_RUNTIME_DIR`` where that is set; else /run/bayestuner for root and ``bayestuner`` in the session's XDG_RUNTIME_DIR
    for other users; where that folder can't be made, a folder with the user's number in its name below the temporary folder.
    """
    chosen = os.environ.get(VARIABLE)
    if chosen:
        return Path(chosen)
    if os.geteuid() == 0:
        base, name = ROOT_FOLDER.parent, ROOT_FOLDER.name
    else:
        base, name = Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}"), "bayestuner"
    if base.is_dir() and os.access(base, os.W_OK | os.X_OK):
        return base / name
    return Path(tempfile.gettempdir()) / f"bayestuner-{os.geteuid()}"


def open_runtime_folder() -> PrivateFolder:
    """The runtime folder held open, made first where it is missing; only this user can change what it holds, because it is acted upon.

    Root's folder can be entered by everyone, so that other users see who measures.

    Raises
    ------
    RuntimeFolderUnusable
        It can't be made, belongs to another user, or it or a folder on the way to it can be written by others.
    """
    path = runtime_folder()
    try:
        folder = PrivateFolder.open(path, make=True)
        if os.geteuid() == 0:
            os.fchmod(folder.fd, 0o755)
    except NotPrivate as error:
        raise RuntimeFolderUnusable(f"{error}; or {ADVICE}") from error
    except OSError as error:
        raise RuntimeFolderUnusable(f"the folder {path} can't be made: {error.strerror}; {ADVICE}") from error
    return folder


def make_runtime_folder() -> Path:
    """The path of `open_runtime_folder`, where the folder has to be there and private; errors as there."""
    with open_runtime_folder() as folder:
        return folder.path
