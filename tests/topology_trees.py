"""Fakes: sysfs trees of machines that these tests don't run on; the files that `read_topology` reads, numbered as on the real parts."""

from pathlib import Path


def tree(folder: Path, cpus, *, l3=None, numa=True, efficient=()):
    """A sysfs tree; `cpus` maps a number to (package, node, siblings), `l3` a number to its shared_cpu_list or None."""
    system = folder / "devices/system"
    nodes = {}
    for number, (package, node, siblings) in cpus.items():
        topology = system / f"cpu/cpu{number}/topology"
        topology.mkdir(parents=True)
        (topology / "physical_package_id").write_text(f"{package}\n")
        (topology / "thread_siblings_list").write_text(",".join(map(str, siblings)) + "\n")
        if l3 and l3(number):
            cache = system / f"cpu/cpu{number}/cache/index3"
            cache.mkdir(parents=True)
            (cache / "shared_cpu_list").write_text(l3(number) + "\n")
        nodes.setdefault(node, []).append(number)
    if numa:
        for node, members in nodes.items():
            (system / f"node/node{node}").mkdir(parents=True)
            (system / f"node/node{node}/cpulist").write_text(",".join(map(str, members)) + "\n")
    (system / "cpu/online").write_text(f"0-{max(cpus)}\n")
    for name, members in (("cpu_core", [n for n in cpus if n not in efficient]), ("cpu_atom", list(efficient))):
        if efficient:
            (folder / f"devices/{name}").mkdir(parents=True)
            (folder / f"devices/{name}/cpus").write_text(",".join(map(str, members)) + "\n")
    return folder


def broadwell(folder, cluster_on_die=False):
    """2x Xeon E5-2680 v4: 2 x 14 cores, even CPUs on socket 0, siblings at +28; with cluster on die two nodes and two L3 parts a socket."""
    cpus, caches = {}, {}
    for number in range(56):
        core = number % 28
        package = core % 2
        half = (core // 2) // 7
        node = 2 * package + half if cluster_on_die else package
        cpus[number] = (package, node, (core, core + 28))
        caches.setdefault(node, []).append(number)
    return tree(folder, cpus, l3=lambda n: ",".join(map(str, caches[cpus[n][1]])))


def alder_lake(folder):
    """Core i7-12700: 8 fast cores with two threads (CPUs 0-15, siblings side by side), 4 efficient ones without (16-19), one L3."""
    cpus = {n: (0, 0, (n - n % 2, n - n % 2 + 1)) for n in range(16)} | {n: (0, 0, (n,)) for n in range(16, 20)}
    return tree(folder, cpus, l3=lambda n: "0-19", efficient=range(16, 20))


def meteor_lake(folder):
    """Core Ultra 7 155H: 6 fast cores with two threads (0-11), 8 efficient ones (12-19), and two more (20-21) without any L3."""
    cpus = {n: (0, 0, (n - n % 2, n - n % 2 + 1)) for n in range(12)} | {n: (0, 0, (n,)) for n in range(12, 22)}
    return tree(folder, cpus, l3=lambda n: "0-19" if n < 20 else None, efficient=range(12, 22))


def big_little(folder):
    """An Arm board: four small cores (0-3), two big ones (4-5), known by their capacity; no L3, no NUMA folders."""
    root = tree(folder, {n: (0, 0, (n,)) for n in range(6)}, numa=False)
    for number in range(6):
        (root / f"devices/system/cpu/cpu{number}/cpu_capacity").write_text("1024\n" if number > 3 else "446\n")
    return root


def rome(folder):
    """EPYC 7302P: 16 cores, an L3 for every two of them, one node, siblings at +16."""
    return tree(folder, {n: (0, 0, (n % 16, n % 16 + 16)) for n in range(32)}, l3=lambda n: f"{n % 16 // 2 * 2}-{n % 16 // 2 * 2 + 1}")


def one_cpu_vm(folder):
    """A virtual machine with one CPU, no NUMA folders and an unknown package."""
    return tree(folder, {0: (-1, 0, (0,))}, numa=False)
