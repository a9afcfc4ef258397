"""How tests are shared among processes: by files, but for those that take long."""

from pathlib import Path

from side_by_side import SPREAD, in_order, together


def test_the_files_whose_tests_are_spread_are_there():
    assert [name for name in SPREAD if not (Path(__file__).parent / name).is_file()] == []


def test_a_file_stays_together_and_so_does_the_zoo():
    assert together("tests/core/test_normal.py::test_a[x/y]") == together("tests/core/test_normal.py::TestB::test_c")
    assert together("tests/core/test_normal.py::test_a") != together("tests/core/test_score.py::test_a")
    assert together("tests/zoo/test_cache.py::test_a") == together("tests/zoo/test_models.py::test_b")


def test_what_takes_long_is_spread_and_comes_first():
    spread, zoo, other = "tests/tune/test_tune.py::test_a", "tests/zoo/test_cache.py::test_a", "tests/core/test_normal.py::test_a"
    assert together(spread) != together("tests/tune/test_tune.py::test_b")
    assert sorted([other, zoo, spread], key=in_order) == [spread, zoo, other]
