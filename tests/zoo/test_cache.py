"""The cache: what is damaged is rebuilt, builders don't meet, and a folder that can't be used is named in one sentence."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from other_user import GAMES, needs_root

from bayestuner.errors import MissingExtra
from bayestuner.zoo import cache, registry

onnx = pytest.importorskip("onnx")
pytestmark = pytest.mark.zoo

SCALE = 0.1
NAME = "mobilenet_v2"


def build():
    return registry.build(NAME, SCALE)


def loads(path):
    onnx.checker.check_model(str(path))
    return True


def test_a_second_build_takes_the_file_there_is(fresh_cache):
    path = build()
    before = path.stat()
    assert build() == path
    assert path.stat() == before
    assert path.parent == fresh_cache / "zoo"


def test_nothing_is_left_beside(fresh_cache):
    path = build()
    assert sorted(p.suffix for p in path.parent.iterdir()) == ["", ".json", ".lock", ".onnx"]  # the secret has no ending


def flip_a_byte(path):
    times = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


DAMAGES = {
    "a byte flipped, times restored": flip_a_byte,
    "cut short": lambda path: os.truncate(path, path.stat().st_size // 2),
    "emptied": lambda path: path.write_bytes(b""),
    "removed": lambda path: path.unlink(),
    "sidecar removed": lambda path: path.with_suffix(".json").unlink(),
    "sidecar garbage": lambda path: path.with_suffix(".json").write_text("{"),
    "sidecar of another form": lambda path: path.with_suffix(".json").write_text("[1, 2]"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_rebuilt(damage, fresh_cache):
    path = build()
    whole = path.read_bytes()
    inode = path.stat().st_ino
    with path.open("rb"):  # held open so that its inode isn't given to the new file
        damage(path)
        assert build() == path
        assert path.stat().st_ino != inode or not whole
    assert path.read_bytes() == whole


@needs_root
@pytest.mark.parametrize("whose", ["hers", "writable"])
def test_a_folder_that_others_could_have_filled_is_not_used_and_nothing_is_written_there(fresh_cache, whose):
    build()
    before = {p.name: p.stat().st_mtime_ns for p in (fresh_cache / "zoo").iterdir()}
    if whose == "hers":
        for path in (fresh_cache, *fresh_cache.rglob("*")):
            os.chown(path, GAMES, GAMES)
    else:
        (fresh_cache / "zoo").chmod(0o777)
    with pytest.raises(cache.CacheUnusable, match="can't be believed") as caught:
        build()
    one_sentence(caught.value)
    assert {p.name: p.stat().st_mtime_ns for p in (fresh_cache / "zoo").iterdir()} == before


def test_a_poisoned_model_with_a_sidecar_of_its_own_is_built_anew(fresh_cache):
    path = build()
    whole = path.read_bytes()
    path.write_bytes(b"poison" + whole[6:])
    status = path.stat()
    about = {"size": len(whole), "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "stamp": cache._stamp(status)}
    for signature in ({}, {"signature": cache._sign(b"h" * 32, path.name, about)}):
        path.with_suffix(".json").write_text(json.dumps(about | signature))
        assert build().read_bytes() == whole


def test_links_in_the_place_of_part_lock_and_model_are_not_followed(fresh_cache, tmp_path):
    path = build()
    precious = tmp_path / "precious"
    precious.write_text("precious")
    path.with_suffix(".part").symlink_to(precious)
    path.unlink()
    path.symlink_to(precious)
    path.with_suffix(".json").unlink()
    path.with_suffix(".json").symlink_to(precious)
    assert loads(build())
    path.unlink()
    path.with_suffix(".lock").unlink()
    path.with_suffix(".lock").symlink_to(tmp_path / "new")
    with pytest.raises(cache.CacheUnusable, match="is a link, no regular file"):
        build()
    assert not (tmp_path / "new").exists()
    assert precious.read_text() == "precious"


def test_a_touched_file_of_the_right_content_is_kept(fresh_cache):
    path = build()
    os.utime(path, ns=(0, 0))
    inode = path.stat().st_ino
    assert build() == path
    assert path.stat().st_ino == inode
    assert json.loads(path.with_suffix(".json").read_text())["stamp"][0] == 0  # and found at once the next time


def test_processes_that_build_at_once_build_once(fresh_cache):
    code = "import os; from bayestuner.zoo import registry; print(os.stat(registry.build('resnet_v2', 0.5)).st_ino)"
    builders = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    inodes = {builder.communicate(timeout=300)[0].strip() for builder in builders}
    assert [builder.returncode for builder in builders] == [0, 0, 0]
    assert len(inodes) == 1
    assert loads(registry.build("resnet_v2", 0.5))


def test_a_builder_killed_halfway_harms_nobody(fresh_cache):
    code = """
