"""Compiled code is kept, found again, and thrown away when any file of _core changes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import bayestuner

pytestmark = [pytest.mark.compiled, pytest.mark.slow]
PACKAGE = Path(bayestuner.__file__).parent

# Two functions that compile in a second: one calls code of another file, the other allocates, which needs numba's runtime.
CODE = """
import sys
import numpy as np
from bayestuner._core.box_muller import normals_from_uniforms
from bayestuner._core.hypervolume import add_log_probability
chance, normals = np.zeros(1), np.zeros(2)
add_log_probability(np.array([-9.0]), np.ones(1), 1.0, 0.0, 0.0, chance)
normals_from_uniforms(np.array([0.3, 0.7]), normals)
def count(kind):
    return sum(sum(getattr(function.stats, kind).values()) for function in (add_log_probability, normals_from_uniforms))
print(repr(float(chance[0])), repr(float(normals[0])), count("cache_hits"), count("cache_misses"), "scipy.linalg" in sys.modules)
"""


def run(root: Path, cache: Path, code: str = CODE, **env: str) -> list[str]:
    """The words of the last line that `code` prints, in a process of its own with the package below `root`."""
    environment = {**os.environ, "PYTHONPATH": str(root), "BAYESTUNER_CACHE": str(cache), **env}
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment, cwd=root)
    return done.stdout.splitlines()[-1].split()


def copy_package(root: Path) -> Path:
    shutil.copytree(PACKAGE, root / "bayestuner", ignore=shutil.ignore_patterns("__pycache__", "zoo", "measure", "study", "cli"))
    return root


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The folder above a copy of the package, which no test may change."""
    return copy_package(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def compiled(package, tmp_path_factory):
    """The cache folder that a first process compiled into, and what that process printed."""
    cache = tmp_path_factory.mktemp("compiled")
    return cache, run(package, cache)


def test_a_second_process_loads_and_sets_up_no_compiler(package, compiled):
    """Numba's own way to load takes 50 MB more, for scipy.linalg, its BLAS with a thread pool, and a pass of LLVM."""
    cache, first = compiled
    assert first[2:] == ["0", "2", "True"]
    assert run(package, cache) == [*first[:2], "2", "0", "False"]


def test_a_changed_callee_in_another_file_compiles_anew(compiled, tmp_path):
    cache, first = compiled
    changed = copy_package(tmp_path)
    callee = changed / "bayestuner" / "_core" / "normal.py"
    text = callee.read_text()
    assert "LOG_SQRT_2PI = 0.5 *" in text
    callee.write_text(text.replace("LOG_SQRT_2PI = 0.5 *", "LOG_SQRT_2PI = 0.6 *"))
    chance, normal, hits, misses, _ = run(changed, cache)
    assert (hits, misses) == ("0", "2")
    assert (chance != first[0], normal) == (True, first[1])


def test_compiling_after_loading_works(package, compiled, tmp_path):
    """What was loaded without the compiler and what is compiled later live in one process; both allocate."""
    (tmp_path / "later.py").write_text("""
import numpy as np
from bayestuner._core.options import compiled
@compiled()
def sum_of_copy(x):
    copy = np.empty(x.size)
    for i in range(x.size):
        copy[i] = x[i]
    return copy.sum()
""")
    more = """
import later
print(later.sum_of_copy(np.array([2.0, 3.0])), count("cache_hits"), sum(later.sum_of_copy.stats.cache_misses.values()))
"""
    cache = shutil.copytree(compiled[0], tmp_path / "cache")
    path = os.pathsep.join([str(package), str(tmp_path)])
    assert run(package, cache, CODE + more, PYTHONPATH=path) == ["5.0", "2", "1"]


def test_a_cache_folder_that_cannot_be_made_only_costs_time(package, compiled, tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("")
    assert run(package, blocker / "below")[:3] == [*compiled[1][:2], "0"]


def test_without_the_compiler_the_results_are_the_same(package, compiled, tmp_path):
    code = CODE.replace('count("cache_hits"), count("cache_misses")', "0, 0")
    plain = run(package, tmp_path / "cache", code, NUMBA_DISABLE_JIT="1")[:2]
    assert [float(word) for word in plain] == pytest.approx([float(word) for word in compiled[1][:2]], rel=1e-12)
