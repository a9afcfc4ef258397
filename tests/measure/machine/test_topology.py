"""Which CPUs a request gets, on fixture trees and on this machine."""

import itertools
import os
import random

import pytest
from topology_trees import alder_lake, big_little, broadwell, meteor_lake, one_cpu_vm, rome, tree

from bayestuner.errors import InvalidJob, IsolationUnavailable
from bayestuner.measure.job.parser import parse_job
from bayestuner.measure.machine.core_order import CorePolicy
from bayestuner.measure.machine.topology import read_topology
from bayestuner.measure.run.placement import cpus_of


def test_two_sockets_numbered_even_and_odd(tmp_path):
    topology = read_topology(broadwell(tmp_path), usable=range(56))
    assert topology.packages == (0, 1)
    assert topology.pick_cpus(1) == (0,)
    assert topology.pick_cpus(14) == tuple(range(0, 28, 2))
    assert topology.pick_cpus(15) == (*range(0, 28, 2)[:1], 1, *range(2, 28, 2))
    assert topology.pick_cpus(28) == tuple(range(28))
    assert topology.pick_cpus(29) == (*range(28), 28)  # second threads only once every core is in use
    assert topology.memory_nodes_of(topology.pick_cpus(14)) == (0,)
    assert topology.memory_nodes_of(topology.pick_cpus(15)) == (0, 1)


def test_nodes_are_filled_one_by_one(tmp_path):
    topology = read_topology(broadwell(tmp_path, cluster_on_die=True), usable=range(56))
    assert topology.memory_nodes_of(topology.pick_cpus(7)) == (0,)
    assert topology.memory_nodes_of(topology.pick_cpus(8)) == (0, 1)
    assert topology.memory_nodes_of(topology.pick_cpus(14)) == (0, 1)


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
    assert topology.memory_nodes_of([0, 1]) == (0,)
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
    assert topology.memory_nodes_for(cpus, 800 << 20) == (0,)
    assert topology.memory_nodes_for(cpus, 1000 << 20) == (0, 1)
    assert topology.memory_nodes_for(cpus, 2000 << 20) == (0, 1, 2)
    assert topology.memory_nodes_for(cpus, 1 << 40) == (0, 1, 2, 3)
    assert topology.memory_nodes_for(cpus, None) == (0, 1, 2, 3)


def with_memory(root, nodes):
    """Give a tree's nodes memory: node -> (MiB in all, MiB free, row of distances)."""
    for node, (total, free, distances) in nodes.items():
        folder = root / f"devices/system/node/node{node}"
        folder.mkdir(exist_ok=True)
        (folder / "meminfo").write_text(f"Node {node} MemTotal: {total * 1024} kB\nNode {node} MemFree: {free * 1024} kB\n")
        (folder / "distance").write_text(distances + "\n")
    return root


