"""Group names tell whose they are; CPU lists read and write the kernel's form."""

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayestuner.measure.cgroup.cpulist import format_list, parse_list
from bayestuner.measure.cgroup.names import Owner, is_stale, new_name, owner_of, pid_namespace, process_start


def test_a_name_of_ours_is_unique_and_alive():
    first, second = new_name(), new_name()
    assert first != second
    assert first.startswith("bayestuner-")
    assert owner_of(first) == Owner(os.getpid(), process_start(os.getpid()), pid_namespace())
    assert not is_stale(first)


def test_a_name_is_stale_once_its_owner_is_dead_even_as_a_zombie():
    code = "from bayestuner.measure.cgroup.names import new_name; print(new_name())"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as owner:
        name = owner.stdout.read().strip()  # the end of the text is the end of the process: a zombie until it is waited for
        os.waitid(os.P_PID, owner.pid, os.WEXITED | os.WNOWAIT)
        assert is_stale(name)
    assert is_stale(name)


def test_a_pid_given_to_someone_else_since_does_not_keep_a_group():
    parts = new_name().split("-")
    parts[2] = str(int(parts[2]) - 1)
    assert is_stale("-".join(parts))


def test_owners_that_we_can_not_see_are_let_alone():
    parts = new_name().split("-")
    parts[1], parts[3] = "999999999", "1"
    assert not is_stale("-".join(parts))


@pytest.mark.parametrize(
    "name", ["bayestuner", "bayestuner-supervisor", "bayestuner-1-2-3", "xbayestuner-1-2-3-" + "a" * 32, "system.slice"]
)
def test_other_names_are_nobodys(name):
    assert owner_of(name) is None
    assert not is_stale(name)


def test_a_command_name_with_brackets_and_blanks_does_not_confuse(tmp_path):
    (tmp_path / "77").mkdir()
    fields = ["S", *("0" for _ in range(18)), "4242", "0", "0"]
    (tmp_path / "77" / "stat").write_text(f"77 (a) b ( c) {' '.join(fields)}\n")
    assert process_start(77, tmp_path) == 4242
    assert process_start(78, tmp_path) is None


@given(st.sets(st.integers(0, 300)))
def test_lists_round_trip(numbers):
    assert parse_list(format_list(numbers)) == tuple(sorted(numbers))


@pytest.mark.parametrize(("numbers", "text"), [((), ""), ((3,), "3"), ((0, 1, 2, 5), "0-2,5"), ((7, 5, 6, 5), "5-7"), ((0, 2, 4), "0,2,4")])
def test_list_form(numbers, text):
    assert format_list(numbers) == text
    assert parse_list(f"{text}\n") == tuple(sorted(set(numbers)))


def test_garbage_is_no_list():
    with pytest.raises(ValueError, match="x"):
        parse_list("0-x")
