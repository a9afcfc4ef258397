"""What a killed BayesTuner left set is put back at the next start: real processes, really killed; the settings are files of a fake tree."""

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from actuator_fakes import TURBO_KHZ, server

from bayestuner.measure.actuators.journal import SUFFIX, Change, Journal, left_behind
from bayestuner.measure.actuators.registry import undo_left_behind
from bayestuner.measure.machine.runtime import VARIABLE

HOLD = """
import sys, time
from pathlib import Path
from bayestuner.measure.actuators.cpu_frequency import open_cpu_frequency
from bayestuner.measure.actuators.power_cap import open_power_cap
from bayestuner.measure.actuators.setting import OpenKnob, Settings
from bayestuner.measure.energy.kernel_files import KernelRoots
from bayestuner.measure.machine.runtime import make_runtime_folder
roots = KernelRoots(*sys.argv[1:4])
knobs = [
    OpenKnob("ceiling_mhz", "cpu_frequency", open_cpu_frequency(roots), 1e3, ""),
    OpenKnob("cap_w", "power_cap", open_power_cap(roots), 1e6, ""),
]
Settings(knobs, {"ceiling_mhz": 2000, "cap_w": 80}, (0, 1, 2), make_runtime_folder()).apply()
print("set", flush=True)
time.sleep(1000)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A runtime folder of this test alone."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "run"))
    return tmp_path / "run"


@pytest.fixture
def roots(tmp_path):
    return server(tmp_path / "machine")


@pytest.fixture
def tuner(roots, folder):
    """A process that has settings in force."""
    argv = [sys.executable, "-c", HOLD, roots.sysfs, roots.devcpu, roots.proc]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "set\n"
        yield process
        process.kill()


def clocks(roots):
    paths = sorted(Path(roots.sysfs).glob("devices/system/cpu/cpufreq/policy*/scaling_max_freq"))
    return [int(path.read_text()) for path in paths]


def limits(roots):
    paths = sorted(Path(roots.sysfs).glob("devices/virtual/powercap/intel-rapl/*/constraint_0_power_limit_uw"))
    return [int(path.read_text()) for path in paths if "120000000" in path.read_text() or "80000000" in path.read_text()]


AS_BEFORE = [TURBO_KHZ] * 8
CHANGED = [2_000_000] * 3 + [TURBO_KHZ] * 5


def test_settings_of_a_killed_tuner_are_put_back_once(tuner, roots, folder):
    assert clocks(roots) == CHANGED
    assert sorted(limits(roots))[:2] == [80_000_000] * 2
    tuner.send_signal(signal.SIGKILL)
    tuner.wait()
    assert clocks(roots) == CHANGED  # nothing but a next start can do it
    done, failed = undo_left_behind(roots)
    assert failed == []
    assert len(done) == 5
    assert all(f"a BayesTuner that was killed (process {tuner.pid}) had left" in text for text in done)
    assert clocks(roots) == AS_BEFORE
    assert set(limits(roots)) == {120_000_000}
    assert list(folder.glob(f"*{SUFFIX}")) == []
    assert undo_left_behind(roots) == ([], [])


def test_settings_of_a_living_tuner_are_left_alone(tuner, roots, folder):
    assert undo_left_behind(roots) == ([], [])
    assert clocks(roots) == CHANGED
    assert len(list(folder.glob(f"*{SUFFIX}"))) == 1


def test_the_journal_is_private_whole_and_there_before_the_first_write(tuner, roots, folder):
    (path,) = folder.glob(f"*{SUFFIX}")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    said = json.loads(path.read_text())
    assert [(c["old"], c["new"]) for c in said["changes"]] == [(str(TURBO_KHZ), "2000000")] * 3 + [("120000000", "80000000")] * 2
    written_at = path.stat().st_mtime_ns
    assert all(Path(c["target"]).stat().st_mtime_ns >= written_at for c in said["changes"])


def test_killed_at_any_write_everything_is_put_back(roots, folder):
    """SIGKILL in the middle: after the journal, and after each of the five writes."""
    hook = """
import os, signal
from bayestuner.measure.cgroup.files import CgroupFiles
write, left = CgroupFiles.write, [int(os.environ["WRITES"])]
def dying(self, path, value):
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left[0] -= 1
    write(self, path, value)