def threadripper(folder):
    """2990WX: 32 cores on four nodes, of which 0 and 2 reach memory directly; nodes 1 and 3 have CPUs and no memory."""
    root = tree(folder, {n: (0, n % 32 // 8, (n % 32, n % 32 + 32)) for n in range(64)})
    rows = {0: "10 16 16 16", 1: "16 10 16 12", 2: "16 16 10 16", 3: "16 12 16 10"}
    return with_memory(root, {n: (65536, 30000, row) if n in (0, 2) else (0, 0, row) for n, row in rows.items()})


def test_a_node_with_cpus_and_without_memory_is_no_memory_node(tmp_path):
    topology = read_topology(threadripper(tmp_path), usable=range(64))
    assert topology.memory_nodes_of((8,)) == (1,)
    assert topology.memory_nodes_for((8,), 2 << 30) == (0,)  # the nearest that has memory; of equally near ones the first
    assert topology.memory_nodes_for((8,), 40 << 30) == (0, 2)
    assert topology.memory_nodes_for((0, 8), 2 << 30) == (0,)
    assert topology.memory_nodes_for((17,), 2 << 30) == (2,)
    for cpus in ((8,), (0,), tuple(range(64))):
        assert topology.memory_nodes_for(cpus, None) == (0, 2)
        assert topology.memory_nodes_for(cpus, 1 << 40) == (0, 2)


def test_only_memory_nodes_of_our_own_cpuset_are_asked_for(tmp_path):
    """A container or a batch job may have all CPUs and the memory of one node."""
    root = with_memory(broadwell(tmp_path), {0: (65536, 60000, "10 21"), 1: (65536, 60000, "21 10")})
    first = read_topology(root, usable=range(56), usable_nodes=[0])
    for cpus, memory in (((0,), None), ((0,), 1 << 30), ((1,), 1 << 30), (tuple(range(56)), 1 << 30), ((0,), 100 << 30)):
        assert first.memory_nodes_for(cpus, memory) == (0,)
    assert read_topology(root, usable=range(56)).memory_nodes_for((1,), 1 << 30) == (1,)


def test_distances_are_between_the_nodes_that_there_are(tmp_path):
    """Nodes 0, 1 and 8: a row of distances has three numbers, and the third is that of node 8."""
    root = tree(tmp_path, {0: (0, 0, (0,)), 1: (1, 1, (1,)), 2: (2, 8, (2,))})
    with_memory(root, {0: (999, 100, "10 80 20"), 1: (999, 100, "80 10 80"), 8: (999, 100, "20 80 10")})
    assert read_topology(root, usable=range(3)).memory_nodes_for((0,), 150 << 20) == (0, 8)


def test_this_process_may_use_its_memory_nodes():
    topology = read_topology()
    assert topology.usable_nodes
    assert set(topology.memory_nodes_for(topology.numbers, None)) <= topology.usable_nodes


@pytest.mark.parametrize("usable", [(2, 3, 4, 5), (8, 9, 10, 11), (3, 7, 11, 15)])
def test_the_affinity_is_believed_and_not_a_containers_view_of_what_is_online(tmp_path, usable):
    """lxcfs shows as many CPUs as the container has, counted from 0; an affinity holds no offline CPU anyway."""
    root = tree(tmp_path, {n: (0, 0, (n,)) for n in range(16)})
    (root / "devices/system/cpu/online").write_text("0-3\n")
    assert read_topology(root, usable=usable).numbers == usable


def grace(folder):
    """Two NVIDIA Grace sockets of 72 alike cores, whose capacities differ by up to 1.7 %."""
    root = tree(folder, {n: (n // 72, n // 72, (n,)) for n in range(144)}, l3=lambda n: "0-71" if n < 72 else "72-143")
    for number in range(144):
        capacity = (1024, 1007, 1012, 1021, 1016)[number % 5]
        (root / f"devices/system/cpu/cpu{number}/cpu_capacity").write_text(f"{capacity}\n")
    return root


def test_cores_whose_capacities_differ_by_little_are_one_kind(tmp_path):
    topology = of(grace(tmp_path / "grace"), housekeeping_cores="auto")
    assert {cpu.kind for cpu in topology.cpus} == {0}
    for count in (2, 8, 71):
        assert {number // 72 for number in topology.pick_cpus(count)} == {1}, count  # one socket; one core of the other is kept free
    board = tree(tmp_path / "board", {n: (0, 0, (n,)) for n in range(9)}, numa=False)
    for number, capacity in enumerate((442, 442, 442, 442, 1019, 1019, 1024, 870, 865)):
        (board / f"devices/system/cpu/cpu{number}/cpu_capacity").write_text(f"{capacity}\n")
    assert [cpu.kind for cpu in read_topology(board, usable=range(9)).cpus] == [2, 2, 2, 2, 0, 0, 0, 1, 1]


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
    assert topology.memory_nodes_of(topology.numbers)
    assert topology.memory_nodes_for(topology.numbers, 1 << 20)


# -- policies -----------------------------------------------------------------------------------------------------------


def of(root, **policy):
    """The topology of a tree, all of its CPUs usable."""
    usable = [int(folder.name.removeprefix("cpu")) for folder in (root / "devices/system/cpu").glob("cpu[0-9]*")]
    return read_topology(root, usable, policy=CorePolicy(**policy))


MACHINES = {
    "2x E5-2680 v4": broadwell,
    "2x E5-2680 v4, cluster on die": lambda folder: broadwell(folder, cluster_on_die=True),
    "i7-12700": alder_lake,
    "Core Ultra 7 155H": meteor_lake,
    "EPYC 7302P": rome,
    "big.LITTLE": big_little,
    "one CPU": one_cpu_vm,
}


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("placement", ["compact", "spread"])
@pytest.mark.parametrize("smt", ["last", "never"])
@pytest.mark.parametrize("housekeeping", [0, "auto"])
def test_every_policy_gives_nested_repeatable_sets_on_every_machine(tmp_path, machine, placement, smt, housekeeping):
    root = MACHINES[machine](tmp_path)
    everything = of(root)
    rng = random.Random(f"{machine}{placement}{smt}{housekeeping}")
    for usable in (everything.numbers, tuple(rng.sample(everything.numbers, max(1, len(everything.numbers) // 2)))):
        policy = CorePolicy(placement, smt, housekeeping)
        topology = read_topology(root, usable, policy=policy)
        core_of = {cpu.number: (cpu.package, cpu.core) for cpu in topology.cpus}
        sets = [set(topology.pick_cpus(k)) for k in range(1, topology.max_cores + 1)]
        assert all(len(s) == k + 1 for k, s in enumerate(sets))
        assert all(a < b for a, b in itertools.pairwise(sets))
        assert sets == [set(read_topology(root, usable, policy=policy).pick_cpus(k + 1)) for k in range(len(sets))]
        assert sets[-1] <= set(usable) - set(topology.housekeeping)
        n_cores = len({core_of[n] for n in usable} - {core_of[n] for n in topology.housekeeping})
        assert all(len({core_of[n] for n in s}) == min(k + 1, n_cores) for k, s in enumerate(sets)), "a second thread before its turn"
        assert smt == "last" or topology.max_cores == n_cores
        assert {core_of[n] for n in topology.housekeeping}.isdisjoint(core_of[n] for n in sets[-1]), "a core shared with a job"


def test_spread_takes_packages_in_turn(tmp_path):
    topology = of(broadwell(tmp_path), placement="spread")
    assert topology.pick_cpus(2) == (0, 1)
    assert topology.pick_cpus(5) == (0, 1, 2, 3, 4)
    assert topology.pick_cpus(28) == tuple(range(28))


def test_spread_takes_nodes_in_turn_within_a_package(tmp_path):
    topology = of(broadwell(tmp_path, cluster_on_die=True), placement="spread")
    assert topology.memory_nodes_of(topology.pick_cpus(1)) == (0,)
    assert topology.memory_nodes_of(topology.pick_cpus(2)) == (0, 2)
    assert topology.memory_nodes_of(topology.pick_cpus(4)) == (0, 1, 2, 3)
    assert topology.pick_cpus(4) == (0, 1, 14, 15)  # CPUs 14 and 15 are the first of the second half of each socket


def test_spread_takes_l3_caches_in_turn(tmp_path):
    topology = of(rome(tmp_path), placement="spread")
    assert topology.pick_cpus(8) == tuple(range(0, 16, 2))
    assert of(tmp_path, placement="compact").pick_cpus(8) == tuple(range(8))


def test_cluster_on_die_has_four_nodes_on_two_packages(tmp_path):
    topology = of(broadwell(tmp_path, cluster_on_die=True))
    assert topology.packages == (0, 1)
    assert topology.memory_nodes_of(topology.numbers) == (0, 1, 2, 3)
    assert topology.memory_nodes_of(topology.pick_cpus(7)) == (0,)
    assert topology.memory_nodes_of(topology.pick_cpus(15)) == (0, 1, 2)


def test_a_hybrid_part_gives_fast_cores_then_efficient_ones_then_second_threads(tmp_path):
    topology = of(alder_lake(tmp_path))
    assert topology.pick_cpus(8) == tuple(range(0, 16, 2))
    assert topology.pick_cpus(12) == (*range(0, 16, 2), 16, 17, 18, 19)
    assert topology.pick_cpus(20) == tuple(range(20))
    assert of(tmp_path, smt="never").max_cores == 12


def test_efficient_cores_without_an_l3_come_after_those_with_one(tmp_path):
    topology = of(meteor_lake(tmp_path))
    assert topology.pick_cpus(14) == (*range(0, 12, 2), *range(12, 20))
    assert topology.pick_cpus(16) == (*range(0, 12, 2), *range(12, 22))


def test_big_cores_come_before_small_ones(tmp_path):
    topology = of(big_little(tmp_path), housekeeping_cores="auto")
    assert topology.housekeeping == (0,)
    assert topology.pick_cpus(3) == (1, 4, 5)


def test_one_physical_core_is_kept_free_where_there_are_more_than_four(tmp_path):
    topology = of(broadwell(tmp_path), housekeeping_cores="auto")
    assert topology.housekeeping == (0, 28)  # both threads of the core that gets most interrupts
    assert topology.max_cores == 54
    assert topology.pick_cpus(14) == tuple(range(1, 28, 2))  # the package that has all its cores free


def test_an_efficient_core_is_kept_free_on_a_hybrid_part(tmp_path):
    topology = of(alder_lake(tmp_path), housekeeping_cores="auto")
    assert topology.housekeeping == (16,)
    assert topology.max_cores == 19


def test_no_core_is_kept_free_on_a_small_machine_or_where_zero_is_asked_for(tmp_path):
    assert of(one_cpu_vm(tmp_path / "vm"), housekeeping_cores="auto").housekeeping == ()
    four = tree(tmp_path / "four", {n: (0, 0, (n % 4, n % 4 + 4)) for n in range(8)})
    assert of(four, housekeeping_cores="auto").max_cores == 8
    assert of(broadwell(tmp_path / "server"), housekeeping_cores=0).max_cores == 56


def test_one_cpu_without_numa_folders(tmp_path):
    topology = of(one_cpu_vm(tmp_path), placement="spread", smt="never")
    assert (topology.packages, topology.pick_cpus(1), topology.memory_nodes_of((0,))) == ((0,), (0,), (0,))
    assert topology.memory_nodes_for((0,), 1 << 30) == (0,)


def test_free_memory_is_read_when_a_run_is_placed(tmp_path):
    root = broadwell(tmp_path)
    for node in (0, 1):
        (root / f"devices/system/node/node{node}/distance").write_text("10 21\n" if node == 0 else "21 10\n")
        (root / f"devices/system/node/node{node}/meminfo").write_text(f"Node {node} MemFree: {1024 * 1024} kB\n")
    topology = of(root)
    assert topology.memory_nodes_for((0,), 800 << 20) == (0,)
    (root / "devices/system/node/node0/meminfo").write_text("Node 0 MemFree: 1024 kB\n")  # somebody else has taken it since
    assert topology.memory_nodes_for((0,), 800 << 20) == (0, 1)


JOB = """
[job]
command = ["true"]
[knobs]
{knobs}
[goal]
minimize = "cpu_s_per_item"
[measure]
{measure}
"""


def job_on(root, knobs, measure=""):
    return parse_job(JOB.format(knobs=knobs, measure=measure), root / "job.toml", topology=of(root))


CORES = 'cores = { kind = "cores", min = 1, max = "all" }'


def test_all_is_what_the_policy_leaves(tmp_path):
    root = broadwell(tmp_path)
    most = {"": 54, "housekeeping_cores = 0": 56, 'smt = "never"': 27, 'smt = "never"\nhousekeeping_cores = 2': 26}
    for measure, n in most.items():
        assert job_on(root, CORES, measure).all_max_config() == {"cores": n}


def test_more_cores_than_are_left_are_refused_with_where_the_others_are(tmp_path):
    with pytest.raises(
        InvalidJob, match=r"up to 28 cores, but this process may use 27 \(2 more are kept free by measure.housekeeping_cores\)"
    ):
        job_on(broadwell(tmp_path), 'cores = { kind = "cores", values = [1, 28] }', 'smt = "never"')


def test_keeping_every_core_free_is_refused(tmp_path):
    with pytest.raises(InvalidJob, match=r"measure\.housekeeping_cores: leaves the job no core: this process may use 28 physical cores"):
        job_on(broadwell(tmp_path), CORES, "housekeeping_cores = 28")


def test_the_smt_knob_gives_both_threads_of_each_physical_core_or_one(tmp_path):
    root = broadwell(tmp_path)
    job = job_on(root, CORES + '\nsmt = { kind = "smt" }', "housekeeping_cores = 0")
    assert job.all_max_config() == {"cores": 28, "smt": True}
    assert job.needs == {"cores"}
    topology = of(root)
    assert cpus_of(job, {"cores": 3, "smt": False}, topology) == (0, 2, 4)
    assert cpus_of(job, {"cores": 3, "smt": True}, topology) == (0, 2, 4, 28, 30, 32)
    assert cpus_of(job, job.all_max_config(), topology) == tuple(range(56))
    alone = job_on(root, 'threads = { kind = "smt" }')
    assert alone.needs == {"cores"}
    assert cpus_of(alone, {"threads": False}, topology) == tuple(range(28))


def test_the_smt_knob_on_a_hybrid_part_leaves_cores_without_a_second_thread_as_they_are(tmp_path):
    root = alder_lake(tmp_path)
    job = job_on(root, CORES + '\nsmt = { kind = "smt" }', "housekeeping_cores = 0")
    assert cpus_of(job, {"cores": 9, "smt": True}, of(root)) == (*range(16), 16)


def test_the_smt_knob_is_refused_where_there_are_no_second_threads(tmp_path):
    with pytest.raises(InvalidJob, match=r"knobs\.smt: no second thread of a core may be used here"):
        job_on(one_cpu_vm(tmp_path), CORES + '\nsmt = { kind = "smt" }')


def test_the_smt_knob_stands_against_smt_never(tmp_path):
    with pytest.raises(InvalidJob, match=r"measure\.smt: 'never' stands against the knob"):
        job_on(broadwell(tmp_path), CORES + '\nsmt = { kind = "smt" }', 'smt = "never"')
