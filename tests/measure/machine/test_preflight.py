"""Facts of the machine, on the texts of a real server's sysfs and on this very machine."""

import json

import pytest
from energy_fakes import PowercapTree, fake_roots, put, put_broadwell_ep

from bayestuner.measure.job.job import MeasureSettings
from bayestuner.measure.machine.preflight import long_term_window_s, preflight, throttle_count
from bayestuner.measure.run.warmup import LONGEST_WINDOW_S, warmup_s

CPU = "devices/system/cpu"


@pytest.fixture
def server(tmp_path):
    """Synthetic: names and texts as on a Broadwell-EP server (two packages, PL1 of 10 s), made-up values."""
    roots = fake_roots(tmp_path)
    put_broadwell_ep(roots)
    for cpu in range(2):
        folder = roots.sys_path(f"{CPU}/cpu{cpu}")
        for name, text in {
            "cpufreq/scaling_governor": "powersave" if cpu else "performance",
            "cpufreq/scaling_driver": "intel_pstate",
            "cpufreq/energy_performance_preference": "balance_performance",
            "cpufreq/scaling_min_freq": "1200000",
            "cpufreq/scaling_max_freq": "3300000",
            "thermal_throttle/core_throttle_count": "3",
            "thermal_throttle/package_throttle_count": "4",
        }.items():
            put(folder / name, text)
    for number, (name, off) in enumerate((("POLL", 0), ("C1", 0), ("C6", 1))):
        put(roots.sys_path(f"{CPU}/cpu0/cpuidle/state{number}/name"), name)
        put(roots.sys_path(f"{CPU}/cpu0/cpuidle/state{number}/disable"), str(off))
    put(roots.sys_path(f"{CPU}/intel_pstate/no_turbo"), "0")
    put(roots.sys_path(f"{CPU}/smt/control"), "on")
    put(roots.sys_path("kernel/mm/transparent_hugepage/enabled"), "always [madvise] never")
    put(roots.proc_path("sys/kernel/numa_balancing"), "1")
    put(roots.proc_path("sys/vm/swappiness"), "60")
    put(roots.proc_path("swaps"), "Filename Type Size Used Priority\n/dev/sda2 partition 2048 0 -2")
    put(roots.proc_path("loadavg"), "1.25 1.0 0.5 2/100 4711")
    put(roots.proc_path("cpuinfo"), "processor\t: 0\nmicrocode\t: 0xb000040\nflags\t\t: fpu msr")
    put(roots.sys_path("class/hwmon/hwmon1/name"), "coretemp")
    put(roots.sys_path("class/hwmon/hwmon1/temp1_label"), "Package id 0")
    put(roots.sys_path("class/hwmon/hwmon1/temp1_input"), "41000")
    put(roots.sys_path("class/hwmon/hwmon1/temp2_label"), "Core 0")
    put(roots.sys_path("class/hwmon/hwmon1/temp2_input"), "90000")
    tree = PowercapTree(roots)
    for package, window_us in ((0, 9994240), (1, 27983872)):
        zone = tree.devices / f"intel-rapl/intel-rapl:{package}"
        for name, text in {
            "name": f"package-{package}",
            "constraint_0_name": "long_term",
            "constraint_0_power_limit_uw": "120000000",
            "constraint_0_time_window_us": str(window_us),
            "constraint_1_name": "short_term",
            "constraint_1_power_limit_uw": "144000000",
        }.items():
            put(zone / name, text)
        (tree.links / zone.name).symlink_to(zone)
    return roots


def test_a_server_is_recorded_in_full(server):
    facts = preflight(server)
    assert [name for name, fact in facts.items() if "unknown" in fact] == []
    values = {name: fact["value"] for name, fact in facts.items()}
    assert values["governor"] == ["performance", "powersave"]
    assert values["turbo"] is True
    assert values["frequency_mhz"] == {"min": 1200.0, "max": 3300.0}
    assert values["power_limits"][0] == {"zone": "package-0", "constraint": "long_term", "limit_w": 120.0, "window_s": 9.99424}
    assert values["power_limits"][1]["window_s"] is None
    assert values["idle_states"] == ["POLL", "C1"]
    assert values["transparent_hugepages"] == "madvise"
    assert values["swap_bytes"] == 2048 * 1024
    assert values["microcode"] == ["0xb000040"]
    assert values["temperature_c"] == 41.0  # the package's, not the hottest core's
    assert values["throttles"] == throttle_count(server) == 14
    assert values["load"]["average_1_min"] == 1.25
    json.dumps(facts)


