"""Where we stand in the hierarchies, on texts taken from real systems' layouts."""

from pathlib import Path

import pytest

from bayestuner.measure.cgroup.hierarchy import Mount, discover, locate, own_folder, parse_membership, parse_mountinfo

# layouts of: this project's test machine (hybrid), a systemd machine on v2, a container on v1 that sees only its own part
HYBRID_MOUNTS = """\
23 1 254:0 / / rw,relatime - ext4 /dev/root rw
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 master:3 - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""
HYBRID_SELF = "9:name=systemd:/\n4:memory:/api/8e36\n3:cpuset:/\n2:cpu,cpuacct:/x\n0::/u\n"
V2_MOUNTS = "30 23 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n"
CONTAINER_MOUNTS = """\
700 690 0:32 /docker/abc /sys/fs/cgroup/memory ro,nosuid - cgroup cgroup rw,memory
701 690 0:31 /docker/abc /sys/fs/cgroup/cpu\\040set rw,nosuid - cgroup cgroup rw,cpuset
"""


def test_hybrid_layout():
    found = locate(HYBRID_MOUNTS, HYBRID_SELF)
    assert found.v2.folder == Path("/sys/fs/cgroup/unified/u")
    assert {name: str(place.folder) for name, place in found.v1.items()} == {
        "cpuacct": "/sys/fs/cgroup/cpu,cpuacct/x",
        "cpuset": "/sys/fs/cgroup/cpuset",
        "memory": "/sys/fs/cgroup/memory/api/8e36",
    }
    assert found.problems == {"freezer": "not mounted", "pids": "not mounted"}


def test_pure_v2_layout():
    found = locate(V2_MOUNTS, "0::/user.slice/user-1000.slice/user@1000.service/app.slice/run-u3.scope\n")
    assert found.v2.folder == Path("/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/app.slice/run-u3.scope")
    assert found.v2.mount == Mount(2, Path("/sys/fs/cgroup"), "/")
    assert found.v1 == {}
    assert found.problems["memory"] == "not mounted"


def test_container_sees_only_its_part():
    found = locate(CONTAINER_MOUNTS, "3:cpuset:/docker/abc/inner\n4:memory:/docker/abc\n")
    assert found.v1["cpuset"].folder == Path("/sys/fs/cgroup/cpu set/inner")
    assert found.v1["memory"].folder == Path("/sys/fs/cgroup/memory")
    assert found.v1["memory"].mount.read_only
    assert not found.v1["cpuset"].mount.read_only


def test_a_group_outside_of_the_mount_is_a_problem_not_a_place():
    found = locate(CONTAINER_MOUNTS, "3:cpuset:/docker/other\n4:memory:/docker/abcdef\n")
    assert found.v1 == {}
    assert "/docker/other is outside of what is mounted at /sys/fs/cgroup/cpu set" in found.problems["cpuset"]


@pytest.mark.parametrize(
    ("root", "path", "expected"),
    [
        ("/", "/", "/m"),
        ("/", "/a/b", "/m/a/b"),
        ("/a", "/a", "/m"),
        ("/a", "/a/b", "/m/b"),
        ("/a", "/ab", None),
        ("/", "/../x", None),
        ("/../..", "/", None),
    ],
)
def test_own_folder(root, path, expected):
    assert own_folder(Mount(1, Path("/m"), root), path) == (Path(expected) if expected else None)


@pytest.mark.parametrize("text", ["", "garbage", "1 2 3 - cgroup2", "0::", ":::\n\n", "a - b - c"])
def test_odd_lines_are_passed_over(text):
    assert parse_mountinfo(text) == ()
    assert set(parse_membership(text)) <= {""}


def test_a_colon_in_a_path_stays():
    assert parse_membership("4:memory:/a:b\n") == {"memory": "/a:b"}


def test_without_proc_every_way_has_a_reason(tmp_path):
    found = discover(tmp_path)
    assert found.v2 is None
    assert "can't be read" in found.problems["v2"]
    assert "can't be read" in found.problems["cpuset"]


def test_the_real_places_exist():
    found = discover()
    for place in (*found.v1.values(), *filter(None, [found.v2])):
        assert (place.folder / "cgroup.procs").exists()


def cgroup_line(number, root, point, options, *, parent=20, version=1):
    kind, super_options = ("cgroup2", "rw,nsdelegate") if version == 2 else ("cgroup", "rw,cpuset")
    return f"{number} {parent} 0:30 {root} {point} {options},nosuid,nodev,noexec,relatime - {kind} cgroup {super_options}\n"


OWN = "3:cpuset:/docker/abc\n0::/\n"
CPUSET = "/sys/fs/cgroup/cpuset"


@pytest.mark.parametrize("parent", [20, 241], ids=["beside", "upon"])
def test_the_mount_made_last_over_a_path_counts(parent):
    under = cgroup_line(241, "/docker/abc", CPUSET, "ro")
    found = locate(under + cgroup_line(392, "/docker/abc", CPUSET, "rw", parent=parent), OWN)
    assert not found.v1["cpuset"].mount.read_only
    whole = locate(under.replace(" ro", " rw") + cgroup_line(392, "/", CPUSET, "rw", parent=parent), OWN)
    assert whole.v1["cpuset"].folder == Path(CPUSET, "docker/abc")  # else groups would be made at the root of the host's tree
    v2 = cgroup_line(241, "/", "/sys/fs/cgroup", "ro", version=2)
    assert not locate(v2 + cgroup_line(392, "/", "/sys/fs/cgroup", "rw", parent=parent, version=2), "0::/\n").v2.mount.read_only


def test_a_writable_mount_elsewhere_is_preferred():
    usual, other = (cgroup_line(n, "/", p, o, version=2) for n, p, o in ((1, "/sys/fs/cgroup", "ro"), (2, "/mnt/cg", "rw")))
    assert locate(usual + other, "0::/\n").v2.mount.point == Path("/mnt/cg")
    assert locate(other.replace(" rw,", " ro,", 1) + usual, "0::/\n").v2.mount.read_only


def test_what_lies_below_a_mount_made_over_it_is_hidden():
    """A container engine mounts a fresh tmpfs over the host's folder of hierarchies, then its own ones below that."""
    host = "31 20 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n" + cgroup_line(33, "/", CPUSET, "rw", parent=31)
    over = "50 31 0:40 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
    assert locate(host, OWN).v1["cpuset"].folder == Path(CPUSET, "docker/abc")
    assert locate(host + over, OWN).problems["cpuset"] == "not mounted"
    own = cgroup_line(51, "/docker/abc", CPUSET, "ro", parent=50)
    assert locate(host + over + own, OWN).v1["cpuset"].folder == Path(CPUSET)


def test_mounts_that_were_moved_onto_a_later_root_can_be_seen():
    """As after an initramfs: /sys was mounted before the root file system that it is mounted on now."""
    moved = "30 60 0:5 / /sys rw - sysfs sysfs rw\n31 30 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
    moved += cgroup_line(33, "/", CPUSET, "rw", parent=31)
    assert "cpuset" in locate(moved + "60 1 8:1 / / rw - ext4 /dev/sda1 rw\n", OWN).v1


@pytest.mark.parametrize(
    "text", ["1 2 0:1 / /a rw - cgroup2 c rw\n2 1 0:1 / /b rw - cgroup2 c rw\n", "7 7 0:1 / /a rw - cgroup2 c rw\n" * 2]
)
def test_mounts_that_are_mounted_on_each_other_end(text):
    assert len(parse_mountinfo(text)) <= 2
