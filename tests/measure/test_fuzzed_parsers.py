"""Everything that reads what others wrote, given what nobody would write: a value that makes sense, or the one error it promises.

The one parser in C is fuzzed in tests/native/test_c_programs.py.
"""

import itertools
import math
import shutil
import tempfile
from pathlib import Path

import pytest
from energy_fakes import PowercapTree, fake_roots, put_broadwell_ep
from hypothesis import given, settings
from hypothesis import strategies as st

from bayestuner.errors import InvalidJob
from bayestuner.measure.cgroup.cpulist import NUMBER_MAX, format_list, parse_list
from bayestuner.measure.cgroup.hierarchy import parse_mountinfo
from bayestuner.measure.cgroup.isolation import Refused
from bayestuner.measure.energy.cpus import CpuModel, cpu_model
from bayestuner.measure.energy.model import parse_stat
from bayestuner.measure.energy.perf import event_config
from bayestuner.measure.energy.powercap import find_zones, open_powercap, zone_modulus_uj
from bayestuner.measure.energy.units import UnknownUnits, decode_units
from bayestuner.measure.job.job import Job
from bayestuner.measure.job.parser import parse_job
from bayestuner.measure.machine.topology import read_topology
from bayestuner.measure.run.output_reports import OutputReports
from bayestuner.measure.run.protocol import MAX_ITEMS, PipeReports

fuzzed = settings(max_examples=150, deadline=None)


def mutated(*seeds):
    """Texts made of the seeds by cutting, doubling and inserting."""
    pieces = st.one_of(st.sampled_from(seeds), st.text(max_size=8))

    def change(text, cuts, insert):
        first, last = sorted(cut % (len(text) + 1) for cut in cuts)
        return text[:first] + insert + text[last:]

    return st.builds(change, st.sampled_from(seeds), st.tuples(st.integers(0, 10_000), st.integers(0, 10_000)), pieces)


@given(st.sets(st.integers(0, NUMBER_MAX), max_size=50))
def test_a_cpu_list_comes_back(numbers):
    assert parse_list(format_list(numbers) + "\n") == tuple(sorted(numbers))


@fuzzed
@given(mutated("0-3,8\n", "0", "1-1", "5-2", "0-99999999999", "-1", "1_0", "0x3", "٣", ",,"))
def test_a_cpu_list_is_numbers_or_an_error(text):
    try:
        numbers = parse_list(text)
    except ValueError:
        return
    assert list(numbers) == sorted(set(numbers))
    assert all(0 <= number <= NUMBER_MAX for number in numbers)
    assert parse_list(format_list(numbers)) == numbers


STAT = "cpu  100 20 30 5000 400 5 6 70 90 8\ncpu0 50 10 15 2500 200 3 3 35 45 4\nintr 12345 0 0\n"


@fuzzed
@given(mutated(STAT, "cpu 1 2 3 4\ncpu0 1\n", "cpu", "cpu -1 x"))
def test_cpu_times_are_numbers_or_an_error(text):
    try:
        times = parse_stat(text)
    except ValueError:
        return
    assert times.cpus > 0


@fuzzed
@given(
    mutated("event=0x02", "event=3", "event=0xffffffffffffffffffff"),
    mutated("config:0-7", "config:4", "config:63-0", "config:60-70", "config1:0-7"),
)
def test_a_perf_event_is_a_number_in_its_place_or_an_error(event, layout):
    try:
        config = event_config(event, layout)
    except ValueError:
        return
    assert 0 <= config < 2**64


@given(st.integers(0, 2**64 - 1), st.sampled_from(["GenuineIntel", "AuthenticAMD", ""]), st.integers(0, 30), st.integers(0, 255))
def test_units_are_positive_or_unknown(raw, vendor, family, model):
    try:
        units = decode_units(raw, CpuModel(vendor, family, model))
    except UnknownUnits:
        assert (raw >> 8) & 0x1F == 0
        return
    for unit in (units.package_j, units.power_w, units.dram_j, units.psys_j):
        assert unit is None or 0 < unit <= 2**31


