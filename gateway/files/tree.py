"""Events of the YAML parser → plain values and their places; anchors, tags, duplicates and surprises on the way."""

from collections.abc import Sequence
from typing import Final, Protocol

from yaml import events

from gateway.files.bounds import CENTRAL, COLLECTION_NODES, MAX_MISTAKES, Bounds
from gateway.files.source import FindingCode, Severity, show
from gateway.files.text import mixed_scripts, unsafe_text
from gateway.files.turns import step
from gateway.files.yaml_types import Surprise, read_plain

MAX_DEPTH: Final = 8
MAX_STRING: Final = 1_024

# Nobody nests this deep by mistake, and the parser's time grows with the square of the depth.
_HOPELESS_DEPTH: Final = 64
_COLUMNS: Final = 1 << 20
_REMEMBERED: Final = 100_000


class Report(Protocol):
    """Takes one finding."""

    def __call__(
        self,
        code: FindingCode,
        line: int,
        column: int,
        message: str,
        fix: str,
        severity: Severity = "error",
    ) -> None:
        """Add it; line and column count from 1."""
        ...


# A place is one number (line * 2^20 + column, from 0): ten thousand rules have half a million of them.
class Tree:
    """The places of one collection: its own, and those of its keys and values."""

    __slots__ = ("keys", "place", "values")

    def __init__(self, place: int) -> None:
        self.place = place
        self.keys: dict[str, int] = {}
        self.values: dict[str | int, int | Tree] = {}

    def find(self, path: Sequence[str | int], *, key: bool) -> tuple[int, int]:
        """Return line and column of a value, or of its key, counted from 1; parts of the path that are not there are left out."""
        here: int | Tree = self
        named: int | None = None
        for part in path:
            if isinstance(here, Tree) and part in here.values:
                named = here.keys.get(part) if isinstance(part, str) else None
                here = here.values[part]
        place = here.place if isinstance(here, Tree) else here
        if key and named is not None:
            place = named
        return line_and_column(place)


def place_of(event: events.Event) -> int:
    """Return where an event begins."""
    mark = event.start_mark
    return 0 if mark is None else mark.line * _COLUMNS + mark.column


def line_and_column(place: int) -> tuple[int, int]:
    """Return line and column of a place, counted from 1."""
    return place // _COLUMNS + 1, place % _COLUMNS + 1


class _Frame:
    """A collection that is being read.

    key:        the mapping's key whose value comes next.
    most:       how many items or members it may have.
    compulsory: members that each of its items has; None when nothing is known of them.
    """

    __slots__ = ("compulsory", "items", "key", "members", "most", "skip", "tree")

    def __init__(
        self,
        data: list[object] | dict[str, object],
        tree: Tree,
        *,
        most: int,
        compulsory: frozenset[str] | None = None,
    ) -> None:
        self.most = most
        self.compulsory = compulsory
        self.items = data if isinstance(data, list) else None
        self.members = data if isinstance(data, dict) else None
        self.tree = tree
        self.key: str | None = None
        # The value of a duplicate, merged or unusable key is read for its findings and then dropped.
        self.skip = False

    def expects_key(self) -> bool:
        return self.key is None and self.members is not None

    def add(self, value: object, place: int | Tree) -> None:
        if self.items is not None:
            if len(self.items) >= self.most:
                raise _too_long("list", "items", self.most, place)
            self.tree.values[len(self.items)] = place
            self.items.append(value)
        elif self.members is not None and self.key is not None:
            if not self.skip:
                if len(self.members) >= self.most:
                    raise _too_long("mapping", "members", self.most, place)
                self.tree.values[self.key] = place
                self.members[self.key] = value
            self.key, self.skip = None, False

    def take_text(self, text: str, place: int, builder: "TreeBuilder") -> None:
        """Take a scalar that is known to be plain, safe text."""
        if self.key is None and self.members is not None:
            self.key = text
            if text in self.tree.keys:
                builder.duplicate(self, text, place)
            else:
                self.tree.keys[text] = place
        else:
            self.add(text, place)


class NestedTooDeeply(Exception):
    """The rest of the text is not worth reading. line and column count from 1."""

    def __init__(self, place: int) -> None:
        super().__init__(place)
        self.line = place // _COLUMNS + 1
        self.column = place % _COLUMNS + 1


class Hopeless(Exception):
    """Neither the rest of the text is worth reading, nor is what was read worth keeping.

    message, fix: as in a finding; line and column count from 1.
    """

    def __init__(self, place: int, message: str, fix: str) -> None:
        super().__init__(message)
        self.line = place // _COLUMNS + 1
        self.column = place % _COLUMNS + 1
        self.message = f"{message} The rest of the file is not read."
        self.fix = fix


