"""The C tests of csrc/tests: each compiled with the C sources under a sanitizer, by each compiler that is here, and run."""

import functools
import shutil
import subprocess
from pathlib import Path

import pytest

CSRC = Path(__file__).resolve().parents[2] / "csrc"
TESTS = CSRC / "tests"
FLAGS = ["-std=gnu11", "-Wall", "-Wextra", "-Wshadow", "-Werror", "-g", "-O1", "-fno-omit-frame-pointer", "-pthread", "-I", str(CSRC)]
COMPILERS = ["gcc", "clang"]
FUZZ_INPUTS = 200_000


def compile_with(compiler, output, *flags, sources=()):
    command = [compiler, *FLAGS, *flags, *map(str, sources), "-o", str(output)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return output


@functools.cache
def why_not(compiler, flag):
    """Why this compiler can't do this, or None: it isn't here, or its runtime isn't."""
    if shutil.which(compiler) is None:
        return f"{compiler} is not installed"
    source = "#include <stdint.h>\n#include <stddef.h>\nint LLVMFuzzerTestOneInput(const uint8_t *d, size_t n) { return !d && n; }\n"
    main = "" if flag.endswith("=fuzzer") else "int main(void) { return 0; }\n"
    command = [compiler, flag, "-x", "c", "-", "-o", "/dev/null"]
    done = subprocess.run(command, input=source + main, capture_output=True, text=True, check=False, timeout=300)
    return None if done.returncode == 0 else f"{compiler} has no runtime for {flag}"


@pytest.fixture(scope="module")
def objects(tmp_path_factory):
    """``objects(compiler, flag)``: the C sources by name, compiled once for each pair; skips where that can't be."""

    @functools.cache
    def compiled(compiler, flag):
        folder = tmp_path_factory.mktemp("objects")
        flags = (flag, "-fno-sanitize-recover=all", "-c")
        return {
            path.stem: compile_with(compiler, folder / f"{path.stem}.o", *flags, sources=[path]) for path in sorted(CSRC.glob("bt_*.c"))
        }

    def make(compiler, flag):
        reason = why_not(compiler, flag)
        if reason is not None:
            pytest.skip(reason)
        return compiled(compiler, flag)

    return make


@pytest.fixture
def build(objects, tmp_path):
    """``build(compiler, flag, program, ...)``: a test program, its binary."""

    def make(compiler, flag, program, *flags):
        sources = [TESTS / f"{program}.c", *objects(compiler, flag).values()]
        return compile_with(compiler, tmp_path / program, flag, "-fno-sanitize-recover=all", *flags, sources=sources)

    return make


@functools.cache
def layout_can_be_fixed():
    """Whether a program can be run without address randomisation here; some containers forbid it."""
    return (
        shutil.which("setarch") is not None and subprocess.run(["setarch", "-R", "true"], capture_output=True, check=False).returncode == 0
    )


def run(binary, *arguments):
    """Output of a test program; fails with all it said where it doesn't end well.

    Addresses are not randomised where that can be had: older sanitizers don't know the layouts of newer kernels.
    """
    command = [*(["setarch", "-R"] if layout_can_be_fixed() else []), str(binary), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def cases_of(program):
    """The tests that a program says it runs."""
    text = (TESTS / f"{program}.c").read_text()
    return [line.strip().removeprefix("RUN(").removesuffix(");") for line in text.splitlines() if line.strip().startswith("RUN(")]


@pytest.mark.parametrize("program", sorted(path.stem for path in TESTS.glob("test_*.c")))
@pytest.mark.parametrize("sanitizer", ["address,undefined", "thread"])
@pytest.mark.parametrize("compiler", COMPILERS)
def test_the_c_tests_pass_under_a_sanitizer(build, compiler, sanitizer, program):
    output = run(build(compiler, f"-fsanitize={sanitizer}", program))
    assert [line for line in output.splitlines() if line] == [f"{name}: ok" for name in cases_of(program)]
    assert cases_of(program)


@pytest.mark.parametrize("compiler", COMPILERS)
def test_numbers_in_files_are_read_as_a_slow_parser_reads_them(build, compiler):
    binary = build(compiler, "-fsanitize=address,undefined", "fuzz_text", "-DSTANDALONE")
    assert run(binary, str(FUZZ_INPUTS)) == f"{FUZZ_INPUTS} inputs: ok\n"


def test_libfuzzer_finds_no_number_that_is_read_wrongly(build, tmp_path):
    reason = why_not("clang", "-fsanitize=fuzzer")
    if reason is not None:
        pytest.skip(reason)
    binary = build("clang", "-fsanitize=fuzzer-no-link,address,undefined", "fuzz_text", "-fsanitize=fuzzer")
    output = run(binary, f"-runs={FUZZ_INPUTS}", "-seed=1", "-max_len=80", "-max_total_time=20", f"-artifact_prefix={tmp_path}/")
    assert "ERROR" not in output
    assert "Done" in output


@pytest.mark.parametrize("compiler", COMPILERS)
def test_the_sanitizers_see_a_race_in_the_ring(objects, compiler, tmp_path):
    """The same program with the ring's ordering taken away must fail, or a pass would say nothing."""
    others = [file for name, file in objects(compiler, "-fsanitize=thread").items() if name != "bt_sampler"]
    broken = tmp_path / "bt_sampler.c"
    text = (CSRC / "bt_sampler.c").read_text()
    broken.write_text(text.replace("memory_order_release", "memory_order_relaxed").replace("memory_order_acquire", "memory_order_relaxed"))
    binary = compile_with(compiler, tmp_path / "broken", "-fsanitize=thread", sources=[TESTS / "test_sampler.c", broken, *others])
    with pytest.raises(AssertionError, match="data race"):
        run(binary)
