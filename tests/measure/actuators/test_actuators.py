"""Clocks and power limits on fake trees: what is found, refused, set, read back, rounded."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from actuator_fakes import TURBO_KHZ, ClampingKernel, put_cpufreq, put_power_limits, server
from energy_fakes import fake_roots, put, put_broadwell_ep

from bayestuner.measure.actuators.cpu_frequency import open_cpu_frequency
from bayestuner.measure.actuators.power_cap import open_power_cap
from bayestuner.measure.actuators.setting import KnobFault, OpenKnob, Settings
from bayestuner.measure.platform import Refused


def held(roots, pattern):
    """What files below sysfs hold, by their folder's name."""
    return {path.parent.name: path.read_text().strip() for path in sorted(Path(roots.sysfs).glob(pattern))}


CLOCKS = "devices/system/cpu/cpufreq/policy*/scaling_max_freq"
LIMITS = "devices/virtual/powercap/intel-rapl/*/constraint_0_power_limit_uw"


def clock(roots, **kernel):
    return OpenKnob("ceiling_mhz", "cpu_frequency", open_cpu_frequency(roots, ClampingKernel(**kernel)), 1e3, "")


def cap(roots, **kernel):
    return OpenKnob("cap_w", "power_cap", open_power_cap(roots, ClampingKernel(**kernel)), 1e6, "")


def test_a_ceiling_is_set_for_the_jobs_cpus_only_and_put_back(tmp_path):
    roots = server(tmp_path)
    settings = Settings([clock(roots)], {"ceiling_mhz": 2400}, (0, 2), tmp_path)
    settings.apply()
    assert held(roots, CLOCKS) == {f"policy{n}": "2400000" if n in (0, 2) else str(TURBO_KHZ) for n in range(8)}
    assert [(r["knob"], r["asked"], r["got"], r["before"]) for r in settings.record] == [
        ("ceiling_mhz", "2400000", "2400000", str(TURBO_KHZ))
    ] * 2
    assert settings.restore() == []
    assert set(held(roots, CLOCKS).values()) == {str(TURBO_KHZ)}


def test_a_clock_that_several_cpus_share_is_set_once(tmp_path):
    roots = fake_roots(tmp_path)
    put_broadwell_ep(roots)
    put_cpufreq(roots, per_policy=4)
    actuator = open_cpu_frequency(roots)
    assert list(actuator.targets(2e6, (1, 2))) == [str(roots.sys_path("devices/system/cpu/cpufreq/policy0/scaling_max_freq"))]


def test_rounding_down_to_a_step_is_recorded(tmp_path):
    roots = server(tmp_path)
    settings = Settings([clock(roots)], {"ceiling_mhz": 2450}, (0,), tmp_path)
    settings.apply()
    assert (settings.record[0]["asked"], settings.record[0]["got"]) == ("2450000", "2400000")
    settings.restore()


def test_a_kernel_that_clamps_is_not_believed(tmp_path):
    """Its firmware allows only 2 GHz now: it takes 3 GHz without an error and holds 2."""
    roots = server(tmp_path)
    settings = Settings([clock(roots, most_khz=2_000_000)], {"ceiling_mhz": 3000}, (0,), tmp_path)
    with pytest.raises(KnobFault, match=r"ceiling_mhz: .*policy0/scaling_max_freq holds 2000000 after 3000000 was written"):
        settings.apply()


def test_values_outside_the_hardware_or_between_its_steps_are_refused_before_any_run(tmp_path):
    roots = fake_roots(tmp_path)
    put_broadwell_ep(roots)
    put_cpufreq(roots, steps=(1_200_000, 1_800_000, 2_400_000, 2_401_000))
    actuator = open_cpu_frequency(roots)
    assert actuator.problem(1_800_000) is None
    assert "1200 to 3300 MHz" in actuator.problem(5_000_000)
    assert "1200 to 3300 MHz" in actuator.problem(800_000)
    assert "they have 1200, 1800, 2400, 2401 MHz" in actuator.problem(2_000_000)


