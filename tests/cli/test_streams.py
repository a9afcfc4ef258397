"""Outputs as an operating system gives them: closed, full, in ASCII, not allowed. None of it is an error in BayesTuner itself."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from jobs import bayestuner
from study_doubles import pretend_run, small_goal, small_space

from bayestuner.cli import exit_codes
from bayestuner.study.study import Study

WAIT_S = 120
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, which only root can")


@pytest.fixture
def study(tmp_path):
    with Study.create(tmp_path / "s", small_space(), small_goal(), "random", 0, 6, name="toy", job={"unit": "image"}) as made:
        for role in ("baseline", *["repeat"] * 3):
            trial = made.adopt(made.space.config(small_row(made)), role)
            made.tell(trial, pretend_run(trial.config))
    return tmp_path / "s"


def small_row(made):
    return made.space.row({"cores": 4, "memory_mib": 512, "batch_size": 8})


def run(command, **more):
    return subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, check=False, **more)


def shell(redirect, *args, **more):
    """Run a command through sh, with a redirection."""
    words = bayestuner(*args)
    return subprocess.run(
        ["sh", "-c", f'"$@" {redirect}', "sh", *words], capture_output=True, text=True, timeout=WAIT_S, check=False, **more
    )


COMMANDS = {
    "show": lambda s: ["show", s],
    "show --json": lambda s: ["show", s, "--json"],
    "show --markdown": lambda s: ["show", s, "--markdown"],
    "show --front": lambda s: ["show", s, "--front"],
    "compare": lambda s: [
        "compare",
        "--simulate",
        "text_cnn",
        "--space",
        "small",
        "--strategies",
        "random",
        "--repeats",
        "1",
        "--out",
        s / "c",
    ],
    "zoo list": lambda s: ["zoo", "list"],
    "--help": lambda s: ["--help"],
}


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_output_is_one_sentence_and_an_exit_code_of_its_own(study, name, unbuffered):
    done = shell("> /dev/full", *COMMANDS[name](study), env={**os.environ, "PYTHONUNBUFFERED": unbuffered})
    assert done.returncode == exit_codes.SYSTEM_REFUSED == 74, done.stderr
    assert done.stderr == "bayestuner: the output can't be written: No space left on device; direct it to where there is room\n"


FAILS_AFTER_PRINTING = """
import sys
from bayestuner.cli import show
from bayestuner.errors import StoreError
def run(args):
    print("lost", end="")
    raise StoreError("the study is no more")
