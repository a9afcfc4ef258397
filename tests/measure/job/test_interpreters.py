"""Every interpreter that is started, ours and a job's, looks for no module in the current folder: others may be able to write there."""

import ast
import json
import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest

from bayestuner.errors import InvalidJob
from bayestuner.measure.job.command import fill_placeholders
from bayestuner.measure.job.parser import parse_job

ROOT = Path(__file__).resolve().parents[3]
PLANTED = "import os, sys\nos.write(2, b'planted\\n')\nos._exit(99)\n"
JOB = '[job]\ncommand = {command}\n[knobs]\nn = {{ kind = "argument", values = [1] }}\n[goal]\nminimize = "cpu_s_per_item"\n'


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """A folder that holds a module of every name that a program could import."""
    folder = tmp_path_factory.mktemp("planted")
    for name in {*sys.stdlib_module_names, "numpy", "scipy", "numba", "llvmlite", "cffi"}:
        (folder / f"{name}.py").write_text(PLANTED)
    return folder


@pytest.mark.parametrize(
    ("command", "isolated"),
    [
        (["{python}", "-m", "zoo"], [1]),
        (["{python}", "-u", "-X", "dev", "-Wignore", "-m", "zoo"], [1]),
        (["{python}", "-Bc", "pass"], [1]),
        (["{python}", "serve.py", "-m", "x"], []),
        (["{python}", "-X", "m", "serve.py"], []),
        (["nice", "{python}", "-m", "load", "--", "{python}", "-m", "serve"], [2, 7]),
    ],
)
def test_a_python_without_a_script_is_told_not_to_look_there(command, isolated):
    filled = fill_placeholders(command, {}, Path("/"))
    assert [n for n, word in enumerate(filled) if word == "-P"] == isolated
    assert [word for word in filled if word != "-P"] == [w.replace("{python}", sys.executable) for w in command]


def test_a_module_in_the_jobs_folder_is_named_with_what_to_write_instead(tmp_path):
    (tmp_path / "serve.py").touch()
    text = JOB.format(command='["{python}", "-m", "serve", "{n}"]')
    with pytest.raises(InvalidJob, match=r'job\.command: .* module \'serve\' .* as in \["{python}", "serve.py", ...\], or set PYTHONPATH'):
        parse_job(text, tmp_path / "job.toml")
    assert parse_job(text.replace("[knobs]", 'env = { PYTHONPATH = "." }\n[knobs]'), tmp_path / "job.toml").argv({"n": 1})[1] == "-P"


def test_the_command_line_imports_nothing_from_the_current_folder(planted):
    done = subprocess.run([sys.executable, "-m", "bayestuner", "--version"], cwd=planted, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_processes_that_search_import_nothing_from_the_current_folder(planted):
    code = "import json, math, os, sys\nfrom bayestuner.tune.processes import over_processes\n"
    code += "os.chdir(sys.argv[1])\nprint(json.dumps([*over_processes(math.factorial, [3], processes=1)]))"
    done = subprocess.run([sys.executable, "-P", "-c", code, str(planted)], capture_output=True, text=True, timeout=120, check=False)
    assert (json.loads(done.stdout or "0"), done.stderr) == ([[3, 6]], "")


def interpreters(path):
    """Lists of words in a file that begin with this program's own interpreter: the word after it, as written."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.List) and node.elts and ast.unparse(node.elts[0]) == "sys.executable":
            yield ast.literal_eval(node.elts[1])


def test_every_interpreter_that_this_program_starts_is_told_so():
    found = [option for path in (ROOT / "bayestuner").rglob("*.py") for option in interpreters(path)]
    assert len(found) >= 3
    assert set(found) <= {"-P", "-I"}


def test_no_example_puts_a_placeholder_into_what_a_shell_reads_as_its_program():
    for path in (ROOT / "examples" / "jobs").glob("*.toml"):
        command = tomllib.loads(path.read_text())["job"]["command"]
        assert not any("{" in program for option, program in pairwise(command) if option == "-c"), path
