"""The job process, started for real."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bayestuner.zoo import job

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.zoo

SMALL = ("mobilenet_v2", "--scale", "0.1")


@pytest.fixture
def started(zoo_folder):
    """Start the job as the runner does, with a pipe; returns (process, reader of its lines). Ended at the end."""
    running = []

    def start(*arguments, **options):
        reader, writer = os.pipe()
        environment = {k: v for k, v in os.environ.items() if not k.startswith("BAYESTUNER_")}
        environment |= {"BAYESTUNER_CACHE": str(zoo_folder), "BAYESTUNER_FD": str(writer)}
        command = [sys.executable, *options.pop("python", ["-m", "bayestuner.zoo"]), *arguments]
        process = subprocess.Popen(
            command, env=environment, pass_fds=(writer,), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
        )
        os.close(writer)
        lines = os.fdopen(reader)
        running.append((process, lines))
        return process, lines

    yield start
    for process, lines in running:
        process.kill()
        process.communicate()
        lines.close()


def test_it_speaks_the_protocol(started):
    process, lines = started("mobilenet_v2", "--batch", "2", "--seconds", "1")
    said = [line.split() for line in lines]
    output, errors = process.communicate(timeout=120)
    assert (process.returncode, output, errors) == (0, "", "")
    assert said[0][0] == "ready"
    assert len(said) >= 2
    assert {(word, items) for word, items, _ in said[1:]} == {("done", "2")}
    times = [int(line[-1]) for line in said]
    assert times == sorted(times)
    assert times[-1] - times[0] >= 1e9 * 0.9


def test_sigterm_ends_it_after_the_batch(started):
    process, lines = started(*SMALL, "--batch", "1")
    for _ in range(5):
        assert lines.readline()
    process.send_signal(signal.SIGTERM)
    rest = lines.read()
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output, errors) == (0, "", "")
    assert rest == "" or rest.endswith("\n")  # no torn line


def test_it_does_not_outlive_the_one_who_measures(started):
    """Its parent is killed while it is at work; it ends by itself, which closes the pipe."""
    code = "import subprocess, sys; subprocess.run([sys.executable, '-m', 'bayestuner.zoo', *sys.argv[1:]], close_fds=False)"
    parent, lines = started(*SMALL, python=["-c", code])
    assert lines.readline().startswith("ready ")
    assert lines.readline().startswith("done ")  # it is at work
    parent.kill()
    parent.wait()
    lines.read()  # returns at the end of file only: when the job has closed its end


def test_alone_it_is_a_benchmark_tool(zoo_process):
    done = zoo_process(*SMALL, "--batch", 4, "--seconds", 0.5, "--threads", 1)
    assert done.returncode == 0, done.stderr
    assert "mobilenet_v2: batch 4, 1 thread\n" in done.stdout
    for word in ("items", "throughput", "image/s", "p50", "p99", "memory peak"):
        assert word in done.stdout


def test_its_json(zoo_process):
    done = zoo_process("text_cnn", "--scale", 0.1, "--batch", 3, "--seconds", 0.5, "--json", "--spin", "--no-arena")
    result = json.loads(done.stdout)
    assert result["items"] == 3 * result["batches"] > 0
    assert result["throughput"] == pytest.approx(result["items"] / result["duration_s"])
    assert 0 < result["latency_p50_s"] <= result["latency_p99_s"]
    assert result["threads"] == len(os.sched_getaffinity(0))
    assert result["unit"] == "sentence"
    assert result["memory_peak_bytes"] > 2**20


def test_ctrl_c_alone_prints_what_was_done(zoo_folder):
    environment = os.environ | {"BAYESTUNER_CACHE": str(zoo_folder)}
    # Progress can't be seen from outside a program run alone, so it interrupts itself, once it is at work.
    code = (
        "import sys, threading, _thread; threading.Timer(3.0, _thread.interrupt_main).start(); "
        "from bayestuner.zoo.job import main; sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *SMALL, "--seconds", "100"], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode in (job.EXIT_OK, job.EXIT_INTERRUPTED), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("mobilenet_v2", "--batch", "0"), job.EXIT_USAGE, "--batch is at least 1, not 0"),
        (("mobilenet_v2", "--batch", "-4"), job.EXIT_USAGE, "--batch is at least 1, not -4"),
        (("mobilenet_v2", "--batch", "two"), job.EXIT_USAGE, "--batch is a whole number from 1 up, not 'two'"),
        (("mobilenet_v2", "--batch", "1.5"), job.EXIT_USAGE, "--batch is a whole number from 1 up, not '1.5'"),
        (("mobilenet_v2", "--batch", "100000000"), job.EXIT_FAILED, "give a smaller --batch"),
        (("mobilenet_v2", "--threads", "0"), job.EXIT_USAGE, "--threads is at least 1, not 0"),
        (("mobilenet_v2", "--seconds", "0"), job.EXIT_USAGE, "--seconds is a number above 0, not '0'"),
        (("mobilenet_v2", "--seconds", "nan"), job.EXIT_USAGE, "--seconds is a number above 0, not 'nan'"),
        (("mobilenet_v2", "--scale", "2"), job.EXIT_FAILED, "above 0 and at most 1, not 2"),
        (("mobilenetv2",), job.EXIT_USAGE, "there is no zoo model 'mobilenetv2'; did you mean 'mobilenet_v2'?"),
    ],
)
def test_wrong_usage_is_one_sentence(arguments, code, says, capsys):
    try:
        returned = job.main(arguments)
    except SystemExit as stopped:
        returned = stopped.code
    errors = capsys.readouterr().err
    assert returned == code
    assert says in errors.splitlines()[-1]


def test_without_onnxruntime_it_names_the_extra(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert job.main(SMALL) == job.EXIT_MISSING_EXTRA
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1
    assert "pip install 'bayestuner[zoo]'" in errors


def test_an_unusable_cache_is_one_sentence(monkeypatch, capsys, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BAYESTUNER_CACHE", str(tmp_path / "file"))
    assert job.main(SMALL) == job.EXIT_FAILED
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1
    assert "BAYESTUNER_CACHE" in errors


def test_a_file_that_does_not_load_is_rebuilt(fresh_cache, zoo_process):
    """Even one that its signed sidecar vouches for."""
    import hashlib

    from bayestuner.files.private import PrivateFolder
    from bayestuner.zoo import cache, registry

    path = registry.build("mobilenet_v2", 0.1)
    path.write_bytes(b"no model at all")
    with PrivateFolder.open(path.parent) as private:
        cache._write_sidecar(private, path.name, hashlib.sha256(path.read_bytes()).hexdigest())
    done = zoo_process(*SMALL, "--seconds", 0.2, variables={"BAYESTUNER_CACHE": str(fresh_cache)})
    assert done.returncode == 0, done.stderr
    assert path.stat().st_size > 100_000


def test_with_a_cached_model_it_imports_no_onnx(zoo_cache):
    from bayestuner.zoo import registry

    registry.build("mobilenet_v2", 0.1)
    code = (
        "import sys; from bayestuner.zoo.job import main; main(); "
        "print([m for m in ('onnx', 'google.protobuf', 'numba', 'scipy', 'bayestuner._native') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *SMALL, "--seconds", "0.2"], capture_output=True, text=True, timeout=120, check=True, env=os.environ
    )
    assert done.stdout.splitlines()[-1] == "[]"


MEMORY = Path("/sys/fs/cgroup/memory")


@pytest.fixture
def memory_limit():
    """Make a cgroup (v1) with a memory limit of so many MiB, ours alone; removed at the end."""
    if os.geteuid() != 0 or not (MEMORY / "memory.limit_in_bytes").exists():
        pytest.skip("needs root and the cgroup v1 memory controller")
    made = []

    def make(mib):
        group = MEMORY / f"bayestuner-zoo-test-{os.getpid()}-{len(made)}"
        group.mkdir()
        made.append(group)
        (group / "memory.limit_in_bytes").write_text(str(mib << 20))
        return group

    yield make
    for group in made:
        for _ in range(50):  # the kernel takes a moment to let go of a killed process
            with contextlib.suppress(OSError):
                group.rmdir()
                break
            time.sleep(0.1)


@pytest.mark.cgroup
def test_the_demos_memory_limit_kills_for_real(memory_limit, zoo_process, zoo_cache):
    """At the demo's smallest limit a batch of one image runs and a batch of 32 is killed."""
    from bayestuner.zoo import registry

    registry.build("mobilenet_v2")
    killed = []
    for batch in (1, 32):
        group = memory_limit(128)
        enter = ["sh", "-c", 'echo 0 > "$0"; exec "$@"', group / "cgroup.procs"]
        done = zoo_process("mobilenet_v2", "--batch", batch, "--seconds", 0.5, through=enter)
        counters = dict(line.split() for line in (group / "memory.oom_control").read_text().splitlines())
        killed.append((done.returncode, counters["oom_kill"]))
    assert killed == [(0, "0"), (-signal.SIGKILL, "1")]


def test_figures_that_cannot_be_printed_are_one_sentence(zoo_folder):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("BAYESTUNER_")} | {"BAYESTUNER_CACHE": str(zoo_folder)}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "bayestuner.zoo", *SMALL, "--seconds", "0.1"],
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=240, check=False, env=environment,
        )  # fmt: skip
    assert done.returncode == job.EXIT_FAILED
    assert done.stderr == "bayestuner.zoo: the figures can't be printed, or the reports written: No space left on device\n"
