"""What the tests of whole `tune` calls share: whether limits can be set here, the command line, what a study holds."""

import os
import subprocess
from pathlib import Path

import pytest
from jobs import bayestuner

from bayestuner.study.study import Study

HAVE_CGROUP = os.geteuid() == 0 and any(Path(f"/sys/fs/cgroup/{c}").is_dir() for c in ("memory", "cgroup.controllers"))
NEEDS_CGROUP = [pytest.mark.cgroup, pytest.mark.skipif(not HAVE_CGROUP, reason="needs root and writable cgroup controllers")]
WAIT_S = 240


def run_cli(*args, cwd=None):
    return subprocess.run(bayestuner(*args), capture_output=True, text=True, timeout=WAIT_S, check=False, cwd=cwd)


def told(path):
    """What is on disk: number -> outcome; read beside the process that writes."""
    if not (path / "study.sqlite").exists() or not Study.exists(path):
        return {}
    with Study.open(path, read_only=True) as study:
        return {r.trial.number: r.trial.outcome for r in study.records() if r.tell_seq is not None}
