"""Files that are damaged, foreign, newer, locked away or on a full disk: one clear sentence, nothing lost."""

import os
import sqlite3
import subprocess
from pathlib import Path

import pytest
from study_doubles import pretend_run, small_goal, small_space

from bayestuner.errors import StoreError
from bayestuner.study.study import Study

needs_mount = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small file system")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 512 KiB; skipped where this machine doesn't let us mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"can't mount a tmpfs: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def create(path):
    return Study.create(path, small_space(), small_goal(), "random", 0, 20)


def told_study(path, runs=3):
    with create(path) as study:
        for _ in range(runs):
            trial = study.ask()
            study.tell(trial, pretend_run(trial.config))
    return path


def foreign(file):
    db = sqlite3.connect(file)
    db.execute("CREATE TABLE t (x)")
    db.close()


def one_sentence(error) -> bool:
    return "\n" not in str(error.value) and "Traceback" not in str(error.value)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: None, "does not exist"),
        (lambda p: p.mkdir(), "holds no study"),
        (lambda p: p.write_text("x"), "is not a folder"),
        (lambda p: (p.mkdir(), (p / "study.sqlite").write_bytes(b"not a database, but long enough to be read as one" * 40)), "damaged"),
        (lambda p: (p.mkdir(), foreign(p / "study.sqlite")), "no study of BayesTuner"),
        (lambda p: (p.mkdir(), (p / "study.sqlite").touch()), "no study"),
    ],
)
def test_opening_what_is_no_study(tmp_path, make, words):
    make(tmp_path / "s")
    with pytest.raises(StoreError, match=words) as error:
        Study.open(tmp_path / "s")
    assert one_sentence(error)


def test_creating_over_other_things(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("years of work")
    with pytest.raises(StoreError, match="holds other things"):
        create(tmp_path / "full")
    assert [f.name for f in (tmp_path / "full").iterdir()] == ["thesis.txt"]
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="is a file"):
        create(tmp_path / "file")
    told_study(tmp_path / "s")
    with pytest.raises(StoreError, match="already holds a study"):
        create(tmp_path / "s")


def test_a_study_whose_making_was_cut_short_can_be_made_again(tmp_path):
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "study.sqlite").touch()
    assert not Study.exists(tmp_path / "s")
    told_study(tmp_path / "s")
    assert Study.exists(tmp_path / "s")


def test_a_newer_version_is_refused(tmp_path):
    told_study(tmp_path / "s")
    with sqlite3.connect(tmp_path / "s" / "study.sqlite") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StoreError, match="newer BayesTuner"):
        Study.open(tmp_path / "s")


def as_version_1(file):
    """Put a study's file back to what version 1 wrote: no role `reference` in its CHECK."""
    with sqlite3.connect(file) as db:
        (statement,) = db.execute("SELECT sql FROM sqlite_master WHERE name = 'trials'").fetchone()
        assert "'reference', " in statement
        db.execute(statement.replace("'reference', ", "").replace("trials", "old_trials", 1))
        db.execute("INSERT INTO old_trials SELECT * FROM trials")
        db.execute("DROP TABLE trials")
        db.execute("ALTER TABLE old_trials RENAME TO trials")
        db.execute("PRAGMA user_version = 1")
    db.close()


def test_a_study_of_version_1_is_taken_over_with_all_it_holds(tmp_path):
    file = told_study(tmp_path / "s") / "study.sqlite"
    with Study.open(tmp_path / "s", read_only=True) as study:
        before = study.records()
    as_version_1(file)
    with Study.open(tmp_path / "s", read_only=True) as study:  # reading changes nothing
        assert study.records() == before
    with Study.open(tmp_path / "s") as study:
        assert study.records() == before
        trial = study.adopt(before[0].trial.config, "reference")
        study.tell(trial, pretend_run(trial.config))
    with sqlite3.connect(file) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (2,)
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
    db.close()
    with Study.open(tmp_path / "s") as study:
        assert [r.role for r in study.records()] == ["search"] * 3 + ["reference"]


@pytest.mark.parametrize("keep", [0.3, 0.7, 0.95])
def test_a_file_cut_short_is_called_damaged(tmp_path, keep):
    file = told_study(tmp_path / "s", 12) / "study.sqlite"
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(StoreError, match="damaged") as error:
        Study.open(tmp_path / "s")
    assert one_sentence(error)


def test_a_scribbled_page_is_called_damaged(tmp_path):
    file = told_study(tmp_path / "s", 12) / "study.sqlite"
    data = bytearray(file.read_bytes())
    data[4096 : 2 * 4096] = b"\xff" * 4096
    file.write_bytes(bytes(data))
    with pytest.raises(StoreError, match="damaged"):
        Study.open(tmp_path / "s")


@needs_mount
def test_a_full_disk_loses_nothing_that_was_told(small_disk):
    study = create(small_disk / "s")
    told = 0
    with pytest.raises(StoreError, match="no space is left") as error:
        while True:
            trial = study.ask()
            study.tell(trial, pretend_run(trial.config), {"output_tail": "x" * 40_000})
            told += 1
    assert one_sentence(error)
    assert told >= 1
    study.close()
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    with Study.open(small_disk / "s") as study:
        assert sum(r.tell_seq is not None for r in study.records()) == told
        for _ in range(20):
            trial = study.ask()
            if trial is None:
                break
            study.tell(trial, pretend_run(trial.config))
        assert sorted(r.trial.number for r in study.records()) == list(range(20))
        assert all(r.trial.outcome is not None for r in study.records())


@needs_mount
def test_a_read_only_folder_can_be_shown_but_not_continued(small_disk):
    told_study(small_disk / "s")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with Study.open(small_disk / "s", read_only=True) as study:
        assert [r.trial.state != "running" for r in study.records()] == [True] * 3
    with pytest.raises(StoreError, match="can't be written") as error, Study.open(small_disk / "s") as study:
        study.ask()
    assert one_sentence(error)
    with pytest.raises(StoreError, match=r"can't be (written|used)"):
        create(small_disk / "other")


def test_the_file_itself_may_be_named(tmp_path):
    told_study(tmp_path / "s")
    with Study.open(Path(tmp_path / "s" / "study.sqlite"), read_only=True) as study:
        assert len(study.records()) == 3


def test_a_study_is_neither_made_nor_gone_on_with_where_others_could_swap_its_folder(tmp_path, monkeypatch):
    parent = tmp_path / "shared"
    parent.mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: 0)  # root's; other users often share the folders of a project
    Study.create(parent / "mine", small_space(), small_goal(), "random", 0, 9).close()
    parent.chmod(0o777)
    with pytest.raises(StoreError, match=rf"{parent} can be written by others"):
        Study.create(parent / "new", small_space(), small_goal(), "random", 0, 9)
    assert not (parent / "new").exists()
    with pytest.raises(StoreError, match=rf"is not written to: {parent} can be written by others"):
        Study.open(parent / "mine")
    Study.open(parent / "mine", read_only=True).close()
    parent.chmod(0o1777)  # as /tmp: others can't move what is ours
    Study.open(parent / "mine").close()
