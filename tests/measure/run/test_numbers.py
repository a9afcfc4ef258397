"""Numbers in the words of any locale: what is certain is read, what has two meanings is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayestuner.measure.run.numbers import AmbiguousNumber, NotANumber, read_number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("12", 12.0),
        ("12.5", 12.5),
        ("12,5", 12.5),
        ("1.234", 1.234),  # a lone point is a decimal point: programs print thousands with a comma, if at all
        ("0,123", 0.123),
        ("1234,567", 1234.567),
        ("12,5678", 12.5678),
        ("1,234.5", 1234.5),
        ("1.234,5", 1234.5),
        ("1,234,567", 1234567.0),
        ("1.234.567", 1234567.0),
        ("12,34,567.8", 1234567.8),
        ("1 234,5", 1234.5),
        ("1\u202f234\u202f567", 1234567.0),
        ("1'234.5", 1234.5),
        (".5", 0.5),
        ("5.", 5.0),
        ("100,", 100.0),  # the comma of the sentence it stands in
        ("1e3", 1000.0),
        ("1,5E-3", 0.0015),
        ("-3", -3.0),
        ("+3", 3.0),
        (" 7 ", 7.0),
    ],
)
def test_what_is_certain_is_read(text, number):
    assert read_number(text) == pytest.approx(number, rel=1e-15)


@pytest.mark.parametrize(("text", "one", "other"), [("1,234", "1234", "1.234"), ("999,999", "999999", "999.999")])
def test_what_has_two_meanings_is_refused_with_both(text, one, other):
    with pytest.raises(AmbiguousNumber, match=f"{text}.*{one}.*{other}"):
        read_number(text)
    assert read_number(text, ".") == float(one)
    assert read_number(text, ",") == float(other)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "slow",
        ".",
        ",",
        "1.2.3",
        "1,2,3",
        "1,23.4",
        "1.23,4.5",
        "nan",
        "inf",
        "0x10",
        "1_000",
        "\u0661\u0662",
        "1 2",
        "12 34",
        "1k",
        "9" * 100,
    ],
)
def test_what_is_no_number_is_none(text):
    with pytest.raises(NotANumber):
        read_number(text)


@pytest.mark.parametrize(("text", "mark"), [("12.5", ","), ("12,5", "."), ("1.234.567", ".")])
def test_a_number_against_the_given_mark_is_none(text, mark):
    with pytest.raises(NotANumber):
        read_number(text, mark)


@given(st.floats(0, 1e9, allow_nan=False), st.sampled_from([("", "."), ("", ","), (",", "."), (".", ","), ("\u202f", ","), ("'", ".")]))
def test_with_the_mark_given_every_locale_is_read_right(value, marks):
    grouping, decimal = marks
    text = f"{value:,.3f}".replace(",", "g").replace(".", decimal).replace("g", grouping)
    assert read_number(text, decimal) == pytest.approx(value, abs=5e-4)
    try:
        found = read_number(text)
    except AmbiguousNumber:
        return
    assert found == pytest.approx(value, abs=5e-4)
