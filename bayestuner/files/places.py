"""Where the caches lie."""

from __future__ import annotations

import os
import pwd
from contextlib import suppress
from pathlib import Path

from bayestuner.errors import NotPrivate

CACHE_VARIABLE = "BAYESTUNER_CACHE"


def cache_folder(name: str) -> Path:
    """The folder of one cache: ``name`` below ``$BAYESTUNER_CACHE``, else below ``bayestuner`` in the user's cache folder.

    That is ``$XDG_CACHE_HOME`` where it is absolute (the specification has a relative one ignored), else ``~/.cache``. It is not made
    or checked here.

    Raises
    ------
    NotPrivate
        There is no home folder to keep it in.
    """
    own = os.environ.get(CACHE_VARIABLE)
    if own:
        return Path(own).expanduser().absolute() / name
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not base.is_absolute():
        base = _home() / ".cache"
    return base / "bayestuner" / name


def _home() -> Path:
    home = os.environ.get("HOME")
    if not home:
        with suppress(KeyError):
            home = pwd.getpwuid(os.geteuid()).pw_dir
    path = Path(home or "")
    if not path.is_absolute() or path == path.parent:
        raise NotPrivate("there is no home folder to keep a cache in")
    return path