CgroupFiles.write = dying
"""
    for writes in range(5):
        argv = [sys.executable, "-c", hook + HOLD, roots.sysfs, roots.devcpu, roots.proc]
        done = subprocess.run(argv, env={**os.environ, "WRITES": str(writes)}, check=False, timeout=120)
        assert done.returncode == -signal.SIGKILL
        assert sum(khz == 2_000_000 for khz in clocks(roots)) == min(writes, 3)
        restored, failed = undo_left_behind(roots)
        assert (len(restored), failed) == (writes, [])
        assert clocks(roots) == AS_BEFORE


def test_two_that_died_one_after_the_other_are_undone_newest_first(roots, folder):
    """The second read what the first had left as "before"; the first knows what it really was."""
    for _ in range(2):
        argv = [sys.executable, "-c", HOLD, roots.sysfs, roots.devcpu, roots.proc]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline() == "set\n"
            process.kill()
    assert undo_left_behind(roots)[1] == []
    assert clocks(roots) == AS_BEFORE


def dead_owners(folder, changes, boot_id=None):
    """A journal of a process that is gone."""
    code = (
        "import sys, json; from pathlib import Path; from bayestuner.measure.actuators.journal import Change, Journal\n"
        "Journal(Path(sys.argv[1])).write([Change(**c) for c in json.loads(sys.argv[2])])"
    )
    folder.mkdir(mode=0o700, exist_ok=True)
    told = json.dumps([{"kind": c.kind, "platform": c.platform, "target": c.target, "old": c.old, "new": c.new} for c in changes])
    subprocess.run([sys.executable, "-c", code, str(folder), told], check=True, timeout=120)
    (path,) = folder.glob(f"*{SUFFIX}")
    if boot_id is not None:
        path.write_text(json.dumps({**json.loads(path.read_text()), "boot_id": boot_id}))
    return path


def test_one_that_died_before_its_journal_was_whole_had_set_nothing(roots, folder):
    path = dead_owners(folder, [])
    draft = path.with_name(f".{path.name}.0123456789abcdef.part")
    path.rename(draft)
    draft.write_text('{"boot_id": "')
    assert undo_left_behind(roots) == ([], [])
    assert not draft.exists()


def test_a_reboot_has_put_everything_back_already(roots, folder):
    target = str(Path(roots.sysfs, "devices/system/cpu/cpufreq/policy0/scaling_max_freq"))
    path = dead_owners(folder, [Change("cpu_frequency", "", target, "1300000", "2000000")], boot_id="another boot")
    assert undo_left_behind(roots) == ([], [])
    assert clocks(roots) == AS_BEFORE
    assert not path.exists()


def test_what_cannot_be_put_back_is_said_with_the_command_and_kept(roots, folder):
    target = str(Path(roots.sysfs, "devices/system/cpu/cpufreq/policy9/scaling_max_freq"))
    path = dead_owners(folder, [Change("cpu_frequency", "", target, "3300000", "2000000")])
    done, failed = undo_left_behind(roots)
    assert done == []
    assert len(failed) == 1
    assert failed[0].endswith(f"set it to 3300000: echo 3300000 | sudo tee {target}")
    assert path.exists()


@pytest.mark.parametrize("target", ["{other}/scaling_max_freq", "{sysfs}/devices/system/cpu/online", "{sysfs}/../scaling_max_freq"])
def test_a_journal_cannot_make_us_write_anything_but_our_settings(roots, folder, tmp_path, target):
    other = tmp_path / "other"
    other.mkdir()
    named = Path(target.format(other=other, sysfs=roots.sysfs))
    named.parent.mkdir(parents=True, exist_ok=True)
    named.write_text("untouched")
    dead_owners(folder, [Change("cpu_frequency", "", str(named), "1", "2")])
    done, failed = undo_left_behind(roots)
    assert (done, len(failed)) == ([], 1)
    assert named.read_text() == "untouched"


@pytest.mark.parametrize("spoil", ["writable file", "writable folder", "link", "another's", "no text", "deep", "list"])
def test_a_journal_that_others_could_have_written_or_of_another_form_is_not_believed(roots, folder, tmp_path, spoil):
    target = str(Path(roots.sysfs, "devices/system/cpu/cpufreq/policy0/scaling_max_freq"))
    path = dead_owners(folder, [Change("cpu_frequency", "", target, "1300000", "2000000")])
    match spoil:
        case "writable file":
            path.chmod(0o666)
        case "writable folder":
            folder.chmod(0o777)
        case "link":
            path.rename(tmp_path / "away")
            path.symlink_to(tmp_path / "away")
        case "another's":
            if os.geteuid() != 0:
                pytest.skip("needs root to give a file away")
            os.chown(path, 5, 5)
        case "no text":
            path.write_text(path.read_text().replace('"1300000"', "1300000"))
        case "deep":
            path.write_text("[" * 100_000)
        case "list":
            path.write_text("[]")
    assert undo_left_behind(roots) == ([], [])
    assert clocks(roots) == AS_BEFORE


CALLED = """
from pathlib import Path
class Toy:
    def __init__(self):
        Path(__file__).with_name("called").touch()
        raise RuntimeError("no device")
"""


def test_a_journal_has_no_code_called_that_neither_a_package_nor_the_job_file_names(roots, folder, tmp_path, monkeypatch):
    (tmp_path / "hers.py").write_text(CALLED)
    monkeypatch.syspath_prepend(tmp_path)
    path = dead_owners(folder, [Change("toy.clock", "hers:Toy", "clock", "900", "600")])
    done, (said,) = undo_left_behind(roots)
    assert done == []
    assert "'hers:Toy' is none that an installed package registers" in said
    assert path.exists()  # nothing is lost: a job that names it puts it back
    assert not (tmp_path / "called").exists()
    assert "no device" in undo_left_behind(roots, platforms=["hers:Toy"])[1][0]
    assert (tmp_path / "called").exists()


def test_somebody_elses_files_are_passed_over(folder):
    folder.mkdir(mode=0o700)
    (folder / f"notes{SUFFIX}").write_text("{}")
    journal = Journal(folder)  # this process lives
    journal.write([])
    assert left_behind(folder) == []
    journal.clear()
    assert left_behind(folder / "missing") == []
