"""One YAML file as plain values with places, and everything in it that YAML parsers might read differently."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Final

import yaml

from gateway.files.bounds import CENTRAL, Bounds
from gateway.files.ordinary import Places, read_ordinary
from gateway.files.source import SECRET_FIX, Excerpts, Finding, FindingCode, Place, Severity, Source
from gateway.files.text import RAW_UNSAFE, describe, empty_fix, find_secrets, positions, split_lines
from gateway.files.tree import Hopeless, NestedTooDeeply, Tree, TreeBuilder

# A file of ten thousand mistakes is one mistake; its reader needs the first few hundred places.
MAX_FINDINGS: Final = 500

Path = Sequence[str | int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A YAML file, read strictly.

    data:     text, integers, booleans, lists and mappings with text keys; None when nothing could be read.
    findings: bounded in number. A value with a finding keeps its place and its text in `data`.
    holes:    paths of what has the wrong shape or is missing, and is judged no further.
    aliases:  of members with misspelt names: their paths as they are meant → the name in the file.
    nodes:    keys and values that were read, counted as in `Bounds`.
    """

    file: str
    digest: str
    data: object
    findings: tuple[Finding, ...]
    _tree: Tree | Places | None = field(repr=False)
    _excerpts: Excerpts = field(repr=False)
    holes: frozenset[tuple[str | int, ...]] = frozenset()
    aliases: Mapping[tuple[str | int, ...], str] = field(default_factory=dict)
    nodes: int = 0

    def given_up(self) -> "Document":
        """Return what is left of a document in which nothing can be judged: its findings, and nothing large."""
        return replace(self, data=None, _tree=None, _excerpts=Excerpts(""))

    def is_hole(self, path: Path) -> bool:
        """Say whether a value, or one that it is part of, was already found wrong."""
        if not self.holes:
            return False
        return any(tuple(path[:length]) in self.holes for length in range(1, len(path) + 1))

    def has_hole(self, path: Path) -> bool:
        """Say whether a value, or a part of it, was already found wrong or missing."""
        start = tuple(path)
        return self.is_hole(path) or any(hole[: len(start)] == start for hole in self.holes)

    def place(self, path: Path, *, key: bool = False) -> Place:
        """Return where a value stands, or its key; of a path that does not exist the deepest part that does."""
        if self.aliases:
            path = [self.aliases.get(tuple(path[: index + 1]), part) for index, part in enumerate(path)]
        line, column = self._tree.find(path, key=key) if self._tree is not None else (1, 1)
        return Place(file=self.file, line=line, column=column)

    def excerpt(self, line: int) -> str:
        """Return a line as a finding may show it, counted from 1."""
        return self._excerpts.line(line)

    def finding(
        self,
        code: FindingCode,
        path: Path,
        message: str,
        fix: str,
        *,
        key: bool = False,
        severity: Severity = "error",
    ) -> Finding:
        """Make a finding at a value, or at its key."""
        place = self.place(path, key=key)
        return Finding(
            code=code,
            severity=severity,
            place=place,
            message=message,
            fix=fix,
            excerpt=self._excerpts.line(place.line),
        )


def read_document(source: Source, bounds: Bounds = CENTRAL) -> Document:
    """Read a source as YAML; every finding at once, as far as the text can be understood.

    Of what is over a bound, or has more than MAX_FINDINGS findings, nothing is kept but those.
    """
    if not source.readable:
        return Document(
            file=source.file,
            digest=source.digest,
            data=None,
            findings=source.findings,
            _tree=None,
            _excerpts=Excerpts(""),
        )
    excerpts = Excerpts(source.text)
    found = _Findings(source.file, excerpts)
    text = _judge_text(source.text, found)
    # Of a file without long lists there are few, and each is small.
    ordinary = read_ordinary(text, bounds) if bounds.items and not found.listed else None
    if ordinary is not None:
        return Document(
            file=source.file,
            digest=source.digest,
            data=ordinary.data,
            findings=source.findings,
            _tree=ordinary.places,
            _excerpts=excerpts,
            nodes=ordinary.nodes,
        )
    tabs = text.count("\t")
    builder = TreeBuilder(found.add_while_reading, bounds)
    hopeless = found.is_full or _parse(
        text.replace("\t", " ") if tabs else text, builder, found, tabs=tabs > 0
    )
    if builder.root is None and not found.listed:
        found.add(
            FindingCode.FILE_EMPTY,
            1,
            1,
            f"{source.file} holds no value.",
            empty_fix(source.file),
        )
    document = Document(
        file=source.file,
        digest=source.digest,
        data=builder.data,
        findings=(*source.findings, *found.listed),
        _tree=builder.root,
        _excerpts=excerpts,
        nodes=builder.nodes,
    )
    return document.given_up() if hopeless else document