@given(st.integers(1, 2**63))
def test_a_zone_wraps_after_its_range(range_uj):
    assert range_uj < zone_modulus_uj(range_uj) <= range_uj + max(1, range_uj // 2**31 + 1)


@fuzzed
@given(
    mutated(
        "24 1 0:21 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n", "30 24 0:27 /a\\040b /c rw - cgroup cgroup rw,memory\n", " - ", "\\"
    )
)
def test_mounts_are_read_or_passed_over(text):
    for mount in parse_mountinfo(text):
        assert mount.version in (1, 2)


# -- what a job says ----------------------------------------------------------------------------------------------------

LINES = (
    b"ready 1000\n",
    b"done 4 2000\n",
    b"done 4 1500\n",
    b"done -1 3000\n",
    b"done 1e300 3000\n",
    b"done nan 1\n",
    b"\xff\x00\n",
    b"done 4",
    b"\n",
)


def pieces_of(data):
    """`data` cut anywhere."""
    return st.lists(st.integers(0, len(data)), max_size=6).map(
        lambda cuts: [data[a:b] for a, b in itertools.pairwise([0, *sorted(cuts), len(data)])]
    )


reports = st.one_of(
    st.lists(st.one_of(st.sampled_from(LINES), st.binary(max_size=12)), max_size=30).map(b"".join),
    st.lists(st.tuples(st.floats(allow_nan=True), st.integers(-10, 10**6)), max_size=20).map(
        lambda rows: b"".join(b"done %s %d\n" % (str(items).encode(), stamp) for items, stamp in rows)
    ),
)


def taken(made):
    return made.ready_ns, list(made.stamps_ns), list(made.items), made.faults, made.first_fault


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_whatever_a_job_reports_is_sound_or_a_fault_however_it_is_cut(data):
    sent = data.draw(reports)
    whole, cut = PipeReports(500), PipeReports(500)
    whole.feed(sent, 5000)
    whole.finish()
    for piece in data.draw(pieces_of(sent)):
        cut.feed(piece, 5000)
    cut.finish()
    assert taken(whole) == taken(cut)
    stamps = [s for s in (whole.ready_ns, *whole.stamps_ns) if s is not None]
    assert stamps == sorted(stamps)
    assert all(stamp >= 500 for stamp in stamps)
    assert all(0 < items <= MAX_ITEMS and math.isfinite(items) for items in whole.items)


@fuzzed
@given(
    st.lists(
        st.one_of(st.binary(max_size=40), st.sampled_from([b"12.5 img/s\n", b"1e999 img/s\n", b"1,000 img/s\n", b". img/s\n"])), max_size=20
    )
)
def test_whatever_a_program_prints_is_sound_or_a_fault(pieces):
    made = OutputReports(500, r"([\d.,e]+) img/s")
    for turn, piece in enumerate(pieces):
        made.feed(piece, 1000 + turn)
    made.finish()
    assert list(made.stamps_ns) == sorted(made.stamps_ns)
    assert all(0 <= items <= MAX_ITEMS for items in made.items)


# -- files --------------------------------------------------------------------------------------------------------------

JOB = """[job]
command = ["/bin/true", "{batch_size}"]
[knobs]
cores = { kind = "cores", min = 1, max = "all" }
batch_size = { kind = "argument", values = [1, 2, 4] }
[goal]
minimize = "cpu_s_per_item"
subject_to = ["throughput >= 50"]
[measure]
budget = 20
min_seconds = 5
"""
WORDS = (
    "[job]",
    "[knobs]",
    "kind",
    '"memory"',
    "min = ",
    "= -1",
    "= nan",
    "= inf",
    "= []",
    "= {}",
    '= ""',
    "[[",
    "]]",
    '"',
    "step = 0",
    "values = [1, 1]",
    "true",
    "\0",
)
TOPOLOGY = read_topology()


def check(text):
    try:
        assert isinstance(parse_job(text, "job.toml", topology=TOPOLOGY), Job)
    except InvalidJob as error:
        assert str(error)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_any_job_file_is_a_job_or_a_list_of_its_mistakes(data):
    text = JOB
    for _ in range(data.draw(st.integers(1, 4))):
        first = data.draw(st.integers(0, len(text)))
        last = data.draw(st.integers(first, min(len(text), first + 12)))
        text = text[:first] + data.draw(st.one_of(st.sampled_from(WORDS), st.text(max_size=6))) + text[last:]
    check(text)


values = st.recursive(
    st.one_of(
        st.booleans(), st.integers(-(2**63), 2**63), st.sampled_from(["all", "cores", "memory", "argument", "", "{x}", "throughput >= 1"])
    ),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)


def toml(value):
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    return f'"{value}"' if isinstance(value, str) else str(value)


KEYS = [
    "command",
    "name",
    "unit",
    "env",
    "user",
    "cwd",
    "throughput_regex",
    "minimize",
    "maximize",
    "subject_to",
    "budget",
    "energy",
    "min_seconds",
    "max_seconds",
    "repeats",
    "stop",
    "platforms",
    "housekeeping_cores",
    "isolation",
    "kind",
    "min",
    "max",
    "step",
    "values",
]


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(["job", "knobs", "knobs.x", "goal", "measure"]), st.dictionaries(st.sampled_from(KEYS), values, max_size=4))
def test_any_value_of_any_key_is_taken_or_reported(section, table):
    lines = "".join(f"{key} = {toml(value)}\n" for key, value in table.items())
    header = f"[{section}]\n"
    check(JOB.replace(header, header + lines) if header in JOB else JOB + header + lines)


