"""Job files by somebody who means harm, or by a program that went wrong: each is refused in a few lines and at once, or is a job."""

import os
import random
import time

import pytest

from bayestuner.errors import InvalidJob
from bayestuner.measure.job.job import Job
from bayestuner.measure.job.parser import load_job, parse_job
from bayestuner.measure.job.schema import GOAL_KEYS, JOB_KEYS, KNOB_KINDS, MEASURE_KEYS
from bayestuner.measure.machine.memory import MemoryBound
from bayestuner.measure.machine.topology import read_topology

TOPOLOGY = read_topology()
MEMORY = MemoryBound(2**34, "this machine has 16 GiB")
AT_ONCE_S = 5.0
"""Far above what any of these takes, even on a loaded machine; what it is to catch never ends."""

GOOD = """
[job]
command = ["true", "{n}"]
[knobs]
n = { kind = "argument", values = [1, 2] }
[goal]
minimize = "cpu_s_per_item"
[measure]
budget = 5
"""
HUGE = "9" * 400
DEEP_LIST = "[" * 500 + "]" * 500
DEEP_TABLE = "{ a = " * 300 + "1" + " }" * 300
LONG = "x" * 100_000
GOAL = "\n[goal]"
MANY = range(400)
REFUSED = {
    # numbers
    "an integer beyond any float": ("budget = 5", f"budget = {HUGE}"),
    "a negative one": ("budget = 5", f"budget = -{HUGE}"),
    "an integer of 64 bits and one": ("budget = 5", f"budget = {2**64}"),
    "a run for ever": ("budget = 5", "max_seconds = 1e300"),
    "a run of infinite length": ("budget = 5", "max_seconds = inf"),
    "no number": ("budget = 5", "relative_error = nan"),
    "a wait for ever": ("budget = 5", "startup_timeout_s = 1e300"),
    "a million repeats": ("budget = 5", "repeats = 1000000"),
    "a budget beyond reason": ("budget = 5", "budget = 1000000000000"),
    "a seed of many bits": ("budget = 5", f"seed = {2**70}"),
    "a stop in a million years": ("budget = 5", 'stop = ["time > 99999999999999h"]'),
    "a stop after infinity": ("budget = 5", f'stop = ["time > {HUGE}h"]'),
    "a huge value": ("[1, 2]", f"[1, {HUGE}]"),
    "a huge end": ("values = [1, 2]", f"min = 1, max = {HUGE}"),
    "ends beyond each other's reach": ("values = [1, 2]", "min = -1.7e308, max = 1.7e308, step = 1.0"),
    "a step below all numbers": ("values = [1, 2]", "min = 0.0, max = 1e308, step = 5e-324"),
    "a range of a million values": ("values = [1, 2]", "min = 1, max = 1000000"),
    "a bound beyond all numbers": ('"cpu_s_per_item"', f'"cpu_s_per_item"\nsubject_to = ["throughput >= {HUGE}"]'),
    "a bound that is none": ('"cpu_s_per_item"', '"cpu_s_per_item"\nsubject_to = ["throughput >= nan"]'),
    # much of everything
    "a list of a hundred thousand values": ("[1, 2]", str(list(range(20_000)))),
    "hundreds of bounds": ('"cpu_s_per_item"', '"cpu_s_per_item"\nsubject_to = [' + '"throughput >= 1", ' * 400 + "]"),
    "hundreds of knobs": ("[goal]", "\n".join(f'k{n} = {{ kind = "environment", variable = "K{n}", values = [1] }}' for n in MANY) + GOAL),
    "thousands of unknown keys": ("[knobs]", "\n".join(f"key_{n} = 1" for n in range(5000)) + "\n[knobs]"),
    "thousands of unknown sections": ("[knobs]", "\n".join(f"[s{n}]" for n in range(5000)) + "\n[knobs]"),
    "thousands of presets": ("[measure]", "\n".join(f"[goal.presets.p{n}]" for n in range(5000)) + "\n[measure]"),
    "thousands of meters": ("budget = 5", f"energy = {[f'gpu.m{n}' for n in range(5000)]}".replace("'", '"')),
    "thousands of platforms": ("budget = 5", f"platforms = {[f'p{n}' for n in range(5000)]}".replace("'", '"')),
    "thousands of bad knobs": ("[goal]", "\n".join(f"k{n} = 1" for n in range(5000)) + GOAL),
    "a megabyte and more": ("[knobs]", f"# {'x' * 2**20}\n[knobs]"),
    # deep
    "a deep list": ("budget = 5", f"budget = {DEEP_LIST}"),
    "a deep table": ("budget = 5", f"budget = {DEEP_TABLE}"),
    "a deep knob": ("{ kind", f"{{ x = {DEEP_LIST}, kind"),
    "a key of many parts": ("budget = 5", "a." * 50_000 + "a = 1"),
    "a section of many parts": ("[knobs]", "[" + "a." * 50_000 + "a]\n[knobs]"),
    "a key of many parts in a table": ("{ kind", "{ " + "a." * 50_000 + "a = 1, kind"),
    # text
    "an escape in a name": ("[knobs]", 'name = "\\u001b[2J"\n[knobs]'),
    "a bell in a unit": ("[knobs]", 'unit = "\\u0007"\n[knobs]'),
    "a name that reads backwards": ("[knobs]", 'name = "\\u202egnp"\n[knobs]'),
    "a name that is a path": ("[knobs]", 'name = "../../etc/cron.d/x"\n[knobs]'),
    "a name that is an absolute path": ("[knobs]", 'name = "/etc/x"\n[knobs]'),
    "a name that is the folder above": ("[knobs]", 'name = ".."\n[knobs]'),
    "a name without an end": ("[knobs]", f'name = "{LONG}"\n[knobs]'),
    "a name that is an option": ("[knobs]", 'name = "-rf"\n[knobs]'),
    "a unit without an end": ("[knobs]", f'unit = "{LONG}"\n[knobs]'),
    "a knob without an end": ("n = {", f"{LONG} = {{"),
    "an escape in a key": ("[knobs]", '"\\u001b]52;c;eA==\\u0007" = 1\n[knobs]'),
    "an escape in a section": ("[knobs]", '["\\u001b[2J"]\n[knobs]'),
    "an escape in a knob": ("n = {", '"\\u001b[2J" = {'),
    "an escape in a preset": ("[measure]", '[goal.presets."\\u001b[2J"]\n[measure]'),
    "an escape in a value": ("[1, 2]", '["\\u001b[2J"]'),
    "an escape in a metric": ('"cpu_s_per_item"', '"\\u001b[2J"'),
    "an escape in a kind": ('"argument"', '"\\u001b[2J"'),
    "an unknown key without an end": ("[knobs]", f"{LONG} = 1\n[knobs]"),
    "a kind without an end": ('"argument"', f'"{LONG}"'),
    "a placeholder without an end": ('"{n}"', f'"{{n}}{{{LONG}}}"'),
    "a NUL in the program": ('"true"', '"./a\\u0000b"'),
    "a NUL in an argument": ('"{n}"', '"{n}\\u0000"'),
    "a NUL in the folder": ("[knobs]", 'cwd = "a\\u0000b"\n[knobs]'),
    "a NUL in the environment": ("[knobs]", 'env = { A = "\\u0000" }\n[knobs]'),
    "a NUL in the PATH": ('["true"', '["no-such-program"'),
    "a NUL in the user": ("[knobs]", 'user = "a\\u0000b"\n[knobs]'),
    "a NUL in a platform": ("budget = 5", 'platforms = ["a\\u0000b:c"]'),
    "a program without an end": ('"true"', f'"./{LONG}"'),
    "a folder without an end": ("[knobs]", f'cwd = "{LONG}"\n[knobs]'),
    "a folder that leads to itself": ("[knobs]", 'cwd = "loop"\n[knobs]'),
    # patterns
    "a pattern without an end": ("[knobs]", f'throughput_regex = "({LONG})"\n[knobs]'),
    "a deep pattern": ("[knobs]", f'throughput_regex = "{"(" * 800}x{")" * 800}"\n[knobs]'),
    "a pattern that repeats beyond reason": ("[knobs]", f'throughput_regex = "(x{{{HUGE}}})"\n[knobs]'),
    "a pattern with a stray flag": ("[knobs]", 'throughput_regex = "(x)(?i)"\n[knobs]'),
    # platforms that are none
    "a platform that ends the interpreter": ("budget = 5", 'platforms = ["os:abort"]'),
    "one that leaves it": ("budget = 5", 'platforms = ["sys:exit"]'),
    "one that waits for ever": ("budget = 5", 'platforms = ["threading:Event.wait"]'),
    "one that kills": ("budget = 5", 'platforms = ["faulthandler:_sigsegv"]'),
    "one that reads": ("budget = 5", 'platforms = ["builtins:input"]'),
    "one that is a module of this package": ("budget = 5", 'platforms = ["bayestuner.cli.main:main"]'),
    "one without a module": ("budget = 5", 'platforms = [":x"]'),
    "one from the folder": ("budget = 5", 'platforms = [".x:y"]'),
    "one without an attribute": ("budget = 5", 'platforms = ["numpy:"]'),
    "one without an end": ("budget = 5", f'platforms = ["{LONG}"]'),
    # forms
    "a date": ("budget = 5", "budget = 1979-05-27T07:32:00Z"),
    "a table for a list": ('["true", "{n}"]', "{ a = 1 }"),
    "a list for a section": ("[measure]\nbudget = 5", "[[measure]]\nbudget = 5"),
    "a number for a section": ("[job]", "measure = 3\n[job]"),
    "a list of lists": ("[1, 2]", "[[1], [2]]"),
    "an empty command": ('["true", "{n}"]', "[]"),
    "an empty program": ('"true"', '""'),
    "a command of tables": ('["true", "{n}"]', "[{ a = 1 }]"),
}  # fmt: skip


