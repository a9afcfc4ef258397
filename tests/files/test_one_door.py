"""Nobody else opens what is believed: calls that make, write or replace a file stand in `bayestuner.files`, or are listed here."""

import ast
from pathlib import Path

import bayestuner

ROOT = Path(bayestuner.__file__).parent
WRITING = {"write_text", "write_bytes", "mkdir", "makedirs", "rename", "replace", "symlink_to", "savefig", "mkstemp", "NamedTemporaryFile"}
ELSEWHERE = {
    "cli/apply.py": "makes a new file, never one that is there (mode x follows no link)",
    "integrations/ray.py": "the file that Ray names for what it saves",
    "measure/cgroup": "the kernel's own files",
    "measure/energy": "the kernel's own files",
    "measure/table.py": "makes the folder of an output",
    "report/comparison.py": "draws into a file that `bayestuner.files` opened",
    "study": "its own check of a study's folder",
}


def calls(path):
    """(name, line) of every call of a method or function that writes; `replace` and `rename` of texts and dataclasses are no files."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name == "open" and any(
            isinstance(a, ast.Constant) and isinstance(a.value, str) and set(a.value) & set("wax+") and len(a.value) < 4 for a in node.args
        ):
            yield name, node.lineno
        elif name == "replace" and (len(node.args) != 1 or node.keywords):
            continue  # of a text, a dataclass, or of a private folder
        elif name in WRITING:
            yield name, node.lineno


def test_files_are_made_and_replaced_by_the_door_alone():
    found = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in sorted(ROOT.rglob("*.py"))
        if not str(path.relative_to(ROOT)).startswith(("files/", *ELSEWHERE))
        for name, line in calls(path)
    ]
    assert found == []


def test_the_walk_finds_a_file_that_is_written(tmp_path):
    bad = tmp_path / "bad.py"
    bad.write_text(
        "from pathlib import Path\nPath('a').write_text('x')\nopen('b', 'w')\nPath('c').replace('d')\n'text'.replace('a', 'b')\n"
    )
    assert [name for name, _ in calls(bad)] == ["write_text", "open", "replace"]
