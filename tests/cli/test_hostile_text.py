"""A hostile job and a study that a stranger hands over: through every command, nothing comes out that a terminal would obey."""

import csv
import json
import os
import pty
import subprocess
import sys

import pytest
from jobs import bayestuner, write_job

from bayestuner.goal import Goal
from bayestuner.space import Categorical, Integer, Space
from bayestuner.study.study import Study
from bayestuner.trial import Failed, Measured, Reading

WAIT_S = 240
HOSTILE = "x\x1b]0;owned\x07\x1b[2J\x9b31m\r\n## saving 99 %\u202e\u2066<script>|[a](b)`=1"
"""Title, erasing, a C1 code, a forged line, reversed order, HTML, Markdown."""

JOB = """
import os, sys, time
from bayestuner.measure.reporter import done, ready
os.write(1, b"\\x1b]0;owned\\x07\\x1b[2J\\x9b31m\\xff\\r\\xe2\\x80\\xae loading\\n")
os.write(2, b"\\x1b[31mfailed\\x1b[0m \\x1b]52;c;AAAA\\x07 \\xc2\\x9b2J\\r")
if sys.argv[1] == "2":
    sys.exit(3)
ready()
while True:
    time.sleep(0.01)
    done(1)
"""


def assert_harmless(data: bytes, *, ours: tuple[bytes, ...] = ()) -> str:
    for code in ours:
        data = data.replace(code, b"")
    text = data.decode("utf-8")
    bad = sorted({c for c in text if not c.isprintable() and c != "\n"})
    assert not bad, (bad, text)
    return text


def run_raw(*args):
    done = subprocess.run(bayestuner(*args), capture_output=True, timeout=WAIT_S, check=False)
    return done.returncode, assert_harmless(done.stdout), assert_harmless(done.stderr)


@pytest.fixture(scope="module")
def handed_over(tmp_path_factory):
    folder = tmp_path_factory.mktemp("handed") / "s"
    space = Space(Integer("cores", 1, 2), Categorical("cipher", ["plain", HOSTILE]))
    goal = Goal(minimize="cores", subject_to=["throughput >= 5"])
    job = {"unit": HOSTILE, "text": HOSTILE, "command": [HOSTILE]}
    with Study.create(folder, space, goal, "random", 0, 4, {HOSTILE: HOSTILE}, name=HOSTILE, job=job) as study:
        details = {"power_source": HOSTILE, "output_tail": [HOSTILE], "cpus": [0], "memory_max": 2**26, "argv": [HOSTILE]}
        for cores, cipher in ((2, "plain"), (1, HOSTILE), (2, HOSTILE)):
            outcome = Failed("error", HOSTILE) if (cores, cipher) == (2, HOSTILE) else Measured({"throughput": Reading(9.0)}, (HOSTILE,))
            config = {"cores": cores, "cipher": cipher}
            study.tell(study.adopt(config, "baseline" if cipher == "plain" else "search"), outcome, details)
        study.set_result(
            {
                "complete": True,
                "recommended": {"cores": 1, "cipher": HOSTILE},
                "rejected": [],
                "command": ["/bin/echo", HOSTILE],
                "env": {"A": HOSTILE},
                "notes": [HOSTILE],
                "stop_reason": HOSTILE,
            }
        )
    return folder


@pytest.mark.parametrize("form", [(), ("--markdown",), ("--front",)])
def test_show_of_a_strangers_study(handed_over, form):
    code, out, err = run_raw("show", handed_over, *form)
    assert code == 0, err
    assert "\\x1b]0;owned" in out
    assert not [line for line in out.splitlines() if line.startswith("## saving")]
    if form == ("--markdown",):
        marked = "\n".join(line for line in out.splitlines() if not line.startswith("- apply with: `"))
        assert "<script>" not in marked.replace("\\<script>", "")
        assert "[a]" not in marked.replace("\\[a]", "")
        rows = [line for line in out.splitlines() if line.startswith("|")]
        assert len({line.replace("\\|", "").count("|") for line in rows[-5:]}) == 1


def test_show_json_says_the_same_without_raw_characters(handed_over):
    code, out, err = run_raw("show", handed_over, "--json")
    assert code == 0, err
    form = json.loads(out)
    assert form["name"] == HOSTILE
    assert form["trials"][1]["config"]["cipher"] == HOSTILE


