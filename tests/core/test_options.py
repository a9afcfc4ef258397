"""Compiled code is kept, found again, and thrown away when any file of _core changes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import bayestuner

pytestmark = pytest.mark.compiled
PACKAGE = Path(bayestuner.__file__).parent
CODE = """
import sys
import numpy as np
from bayestuner._core.predict import condition
from bayestuner._core.likelihood import objective
from bayestuner.space import Integer, Space
from bayestuner.surrogate.covariance import Geometry
g = Geometry.of(Space(Integer("a", 1, 4)))
value, _ = objective(np.zeros(5), np.array([[0], [3]]), np.array([1.0, -1.0]), np.ones(2), np.zeros(2), g.levels, g.starts, g.kinds,
                     np.zeros(5), np.ones(5), g.form, g.family)
stats = objective.stats
print(repr(float(value)), sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))
"""


def run(root: Path, cache: Path, **env: str) -> tuple[float, int, int]:
    environment = {**os.environ, "PYTHONPATH": str(root), "BAYESTUNER_CACHE": str(cache), **env}
    done = subprocess.run([sys.executable, "-c", CODE], check=True, capture_output=True, text=True, env=environment, cwd=root)
    value, hits, misses = done.stdout.split()
    return float(value), int(hits), int(misses)


@pytest.fixture
def copy(tmp_path):
    root = tmp_path / "site"
    shutil.copytree(PACKAGE, root / "bayestuner", ignore=shutil.ignore_patterns("__pycache__", "zoo", "measure", "study", "cli"))
    return root


def test_a_second_process_loads_and_a_changed_callee_in_another_file_compiles_anew(copy, tmp_path):
    cache = tmp_path / "cache"
    first, hits, misses = run(copy, cache)
    assert (hits, misses) == (0, 1)
    again, hits, misses = run(copy, cache)
    assert (hits, misses) == (1, 0)
    assert again == first
    callee = copy / "bayestuner" / "_core" / "covariance.py"
    text = callee.read_text()
    assert "SQRT5 = math.sqrt(5.0)" in text
    callee.write_text(text.replace("SQRT5 = math.sqrt(5.0)", "SQRT5 = math.sqrt(4.0)"))
    changed, hits, misses = run(copy, cache)
    assert (hits, misses) == (0, 1)
    assert changed != first


def test_loading_sets_up_no_compiler(copy, tmp_path):
    """Numba's own way to load takes 50 MB more, for scipy.linalg, its BLAS with a thread pool, and a pass of LLVM."""
    code = CODE + "print(sum(stats.cache_hits.values()), 'scipy.linalg' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(copy), "BAYESTUNER_CACHE": str(tmp_path / "cache")}
    for expected in ("0 True", "1 False"):
        done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment, cwd=copy)
        assert done.stdout.splitlines()[-1] == expected


def test_compiling_after_loading_works(copy, tmp_path):
    """What was loaded without the compiler and what is compiled later live in one process."""
    run(copy, tmp_path / "cache")
    more = """
from bayestuner.surrogate.gp import GaussianProcess
gp = GaussianProcess(g)
gp.fit(np.array([[0], [3]]), np.array([1.0, -1.0]), np.ones(2), np.full(2, 0.01))
print(repr(float(gp.predict(np.array([[0]]))[0][0])), sum(stats.cache_hits.values()), sum(condition.stats.cache_misses.values()))
"""
    environment = {**os.environ, "PYTHONPATH": str(copy), "BAYESTUNER_CACHE": str(tmp_path / "cache")}
    done = subprocess.run([sys.executable, "-c", CODE + more], check=True, capture_output=True, text=True, env=environment, cwd=copy)
    value, hits, misses = done.stdout.splitlines()[-1].split()
    assert (int(hits), int(misses)) == (1, 1)
    assert 0.5 < float(value) < 1.0


def test_a_cache_folder_that_cannot_be_made_only_costs_time(copy, tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("")
    value, hits, _ = run(copy, blocker / "below")
    assert hits == 0
    assert value == run(copy, tmp_path / "cache")[0]


def test_without_the_compiler_the_results_are_the_same(copy, tmp_path):
    code = CODE.replace("stats = objective.stats", "").replace(
        ", sum(stats.cache_hits.values()), sum(stats.cache_misses.values())", ", 0, 0"
    )
    environment = {**os.environ, "PYTHONPATH": str(copy), "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment, cwd=copy)
    assert float(done.stdout.split()[0]) == pytest.approx(run(copy, tmp_path / "cache")[0], rel=1e-12)
