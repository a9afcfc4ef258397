"""-errno becomes an exception in one place."""

import errno

import pytest

pytest.importorskip("bayestuner._native", reason="the C extension is not built", exc_type=ImportError)

from bayestuner._native.status import check


def test_success_comes_back():
    assert [check(rc, "p") for rc in (0, 3)] == [0, 3]


def test_the_subclass_the_path_and_the_value():
    with pytest.raises(PermissionError) as caught:
        check(-errno.EACCES, "/some/memory.max", "4096")
    assert caught.value.filename == "/some/memory.max"
    assert str(caught.value) == "[Errno 13] Permission denied (writing '4096'): '/some/memory.max'"


def test_without_a_value():
    with pytest.raises(FileNotFoundError, match="No such file or directory: 'gone'"):
        check(-errno.ENOENT, "gone")
