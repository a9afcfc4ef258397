"""Neither the command line nor what it starts leaves its memory on disk."""

import signal
import subprocess
import sys

CRASH = """
import os, resource
from bayestuner.cli.main import main
main(["--version"])
print(resource.getrlimit(resource.RLIMIT_CORE)[0], flush=True)
os.abort()
"""


def test_a_crash_leaves_no_core(tmp_path):
    allow = ["sh", "-c", 'ulimit -S -c "$(ulimit -H -c)"; exec "$@"', "sh"]
    done = subprocess.run([*allow, sys.executable, "-c", CRASH], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGABRT
    assert done.stdout.split()[-1] in ("0", "1")
    assert list(tmp_path.iterdir()) == []
