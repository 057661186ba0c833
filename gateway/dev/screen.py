"""How the demo looks: numbered steps, commands that can be pasted, and what matters of each answer, within 100 columns."""

import re
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import TextIO

WIDTH = 100
_INDENT = " " * 4
# Execution names are two digests; their beginnings are enough to tell them apart.
_LONG_NAME = re.compile(r"([0-9a-f]{8})[0-9a-f]{24}-([0-9a-f]{8})[0-9a-f]{24}")
_DIGEST = re.compile(r"([0-9a-f]{8})[0-9a-f]{56}")
_BOLD, _DIM, _GREEN, _YELLOW, _RED = "1", "2", "32", "33", "31"


class Screen:
    """Prints the story. Colors only where a terminal shows them."""

    def __init__(self, out: TextIO = sys.stdout) -> None:
        self._out = out
        self._colored = out.isatty()
        self._number = 0

    def line(self, text: str = "") -> None:
        """Print one line."""
        print(text, file=self._out, flush=True)

    def chapter(self, title: str) -> None:
        """Open a chapter."""
        rule = "─" * (WIDTH - len(title) - 4)
        self.line()
        self.line(self._paint(f"── {title} {rule}", _BOLD))

    def step(self, says: str) -> None:
        """Open the next step."""
        self._number += 1
        self.line()
        self.line(self._paint(f"{self._number:2}  {says}", _BOLD))

    def command(self, words: Sequence[str]) -> None:
        """Print a shell command; each word is a whole piece that is not broken."""
        for text in broken_command(words, width=WIDTH - len(_INDENT)):
            self.line(_INDENT + self._paint(text, _DIM))

    def status(self, status: int, fields: Mapping[str, object]) -> None:
        """Print an HTTP status and the members of the answer that matter."""
        color = _GREEN if status < HTTPStatus.BAD_REQUEST else _YELLOW
        self.line(f"{_INDENT}{self._paint(f'{status} {HTTPStatus(status).phrase}', color)}")
        width = max(map(len, fields), default=0)
        for label, value in fields.items():
            self.line(f"{_INDENT}  {label:<{width}}  {shortened(_text(value))}")

    def output(self, lines: Iterable[str]) -> None:
        """Print what a command printed."""
        for text in lines:
            for part in _wrapped(shortened(text), width=WIDTH - len(_INDENT) - 2):
                self.line(f"{_INDENT}  {part}".rstrip())

    def failure(self, lines: Iterable[str]) -> None:
        """Say that a step is not what it should be."""
        for text in lines:
            self.line(_INDENT + self._paint(text, _RED))

    def _paint(self, text: str, color: str) -> str:
        return f"\x1b[{color}m{text}\x1b[0m" if self._colored else text


def broken_command(words: Sequence[str], *, width: int) -> list[str]:
    """Return the command in lines no longer than `width` where its words allow, joined by backslashes."""
    lines, current = [], f"$ {words[0]}"
    for word in words[1:]:
        if len(current) + len(word) + 3 > width:
            lines.append(f"{current} \\")
            current = f"    {word}"
        else:
            current = f"{current} {word}"
    return [*lines, current]


def shortened(text: str) -> str:
    """Return the text with execution names and digests cut to their beginnings."""
    return _DIGEST.sub(r"\1…", _LONG_NAME.sub(r"\1…-\2…", text))


def folded(lines: Iterable[str], headings: tuple[str, ...]) -> Iterator[str]:
    """Leave out the lines below these headings; each ends at an empty line."""
    heading, hidden = None, 0
    for line in lines:
        if line in headings:
            heading, hidden = line, 0
        elif heading is None:
            yield line
        elif line:
            hidden += 1
        else:
            yield f"{heading} ({hidden} lines)"
            yield line
            heading = None


def _wrapped(text: str, *, width: int) -> list[str]:
    indent = " " * (len(text) - len(text.lstrip()))
    return textwrap.wrap(
        text, width, subsequent_indent=indent, break_long_words=False, drop_whitespace=True
    ) or [""]


def _text(value: object) -> str:
    return value if isinstance(value, str) else repr(value)
