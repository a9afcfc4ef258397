"""What the program could do to a machine, and doesn't: no pickle, no shell, nothing written but its groups, its study and its cache."""

import ast
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from jobs import write_job

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted((ROOT / "bayestuner").rglob("*.py"))
UNPICKLERS = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib", "multiprocessing"}
SHELLS = {"system", "popen", "getoutput", "getstatusoutput"}
# processes of our own, which only it talks to, over pipes that nobody else has; nothing from a file is ever unpickled
SPAWNS = {Path("bayestuner/tune/processes.py")}
SIGNED = {Path("bayestuner/_core/caching.py")}
"""Unpickles only bytes that this user has signed, as numba's caches have to be (tests/core/test_planted_code.py)."""
HAVE_CGROUP = os.geteuid() == 0 and any(Path(f"/sys/fs/cgroup/{c}").is_dir() for c in ("memory", "cgroup.controllers"))


def dangers(text):
    """What a file does that unpickles, runs a shell, or runs Python between fork and exec; with lines."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] in UNPICKLERS:
                    yield f"{node.lineno}: imports {alias.name}"
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in UNPICKLERS:
            yield f"{node.lineno}: imports from {node.module}"
        elif isinstance(node, ast.keyword) and node.arg in ("shell", "allow_pickle", "preexec_fn"):
            if not (isinstance(node.value, ast.Constant) and node.value.value in (False, None)):
                yield f"{node.value.lineno}: {node.arg}="
        elif isinstance(node, ast.Attribute) and node.attr in SHELLS and getattr(node.value, "id", "") in ("os", "subprocess"):
            yield f"{node.lineno}: {ast.unparse(node)}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_file_unpickles_runs_a_shell_or_runs_python_between_fork_and_exec(path):
    spawns = path.relative_to(ROOT) in SPAWNS
    known: tuple[str, ...] = (
        ("multiprocessing",) if spawns else ("imports pickle", "imports multiprocessing") if path.relative_to(ROOT) in SIGNED else ()
    )
    assert [found for found in dangers(path.read_text()) if not (known and found.endswith(known))] == []


@pytest.mark.parametrize(
    "text",
    [
        "import pickle", "from multiprocessing import Pool", "import numpy; numpy.load('x', allow_pickle=True)",
        "import os; os.system('x')", "import subprocess; subprocess.run('x', shell=True)", "subprocess.Popen([], preexec_fn=print)",
        "def f():\n    import dill",
    ],
)  # fmt: skip
def test_the_walk_finds_each_of_these(text):
    assert list(dangers(text))


WATCHED = """
import json, os, sys
written = []
ONE_PATH = ("os.remove", "os.rmdir", "os.chmod", "os.chown", "os.truncate")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
def absolute(path, folder=None):
    path = os.fsdecode(path)
    return os.path.join(os.readlink(f"/proc/self/fd/{folder}") if folder not in (None, -1) else os.getcwd(), path)
def note(path, folder=None):
    if isinstance(path, (str, bytes, os.PathLike)):
        written.append(os.path.normpath(absolute(path, folder)))
def hook(event, args):
    if event == "open" and isinstance(args[2], int) and args[2] & WRITES and not within_open:
        note(args[0])
    elif event == "sqlite3.connect" and args[0] != ":memory:" and "mode=ro" not in str(args[0]):
        note(args[0])
    elif event == "os.mkdir" and not os.path.lexists(absolute(args[0], args[2])):  # a folder that is there already is not made
        note(args[0], args[2])
    elif event in ONE_PATH:
        note(args[0], None if event == "os.truncate" else args[-1])
    elif event in ("os.link", "os.rename"):
        note(args[0], args[2])
        note(args[1], args[3])
    elif event == "os.symlink":
        note(args[1], args[2])
within_open = False
real_open = os.open
def open_noting(path, flags, mode=0o777, *, dir_fd=None):  # the event does not say in which folder
    global within_open
    if flags & WRITES:
        note(path, dir_fd)
    within_open = True
    try:
        return real_open(path, flags, mode, dir_fd=dir_fd)
    finally:
        within_open = False
os.open = open_noting
sys.addaudithook(hook)
from bayestuner.measure.cgroup.files import CgroupFiles
write = CgroupFiles.write
def noting(self, path, value):  # the extension's writes are no audit events
    written.append(str(path))
    write(self, path, value)
CgroupFiles.write = noting
from bayestuner.cli.main import main
code = main(sys.argv[2:])
text = json.dumps(written)
with open(sys.argv[1], "w") as file:
    file.write(text)
sys.exit(code)
"""


@pytest.mark.cgroup
@pytest.mark.skipif(not HAVE_CGROUP, reason="needs root and writable cgroup controllers")
def test_tune_writes_nothing_but_its_groups_its_study_its_cache_and_its_lock(tmp_path):
    """A whole search with a baseline and repeats; every file opened for writing, made or removed by this very process is looked at."""
    allowed = {name: tmp_path / name for name in ("study", "cache", "run")}
    env = {
        **os.environ, "BAYESTUNER_CACHE": str(allowed["cache"]), "BAYESTUNER_RUNTIME_DIR": str(allowed["run"]),
        "HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "tmp"), "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    (tmp_path / "home").mkdir()
    (tmp_path / "tmp").mkdir()
    job = write_job(tmp_path, budget=3)
    words = ["tune", str(job), "--study", str(allowed["study"]), "--strategy", "random"]
    argv = [sys.executable, "-c", WATCHED, str(tmp_path / "written.json"), *words]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode in (0, 1, 6), done.stdout + done.stderr  # whatever the figures of this machine came to
    written = {Path(path) for path in json.loads((tmp_path / "written.json").read_text())}

    def ours(path):
        in_our_group = path.is_relative_to("/sys/fs/cgroup") and any(part.startswith("bayestuner") for part in path.parts)
        return in_our_group or path == Path(os.devnull) or any(path.is_relative_to(folder) for folder in allowed.values())

    assert {path for path in written if not ours(path)} == set()
    assert any("study.sqlite" in path.name for path in written), "the hook sees nothing"
    assert any(path.is_relative_to("/sys/fs/cgroup") for path in written)
    assert list((tmp_path / "home").iterdir()) == []
    assert list((tmp_path / "tmp").iterdir()) == []
    for path in [allowed["study"], *allowed["study"].rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