show.run = run
from bayestuner.cli.main import main
sys.exit(main(["show", "x"]))
"""


def test_an_error_of_the_command_comes_before_that_of_a_full_output():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", FAILS_AFTER_PRINTING], stdout=full, stderr=subprocess.PIPE, text=True, timeout=WAIT_S, check=False,
            env={**os.environ, "PYTHONUNBUFFERED": ""},
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (exit_codes.STUDY_TROUBLE, "bayestuner: the study is no more\n")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_closed_output_is_as_if_nobody_read_it(study, name):
    done = shell(">&-", *COMMANDS[name](study))
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")


@pytest.mark.parametrize("redirect", ["2>&-", "2> /dev/full"])
def test_an_error_that_cannot_be_told_keeps_its_exit_code(tmp_path, redirect):
    done = shell(redirect, "show", tmp_path / "none")
    assert (done.returncode, done.stdout, done.stderr) == (exit_codes.STUDY_TROUBLE, "", "")


def test_nothing_that_is_opened_gets_the_number_of_a_closed_stream(tmp_path):
    code = "from bayestuner.cli.streams import prepare_streams; prepare_streams(); import os; print(os.open('/dev/null', 0) > 2)"
    done = subprocess.run(
        ["sh", "-c", f'"{sys.executable}" -c "{code}" <&- 2>&-'], capture_output=True, text=True, timeout=WAIT_S, check=False
    )
    assert done.stdout == "True\n"


@pytest.mark.parametrize("form", [[], ["--markdown"]])
def test_an_ascii_terminal_gets_ascii(study, form):
    env = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = shell("", "show", study, *form, env=env)
    assert done.returncode == 0, done.stderr
    assert " +- " in done.stdout
    assert done.stdout.isascii()


def test_json_in_ascii_says_the_same(tmp_path):
    name = "Zürich ±"
    Study.create(tmp_path / "s", small_space(), small_goal(), "random", 0, 6, name=name).close()
    for encoding in ("ascii", "utf-8"):
        env = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
        done = subprocess.run(bayestuner("show", tmp_path / "s", "--json"), capture_output=True, timeout=WAIT_S, check=True, env=env)
        assert json.loads(done.stdout.decode(encoding))["name"] == name


AS_NOBODY = """
import os, sys
from bayestuner.cli.main import main
own, foreign, *command = sys.argv[1:]
main(["show", own]), main(["retarget", own, "throughput >= 1"])  # loads what nobody may not read
os.setgroups([]), os.setgid(65534), os.setuid(65534)
print("----", flush=True)
sys.exit(main([command[0], foreign, *command[1:]]))
"""


@needs_root
@pytest.mark.parametrize("what", ["folder", "file"])
@pytest.mark.parametrize("command", [["show"], ["retarget", "throughput >= 10"]])
def test_another_users_study_is_no_error_of_ours(study, what, command):
    study.parent.chmod(0o755)
    (study / "study.sqlite").chmod(0o600)
    study.chmod(0o700 if what == "folder" else 0o755)
    done = run([sys.executable, "-c", AS_NOBODY, study, study, *command], cwd="/")
    assert done.returncode == exit_codes.STUDY_TROUBLE, done.stderr
    assert done.stdout.endswith("----\n")
    assert f"{study / 'study.sqlite'} may not be read by this user (" in done.stderr.splitlines()[-1]
    assert "Errno" not in done.stderr


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["tune", "JOB", "--seed", "-1"], "expected a whole number of at least 0, not '-1'"),
        (["tune", "JOB", "--seed", "99999999999999999999"], "at most 9223372036854775807, not '99999999999999999999'"),
        (["tune", "JOB", "--budget", "99999999999999999999"], "at most 9223372036854775807, not '99999999999999999999'"),
        (["tune", "JOB", "--max-minutes", "-1"], "expected a number above 0, not '-1'"),
        (["tune", "JOB", "--max-minutes", "nan"], "expected a number above 0, not 'nan'"),
        (["measure-grid", "JOB", "--out", "t.csv", "--budget-seconds", "inf"], "expected a number above 0, not 'inf'"),
        (["compare", "--simulate", "text_cnn", "--noise", "-0.1"], "expected a share from 0 to 1, such as 0.01, not '-0.1'"),
        (["compare", "--simulate", "text_cnn", "--parallel", "0"], "expected a whole number of at least 1, not '0'"),
        (["compare", "--simulate", "text_cnn", "--plot", "no/such/a.png"], "there is no folder no/such; make it first"),
        (["compare", "--simulate", "text_cnn", "--wait"], "--wait is an option of --job"),
        (["measure-grid", "JOB", "--out", "no/such/t.csv"], "there is no folder no/such; make it first"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_made(tmp_path, args, said):
    (tmp_path / "JOB").write_text("")
    before = sorted(tmp_path.rglob("*"))
    done = subprocess.run(bayestuner(*args), capture_output=True, text=True, timeout=WAIT_S, check=False, cwd=tmp_path)
    assert done.returncode == exit_codes.BAD_INPUT, done.stderr
    assert said in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


def test_help_of_tune_names_every_strategy():
    from bayestuner.study.registry import strategy_names

    text = " ".join(subprocess.run(bayestuner("tune", "--help"), capture_output=True, text=True, check=True).stdout.split())
    assert f"{', '.join(strategy_names()[:-1])} or {strategy_names()[-1]} (default: bayes)" in text
