"""The estimate: its formula by hand, and for real on this machine, where it must rise with work."""

import itertools
import time

import pytest
from energy_fakes import put, put_broadwell_ep

from bayestuner.measure.cgroup.isolation import Refused
from bayestuner.measure.energy.cpus import CpuModel
from bayestuner.measure.energy.kernel_files import KernelRoots
from bayestuner.measure.energy.meter import EnergySample, MeterFault
from bayestuner.measure.energy.model import BROADWELL, affine_energy_j, open_model, parameters_for, parse_stat

STAT = """cpu  100 20 30 5000 400 5 6 70 90 8
cpu0 50 10 15 2500 200 3 3 35 45 4
cpu1 50 10 15 2500 200 2 3 35 45 4
intr 12345 0 0
ctxt 99
"""


def sample(seconds, busy, total=0):
    return EnergySample(int(seconds * 1e9), 0, (busy, total))


def test_busy_leaves_out_waiting_stolen_and_counts_guests_once():
    times = parse_stat(STAT)
    assert times.busy == 100 + 20 + 30 + 5 + 6
    assert times.total == times.busy + 5000 + 400 + 70
    assert times.cpus == 2


def test_stat_of_an_old_kernel_has_fewer_fields():
    assert parse_stat("cpu 1 2 3 4\ncpu0 1 2 3 4\n").total == 10


@pytest.mark.parametrize("text", ["", "intr 5\n", "cpu 1 2 3 4\n", "cpu a b\ncpu0 1 2 3 4\n"])
def test_stat_of_something_else(text):
    with pytest.raises(ValueError, match=r"no cpu line|invalid literal"):
        parse_stat(text)


@pytest.mark.parametrize(
    ("cpus", "duration_s", "busy_s", "expected_j"),
    [
        (56, 10.0, 0.0, 399.168),  # 56 * 10 * 0.7128
        (56, 10.0, 560.0, 2063.768),  # 56 * 10 * 3.6853
        (4, 10.0, 20.0, 87.962),  # 28.512 + 20 * 2.9725
        (4, 0.0, 0.0, 0.0),
    ],
)
def test_formula_by_hand(cpus, duration_s, busy_s, expected_j):
    assert affine_energy_j(BROADWELL, cpus=cpus, duration_s=duration_s, busy_s=busy_s) == pytest.approx(expected_j, rel=1e-12)


@pytest.mark.parametrize(
    ("cpu", "architecture"),
    [
        (CpuModel("GenuineIntel", 6, 0x4F), "Broadwell"),
        (CpuModel("GenuineIntel", 6, 0x55), "Skylake"),
        (CpuModel("AuthenticAMD", 0x19, 0x11), "EPYC 4th Gen"),
        (CpuModel("GenuineIntel", 6, 0xFF), "Broadwell (this CPU is not in the table)"),
        (CpuModel(), "Broadwell (this CPU is not in the table)"),
    ],
)
def test_parameters_say_what_they_are_of(cpu, architecture):
    parameters = parameters_for(cpu)
    assert parameters.architecture == architecture
    assert 0 < parameters.idle_w < parameters.busy_w
    assert parameters.rel_uncertainty == 0.4


@pytest.fixture
def meter(roots):
    put_broadwell_ep(roots)
    put(roots.proc_path("stat"), STAT)
    opened = open_model(roots)
    yield opened
    opened.close()


def test_it_says_that_it_is_an_estimate(meter):
    assert (meter.source, meter.estimated, meter.boundary, meter.rel_uncertainty) == ("model", True, "model", 0.4)
    assert meter.notes[0].startswith("estimated, not measured: Broadwell, 0.7128 W idle and 3.6853 W busy")
    assert "ccf-coefficients" in meter.notes[0]


def test_energy_between_samples_by_hand(meter):
    assert meter.read().raw_counts == (161, 5631)
    # 2 CPUs, 10 s, 1000 ticks of 10 ms: 14.256 + 10 * 2.9725
    assert meter.energy_j(sample(0, 161), sample(10, 1161)) == pytest.approx(43.981)


def test_pieces_add_up_although_ticks_are_coarse(meter):
    """Ticks come in tens of milliseconds; a short interval may show more than there was, and the next one less."""
    pieces = [sample(0, 0), sample(0.1, 22), sample(0.2, 38), sample(0.3, 60)]
    total = sum(meter.energy_j(a, b) for a, b in itertools.pairwise(pieces))
    assert total == pytest.approx(meter.energy_j(pieces[0], pieces[-1]))


def test_faults(meter):
    with pytest.raises(MeterFault, match="measure again"):
        meter.energy_j(sample(0, 161), sample(10, 100))
    with pytest.raises(MeterFault, match="measure again"):
        meter.energy_j(sample(10, 161), sample(0, 161))
    with pytest.raises(MeterFault, match="lie between two readings"):
        meter.energy_j(sample(0, 0), sample(100_000, 1))


def test_stat_that_breaks_while_measuring(meter, roots):
    roots.proc_path("stat").write_text("")
    with pytest.raises(MeterFault, match="could not be read any more"):
        meter.read()


def test_closed(meter):
    meter.close()
    meter.close()
    with pytest.raises(MeterFault, match="closed"):
        meter.read()


def test_without_proc(roots):
    with pytest.raises(Refused, match="can't be opened: ENOENT"):
        open_model(roots)
    put(roots.proc_path("stat"), "intr 1")
    with pytest.raises(Refused, match="can't be read as CPU times"):
        open_model(roots)


def test_for_real_the_estimate_rises_with_work():
    meter = open_model(KernelRoots())
    first = meter.read()
    cpu_s = time.process_time()
    while time.process_time() - cpu_s < 1.0:  # CPU time, not wall time: others may share this machine
        pass
    last = meter.read()
    duration_s = (last.stamp_ns - first.stamp_ns) / 1e9
    idle_j = meter.parameters.idle_w * meter.cpus * duration_s
    burnt_j = meter.parameters.busy_w - meter.parameters.idle_w  # one CPU second
    assert meter.energy_j(first, last) >= idle_j + 0.9 * burnt_j
    assert meter.energy_j(first, last) <= meter.parameters.busy_w * meter.cpus * (duration_s + 0.1)
    meter.close()