def test_retarget_of_a_strangers_study(handed_over):
    run_raw("retarget", handed_over, "throughput >= 1")
    run_raw("retarget", handed_over, "throughput >= 1", "--json")


def test_other_doors(handed_over, tmp_path):
    job = tmp_path / "job.toml"
    job.write_text('[job]\n"a\\u001b[2J" = 1\nname = "b\\u0007"\ncommand = ["/nowhere/\\u001b]0;x\\u0007"]\n["c\\u202e"]\n')
    for command in (
        ("tune", job, "--study", tmp_path / "new"),
        ("measure-grid", job, "--out", tmp_path / "t.csv"),
        ("compare", "--job", job),
    ):
        code, _, err = run_raw(*command)
        assert code == 2
        assert "\\x1b" in err
    table = tmp_path / "t.csv"
    table.write_text("cores,status,throughput,duration_s,flags,message\n1,ok,5,1,,\n2,ok,9,1,,\n")
    about = {"version": 1, "knobs": ["cores"], "units": {"throughput": "items/s"}, "starts": [], "job": {"name": HOSTILE, "unit": HOSTILE}}
    table.with_suffix(".json").write_text(json.dumps(about))
    code, out, err = run_raw(
        "compare",
        "--table",
        table,
        "--minimize",
        "cores",
        "--out",
        tmp_path / "c",
        "--repeats",
        "1",
        "--budget",
        "2",
        "--strategies",
        "random",
    )
    assert (code, "owned" in out) == (0, True), err
    run_raw("show", tmp_path / "\x1b[2J\x07")
    run_raw("show", "--\x1b[2J")


@pytest.mark.cgroup
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root and writable cgroup controllers")
def test_a_hostile_job_in_a_terminal(tmp_path):
    """The live line's own codes are all that reaches the terminal."""
    replace = [("values = [1, 2, 4, 8, 16]", "values = [1, 2]"), ("values = [64, 128, 256]", "values = [256]")]
    job = write_job(
        tmp_path, program=JOB, budget=2, minimize="batch_size", bound="throughput >= 1", replace=[*replace, ("repeats = 2", "repeats = 1")]
    )
    main, side = pty.openpty()
    process = subprocess.Popen(
        bayestuner("tune", job, "--study", tmp_path / "s"), stdout=side, stderr=side, env={**os.environ, "TERM": "xterm"}
    )
    os.close(side)
    data = b""
    while True:
        try:
            piece = os.read(main, 65536)
        except OSError:  # the other side is closed
            break
        if not piece:
            break
        data += piece
    process.wait(timeout=WAIT_S)
    os.close(main)
    text = assert_harmless(data.replace(b"\r\n", b"\n"), ours=(b"\r\x1b[K",))
    assert "exit status 3" in text
    assert "failed" in text
    code, out, _ = run_raw("show", tmp_path / "s", "--json")
    tails = [line for trial in json.loads(out)["trials"] for line in trial["details"].get("output_tail", [])]
    assert code == 0
    assert any("loading" in line for line in tails)
    assert all(line.isprintable() for line in tails)


@pytest.mark.cgroup
def test_a_hostile_job_in_a_table(tmp_path):
    replace = [("values = [1, 2, 4, 8, 16]", 'values = ["2", "-O3"]'), ("values = [64, 128, 256]", "values = [256]")]
    job = write_job(tmp_path, program=JOB, minimize="memory_mib", replace=replace)
    code, out, err = run_raw("measure-grid", job, "--out", tmp_path / "t.csv", "--allow-affinity")
    assert code == 0, err
    assert "exit status 3" in out
    data = (tmp_path / "t.csv").read_bytes()
    assert_harmless(data)
    with (tmp_path / "t.csv").open(newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert "'-O3" in cells
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]


def test_doctor_prints_nothing_raw():
    run_raw("doctor", "--quick")
    run_raw("doctor", "--quick", "--json")


def test_the_last_door_lets_only_our_own_codes_through(capsys):
    from bayestuner.cli.output import ERASE_LINE, harmless_output, write_codes

    with harmless_output():
        print(HOSTILE)
        write_codes(sys.stdout, ERASE_LINE)
        sys.stderr.writelines(["a\x07", "b\n"])
        assert sys.stdout.isatty() is False
    captured = capsys.readouterr()
    assert_harmless(captured.out.encode(), ours=(b"\r\x1b[K",))
    assert captured.out.endswith("\r\x1b[K")
    assert captured.err == "a\\x07b\n"