def _too_long(kind: str, parts: str, most: int, place: "int | Tree") -> Hopeless:
    at = place.place if isinstance(place, Tree) else place
    return Hopeless(at, f"This {kind} has more than {most:,} {parts}.", "Shorten or split it.")


class Parser(Protocol):
    """PyYAML's C parser."""

    def get_event(self) -> events.Event | None:
        """Return the next event, None after the last; raises yaml.MarkedYAMLError."""
        ...


class TreeBuilder:
    """Builds the data of one document.

    nodes: keys and values that were read, counted as in `Bounds`.
    """

    def __init__(self, report: Report, bounds: Bounds = CENTRAL) -> None:
        self.nodes = 0
        self._bounds = bounds
        self._left = bounds.nodes
        self._faulty = 0
        self.data: object = None
        self.root: Tree | None = None
        self._report_at = report
        self._stack: list[_Frame] = []
        self._documents = 0
        self._known: dict[str, str | int | bool | Surprise] = {}
        self._safe: set[str] = set()
        # Texts that are safe and mean the same with and without quotes.
        self._known_text: dict[str, str] = {}

    def read(self, parser: Parser) -> None:
        """Take all events; the parser's own errors pass through, and what was read before them stays.

        Raises NestedTooDeeply and Hopeless.
        """
        try:
            self._read(parser)
        finally:
            self.nodes = self._bounds.nodes - self._left

    def _read(self, parser: Parser) -> None:
        scalar, end = events.ScalarEvent, events.CollectionEndEvent
        node, collection = events.NodeEvent, events.CollectionStartEvent
        stack, known, get = self._stack, self._known_text, parser.get_event
        event = get()
        while event is not None and not isinstance(event, events.StreamEndEvent):
            mark = event.start_mark
            place = 0 if mark is None else mark.line * _COLUMNS + mark.column
            # The parser's own classes and none below them, so that most events cost one comparison.
            if type(event) is scalar:
                self._left -= 1
                if self._left < 0:
                    raise self._too_many(place)
                # Nine scalars of ten were seen before, as keys or values, and need no second look; nor is each kept.
                text = known.get(event.value)
                if text is not None and stack and event.anchor is None and event.tag is None:
                    stack[-1].take_text(text, place, self)
                else:
                    self._decorated(place, event.anchor, event.tag)
                    self._scalar(event.value, place, plain=event.implicit[0] and not event.style)
            elif isinstance(event, end):
                self._end(place)
            else:
                if isinstance(event, node):
                    self._left -= COLLECTION_NODES if isinstance(event, collection) else 1
                    if self._left < 0:
                        raise self._too_many(place)
                self._structure(event, place)
            event = get()

    def _too_many(self, place: int) -> Hopeless:
        most = self._bounds.nodes
        message = (
            f"This file has more than {most:,} keys and values (a list or mapping counts {COLLECTION_NODES})."
        )
        return Hopeless(place, message, "Split it.")

    def _end(self, place: int) -> None:
        ended = self._stack.pop()
        above = self._stack[-1].compulsory if self._stack else None
        if above is not None:
            step()
        if above is not None and (ended.members is None or not above <= ended.members.keys()):
            self._faulty += 1
            if self._faulty > MAX_MISTAKES:
                message = f"More than {MAX_MISTAKES:,} items lack a member that each must have."
                raise Hopeless(place, message, f"Each has {', '.join(sorted(above))}.")

    def _structure(self, event: events.Event, place: int) -> None:
        if isinstance(event, events.CollectionStartEvent):
            self._decorated(place, event.anchor, event.tag)
            self._open({} if isinstance(event, events.MappingStartEvent) else [], place)
        elif isinstance(event, events.AliasEvent):
            self._feature(place, f"Aliases (*{event.anchor}) are not allowed.", "Write the value out.")
            self._scalar("*", place, plain=False)
        elif isinstance(event, events.DocumentStartEvent):
            self._document(place, directives=bool(event.version or event.tags))

    def close(self) -> None:
        """Forget what is unfinished, after the parser gave up."""
        self._stack.clear()

    def _report(
        self, code: FindingCode, place: int, message: str, fix: str, severity: Severity = "error"
    ) -> None:
        self._report_at(code, place // _COLUMNS + 1, place % _COLUMNS + 1, message, fix, severity)

    def _feature(self, place: int, message: str, fix: str) -> None:
        self._report(FindingCode.YAML_FEATURE, place, message, fix)

    def _document(self, place: int, *, directives: bool) -> None:
        self._documents += 1
        if self._documents > 1:
            self._feature(place, "A second document begins here.", "Move it to a file of its own.")
        if directives:
            self._feature(place, "Directives (%YAML, %TAG) are not allowed.", "Delete the line.")

    def _decorated(self, place: int, anchor: str | None, tag: str | None) -> None:
        if anchor is not None:
            self._feature(
                place, f"Anchors (&{anchor}) are not allowed.", "Write the value out where it is needed."
            )
        if tag is not None:
            self._feature(
                place, "Tags (!name) are not allowed.", "Delete the tag; quotes make text of a value."
            )

    def _open(self, data: list[object] | dict[str, object], place: int) -> None:
        tree = Tree(place)
        if len(self._stack) > _HOPELESS_DEPTH:
            raise NestedTooDeeply(place)
        if len(self._stack) == MAX_DEPTH:
            self._report(
                FindingCode.LIMIT_EXCEEDED,
                place,
                f"Values are nested more than {MAX_DEPTH} deep.",
                "Flatten them; the formats need six levels.",
            )
        named = self._stack[0].key if len(self._stack) == 1 else None
        if self._stack and self._stack[-1].expects_key():
            self._feature(place, "A list or mapping cannot be a key.", "Write the key as text.")
            # Neither key nor value: read on, and drop both.
            self._stack[-1].key, self._stack[-1].skip = "", True
        else:
            self._value(data, tree)
        self._stack.append(self._frame(data, tree, named))

    def _frame(self, data: list[object] | dict[str, object], tree: Tree, named: str | None) -> _Frame:
        """Return where the parts of a collection go. named: the key of the file's own mapping that it is the value of."""
        bounds = self._bounds
        if isinstance(data, dict):
            return _Frame(data, tree, most=bounds.members)
        items = bounds.items.get(named) if named is not None else None
        if items is None:
            return _Frame(data, tree, most=bounds.entries)
        return _Frame(data, tree, most=items.most, compulsory=items.compulsory)

    def _scalar(self, text: str, place: int, *, plain: bool) -> None:
        if text not in self._safe:
            self._judge(text, place)
        stack = self._stack
        if stack and stack[-1].expects_key():
            self._key(stack[-1], text, place, plain=plain)
            return
        value: object = text
        if plain:
            known = self._read_plain(text)
            if isinstance(known, Surprise):
                self._surprise(text, known, place)
            else:
                value = known
        self._value(value, place)

    def _read_plain(self, text: str) -> str | int | bool | Surprise:
        known = self._known.get(text)
        if known is None:
            known = self._known[text] = read_plain(text)
            if isinstance(known, str) and text in self._safe:
                self._known_text[text] = text
        return known

    def _value(self, value: object, place: int | Tree) -> None:
        if self._stack:
            self._stack[-1].add(value, place)
        elif self._documents <= 1:
            self.data = value
            self.root = place if isinstance(place, Tree) else Tree(place)

    def _surprise(self, text: str, found: Surprise, place: int) -> None:
        shown = show(text).strip('"') if text else "An empty value"
        self._report(FindingCode.YAML_TYPE, place, f"{shown} {found.message}.", found.fix)

    def _key(self, frame: _Frame, name: str, place: int, *, plain: bool) -> None:
        frame.key = name
        if plain and name == "<<":
            self._feature(place, "Merge keys (<<) are not allowed.", "Write the members out.")
            frame.skip = True
            return
        found = self._read_plain(name) if plain else name
        if not isinstance(found, str):
            numeric = Surprise("is no text, and every key is", f'Write "{name}" in quotes.')
            self._surprise(name, found if isinstance(found, Surprise) else numeric, place)
        if name in frame.tree.keys:
            self.duplicate(frame, name, place)
        else:
            frame.tree.keys[name] = place

    def duplicate(self, frame: _Frame, name: str, place: int) -> None:
        """Report a key that stands twice; the first one counts for what follows."""
        first = frame.tree.keys[name] // _COLUMNS + 1
        self._report(
            FindingCode.FIELD_DUPLICATE,
            place,
            f"{show(name)} stands here a second time; the first is in line {first}.",
            "Keep one of them.",
        )
        frame.skip = True

    def _judge(self, text: str, place: int) -> None:
        if len(text) > MAX_STRING:
            self._report(
                FindingCode.LIMIT_EXCEEDED,
                place,
                f"This text has more than {MAX_STRING:,} characters.",
                "Shorten it.",
            )
        elif (reason := unsafe_text(text)) is not None:
            fix = "Write what is meant, without it; a block text ends in one: use quotes or >-."
            self._report(FindingCode.VALUE_UNSAFE_TEXT, place, f"This text {reason}.", fix)
        elif (word := mixed_scripts(text)) is not None:
            self._report(
                FindingCode.VALUE_LOOKALIKE,
                place,
                f"This text mixes scripts whose letters look alike; a parser reads {word}.",
                "Type the word anew when all its letters should be of one script.",
                "warning",
            )
        elif len(self._safe) < _REMEMBERED:
            self._safe.add(text)
