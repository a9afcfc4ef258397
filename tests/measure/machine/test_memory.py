"""How much memory a job can be given: the machine's, or less where a cgroup around this process has a limit."""

import pytest

from bayestuner.measure.job.parser import MistakesInJob, parse_job
from bayestuner.measure.machine.memory import MemoryBound, memory_bound, memory_text

MIB = 1 << 20


def proc(folder, membership, mounts):
    """A procfs of a machine with 8 GiB."""
    (folder / "self").mkdir(parents=True)
    (folder / "meminfo").write_text("MemTotal:        8388608 kB\nMemFree:         1000000 kB\n")
    (folder / "self/cgroup").write_text(membership)
    (folder / "self/mountinfo").write_text(mounts)
    return folder


def group(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("_", ".", 1)).write_text(text + "\n")


def test_without_a_limit_it_is_the_machines(tmp_path):
    group(tmp_path / "cg/scope", memory_max="max")
    found = memory_bound(proc(tmp_path / "proc", "0::/scope\n", f"30 20 0:30 / {tmp_path}/cg rw - cgroup2 cgroup2 rw\n"))
    assert found == MemoryBound(8192 * MIB, "this machine has 8 GiB")


@pytest.mark.parametrize("limits", [("1073741824", "max"), ("max", "1073741824"), ("1073741824", "2147483648")])
@pytest.mark.parametrize("own", ["/slice/scope", "/slice/scope/bayestuner-supervisor"])
def test_the_lowest_limit_of_a_v2_group_above_counts(tmp_path, limits, own):
    group(tmp_path / "cg")  # the root has no memory.max
    group(tmp_path / "cg/slice", memory_max=limits[0])
    group(tmp_path / "cg/slice/scope", memory_max=limits[1])
    group(tmp_path / "cg/slice/scope/bayestuner-supervisor", memory_max="4096")  # runs are made beside it, not below it
    found = memory_bound(proc(tmp_path / "proc", f"0::{own}\n", f"30 20 0:30 / {tmp_path}/cg rw - cgroup2 cgroup2 rw\n"))
    assert found.n_bytes == 1024 * MIB
    assert found.reason.startswith("the cgroup this process is in allows 1 GiB (")
    assert found.reason.endswith("memory.max)")


@pytest.mark.parametrize(("limit", "expected"), [(1024 * MIB, 1024 * MIB), (2**63 - 4096, 8192 * MIB)])
def test_the_limit_of_a_v1_group_counts_its_ancestors(tmp_path, limit, expected):
    group(tmp_path / "memory/docker", memory_stat=f"cache 1\nhierarchical_memory_limit {limit}\nhierarchical_memsw_limit 5")
    text = proc(tmp_path / "proc", "4:memory:/docker\n", f"30 20 0:30 / {tmp_path}/memory rw - cgroup cgroup rw,memory\n")
    assert memory_bound(text).n_bytes == expected


def test_where_proc_says_nothing_there_is_no_bound(tmp_path):
    assert memory_bound(tmp_path) is None


def test_memory_in_words():
    words = [memory_text(n) for n in (100, 512 << 10, 1536 << 20, 24_684_092 << 10)]
    assert words == ["100 bytes", "512 KiB", "1.5 GiB", "23.54 GiB"]


def test_a_job_that_asks_for_more_than_this_machine_has_is_refused(tmp_path):
    text = '[job]\ncommand = ["true"]\n[knobs]\nmemory_gib = { kind = "memory", values = [1, 1048576] }\n[goal]\nminimize = "memory_gib"\n'
    with pytest.raises(MistakesInJob, match=r"knobs\.memory_gib: asks for up to 1024 TiB, but (this machine|the cgroup).*use at most \d+"):
        parse_job(text, tmp_path / "job.toml")
