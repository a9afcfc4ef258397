"""A cache folder of the tests' own, shared by all of them so that nothing is built twice."""

import os
import subprocess
import sys

import pytest


@pytest.fixture(scope="session")
def zoo_folder(tmp_path_factory):
    """Folder that BAYESTUNER_CACHE names for the tests that only need built models."""
    return tmp_path_factory.mktemp("zoo-cache")


@pytest.fixture
def zoo_cache(zoo_folder, monkeypatch):
    monkeypatch.setenv("BAYESTUNER_CACHE", str(zoo_folder))
    return zoo_folder


@pytest.fixture
def fresh_cache(tmp_path, monkeypatch):
    """An empty cache folder, for tests that damage or fill it."""
    monkeypatch.setenv("BAYESTUNER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def zoo_process(zoo_folder):
    """Run ``python -m bayestuner.zoo ARGUMENTS`` to its end, `variables` in its environment, started by the command `through`."""

    def run(*arguments, variables=None, through=()):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("BAYESTUNER_")}
        environment |= {"BAYESTUNER_CACHE": str(zoo_folder), **(variables or {})}
        command = [*map(str, through), sys.executable, "-m", "bayestuner.zoo", *map(str, arguments)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)

    return run
