"""A file of rules or tests in which nothing is remarkable, read in half the time: values at once, places when asked for.

Nearly every file is one. Of any other nothing is said here: `TreeBuilder` reads it from its beginning and says it all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import yaml
from yaml import events

from gateway.files.bounds import COLLECTION_NODES, Bounds, Items
from gateway.files.source import FindingCode, Severity
from gateway.files.text import mixed_scripts, unsafe_text
from gateway.files.tree import MAX_DEPTH, MAX_STRING, Parser, Tree, TreeBuilder, line_and_column, place_of
from gateway.files.turns import step
from gateway.files.yaml_types import Surprise, read_plain


class Places:
    """Where values stand: items of the long lists at once, all others by reading the text a second time."""

    def __init__(self, text: str, bounds: Bounds, items: Mapping[str, Sequence[int]]) -> None:
        self._text = text
        self._bounds = bounds
        self._items = items
        self._tree: Tree | None = None

    def find(self, path: Sequence[str | int], *, key: bool) -> tuple[int, int]:
        """Return line and column as `Tree.find` does."""
        match path:
            case [str(name), int(index)] if 0 <= index < len(self._items.get(name, ())):
                return line_and_column(self._items[name][index])
        if self._tree is None:
            builder = TreeBuilder(_nothing_to_report, self._bounds)
            builder.read(yaml.CSafeLoader(self._text))
            self._tree = builder.root or Tree(0)
        return self._tree.find(path, key=key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordinary:
    """What `TreeBuilder` would make of a text, without a finding. nodes: as there."""

    data: Mapping[str, object]
    nodes: int
    places: Places


def read_ordinary(text: str, bounds: Bounds) -> Ordinary | None:
    """Return what a text holds; None where `TreeBuilder` might have anything to say about it."""
    reader = _Reader(yaml.CSafeLoader(text), bounds)
    try:
        data = reader.document()
    except (_Remarkable, yaml.YAMLError):
        return None
    return Ordinary(data=data, nodes=reader.nodes, places=Places(text, bounds, reader.items))


class _Remarkable(Exception):
    """Something that `TreeBuilder` has to look at."""


class _Reader:
    """Reads one document. nodes: how many there were; items: the places of those of long lists, by the lists' names."""

    def __init__(self, parser: Parser, bounds: Bounds) -> None:
        self.nodes = 0
        self.items: dict[str, list[int]] = {}
        self._next = parser.get_event
        self._bounds = bounds
        # Plain texts that mean themselves: nine scalars of ten were seen before.
        self._known: dict[str, str] = {}

    def document(self) -> dict[str, object]:
        """Read all of it, which is a mapping; raises _Remarkable."""
        self._next()  # the beginning of the stream
        start = self._next()
        if not isinstance(start, events.DocumentStartEvent) or start.version or start.tags:
            raise _Remarkable
        top = self._next()
        if not isinstance(top, events.MappingStartEvent):
            raise _Remarkable
        data = self._mapping(top, 0)
        self._next()  # the end of the document
        if not isinstance(self._next(), events.StreamEndEvent) or self.nodes > self._bounds.nodes:
            raise _Remarkable
        return data

    def _mapping(self, start: events.MappingStartEvent, depth: int) -> dict[str, object]:
        self._begin(start, depth)
        found: dict[str, object] = {}
        while type(event := self._next()) is not events.MappingEndEvent:
            name = self._value(event, depth)
            if not isinstance(name, str) or name in found or len(found) == self._bounds.members:
                raise _Remarkable
            event = self._next()
            items = self._bounds.items.get(name) if depth == 0 else None
            if items is not None and isinstance(event, events.SequenceStartEvent):
                found[name] = self._items(event, name, items)
            else:
                found[name] = self._value(event, depth)
        return found

    def _list(self, start: events.SequenceStartEvent, depth: int) -> list[object]:
        self._begin(start, depth)
        found: list[object] = []
        while type(event := self._next()) is not events.SequenceEndEvent:
            if len(found) == self._bounds.entries:
                raise _Remarkable
            found.append(self._value(event, depth))
        return found

    def _items(self, start: events.SequenceStartEvent, name: str, items: Items) -> list[object]:
        """Read a long list, whose items are mappings with all members that each must have."""
        self._begin(start, 1)
        found: list[object] = []
        places = self.items[name] = []
        while isinstance(event := self._next(), events.MappingStartEvent):
            step()
            places.append(place_of(event))
            item = self._mapping(event, 2)
            if len(found) == items.most or not items.compulsory <= item.keys():
                raise _Remarkable
            found.append(item)
        if not isinstance(event, events.SequenceEndEvent):
            raise _Remarkable
        return found

    def _value(self, event: events.Event | None, depth: int) -> object:
        # The parser's own classes and none below them, so that most events cost one comparison.
        if type(event) is events.ScalarEvent:
            self.nodes += 1
            known = self._known.get(event.value)
            if known is not None and event.anchor is None and event.tag is None:
                return known
            return self._scalar(event)
        if isinstance(event, events.MappingStartEvent):
            return self._mapping(event, depth + 1)
        if isinstance(event, events.SequenceStartEvent):
            return self._list(event, depth + 1)
        raise _Remarkable

    def _begin(self, start: events.CollectionStartEvent, depth: int) -> None:
        self.nodes += COLLECTION_NODES
        if start.anchor is not None or start.tag is not None:
            raise _Remarkable
        if depth >= MAX_DEPTH or self.nodes > self._bounds.nodes:
            raise _Remarkable

    def _scalar(self, event: events.ScalarEvent) -> str | int | bool:
        text = event.value
        if event.anchor is not None or event.tag is not None or self.nodes > self._bounds.nodes:
            raise _Remarkable
        if len(text) > MAX_STRING or unsafe_text(text) is not None or mixed_scripts(text) is not None:
            raise _Remarkable
        if event.style or not event.implicit[0]:
            return text
        value = read_plain(text)
        if isinstance(value, Surprise):
            raise _Remarkable
        if isinstance(value, str):
            self._known[text] = value
        return value


def _nothing_to_report(
    code: FindingCode, line: int, column: int, message: str, fix: str, severity: Severity = "error"
) -> None:
    raise AssertionError(f"An ordinary file has a finding: {code} in line {line}.")