def test_a_ceiling_above_what_efficient_cores_can_do_is_cut_to_theirs(tmp_path):
    roots = fake_roots(tmp_path)
    put_broadwell_ep(roots)
    put_cpufreq(roots, (0, 1), high=4_900_000)
    put_cpufreq(roots, (2, 3), high=3_600_000)
    actuator = open_cpu_frequency(roots)
    assert actuator.problem(4_500_000) is None
    assert list(actuator.targets(4_500_000, (0, 2)).values()) == ["4500000", "3600000"]


def test_a_power_limit_is_set_on_every_package_and_rounded_as_the_hardware_does(tmp_path):
    roots = server(tmp_path)
    settings = Settings([cap(roots)], {"cap_w": 90.1}, (0,), tmp_path)
    settings.apply()
    assert held(roots, LIMITS) == {"intel-rapl:0": "90125000", "intel-rapl:2": "90125000"}
    assert settings.restore() == []
    assert held(roots, LIMITS) == {"intel-rapl:0": "120000000", "intel-rapl:2": "120000000"}


def test_a_limit_that_is_switched_off_is_switched_on_and_off_again(tmp_path):
    roots = fake_roots(tmp_path)
    put_broadwell_ep(roots)
    folders = put_power_limits(roots)
    put(folders[1] / "enabled", "0")
    settings = Settings([cap(roots)], {"cap_w": 80}, (0,), tmp_path)
    settings.apply()
    assert (folders[1] / "enabled").read_text().strip() == "1"
    settings.restore()
    assert (folders[1] / "enabled").read_text().strip() == "0"


def test_a_limit_that_the_firmware_cuts_is_not_believed(tmp_path):
    settings = Settings([cap(server(tmp_path), most_uw=70_000_000)], {"cap_w": 100}, (0,), tmp_path)
    with pytest.raises(KnobFault, match="holds 70000000 after 100000000 was written"):
        settings.apply()


def test_a_limit_locked_by_the_firmware_says_so(tmp_path):
    """The powercap driver's answer to any limit it can't set is ENODATA (seen of the real one in the guest, tests/vm/test_knobs.py)."""
    knob = cap(server(tmp_path))

    def refuse(path, value):
        raise OSError(errno.ENODATA, os.strerror(errno.ENODATA), str(path))

    knob.actuator.files.write = refuse
    with pytest.raises(KnobFault, match="a limit that the firmware has locked"):
        Settings([knob], {"cap_w": 100}, (0,), tmp_path).apply()


def test_more_watts_than_the_package_takes_are_refused(tmp_path):
    actuator = open_power_cap(server(tmp_path))
    assert "more than a package of this machine takes, 120 W" in actuator.problem(150e6)
    assert "above 0" in actuator.problem(0)
    assert actuator.problem(60e6) is None


@pytest.mark.parametrize(("design_w", "in_force_w"), [(15, 25), (4.5, 49), (125, 253), (120, 120)])
def test_a_limit_up_to_the_one_in_force_is_taken_although_it_is_above_the_design_power(tmp_path, design_w, in_force_w):
    """As on laptops, whose firmware sets a limit above what it calls the processor's power (Surface Pro 7: 15 W and 25 W)."""
    roots = server(tmp_path)
    for package in open_power_cap(roots).packages:
        put(package.folder / "constraint_0_max_power_uw", str(round(1e6 * design_w)))
        put(package.folder / "constraint_0_power_limit_uw", str(round(1e6 * in_force_w)))
    actuator = open_power_cap(roots)
    assert actuator.problem(1e6 * in_force_w) is None
    assert f"takes, {in_force_w:g} W" in actuator.problem(1e6 * in_force_w + 1e6)
    assert f"up to {in_force_w:g} W each" in actuator.detail


def test_machines_without_them_say_why_and_what_would_help(tmp_path):
    roots = fake_roots(tmp_path)
    put_broadwell_ep(roots)
    for opener in (open_cpu_frequency, open_power_cap):
        with pytest.raises(Refused) as caught:
            opener(roots)
        assert "does not exist" in caught.value.refusal.reason
        assert "modprobe" in caught.value.refusal.remedy
    put_broadwell_ep(roots, virtual=True)
    for opener in (open_cpu_frequency, open_power_cap):
        with pytest.raises(Refused) as caught:
            opener(roots)
        assert "bare metal" in caught.value.refusal.remedy


