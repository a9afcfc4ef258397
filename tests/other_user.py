"""Python code run as another user for real: the attacks of one user on another, and on root."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

NOBODY = 65534
GAMES = 5

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")

_BECOME = "import os; os.setgroups([]); os.setresgid({uid}, {uid}, {uid}); os.setresuid({uid}, {uid}, {uid})\n"


def run_as(uid, code, *arguments, timeout_s=60, **environment):
    """What `code` printed as user `uid`; it has to end well. The package is imported before the change of user, who may not read it."""
    text = "import sys\nimport bayestuner.files.private, bayestuner.errors\n" + _BECOME.format(uid=uid) + code
    done = subprocess.run(
        [sys.executable, "-c", text, *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def shared():
    """A folder as /tmp is, that every user reaches: sticky, and all may write."""
    path = Path(tempfile.mkdtemp(prefix="bayestuner-shared-", dir="/tmp"))
    path.chmod(0o1777)
    yield path
    shutil.rmtree(path)