class _Findings:
    def __init__(self, file: str, excerpts: Excerpts) -> None:
        self._file = file
        self._excerpts = excerpts
        self.listed: list[Finding] = []

    @property
    def is_full(self) -> bool:
        return len(self.listed) > MAX_FINDINGS

    def add(
        self, code: FindingCode, line: int, column: int, message: str, fix: str, severity: Severity = "error"
    ) -> None:
        if self.is_full:
            return
        if len(self.listed) == MAX_FINDINGS:
            code, severity = FindingCode.LIMIT_EXCEEDED, "error"
            message, fix = (
                f"There are more than {MAX_FINDINGS} findings in this file.",
                "Mend the first ones.",
            )
        self.listed.append(
            Finding(
                code=code,
                severity=severity,
                place=Place(file=self._file, line=line, column=column),
                message=message,
                fix=fix,
                excerpt=self._excerpts.line(line),
            )
        )

    def add_while_reading(
        self, code: FindingCode, line: int, column: int, message: str, fix: str, severity: Severity = "error"
    ) -> None:
        self.add(code, line, column, message, fix, severity)
        if self.is_full:
            raise Hopeless(0, "There are too many findings.", "Mend the first ones.")


def _judge_text(text: str, found: _Findings) -> str:
    secrets = find_secrets(text)[: MAX_FINDINGS + 1]
    for (kind, _), (line, column) in zip(secrets, positions(text, [at for _, at in secrets]), strict=True):
        found.add(FindingCode.SECRET_IN_FILE, line, column, f"This looks like {kind}.", SECRET_FIX)
    if "\t" in text:
        _judge_tabs(text, found)
    hidden = [(match.start(), match[0]) for match in islice(RAW_UNSAFE.finditer(text), MAX_FINDINGS)]
    for (_, character), (line, column) in zip(hidden, positions(text, [at for at, _ in hidden]), strict=True):
        found.add(
            FindingCode.VALUE_UNSAFE_TEXT,
            line,
            column,
            f"This line holds {describe(character)}, which hides or reorders what a reviewer sees.",
            "Delete the character.",
        )
    # Something visible of the same width, so that all other findings keep their places.
    return RAW_UNSAFE.sub("?", text) if hidden else text


def _judge_tabs(text: str, found: _Findings) -> None:
    for number, line in enumerate(split_lines(text), start=1):
        if "\t" in line:
            found.add(
                FindingCode.YAML_FEATURE,
                number,
                line.index("\t") + 1,
                "This line holds a tab.",
                "Use spaces; YAML parsers disagree about tabs.",
            )


def _parse(text: str, builder: TreeBuilder, found: _Findings, *, tabs: bool) -> bool:
    """Let the builder take the text; say whether what it took is worth nothing."""
    before = len(found.listed)
    try:
        builder.read(yaml.CSafeLoader(text))
    except Hopeless as error:
        builder.close()
        found.add(FindingCode.LIMIT_EXCEEDED, error.line, error.column, error.message, error.fix)
        return True
    except NestedTooDeeply as error:
        builder.close()
        message = "Values are nested so deeply that the rest of the file is not read."
        found.add(FindingCode.FILE_SYNTAX, error.line, error.column, message, "Close the brackets.")
    except yaml.MarkedYAMLError as error:
        builder.close()
        if tabs:
            # The tabs are the cause; what follows from guessing their width would mislead.
            del found.listed[before:]
            return False
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
        message, fix = _explain(error, line)
        found.add(FindingCode.FILE_SYNTAX, line, column, message, fix)
    return False


_EXPLAINED: Final = (
    (
        "mapping values are not allowed",
        'A second ": " stands in this value, or the line is indented deeper than its neighbours.',
        "Put the value in quotes, or indent the line like its neighbours.",
    ),
    (
        "could not find expected ':'",
        'A key has no ": " after it.',
        'Write "key: value", with a blank after the colon.',
    ),
    (
        "cannot start any token",
        "An unquoted value cannot begin with this character.",
        "Put the value in quotes.",
    ),
    ("unexpected end of stream", "A quoted value is not closed.", "Add the closing quote."),
    ("document indicator", "A quoted value is not closed.", "Add the closing quote."),
    (
        "did not find expected key",
        "This line does not fit the lines above it.",
        "Indent it like its neighbours.",
    ),
    (
        "did not find expected '-' indicator",
        "This line does not fit the list above it.",
        'Begin the item with "- ", indented like its neighbours.',
    ),
    (
        "did not find expected ',' or",
        "A list or mapping in brackets is not closed, or a comma is missing.",
        "Add the bracket or the comma.",
    ),
    (
        "block sequence entries are not allowed",
        "A list item cannot stand here.",
        "Put the list on lines of its own.",
    ),
    ("unknown escape character", "This escape is not known in double quotes.", "Write \\\\ for a backslash."),
    ("undefined alias", "Aliases (*name) are not allowed.", "Write the value out."),
    ("exceeded max depth", "Values are nested too deeply.", "Flatten them; the formats need six levels."),
)


def _explain(error: yaml.MarkedYAMLError, line: int) -> tuple[str, str]:
    problem = f"{error.problem or ''}"
    for sign, message, fix in _EXPLAINED:
        if sign in problem:
            began = error.context_mark.line + 1 if error.context_mark is not None else line
            return (message if began == line else f"{message} It began in line {began}."), fix
    return (
        "This is not valid YAML.",
        "Look at this line and the one before it: quotes, brackets, indentation.",
    )