def parse(text, folder):
    return parse_job(text, folder / "job.toml", topology=TOPOLOGY, memory=MEMORY)


def refusal(text, folder):
    """What is said of a job file; None where it is taken. Any other error, or a long wait, fails the test."""
    began_s = time.monotonic()
    try:
        assert isinstance(parse(text, folder), Job)
        said = None
    except InvalidJob as error:
        said = str(error)
    assert time.monotonic() - began_s < AT_ONCE_S
    if said is not None:
        assert 10 < len(said) < 20_000
        assert len(said.splitlines()) <= 60
        assert all(len(line) < 1500 for line in said.splitlines()), said
    return said


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    return tmp_path


@pytest.mark.parametrize("kind", REFUSED)
def test_a_hostile_job_file_is_refused_at_once_and_in_few_words(folder, kind):
    old, new = REFUSED[kind]
    assert old in GOOD
    assert refusal(GOOD.replace(old, new, 1), folder)


def test_the_file_that_they_are_made_of_is_a_good_one(folder):
    assert refusal(GOOD, folder) is None


@pytest.mark.parametrize("kind", ["FIFO", "device", "folder", "large", "not UTF-8", "missing", "long name"])
def test_a_job_file_that_is_no_file_is_refused_at_once(tmp_path, kind):
    path = tmp_path / ("x" * 5000 if kind == "long name" else "job.toml")
    if kind == "FIFO":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    elif kind == "large":
        with path.open("wb") as file:
            file.truncate(2**40)
    elif kind == "not UTF-8":
        path.write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidJob, match=r"job file|UTF-8"):
        load_job(path)


