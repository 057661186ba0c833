"""Reads what documentation says: its sections, tables, code and links."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_FENCED = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table. rows: without the header; every cell as it is written, without the blanks around it."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def column(self, name: str) -> tuple[str, ...]:
        """Return the cells below a header."""
        index = self.header.index(name)
        return tuple(row[index] for row in self.rows)


def section(text: str, title: str) -> str:
    """Return what stands below a heading, up to the next one of its level or above."""
    prose = _FENCED.sub(lambda block: re.sub(r"[^\n]", " ", block[0]), text)
    found = [one for one in _HEADING.finditer(prose) if one[2] == title]
    if len(found) != 1:
        raise LookupError(f"There are {len(found)} headings {title!r}.")
    end = next(
        (one.start() for one in _HEADING.finditer(prose, found[0].end()) if len(one[1]) <= len(found[0][1])),
        len(text),
    )
    return text[found[0].end() : end]


def headings(text: str) -> list[str]:
    """Return all headings."""
    return [one[2] for one in _HEADING.finditer(_FENCED.sub("", text))]


def tables(text: str) -> list[Table]:
    """Return the tables in their order."""
    return [_table(block) for block in re.findall(r"(?:^\|.*\|\n?)+", text, re.MULTILINE)]


def _table(block: str) -> Table:
    rows = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in block.splitlines()]
    header, body = rows[0], rows[2:]
    if any(len(row) != len(header) for row in body):
        raise ValueError(f"A row of the table {header} has more or fewer cells.")
    return Table(header=header, rows=tuple(body))


def code(text: str) -> list[str]:
    """Return everything in backticks outside of code blocks; one that spans lines with blanks for the line ends."""
    return [span.replace("\n", " ") for span in re.findall(r"`([^`]+)`", _FENCED.sub("", text))]


def blocks(text: str, language: str) -> Iterator[str]:
    """Yield the code blocks of a language."""
    return (body for kind, body in _FENCED.findall(text) if kind == language)


def links(text: str) -> list[str]:
    """Return the targets of all links outside of code blocks."""
    return _LINK.findall(_FENCED.sub("", text))
