"""The door to cgroup files, with and without the extension."""

import errno
import gc
from pathlib import Path

import pytest

from bayestuner.measure.cgroup.files import CgroupFiles, explain, read_keyed, subtree, swap_is_on

FILES = CgroupFiles()


@pytest.mark.usefixtures("way")
class TestEveryWay:
    def test_a_write_replaces_the_text(self, tmp_path):
        path = tmp_path / "memory.max"
        path.write_text("9223372036854771712\n")
        FILES.write(path, "4096")
        assert path.read_bytes() == b"4096"

    def test_a_write_never_makes_a_file(self, tmp_path):
        with pytest.raises(FileNotFoundError) as caught:
            FILES.write(tmp_path / "memory.max", "4096")
        assert caught.value.filename == str(tmp_path / "memory.max")
        assert "(writing '4096')" in str(caught.value)
        assert list(tmp_path.iterdir()) == []

    def test_what_the_kernel_refuses_comes_with_path_and_value(self):
        with pytest.raises(OSError, match=r"\(writing 'abc'\): '/proc/self/oom_score_adj'") as caught:
            FILES.write("/proc/self/oom_score_adj", "abc")
        assert caught.value.errno == errno.EINVAL

    def test_a_real_kernel_file_takes_it_in_one_write(self):
        path = Path("/proc/self/oom_score_adj")
        before = path.read_text().strip()
        FILES.write(path, before)
        assert path.read_text().strip() == before

    def test_a_partial_write_is_an_error(self):
        with pytest.raises(OSError, match="No space left"):
            FILES.write("/dev/full", "x")

    def test_ten_thousand_writes_leave_no_descriptor(self, tmp_path):
        path = tmp_path / "cpuset.cpus"
        path.write_text("")
        gc.collect()
        before = len(list(Path("/proc/self/fd").iterdir()))
        for number in range(10_000):
            FILES.write(path, str(number))
        assert path.read_text() == "9999"
        assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_keyed_files():
    text = "low 0\nhigh 0\noom_kill 3\nfull avg10=0.00\nlonely\nmax max\n"
    assert read_keyed(text) == {"low": 0, "high": 0, "oom_kill": 3}


def test_a_subtree_comes_leaves_first(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert subtree(tmp_path) == [tmp_path / "a" / "b", tmp_path / "a", tmp_path]
    assert subtree(tmp_path / "gone") == []


def test_swap(tmp_path):
    header = "Filename Type Size Used Priority\n"
    assert not swap_is_on(tmp_path)
    (tmp_path / "swaps").write_text(header)
    assert not swap_is_on(tmp_path)
    (tmp_path / "swaps").write_text(header + "/dev/sda2 partition 1 0 -2\n")
    assert swap_is_on(tmp_path)


def test_enospc_of_a_cpuset_is_not_about_the_disk():
    text = explain(OSError(errno.ENOSPC, "No space left on device", "/sys/fs/cgroup/cpuset/x/cgroup.procs"))
    assert "cpuset has no CPU" in text
    assert text.startswith("/sys/fs/cgroup/cpuset/x/cgroup.procs: ")


def test_an_errno_without_a_meaning_of_its_own_stays_plain():
    assert explain(OSError(errno.EIO, "Input/output error", "f")) == "f: Input/output error"
