"""Tables in plain text, fitted to a width, and in Markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

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
    every = [list(header), *map(list, rows)]
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
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def facts(pairs: Sequence[tuple[str, str]], *, width: int = 100, indent: str = "  ") -> str:
    """A paragraph for each pair of a name and a value: names in a column, values wrapped in a second one."""
    wide = max(len(name) for name, _ in pairs) + 2
    lines = []
    for name, value in pairs:
        room = max(width - len(indent) - wide, 30)
        # a command line must stay in one piece to be copied
        pieces = [value] if name.startswith("apply") else textwrap.wrap(value, room, break_long_words=False, break_on_hyphens=False) or [""]
        lines.append(f"{indent}{name:<{wide}}{pieces[0]}")
        lines += [indent + " " * wide + piece for piece in pieces[1:]]
    return "\n".join(lines)


def _cut(cell: str, width: int) -> str:
    return cell if len(cell) <= width else cell[: max(width - 3, 0)] + "..."
