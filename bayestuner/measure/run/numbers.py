"""Numbers as programs print them in any locale: read where there is one way to read them, refused where there are two."""

from __future__ import annotations

import re

_PLAIN = re.compile(r"([+-]?)([0-9.,]*[0-9][0-9.,]*?)([.,]?)(e[+-]?[0-9]{1,3})?", re.ASCII | re.IGNORECASE)
_GROUPING_BLANKS = re.compile(r"(?<=[0-9])[ \u00a0\u2009\u202f\u2019'](?=[0-9]{3}(?![0-9]))")
_MAX_LENGTH = 64


class NotANumber(ValueError):
    """A text that is no number."""


class AmbiguousNumber(ValueError):
    """A text that can be read as two different numbers; the message says which."""


def read_number(text: str, decimal_mark: str | None = None) -> float:
    """The number that a text says.

    A lone point is a decimal point. Of two different marks the last one is the decimal mark, and a mark that stands several times groups
    thousands. A lone comma is a decimal comma unless exactly three digits follow one to three that begin with another digit than 0: then it
    may as well group thousands (``1,234``). A blank or an apostrophe between three digits groups them.

    Parameters
    ----------
    text : str
    decimal_mark : {".", ","}, optional
        What stands before a fraction; the other mark then groups thousands.

    Raises
    ------
    NotANumber
    AmbiguousNumber
        Only without `decimal_mark`.
    """
    stripped = text.strip()
    match = _PLAIN.fullmatch(_GROUPING_BLANKS.sub("", stripped)) if len(stripped) <= _MAX_LENGTH else None
    if match is None:
        raise NotANumber(f"{text[:_MAX_LENGTH]!r} is not a number")
    sign, digits, _, exponent = match.groups()  # the third is a mark that ends a sentence
    if decimal_mark is None:
        decimal_mark = _decimal_mark(digits)
    whole, mark, fraction = digits.partition(decimal_mark)
    grouping_mark = "," if decimal_mark == "." else "."
    if decimal_mark in fraction or grouping_mark in fraction or not _is_grouped(whole, grouping_mark):
        raise NotANumber(f"{text!r} is not a number")
    return float(f"{sign}{whole.replace(grouping_mark, '')}{'.' if mark else ''}{fraction}{exponent or ''}")


def _decimal_mark(digits: str) -> str:
    """Which mark stands before a fraction; where there is none, the one that isn't in the number."""
    points, commas = digits.count("."), digits.count(",")
    if points and commas:
        return max(".,", key=digits.rfind)
    if points > 1:
        return ","
    if commas == 1:
        before, _, after = digits.partition(",")
        if len(after) == 3 and 1 <= len(before) <= 3 and not before.startswith("0"):
            raise AmbiguousNumber(f"{digits!r} can be read as {before}{after} and as {before}.{after}")
        return ","
    return "."


def _is_grouped(whole: str, mark: str) -> bool:
    """Whether a whole number has no grouping marks, or has them where they belong: three digits at the end, two or three before."""
    first, *groups = whole.split(mark)
    if not groups:
        return first == "" or first.isdecimal()
    return 1 <= len(first) <= 3 and all(2 <= len(group) <= 3 for group in groups) and len(groups[-1]) == 3
