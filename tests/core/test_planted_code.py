"""Compiled code that somebody else put into the cache is not run, in each of the ways in which she can get it there.

She plants a pickle under the right name and signs it with a secret of her own beside it, so that only the rule for folders is in her way.
"""

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from other_user import GAMES, needs_root

from bayestuner._core import caching
from bayestuner.files.private import SECRET_NAME
from bayestuner.measure.doctor.places import place_items

pytestmark = pytest.mark.compiled
KEY = ("signature", "cpu")
BASE = "score.score-1.py311"


class Evil:
    """A pickle that makes a file where it is loaded."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (Path(self.mark),))


def plant(cache, mark, names=None):
    """The folder of this version below `cache`, with her secret and her signed code."""
    folder = cache / "compiled" / caching.source_stamp()[:16]
    folder.mkdir(parents=True)
    secret = b"s" * 32
    (folder / SECRET_NAME).write_bytes(secret)
    (folder / SECRET_NAME).chmod(0o600)
    for name in names or [caching._Files(BASE)._name(KEY)]:
        code = pickle.dumps(Evil(mark))
        (folder / name).write_bytes(caching._sign(secret, name, code) + code)
        (folder / name).chmod(0o600)
    return folder


def give_to_her(path):
    for found in (path, *path.rglob("*")):
        os.chown(found, GAMES, GAMES)


def her_cache(place, mark):
    plant(place / "hers", mark)
    give_to_her(place / "hers")
    return {"BAYESTUNER_CACHE": str(place / "hers")}


def her_xdg(place, mark):
    plant(place / "hers" / "bayestuner", mark)
    give_to_her(place / "hers")
    return {"XDG_CACHE_HOME": str(place / "hers")}


def home_kept_by_sudo(place, mark):
    plant(place / "home" / ".cache" / "bayestuner", mark)
    give_to_her(place / "home")
    return {"HOME": str(place / "home"), "SUDO_UID": str(GAMES)}


def relative_xdg(place, mark):
    plant(place / "cache" / "bayestuner", mark)  # in the current folder, of this user even: the specification has it ignored
    return {"XDG_CACHE_HOME": "cache", "HOME": "/"}


def writable(which):
    def prepare(place, mark):
        folder = plant(place / "cache", mark)
        {"parent": place / "cache", "compiled": folder.parent, "version": folder}[which].chmod(0o777 if which == "version" else 0o775)
        return {"BAYESTUNER_CACHE": str(place / "cache")}

    return prepare


WAYS = {
    "BAYESTUNER_CACHE of hers": pytest.param(her_cache, marks=needs_root),
    "XDG_CACHE_HOME of hers": pytest.param(her_xdg, marks=needs_root),
    "HOME kept by sudo": pytest.param(home_kept_by_sudo, marks=needs_root),
    "relative XDG_CACHE_HOME": relative_xdg,
    "writable parent": writable("parent"),
    "writable compiled": writable("compiled"),
    "writable version": writable("version"),
}


@pytest.fixture
def mark(tmp_path):
    return tmp_path / "her-code-ran"


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """As in a process that has loaded nothing yet and whose environment says nothing of a cache."""
    for name in ("BAYESTUNER_CACHE", "XDG_CACHE_HOME", "SUDO_UID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    caching._folder.cache_clear()
    yield
    opened = caching._folder()
    if opened:
        opened[0].close()
    caching._folder.cache_clear()


def load_under(monkeypatch, environment):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return caching._Files(BASE).load(KEY)


@pytest.mark.usefixtures("fresh")
def test_the_plant_works_where_only_this_user_could_have_put_it(monkeypatch, tmp_path, mark):
    plant(tmp_path / "mine", mark)
    load_under(monkeypatch, {"BAYESTUNER_CACHE": str(tmp_path / "mine")})
    assert mark.exists()


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_it_is_not_run_and_doctor_says_no(monkeypatch, tmp_path, mark, caplog, way):
    assert load_under(monkeypatch, way(tmp_path, mark)) is None
    assert load_under(monkeypatch, {}) is None
    assert not mark.exists()
    assert len(caplog.records) == 1  # said once
    assert "every process compiles it anew" in caplog.text
    verdict = next(item for item in place_items() if item.what == "compiled-code cache")
    assert not verdict.usable


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("change", ["another secret", "a byte", "another name", "another version", "a link", "writable"])
def test_a_file_that_was_changed_is_not_run(monkeypatch, tmp_path, mark, change):
    folder = plant(tmp_path / "mine", mark)
    file = next(folder.glob("*.code"))
    match change:
        case "another secret":
            (folder / SECRET_NAME).unlink()
        case "a byte":
            file.write_bytes(file.read_bytes()[:-1] + b"!")
        case "another name":
            file.rename(folder / caching._Files("other")._name(KEY))
            monkeypatch.setattr(sys.modules[__name__], "BASE", "other")
        case "another version":
            monkeypatch.setattr(caching.numba, "__version__", "0.0")
        case "a link":
            file.rename(tmp_path / "elsewhere")
            file.symlink_to(tmp_path / "elsewhere")
        case "writable":
            file.chmod(0o666)
    assert load_under(monkeypatch, {"BAYESTUNER_CACHE": str(tmp_path / "mine")}) is None
    assert not mark.exists()


@pytest.mark.usefixtures("fresh")
def test_what_is_kept_is_found_again_and_takes_the_place_of_what_was_planted(monkeypatch, tmp_path):
    monkeypatch.setenv("BAYESTUNER_CACHE", str(tmp_path / "mine"))
    files = caching._Files(BASE)
    files.save(KEY, {"code": b"\0" * 9})
    assert files.load(KEY) == {"code": b"\0" * 9}
    kept = next((tmp_path / "mine").rglob("*.code"))
    kept.unlink()
    kept.symlink_to("/etc/hostname")
    files.save(KEY, 1)
    assert files.load(KEY) == 1
    assert Path("/etc/hostname").read_bytes()
    assert kept.stat().st_mode & 0o777 == 0o600


VICTIM = """
import json, logging, sys
import numpy as np
from bayestuner._core.box_muller import normals_from_uniforms
normals = np.zeros(2)
normals_from_uniforms(np.array([0.3, 0.7]), normals)
print(json.dumps(normals.tolist()))
"""


def library(cache):
    """What a program that uses the engine's code says on both streams."""
    done = subprocess.run(
        [sys.executable, "-c", VICTIM], env={**os.environ, "BAYESTUNER_CACHE": str(cache)}, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout), done.stderr


@needs_root
@pytest.mark.slow
def test_a_program_that_uses_the_library_compiles_in_memory_and_says_so_in_one_line(tmp_path, mark):
    right, silence = library(tmp_path / "mine")
    assert silence == ""
    names = [path.name for path in (tmp_path / "mine").rglob("*.code")]
    assert names
    shutil.rmtree(tmp_path / "mine")
    plant(tmp_path / "mine", mark, names)
    give_to_her(tmp_path / "mine")
    found, stderr = library(tmp_path / "mine")
    said = stderr.splitlines()
    assert found == right
    assert not mark.exists()
    assert len(said) == 1
    assert "belongs to user games" in said[0]
    assert "BAYESTUNER_CACHE" in said[0]
