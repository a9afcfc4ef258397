"""The runtime folder, for files that mean nothing after a reboot: the machine's lock and the journals of changed settings."""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from bayestuner.errors import RuntimeFolderUnusable

VARIABLE = "BAYESTUNER_RUNTIME_DIR"
ROOT_FOLDER = Path("/run/bayestuner")


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


def make_runtime_folder() -> Path:
    """Make the runtime folder where it is missing, and check that nobody else can write there, because what it holds is acted upon.

    Root's folder can be read by everyone, so that other users see that the machine's lock is taken.

    Raises
    ------
    RuntimeFolderUnusable
        It can't be made, belongs to another user, or can be written by others.
    """
    folder = runtime_folder()
    advice = f"set {VARIABLE} to a folder of your own"
    try:
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            if os.geteuid() == 0:
                folder.chmod(0o755)  # whatever the umask is
        found = folder.lstat()
    except OSError as error:
        raise RuntimeFolderUnusable(f"the folder {folder} can't be made: {error.strerror}; {advice}") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise RuntimeFolderUnusable(f"{folder} is not a folder of this user, so what it says can't be believed; {advice}")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise RuntimeFolderUnusable(
            f"{folder} can be written by others, so what it says can't be believed; run chmod go-w {folder}, or {advice}"
        )
    return folder