def test_packages_that_only_count_have_no_limit(tmp_path):
    roots = fake_roots(tmp_path)
    put_broadwell_ep(roots)
    for folder in put_power_limits(roots):
        for index in (0, 1):
            (folder / f"constraint_{index}_power_limit_uw").unlink()
    with pytest.raises(Refused, match="no power limit that can be read"):
        open_power_cap(roots)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_an_ordinary_user_is_told_what_to_run(tmp_path):
    """In a process of nobody's; the tree is made readable."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="bayestuner-test-") as folder:
        roots = server(folder)
        Path(folder).chmod(0o755)
        code = (
            "import os, sys\n"
            "from bayestuner.measure.actuators.cpu_frequency import open_cpu_frequency\n"
            "from bayestuner.measure.actuators.power_cap import open_power_cap\n"
            "from bayestuner.measure.energy.counting_meter import Refused\n"
            "from bayestuner.measure.energy.kernel_files import KernelRoots\n"
            "os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)\n"
            "for opener in (open_cpu_frequency, open_power_cap):\n"
            "    try: opener(KernelRoots(*sys.argv[1:]))\n"
            "    except Refused as refused: print(refused.refusal.reason, '|', refused.refusal.remedy)\n"
        )
        argv = [sys.executable, "-c", code, roots.sysfs, roots.devcpu, roots.proc]
        lines = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=True).stdout.splitlines()
    assert len(lines) == 2
    assert "no permission to write" in lines[0] and "sudo chown $USER /sys/devices/system/cpu/cpufreq" in lines[0]
    assert "no permission to write" in lines[1] and "sudo find /sys/devices/virtual/powercap '(' -name 'constraint_" in lines[1]


def test_what_cannot_be_put_back_is_said_and_tried_again(tmp_path):
    roots = server(tmp_path)
    knob = clock(roots)
    settings = Settings([knob], {"ceiling_mhz": 2400}, (0,), tmp_path)
    settings.apply()
    write = knob.actuator.files.write
    knob.actuator.files.write = lambda path, value: None  # the file stays as it is
    problems = settings.restore()
    assert len(problems) == 1 and "holds 2400000 after 3300000 was written" in problems[0]
    assert list(tmp_path.glob("*.changed.json"))
    knob.actuator.files.write = write
    assert settings.restore() == []
    assert not list(tmp_path.glob("*.changed.json"))
    assert set(held(roots, CLOCKS).values()) == {str(TURBO_KHZ)}


def test_a_file_that_holds_no_number_is_a_fault_and_the_others_are_put_back(tmp_path):
    roots = server(tmp_path)
    knob = clock(roots)
    settings = Settings([knob], {"ceiling_mhz": 2400}, (0, 1), tmp_path)
    settings.apply()
    broken = roots.sys_path("devices/system/cpu/cpufreq/policy1/scaling_max_freq")
    write = knob.actuator.files.write
    knob.actuator.files.write = lambda path, value: broken.write_text("<unknown>") if path == broken else write(path, value)
    problems = settings.restore()
    assert len(problems) == 1 and "policy1/scaling_max_freq holds <unknown>" in problems[0]
    assert held(roots, CLOCKS)["policy0"] == str(TURBO_KHZ)


def test_a_setting_that_fails_half_way_is_put_back_whole(tmp_path):
    roots = server(tmp_path)
    put(roots.sys_path("devices/system/cpu/cpufreq/policy1/cpuinfo_min_freq"), "3000000")  # policy 1 can't go below 3 GHz
    knob = clock(roots)
    settings = Settings([knob], {"ceiling_mhz": 2400}, (0, 1), tmp_path)
    with pytest.raises(KnobFault):
        settings.apply()
    assert settings.restore() == []
    assert set(held(roots, CLOCKS).values()) == {str(TURBO_KHZ)}


def test_a_configuration_without_such_knobs_touches_nothing(tmp_path):
    settings = Settings([], {"cores": 1}, (0,), None)
    settings.apply()
    assert (settings.restore(), settings.record, list(tmp_path.iterdir())) == ([], [], [])
