"""Which of the variables of BayesTuner's own environment a job gets: a short list, since any other may hold a secret."""

from __future__ import annotations

import pwd

INHERITED = (
    "PATH", "LD_LIBRARY_PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "XDG_CACHE_HOME", "BAYESTUNER_CACHE",
)  # fmt: skip
"""And every LC_*. Where programs and their libraries lie (many are found by LD_LIBRARY_PATH alone), whose the job is, language and time
zone, where temporary files and caches of models go."""

OF_THE_CALLER = ("SHELL", "TMPDIR", "XDG_CACHE_HOME", "BAYESTUNER_CACHE")
"""Those of `INHERITED` that mean nothing to a job of another user: folders that it may not write, a shell that it doesn't have."""


def is_inherited(name: str, user: str | None) -> bool:
    """Whether a job of this user (None: of the one who runs BayesTuner) gets a variable although its job file doesn't name it."""
    return name.startswith("LC_") or (name in INHERITED and (user is None or name not in OF_THE_CALLER))


def variables_of(user: str) -> dict[str, str]:
    """The variables that say whose a job is, for this user."""
    return {"HOME": pwd.getpwnam(user).pw_dir, "USER": user, "LOGNAME": user}
