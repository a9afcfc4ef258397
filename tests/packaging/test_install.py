"""Installing for real: sdist -> wheel -> fresh environment; and where no C compiler works, the engine still does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long
HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent


def test_sdist_to_wheel_to_a_fresh_environment_works():
    script = ["sh", str(HERE / "check_dist.sh"), sys.executable]
    done = subprocess.run(script, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "works" in done.stdout


@pytest.fixture(scope="module")
def wheel_without_compiler(tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    source = out / "source"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(source)], check=True)  # a build must not touch this checkout
    environment = {k: v for k, v in os.environ.items() if k != "BAYESTUNER_REQUIRE_EXTENSION"} | {"CC": "/bin/false"}
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(out), str(source)]
    subprocess.run(command, check=True, env=environment, timeout=600, capture_output=True)
    return next(out.glob("*.whl"))


def test_without_a_compiler_install_and_engine_work_and_doctor_says_what_is_lost(wheel_without_compiler, tmp_path):
    target = tmp_path / "site-packages"
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-compile",
        "--target",
        str(target),
        str(wheel_without_compiler),
    ]
    subprocess.run(command, check=True, timeout=600, capture_output=True)
    assert not list(target.glob("bayestuner/_native/*.so"))
    environment = {**os.environ, "PYTHONPATH": str(target)}
    smoke = [sys.executable, str(HERE / "smoke.py"), "--without-extension"]
    subprocess.run(smoke, check=True, cwd=tmp_path, env=environment, timeout=600)
    doctor = [sys.executable, "-m", "bayestuner", "doctor", "--json"]
    done = subprocess.run(doctor, cwd=tmp_path, env=environment, timeout=600, capture_output=True, text=True, check=True)
    assert "not built" in done.stdout
