"""Text of strangers: whatever is in it, nothing comes out that a terminal, a table or a spreadsheet would obey."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayestuner.foreign_text import csv_cell, from_csv_cell, harmless, json_text, markdown_text, output_text

ANY = st.text(st.characters(exclude_categories=()), max_size=40)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("résumé 25 µs 例", "résumé 25 µs 例"),
        ("\x1b]0;x\x07\x1b[2J", "\\x1b]0;x\\x07\\x1b[2J"),
        ("a\rb\nc\td", "a\\rb\\nc d"),
        ("\x9b31m", "\\x9b31m"),
        ("user\u202egpj.exe", "user\\u202egpj.exe"),
        ("a\u2066b\u2069", "a\\u2066b\\u2069"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("line\u2028end", "line\\u2028end"),
        ("1\u00a0234\u202f567", "1 234 567"),
        ("caf\udce9", "caf\\udce9"),
        ("\x00", "\\x00"),
    ],
)
def test_what_can_not_be_printed_is_visible(text, shown):
    assert harmless(text) == shown


@given(ANY)
def test_one_printable_line_always(text):
    assert harmless(text).isprintable()
    assert harmless(harmless(text)) == harmless(text)
    lines = harmless(text, keep_newlines=True)
    assert lines.replace("\n", "").isprintable()
    assert lines.count("\n") == text.count("\n")
    harmless(text).encode("utf-8")


@given(st.binary(max_size=80))
def test_output_of_any_bytes_becomes_a_harmless_line(data):
    assert harmless(output_text(data)).isprintable()


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\x1b[1;32mok\x1b[0m 12 img/s", "ok 12 img/s"),
        (b"\x1b[2K\x1b[1G 40%", " 40%"),
        (b"\x1b]0;title\x07rest", "rest"),
        (b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        (b"\x1b(B12", "12"),
        (b"50 \xb5s", "50 \ufffds"),
    ],
)
def test_codes_for_the_terminal_are_no_part_of_a_line(data, text):
    assert output_text(data) == text


@given(ANY)
def test_json_says_the_same_and_can_be_shown(text):
    shown = json_text(json.dumps({"a": [text]}, ensure_ascii=False, indent=1))
    assert shown.replace("\n", "").isprintable()
    assert json.loads(shown) == {"a": [text]}


def test_markdown_means_only_itself():
    assert markdown_text("a|b [x](y) <script> `c` \\d") == "a\\|b \\[x](y) \\<script> \\`c\\` \\\\d"


@pytest.mark.parametrize("text", ["=1+1", "+cmd", "-O3", "@x", "'quoted", "-", "=", "--flag"])
def test_no_cell_is_a_formula(text):
    assert csv_cell(text) == f"'{text}"
    assert from_csv_cell(csv_cell(text)) == text


@pytest.mark.parametrize("text", ["", "1", "-5", "+3.5", "-1e-3", "aes-256-gcm", "a=b", "it's"])
def test_other_cells_are_left_as_they_are(text):
    assert csv_cell(text) == text
    assert from_csv_cell(text) == text


@given(ANY)
def test_a_cell_comes_back(text):
    assert from_csv_cell(csv_cell(text)) == harmless(text)
