"""Foreign text: what a job prints, and names and values that come in a study, a table or a job file of somebody else.

Such text may hold characters that a terminal obeys (escape sequences that clear it, rename it or write to the clipboard), that turn the
reading order around, that end a line or a table's cell, or that a spreadsheet runs as a formula. Everything that is shown passes through
here first. What can't be printed stays visible as an escape such as ``\\x1b``, so that nothing is hidden from whoever reads it.
"""

from __future__ import annotations

import re
import unicodedata

_TERMINAL_CODE = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colour, cursor and erasing
    r"|\x1b[\]P^_X][^\x07\x1b]*(?:\x07|\x1b\\)"  # title, clipboard, hyperlink: up to a bell or a string terminator
    r"|\x1b[ -/]*[0-Z\\^-~]"  # two-character codes
)
_MARKDOWN_MARKS = re.compile(r"[\\`<\[|]")
_NUMBER = re.compile(r"[+-]?[0-9.]+([eE][+-]?[0-9]+)?")
_FORMULA_STARTS = ("=", "+", "-", "@", "'")


def harmless(text: str, *, keep_newlines: bool = False) -> str:
    """Text in which every character can be printed: a blank of another kind is a plain one, any other is written as an escape.

    Parameters
    ----------
    text : str
    keep_newlines : bool
        Leave line ends as they are: for a text of several lines that are ours. Otherwise the result is one line.
    """
    if keep_newlines:
        return "\n".join(map(harmless, text.split("\n")))
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _visible(c) for c in text)


def _visible(character: str) -> str:
    if character == "\t" or unicodedata.category(character) == "Zs":
        return " "
    return character.encode("unicode_escape").decode("ascii")


def output_text(data: bytes) -> str:
    """One line of a job's output as text: UTF-8, what isn't is replaced, and the codes that a terminal would obey are left out."""
    text = data.decode("utf-8", "replace")
    return _TERMINAL_CODE.sub("", text) if "\x1b" in text else text


def markdown_text(text: str) -> str:
    """One line of text whose characters mean only themselves in Markdown and in a cell of its tables: no HTML, no link, no code."""
    return _MARKDOWN_MARKS.sub(r"\\\g<0>", harmless(text))


def json_text(text: str) -> str:
    """JSON in which what can't be printed is escaped as JSON does it: the values stay the same, and a terminal can show it."""
    return "\n".join(line if line.isprintable() else "".join(map(_json_character, line)) for line in text.split("\n"))


def _json_character(character: str) -> str:
    if character.isprintable():
        return character
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[i : i + 4]}" for i in range(0, len(units), 4))


def csv_cell(text: str) -> str:
    """A cell that no spreadsheet takes for a formula: one that begins as a formula does and isn't a number gets an apostrophe in front."""
    cell = harmless(text)
    return f"'{cell}" if cell.startswith(_FORMULA_STARTS) and not _NUMBER.fullmatch(cell) else cell


def from_csv_cell(cell: str) -> str:
    """What `csv_cell` was given."""
    return cell[1:] if cell[:1] == "'" and cell[1:2] in _FORMULA_STARTS else cell
