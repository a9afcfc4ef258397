"""``make test-vm``: boot the guests side by side, run the tests marked ``vm`` and the cgroup v2 tests in them, print what came of it."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

from engine import ENGINE_ENVIRONMENT
from kernel import bootable, build_module, write_initrd
from machine import LEFT_OUT, Guest, pytest_job, run_all, start
from packages import NoGuest, Unpacked, cache_folder, cache_to_ourselves, unpacked
from verdict import Counts, verdict

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[2]
WORK = CHECKOUT / "build" / "vm"

# In a guest /tmp is memory, which isn't page cache that can be dropped; and a start within a second is too much to ask.
NOT_HERE = tuple(
    f"--deselect=tests/measure/cgroup/test_v1.py::{test}"
    for test in ("TestEveryWay::test_page_cache_up_to_the_limit_is_no_oom", "test_a_start_that_hangs_is_given_up")
)

# The paper's server and the generation after it; less what TCG lacks (AVX-512, PCID and others, which QEMU notes in build/vm/*/qemu).
GUESTS = (
    Guest(
        "broadwell-ep",
        "Broadwell-noTSX,model=79,model-id=Intel(R) Xeon(R) CPU E5-2680 v4 @ 2.40GHz",
        ("tests/vm/test_meters.py", "tests/vm/test_closed_loop.py"),
        ("cgroup_no_v1=all",),
    ),
    Guest(
        "skylake-sp",
        "Skylake-Server-noTSX-IBRS",
        (
            "tests/vm/test_meters.py",
            "tests/vm/test_meter_faults.py",
            "tests/vm/test_recording.py",
            "tests/vm/test_doctor.py",
            "tests/vm/test_cgroup_v2.py",
            "tests/vm/test_knobs.py",
            "tests/vm/test_doctor_knobs.py",
            "tests/measure/cgroup/test_v2_limits.py",
            "tests/measure/cgroup/test_v2_real.py",
        ),
        ("cgroup_no_v1=all",),
    ),
    Guest(
        "haswell-ep",
        "Haswell-noTSX,model=63,model-id=Intel(R) Xeon(R) CPU E5-2697 v3 @ 2.60GHz",
        (
            "tests/vm/test_meters.py::test_the_three_meters_agree_over_one_window",
            "tests/vm/test_hybrid.py",
            "tests/measure/cgroup/test_v1.py",
            *NOT_HERE,
        ),
        ("bayestuner.cgroups=hybrid",),
    ),
)


def main() -> int:
    """0 where every guest's tests passed."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # guests, in which compiling is slow, use the byte code that is made here
    options = _options()
    started = time.monotonic()
    guests = [guest for guest in GUESTS if options.guest in (None, guest.name)]
    try:
        with cache_to_ourselves():
            tree, kernel = _prepare()
    except NoGuest as error:
        print(f"make test-vm: {error}", file=sys.stderr)
        print("0 passed, 1 failed")
        return 1
    total, ok = _run(guests, tree, kernel, options)
    took = f"{time.monotonic() - started:.0f} s, {sum(os.times()[2:4]):.0f} s of CPU"
    print(f"{total} in {took} (real drivers and kernel interfaces, synthetic energy)")
    return 0 if ok else 1


def _prepare() -> tuple[Unpacked, Path]:
    """Everything that guests are made of: the unpacked packages, the kernel, and in `WORK` the first root file system with our module."""
    tree = unpacked()
    compiled = _compile_engine()
    _compile_python()
    kernel = bootable(tree.vmlinuz, cache_folder() / tree.release / "vmlinux")
    module = build_module(tree, HERE.parent / "module", WORK / "module")
    write_initrd(WORK / "initrd", tree, module, HERE / "init.sh")
    if compiled.wait():
        raise NoGuest("the engine could not be compiled for the guests' CPU (see above)")
    return tree, kernel


def _run(guests: list[Guest], tree: Unpacked, kernel: Path, options: argparse.Namespace) -> tuple[Counts, bool]:
    def boot(guest: Guest) -> subprocess.Popen[bytes]:
        job = pytest_job(guest, CHECKOUT, _compiled_folder(), ENGINE_ENVIRONMENT, options.pytest)
        return start(guest, tree, kernel, WORK / "initrd", WORK / guest.name, job)

    for guest in guests:
        shutil.rmtree(WORK / guest.name, ignore_errors=True)
    run_all([partial(boot, guest) for guest in guests], at_once=options.at_once)
    total, ok = Counts(), True
    for guest in guests:
        result = verdict(guest.name, WORK / guest.name)
        print(f"\n{'=' * 30} {result.text}", flush=True)
        total, ok = total + result.counts, ok and result.ok
    return total, ok


def _compile_engine() -> subprocess.Popen[bytes]:
    environment = {**os.environ, **ENGINE_ENVIRONMENT, "BAYESTUNER_CACHE": str(_compiled_folder())}
    return subprocess.Popen([sys.executable, HERE / "engine.py"], cwd=CHECKOUT, env=environment)


def _compile_python() -> None:
    """Make the byte code of what guests import, with the tests' rewritten asserts: they are slow to do it and can't keep it."""
    files = {word.partition("::")[0] for guest in GUESTS for word in guest.pytest if not word.startswith("-")}
    collect = [sys.executable, "-m", "pytest", *LEFT_OUT, "--collect-only", "-q", *sorted(files)]
    for command in ([sys.executable, "-m", "compileall", "-q", "bayestuner"], collect):
        subprocess.run(command, cwd=CHECKOUT, stdout=subprocess.DEVNULL, check=False)  # what is wrong with them the guests say


def _compiled_folder() -> Path:
    return cache_folder() / "engine"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--guest", choices=[guest.name for guest in GUESTS], help="boot this one only")
    parser.add_argument("--at-once", type=int, default=os.cpu_count() or 1, help="how many guests run side by side (default: one a core)")
    parser.add_argument("pytest", nargs="*", help="instead of the guest's own tests: what to give to pytest")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