import time
from bayestuner.zoo import export, registry
whole = export.serialised
def halting(graph):
    pieces = whole(graph)
    for _ in range(20):
        yield next(pieces)
    print("half", flush=True)
    time.sleep(600)
export.serialised = halting
registry.build("mobilenet_v2", 0.1)
"""
    builder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert builder.stdout.readline() == "half\n"
        assert list((fresh_cache / "zoo").glob("*.part"))
    finally:
        builder.send_signal(signal.SIGKILL)
        builder.communicate(timeout=60)
    assert not list((fresh_cache / "zoo").glob("*.onnx"))
    assert loads(build())
    assert not list((fresh_cache / "zoo").glob("*.part"))


def test_a_failed_build_leaves_no_part(fresh_cache, monkeypatch):
    from bayestuner.zoo import export

    def failing(graph):
        yield b"x"
        raise KeyboardInterrupt

    monkeypatch.setattr(export, "serialised", failing)
    with pytest.raises(KeyboardInterrupt):
        build()
    assert sorted(p.suffix for p in (fresh_cache / "zoo").iterdir()) == [".lock"]


def test_a_changed_net_has_a_file_of_its_own(fresh_cache):
    assert len({registry.build(NAME, scale) for scale in (0.1, 0.2)} | {registry.build("text_cnn", 0.1)}) == 3


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.setenv("BAYESTUNER_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.folder() == tmp_path / "own" / "zoo"
    monkeypatch.delenv("BAYESTUNER_CACHE")
    assert cache.folder() == tmp_path / "xdg" / "bayestuner" / "zoo"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # the XDG specification: to be ignored
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache.folder() == tmp_path / "home" / ".cache" / "bayestuner" / "zoo"


def one_sentence(error):
    text = str(error)
    assert "\n" not in text
    assert "BAYESTUNER_CACHE" in text
    return text


def test_a_folder_that_is_a_file(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BAYESTUNER_CACHE", str(tmp_path / "file"))
    with pytest.raises(cache.CacheUnusable, match="can't be written") as caught:
        build()
    assert "mobilenet_v2" in one_sentence(caught.value)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_folder_of_another_user(tmp_path):
    """For real, as an unprivileged user: the folder is root's."""
    (tmp_path / "cache").mkdir(mode=0o755)
    tmp_path.chmod(0o755)
    code = """
import os, onnx, onnx.numpy_helper
from bayestuner.zoo import cache, export, registry
registry.spec("mobilenet_v2").graph(0.1)
os.setgid(65534); os.setgroups([]); os.setuid(65534)
try:
    registry.build("mobilenet_v2", 0.1)
except cache.CacheUnusable as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"BAYESTUNER_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "can't be written (Permission denied)" in one_sentence(done.stdout.strip())


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 KiB."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)], check=False, capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    yield place
    for _ in range(20):
        if subprocess.run(["umount", str(place)], check=False, capture_output=True).returncode == 0:
            break
        time.sleep(0.2)


def test_a_full_disk(small_disk, monkeypatch):
    monkeypatch.setenv("BAYESTUNER_CACHE", str(small_disk))
    with pytest.raises(cache.CacheUnusable, match=r"is full \(No space left on device\)") as caught:
        build()
    assert "make room there" in one_sentence(caught.value)
    assert not list((small_disk / "zoo").glob("*.part"))  # what was written is given back


def test_without_onnx_the_extra_is_named(fresh_cache, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtra, match=r"pip install 'bayestuner\[zoo\]'"):
        build()


def test_without_onnx_a_cached_model_is_found(zoo_cache, monkeypatch):
    path = build()
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert build() == path
