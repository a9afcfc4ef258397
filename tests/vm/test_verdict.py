"""What `make test-vm` makes of what a guest left behind; runs anywhere."""

import pytest
from vm.host.verdict import Counts, counts, verdict

JUNIT = """<?xml version="1.0"?><testsuites><testsuite>
<testcase name="a"/><testcase name="b"><system-out>text</system-out></testcase>{more}
</testsuite></testsuites>"""
FAILED, ERROR, SKIPPED = (f"<testcase name='c'><{kind} message='m'/></testcase>" for kind in ("failure", "error", "skipped"))


@pytest.fixture
def share(tmp_path):
    """``share(junit, status)``: the folder of a guest that left these; None for what it did not leave."""

    def make(junit, status):
        (tmp_path / "console").write_text("".join(f"line {i}\r\n" for i in range(100)))
        (tmp_path / "qemu").write_text("qemu: no such device\n")
        for name, text in (("junit.xml", junit), ("status", status)):
            if text is not None:
                (tmp_path / name).write_text(text)
        return tmp_path

    return make


def test_a_report_is_counted_and_an_error_is_a_failure():
    assert counts(JUNIT.format(more=FAILED + ERROR + SKIPPED)) == Counts(passed=2, failed=2, skipped=1)
    assert str(Counts(2, 2, 1) + Counts(1)) == "3 passed, 2 failed, 1 skipped"


def test_a_guest_whose_tests_passed_is_shown_whole(share):
    result = verdict("a", share(JUNIT.format(more=""), "0\n"))
    assert (result.ok, result.counts) == (True, Counts(passed=2))
    assert "line 0\nline 1\n" in result.text
    assert "qemu:" not in result.text


@pytest.mark.parametrize(
    ("junit", "status"),
    [
        (JUNIT.format(more=FAILED), "1"),
        (JUNIT.format(more=""), "1"),  # pytest's own trouble, or none selected
        (JUNIT.format(more="").replace("testcase", "case"), "0"),  # no tests at all
    ],
)
def test_anything_but_passed_tests_is_a_failure(share, junit, status):
    assert not verdict("a", share(junit, status)).ok


@pytest.mark.parametrize(("junit", "status"), [(None, None), (JUNIT.format(more=""), None), (None, "0"), ("<testsuites><te", "0")])
def test_a_guest_that_did_not_report_is_a_failure_with_what_it_said_last(share, junit, status):
    result = verdict("a", share(junit, status))
    assert (result.ok, result.counts) == (False, Counts(failed=1))
    assert "never reported" in result.text
    assert "line 99" in result.text
    assert "line 0\n" not in result.text
    assert "qemu: no such device" in result.text


def test_a_guest_that_never_started_is_a_failure(tmp_path):
    assert not verdict("a", tmp_path / "nothing").ok