def test_what_is_missing_says_why(roots):
    facts = preflight(roots)
    assert "cpufreq" in facts["governor"]["unknown"]
    assert "powercap" in facts["power_limits"]["unknown"]
    assert "sensor" in facts["temperature_c"]["unknown"]
    assert "swaps" in facts["swap_bytes"]["unknown"]
    assert all(set(fact) in ({"value"}, {"unknown"}) for fact in facts.values())


def test_only_the_limits_of_packages_say_how_long_a_processor_may_draw_more_than_it_sustains(server):
    for name, window_us in (("psys", 448_000_000), ("package-2", 999_424)):
        zone = server.sys_path(f"class/powercap/intel-rapl:{2 if name == 'psys' else 3}")
        texts = {"name": name, "constraint_0_name": "long_term", "constraint_0_power_limit_uw": 0, "constraint_0_time_window_us": window_us}
        for file, text in texts.items():
            put(zone / file, str(text))
    facts = preflight(server)
    assert long_term_window_s(facts) == pytest.approx(27.98, abs=0.01)
    assert {"zone": "psys", "constraint": "long_term", "limit_w": 0.0, "window_s": 448.0} in facts["power_limits"]["value"]


@pytest.mark.parametrize(
    "name", ["constraint_0_power_limit_uw", "constraint_1_time_window_us", "constraint_1_name", "constraint_0_time_window_us"]
)
def test_a_file_of_a_zone_that_cannot_be_read_hides_no_other(server, name):
    (server.sys_path("class/powercap/intel-rapl:0") / name).unlink(missing_ok=True)
    (server.sys_path("class/powercap/intel-rapl:0") / name).mkdir()  # read answers an error: stands for the ENODATA of real zones
    facts = preflight(server)
    assert long_term_window_s(facts) == pytest.approx(27.98, abs=0.01)
    json.dumps(facts)


def test_a_clock_that_cannot_be_read_hides_no_other(server):
    (server.sys_path("devices/system/cpu/cpu0/cpufreq/scaling_governor")).unlink()
    (server.sys_path("devices/system/cpu/cpu0/cpufreq/scaling_governor")).mkdir()
    assert preflight(server)["governor"]["value"]


def test_a_text_nobody_expects_is_unknown_not_an_error(server):
    server.proc_path("loadavg").write_text("what\n")
    server.proc_path("swaps").write_text("Filename\n/dev/sda2 partition much\n")
    facts = preflight(server)
    assert "not understood" in facts["load"]["unknown"]
    assert "not understood" in facts["swap_bytes"]["unknown"]


def test_this_machine():
    facts = preflight()
    assert facts["kernel"]["value"]
    assert facts["load"]["value"]["cpus"] >= 1
    assert facts["swap_bytes"]["value"] >= 0
    json.dumps(facts)


class Meter:
    """A stand-in that is only asked whether it estimates."""

    def __init__(self, estimated):
        self.estimated = estimated


def test_the_warm_up_waits_for_the_power_limits_window_only_where_power_is_measured(server, roots):
    facts, nothing = preflight(server), preflight(roots)
    assert long_term_window_s(facts) == pytest.approx(27.98, abs=0.01)
    assert warmup_s(MeasureSettings(), Meter(False), facts) == pytest.approx(27.98, abs=0.01)
    assert warmup_s(MeasureSettings(), Meter(False), nothing) == 5.0
    assert warmup_s(MeasureSettings(), Meter(True), facts) == 0.0
    assert warmup_s(MeasureSettings(), None, facts) == 0.0
    assert warmup_s(MeasureSettings(warmup_seconds=1.5), Meter(False), facts) == 1.5
    put(server.sys_path("class/powercap/intel-rapl:1/constraint_0_time_window_us"), "999999999")
    assert warmup_s(MeasureSettings(), Meter(False), preflight(server)) == LONGEST_WINDOW_S