@pytest.mark.parametrize("text", ["a = " + "[" * 5000, "a = " + "9" * 5000, "a." * 3000 + "b = 1"])
def test_a_job_file_too_deep_or_too_long_to_parse_is_reported(text):
    with pytest.raises(InvalidJob):
        parse_job(text, "job.toml", topology=TOPOLOGY)


NUMBERS = (b"262143328850\n", b"0\n", b"-1\n", b"1e9\n", b"9" * 30)
texts = st.one_of(st.sampled_from([b"package-0\n", b"dram\n", b"psys\n", b"", b"\xff\xfe\n", *NUMBERS]), st.binary(max_size=12))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["name", "energy_uj", "max_energy_range_uj", "constraint_0_name"]), st.integers(0, 3), texts), max_size=6
    )
)
def test_any_powercap_tree_is_refused_in_words(edits):
    """Its counters stand still, so that no tree is accepted: what matters is that nothing but `Refused` comes."""
    folder = Path(tempfile.mkdtemp(prefix="bayestuner-test-"))
    try:
        roots = fake_roots(folder)
        put_broadwell_ep(roots)
        tree = PowercapTree(roots)
        zones = [tree.zone("intel-rapl:0", "package-0"), tree.zone("intel-rapl:0:0", "dram"), tree.zone("intel-rapl:1", "package-1")]
        zones.append(tree.zone("intel-rapl:1:0", "dram"))
        for name, zone, text in edits:
            (zones[zone] / name).write_bytes(text)
        roots.proc_path("cpuinfo").write_bytes(edits[0][2] if edits else b"")
        cpu_model(roots)
        find_zones(roots)
        with pytest.MonkeyPatch.context() as patch, pytest.raises(Refused) as caught:
            patch.setattr("bayestuner.measure.energy.counting_meter.PROOF_TIMEOUT_S", 0.0)
            patch.setattr("bayestuner.measure.energy.counting_meter.SLOW_COUNTER_S", 0.0)
            open_powercap(roots)
        assert caught.value.refusal.reason and caught.value.refusal.remedy
    finally:
        shutil.rmtree(folder)
