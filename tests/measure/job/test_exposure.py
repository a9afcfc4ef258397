"""A warning where root would run what somebody else may change."""

import os
import stat
import tempfile
from pathlib import Path

import pytest

from bayestuner.measure.job.exposure import exposure
from bayestuner.measure.job.parser import parse_job

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, about which the warning is")
JOB = '[job]\ncommand = ["./serve", "model.bin", "0"]\n[knobs]\nn = { kind = "environment", variable = "N", values = [1] }\n'
JOB += '[goal]\nminimize = "cpu_s_per_item"\n'
OTHER_UID = 65534


@pytest.fixture
def folder():
    """Root's folder, on a way to it that others can't change: /tmp is sticky."""
    with tempfile.TemporaryDirectory(prefix="bayestuner-test-", dir="/tmp") as name:
        made = Path(name, "job")
        made.mkdir(mode=0o755)
        for file in ("serve", "model.bin", "job.toml"):
            (made / file).write_text(JOB)
            (made / file).chmod(0o755)
        yield made


def job_in(folder):
    return parse_job(JOB, folder / "job.toml")


def test_what_only_root_may_change_is_no_matter(folder):
    assert exposure(job_in(folder)) is None


@pytest.mark.parametrize("name", ["serve", "model.bin", "job.toml", "."])
@pytest.mark.parametrize("mode", [0o757, 0o775, "theirs"])
def test_whatever_others_may_change_is_named(folder, name, mode):
    path = (folder / name).resolve()
    if mode == "theirs":
        os.chown(path, OTHER_UID, -1)
    else:
        os.chown(path, -1, OTHER_UID)
        path.chmod(mode)
    assert f"others than root may change {path}, and so what it does: give [job] user" in exposure(job_in(folder))


def test_a_link_is_followed_to_where_others_may_write(folder):
    (folder / "theirs").mkdir()
    (folder / "theirs").chmod(0o777)
    (folder / "serve").rename(folder / "theirs" / "serve")
    (folder / "serve").symlink_to("theirs/serve")
    assert f"may change {folder / 'theirs'}," in exposure(job_in(folder))


def test_a_job_of_another_user_is_no_danger_to_root(folder):
    (folder / "serve").chmod(0o777)
    text = JOB.replace("[knobs]", 'user = "nobody"\n[knobs]')
    folder.parent.chmod(stat.S_IMODE(folder.parent.stat().st_mode) | 0o055)
    assert exposure(parse_job(text, folder / "job.toml")) is None
