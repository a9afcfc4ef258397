"""The C files compile without a single warning, with each compiler that is here."""

import shutil
import subprocess
from pathlib import Path

import pytest

CSRC = Path(__file__).resolve().parents[2] / "csrc"
FLAGS = ["-std=gnu11", "-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Werror", "-O2"]


@pytest.mark.parametrize("source", sorted(path.name for path in CSRC.glob("bt_*.c")))
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_no_warnings(compiler, source, tmp_path):
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    command = [compiler, *FLAGS, "-I", str(CSRC), "-c", str(CSRC / source), "-o", str(tmp_path / "out.o")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
