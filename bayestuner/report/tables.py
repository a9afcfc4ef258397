"""Tables in plain text, fitted to a width, and in Markdown."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence

from bayestuner.foreign_text import harmless, markdown_text

Rows = Sequence[Sequence[str]]


def plain_table(header: Sequence[str], rows: Rows, *, width: int | None = 100, right: Sequence[int] = ()) -> str:
    """A table in columns; its last column is shortened where the table is wider than `width`.

    Parameters
    ----------
    header : sequence of str
    rows : sequence of sequences of str
    width : int or None
        None: nothing is shortened.
    right : sequence of int
        Indices of the columns that are aligned to the right.
    """
    every = [[harmless(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[c]) for row in every) for c in range(len(header))]
    over = 0 if width is None else sum(widths) + 2 * (len(widths) - 1) - width
    if over > 0:
        widths[-1] = max(widths[-1] - over, min(widths[-1], 12))
    lines = []
    for row in every:
        cells = [
            _cut(cell, w).rjust(w) if c in right else _cut(cell, w).ljust(w) for c, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "  ".join("-" * w for w in widths))
    return "\n".join(lines)


def markdown_table(header: Sequence[str], rows: Rows, *, right: Sequence[int] = ()) -> str:
    """The same table in Markdown."""
    rule = ["---:" if c in right else "---" for c in range(len(header))]
    lines = [header, rule, *rows]
    return "\n".join("| " + " | ".join(map(markdown_text, line)) + " |" for line in lines)


def facts(pairs: Sequence[tuple[str, str]], *, width: int = 100, indent: str = "  ") -> str:
    """A paragraph for each pair of a name and a value: names in a column, values wrapped in a second one."""
    wide = max(len(name) for name, _ in pairs) + 2
    lines = []
    for name, value in ((harmless(name), harmless(value)) for name, value in pairs):
        room = max(width - len(indent) - wide, 30)
        # a command line must stay in one piece to be copied
        pieces = [value] if name.startswith("apply") else textwrap.wrap(value, room, break_long_words=False, break_on_hyphens=False) or [""]
        lines.append(f"{indent}{name:<{wide}}{pieces[0]}")
        lines += [indent + " " * wide + piece for piece in pieces[1:]]
    return "\n".join(lines)


def markdown_facts(pairs: Sequence[tuple[str, str]]) -> str:
    """The same pairs as a list in Markdown; a command line, which is to be copied, as code."""
    return "\n".join(f"- {markdown_text(n)}: {_markdown_code(v) if n.startswith('apply') else markdown_text(v)}" for n, v in pairs)


def _markdown_code(text: str) -> str:
    """Text as code, in backticks of which it holds no such run itself."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    blank = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{blank}{harmless(text)}{blank}{fence}"


def _cut(cell: str, width: int) -> str:
    return cell if len(cell) <= width else cell[: max(width - 3, 0)] + "..."
