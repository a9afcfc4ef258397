"""Which CPUs a request gets, on fixture trees and on this machine."""

import os

import pytest

from bayestuner.errors import IsolationUnavailable
from bayestuner.measure.topology import read_topology


def tree(tmp_path, cpus, *, l3=None, numa=True):
    """A sysfs tree; `cpus` maps a number to (package, node, siblings)."""
    system = tmp_path / "devices/system"
    nodes = {}
    for number, (package, node, siblings) in cpus.items():
        topology = system / f"cpu/cpu{number}/topology"
        topology.mkdir(parents=True)
        (topology / "physical_package_id").write_text(f"{package}\n")
        (topology / "thread_siblings_list").write_text(",".join(map(str, siblings)) + "\n")
        if l3:
            cache = system / f"cpu/cpu{number}/cache/index3"
            cache.mkdir(parents=True)
            (cache / "shared_cpu_list").write_text(l3(number) + "\n")
        nodes.setdefault(node, []).append(number)
    if numa:
        for node, members in nodes.items():
            (system / f"node/node{node}").mkdir(parents=True)
            (system / f"node/node{node}/cpulist").write_text(",".join(map(str, members)) + "\n")
    (system / "cpu/online").write_text(f"0-{max(cpus)}\n")
    return tmp_path


def broadwell(tmp_path, cluster_on_die=False):
    """2 x 14 cores, even CPUs on socket 0, siblings at +28; with cluster on die two nodes a socket."""
    cpus = {}
    for number in range(56):
        core = number % 28
        package = core % 2
        half = (core // 2) // 7
        node = 2 * package + half if cluster_on_die else package
        cpus[number] = (package, node, (core, core + 28))
    return tree(tmp_path, cpus)


def test_two_sockets_numbered_even_and_odd(tmp_path):
    topology = read_topology(broadwell(tmp_path), usable=range(56))
    assert topology.packages == (0, 1)
    assert topology.pick_cpus(1) == (0,)
    assert topology.pick_cpus(14) == tuple(range(0, 28, 2))
    assert topology.pick_cpus(15) == (*range(0, 28, 2)[:1], 1, *range(2, 28, 2))
    assert topology.pick_cpus(28) == tuple(range(28))
    assert topology.pick_cpus(29) == (*range(28), 28)  # second threads only once every core is in use
    assert topology.mems_of(topology.pick_cpus(14)) == (0,)
    assert topology.mems_of(topology.pick_cpus(15)) == (0, 1)


def test_nodes_are_filled_one_by_one(tmp_path):
    topology = read_topology(broadwell(tmp_path, cluster_on_die=True), usable=range(56))
    assert topology.mems_of(topology.pick_cpus(7)) == (0,)
    assert topology.mems_of(topology.pick_cpus(8)) == (0, 1)
    assert topology.mems_of(topology.pick_cpus(14)) == (0, 1)


def test_choices_are_nested_and_repeatable(tmp_path):
    topology = read_topology(broadwell(tmp_path), usable=range(56))
    again = read_topology(tmp_path, usable=range(56))
    for count in range(1, 56):
        assert set(topology.pick_cpus(count)) < set(topology.pick_cpus(count + 1))
        assert topology.pick_cpus(count) == again.pick_cpus(count)


def test_a_restricted_process_stays_within_its_mask(tmp_path):
    usable = [0, 2, 28, 1, 3, 5, 7, 33]
    topology = read_topology(broadwell(tmp_path), usable=usable)
    assert topology.pick_cpus(1) == (1,)  # socket 1 has more of the usable CPUs
    assert set(topology.pick_cpus(8)) == set(usable)
    assert 28 not in topology.pick_cpus(6)
    assert topology.pick_cpus(4) == (1, 3, 5, 7)


def test_a_lone_second_thread_counts_as_a_core(tmp_path):
    topology = read_topology(broadwell(tmp_path), usable=[28, 2])
    assert topology.pick_cpus(2) == (2, 28)


def test_l3_groups_stay_together(tmp_path):
    cpus = {n: (0, 0, (n,)) for n in range(8)}
    root = tree(tmp_path, cpus, l3=lambda n: "0,2,4,6" if n % 2 == 0 else "1,3,5,7")
    assert read_topology(root, usable=range(8)).pick_cpus(4) == (0, 2, 4, 6)


def test_no_numa_no_topology(tmp_path):
    root = tree(tmp_path, {0: (-1, 0, (0,)), 1: (-1, 0, (1,))}, numa=False)
    topology = read_topology(root, usable=[0, 1])
    assert topology.packages == (0,)
    assert topology.mems_of([0, 1]) == (0,)
    bare = read_topology(tmp_path / "nothing", usable=[0, 1, 2])
    assert bare.pick_cpus(2) == (0, 1)


def test_memory_comes_from_near_nodes_that_have_enough(tmp_path):
    root = broadwell(tmp_path, cluster_on_die=True)
    for node, distance in enumerate(["10 20 30 31", "20 10 31 30", "30 31 10 20", "31 30 20 10"]):
        folder = root / f"devices/system/node/node{node}"
        (folder / "meminfo").write_text(f"Node {node} MemTotal: 9 kB\nNode {node} MemFree: {1000 * 1024} kB\n")
        (folder / "distance").write_text(distance + "\n")
    topology = read_topology(root, usable=range(56))
    cpus = topology.pick_cpus(2)
    assert topology.mems_for(cpus, 800 << 20) == (0,)
    assert topology.mems_for(cpus, 1000 << 20) == (0, 1)
    assert topology.mems_for(cpus, 2000 << 20) == (0, 1, 2)
    assert topology.mems_for(cpus, 1 << 40) == (0, 1, 2, 3)
    assert topology.mems_for(cpus, None) == (0, 1, 2, 3)


def test_offline_cpus_are_left_out(tmp_path):
    root = tree(tmp_path, {n: (0, 0, (n,)) for n in range(4)})
    (root / "devices/system/cpu/online").write_text("0,2-3\n")
    assert read_topology(root, usable=range(4)).numbers == (0, 2, 3)


def test_too_many_cores(tmp_path):
    root = tree(tmp_path, {0: (0, 0, (0,)), 1: (0, 0, (1,))})
    topology = read_topology(root, usable=[0, 1])
    for count in (0, 3):
        with pytest.raises(IsolationUnavailable, match="may use 2"):
            topology.pick_cpus(count)


def test_this_machine():
    topology = read_topology()
    assert set(topology.numbers) == os.sched_getaffinity(0)
    assert topology.pick_cpus(len(topology.numbers)) == topology.numbers
    assert topology.mems_of(topology.numbers)
    assert topology.mems_for(topology.numbers, 1 << 20)