def test_a_file_whose_name_can_not_be_a_studys_needs_a_name(tmp_path):
    (tmp_path / "\x1b[2J.toml").write_text(GOOD)
    with pytest.raises(InvalidJob, match=r"job\.name: .*give the job a name"):
        load_job(tmp_path / "\x1b[2J.toml")
    (tmp_path / "\x1b[2J.toml").write_text(GOOD.replace("[knobs]", 'name = "x"\n[knobs]'))
    assert load_job(tmp_path / "\x1b[2J.toml").name == "x"


ATOMS = (
    "0", "-1", str(2**63), HUGE, "1e308", "-1e308", "5e-324", "inf", "nan", "true", '""', '"\\u0000"', '"\\u001b[2J"', '"{"', '"{n}"',
    '"{{"', f'"{LONG}"', "[]", "[[]]", '[""]', "[1, 1]", '["a", 1, true]', '["\\u0000"]', "{}", "{ a = 1 }", '{ "\\u001b" = "x" }', "[{}]",
    DEEP_LIST, "1979-05-27", "07:32:00", '"all"', '"auto"', '"../.."', '"/"', '"%s%n"', '"(x)"', '"throughput >= 1"', '["power_w"]',
)  # fmt: skip
KEYS = {"job": JOB_KEYS, "goal": GOAL_KEYS, "measure": MEASURE_KEYS, **{f"knobs.{kind}": keys for kind, (_, keys) in KNOB_KINDS.items()}}
PLACES = [(section, name) for section, keys in KEYS.items() for name in (*(key.name for key in keys), "kind")]


@pytest.mark.parametrize("seed", range(8))
def test_whatever_stands_at_a_key_is_taken_or_refused(folder, seed):
    """40 files of each seed, with up to four wild values in each; the seed in a failure's name makes the same ones again."""
    wild = random.Random(seed)
    for _ in range(40):
        sections = {"job": {"command": '["true"]'}, "goal": {"minimize": '"cpu_s_per_item"'}, "measure": {}, "knobs.n": {}}
        sections["knobs.n"] = {"kind": '"environment"', "variable": '"N"', "values": "[1, 2]"}
        for section, key in wild.sample(PLACES, wild.randint(1, 4)):
            kind = section.partition(".")[2]
            made = sections.setdefault(section, {"kind": f'"{kind}"'} if kind else {})
            made[key] = wild.choice(ATOMS)
        text = "".join(f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in table.items()) for name, table in sections.items())
        refusal(text, folder)
