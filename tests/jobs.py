"""Small real jobs for the tests of `tune` and the command line: Python programs that report as any job does."""

import sys
from pathlib import Path

RECOMMENDED = (0, 6)
"""Exit codes of `tune` with a recommendation: whether it was shown to be better than the default too depends on how busy the machine is."""

PROGRAM = """
import sys, time
from bayestuner.measure.reporter import done, ready
batch = int(sys.argv[1])
ballast = bytearray(batch * 8 * 2**20)
for i in range(0, len(ballast), 4096):
    ballast[i] = 1
ready()
while True:
    time.sleep(0.01 + 0.002 * batch)
    done(batch)
"""

JOB = """
[job]
name = "sleeper"
command = ["{{python}}", "{program}", "{{batch_size}}"]
unit = "item"

[knobs]
cores = {{ kind = "cores", min = 1, max = 1 }}
memory_mib = {{ kind = "memory", values = [64, 128, 256] }}
batch_size = {{ kind = "argument", values = [1, 2, 4, 8, 16] }}

[goal]
minimize = "{minimize}"
subject_to = ["{bound}"]

[measure]
budget = {budget}
min_seconds = 0.2
max_seconds = 0.5
startup_timeout_s = {startup}
relative_error = 0.5
repeats = 2
max_outside_load = 1
energy = ["perf"]
"""


def write_job(
    folder: Path, *, program=PROGRAM, budget=5, minimize="cpu_s_per_item", bound="throughput >= 50", startup=60, replace=()
) -> Path:
    """Write a job file with its program beside it; `replace` are (old, new) in the job file's text."""
    script = folder / "program.py"
    script.write_text(program)
    text = JOB.format(program=script, budget=budget, minimize=minimize, bound=bound, startup=startup)
    for old, new in replace:
        assert old in text
        text = text.replace(old, new)
    (folder / "job.toml").write_text(text)
    return folder / "job.toml"


def bayestuner(*args) -> list[str]:
    """The command line that runs ours."""
    return [sys.executable, "-m", "bayestuner", *map(str, args)]


def processes_of(program: Path) -> list[int]:
    """Processes whose command line names this program."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if str(program).encode() in line.split(b"\0"):
                found.append(int(entry.name))
    return found
