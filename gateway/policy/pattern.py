"""Regular expressions of input schemas, matched in time linear in the text.

Python's `re` backtracks: one careless pattern and one hostile input would stop the event loop. Here a pattern is a
set of states that all advance together, so that a text of n characters costs n steps, each found in a table once seen.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Literal

MAX_PATTERN: Final = 512
MAX_STATES: Final = 2_000
# Rows of the table of seen steps, and states in all of them (about 70 bytes each); beyond that it is emptied, so that a
# caller's texts cannot fill the memory.
MAX_SEEN: Final = 4_000
MAX_SEEN_STATES: Final = 20_000

_REPEAT = re.compile(r"\{([0-9]{1,4})(?:(,)([0-9]{1,4})?)?\}")
_CLASS = re.compile(r"\[\^?(?:[^\]\\]|\\.)+\]")
# Characters that Python may one day read as set operations inside a class.
_SET_OPERATORS = re.compile(r"(\\.)|([\[&|~])")
_HEX = re.compile(r"\\(?:x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4})")
_PLAIN_ESCAPES: Final = frozenset("dDwWsSnrtfv")


class PatternInvalid(ValueError):
    """The text is no regular expression of the supported subset; the message says where and why."""


def _spend_nothing(_: int) -> None:
    return


@dataclass(slots=True)
class _State:
    """One state. test: the character that leads on to `out`; edge: a place that must hold; neither: a free step."""

    out: list[int] = field(default_factory=list)
    test: Callable[[str], object] | None = None
    edge: Literal["start", "end"] | None = None


# A piece of the machine: its first state and the states whose `out` is still open.
_Piece = tuple[int, list[int]]


class Pattern:
    """A compiled pattern of the ECMA-262 subset without look-around, back references and word boundaries."""

    def __init__(self, text: str) -> None:
        if len(text) > MAX_PATTERN:
            raise PatternInvalid(f"a pattern has at most {MAX_PATTERN} characters")
        self._text = text
        self._at = 0
        self._states: list[_State] = []
        first, loose = self._alternatives(0)
        if self._at != len(text):
            raise PatternInvalid(f"unexpected {text[self._at]!r} at character {self._at + 1}")
        self._first = first
        self._final = self._add(_State())
        self._join(loose, self._final)
        self._seen: dict[tuple[frozenset[int], str], frozenset[int]] = {}
        # One object for equal sets, so that a row is found without comparing them state by state.
        self._sets: dict[frozenset[int], frozenset[int]] = {}
        self._seen_states = 0

    @property
    def seen_states(self) -> int:
        """Return how many states the table of seen steps holds, at most MAX_SEEN_STATES."""
        return self._seen_states

    def search(self, text: str, spend: Callable[[int], None] = _spend_nothing) -> bool:
        """Say whether the pattern matches anywhere in the text, as JSON Schema's `pattern` does.

        spend: told of work before it is done, one for each character and each state visited; may raise.
        """
        spend(len(text))
        now = self._closure((self._first,), start=True, end=not text)
        for at, character in enumerate(text, start=1):
            if self._final in now:
                return True
            now = self._step(now, character, spend) if at < len(text) else self._last(now, character)
        return self._final in now

    def _step(self, now: frozenset[int], character: str, spend: Callable[[int], None]) -> frozenset[int]:
        after = self._seen.get((now, character))
        if after is None:
            spend(len(now))
            after = self._closure(self._moved(now, character), start=False, end=False)
            spend(len(after))
            after = self._remember(now, character, after)
        return after

    def _remember(self, now: frozenset[int], character: str, after: frozenset[int]) -> frozenset[int]:
        self._seen_states += len(after)
        if len(self._seen) >= MAX_SEEN or self._seen_states > MAX_SEEN_STATES:
            self._seen.clear()
            self._sets.clear()
            self._seen_states = len(after)
        after = self._sets.setdefault(after, after)
        self._seen[now, character] = after
        return after

    def _last(self, now: frozenset[int], character: str) -> frozenset[int]:
        return self._closure(self._moved(now, character), start=False, end=True)

    def _moved(self, now: frozenset[int], character: str) -> list[int]:
        # The first state joins at every character: a match may begin anywhere.
        reached = [self._first]
        for index in now:
            state = self._states[index]
            if state.test is not None and state.test(character):
                reached.extend(state.out)
        return reached

    def _closure(self, states: Iterable[int], *, start: bool, end: bool) -> frozenset[int]:
        found: set[int] = set()
        waiting = list(states)
        while waiting:
            index = waiting.pop()
            if index in found:
                continue
            found.add(index)
            state = self._states[index]
            holds = state.edge is None or (start if state.edge == "start" else end)
            if state.test is None and holds:
                waiting.extend(state.out)
        return frozenset(found)

    def _add(self, state: _State) -> int:
        if len(self._states) >= MAX_STATES:
            raise PatternInvalid("the pattern is too large once its repetitions are written out")
        self._states.append(state)
        return len(self._states) - 1

    def _join(self, loose: list[int], to: int) -> None:
        for index in loose:
            self._states[index].out.append(to)

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _alternatives(self, depth: int) -> _Piece:
        if depth > 20:
            raise PatternInvalid("groups are nested too deeply")
        first, loose = self._sequence(depth)
        while self._peek() == "|":
            self._at += 1
            other, more = self._sequence(depth)
            first = self._add(_State(out=[first, other]))
            loose = loose + more
        return first, loose

    def _sequence(self, depth: int) -> _Piece:
        first = self._add(_State())
        loose = [first]
        while self._peek() not in {"", "|", ")"}:
            piece, ends = self._repeated(depth)
            self._join(loose, piece)
            loose = ends
        return first, loose

    def _repeated(self, depth: int) -> _Piece:
        began = self._at
        first, loose = self._atom(depth)
        counts = self._counts()
        if counts is None:
            return first, loose
        after = self._at
        low, high = counts
        # Each repetition is compiled anew from the same text: pieces cannot be shared between places.
        entry = self._add(_State())
        ends = [entry]
        for number in range(max(low, 1) if high is None else high):
            if number:
                self._at = began
                first, loose = self._atom(depth)
            ends = self._append(ends, first, loose, optional=number >= low)
        if high == 0:
            ends = [entry]
        elif high is None:
            self._join(loose, first)
        self._at = after
        return entry, ends

    def _append(self, ends: list[int], first: int, loose: list[int], *, optional: bool) -> list[int]:
        self._join(ends, first)
        return ends + loose if optional else loose

    def _counts(self) -> tuple[int, int | None] | None:
        simple: dict[str, tuple[int, int | None]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}
        found = simple.get(self._peek())
        if found is not None:
            self._at += 1
        elif (written := _REPEAT.match(self._text, self._at)) is not None:
            low = int(written[1])
            high = low if written[2] is None else int(written[3]) if written[3] else None
            if high is not None and high < low:
                raise PatternInvalid("a repetition counts backwards")
            self._at = written.end()
            found = (low, high)
        if found is not None:
            # Lazy or greedy, the answer to "does it match" is the same.
            if self._peek() == "?":
                self._at += 1
            if self._peek() in {"*", "+"}:
                raise PatternInvalid(f"nothing to repeat at character {self._at + 1}")
        return found

    def _atom(self, depth: int) -> _Piece:
        match self._peek():
            case "(":
                return self._group(depth)
            case "^" | "$" as edge:
                self._at += 1
                return self._single(_State(edge="start" if edge == "^" else "end"))
            case "*" | "+" | "?":
                raise PatternInvalid(f"nothing to repeat at character {self._at + 1}")
            case "[":
                return self._single(_State(test=self._take(_CLASS)))
            case "\\":
                return self._single(_State(test=self._escape()))
            case ".":
                self._at += 1
                return self._single(_State(test=_test(".")))
            case character:
                self._at += 1
                return self._single(_State(test=_test(re.escape(character))))

    def _single(self, state: _State) -> _Piece:
        index = self._add(state)
        return index, [index]

    def _group(self, depth: int) -> _Piece:
        self._at += 1
        if self._peek() == "?":
            if not self._text.startswith("?:", self._at):
                raise PatternInvalid("look-around and named groups are not supported; use (?:…)")
            self._at += 2
        piece = self._alternatives(depth + 1)
        if self._peek() != ")":
            raise PatternInvalid("a group is not closed")
        self._at += 1
        return piece

    def _take(self, shape: re.Pattern[str]) -> Callable[[str], object]:
        found = shape.match(self._text, self._at)
        if found is None:
            raise PatternInvalid("a character class is not closed")
        self._at = found.end()
        inner = _SET_OPERATORS.sub(lambda one: one[1] or "\\" + one[2], found[0][1:-1])
        return _test(f"[{inner}]")

    def _escape(self) -> Callable[[str], object]:
        found = _HEX.match(self._text, self._at)
        if found is not None:
            self._at = found.end()
            return _test(found[0])
        letter = self._text[self._at + 1 : self._at + 2]
        if not letter or (letter.isalnum() and letter not in _PLAIN_ESCAPES):
            raise PatternInvalid(f"\\{letter} is not supported")
        self._at += 2
        return _test(f"\\{letter}" if letter in _PLAIN_ESCAPES else re.escape(letter))


@lru_cache(maxsize=1024)
def _test(one_character: str) -> Callable[[str], object]:
    # ASCII: \d is [0-9] and \w has no letter of other scripts, as in ECMA-262. Its \s has white space beyond ASCII, too.
    try:
        return re.compile(one_character, re.ASCII).fullmatch
    except re.error as error:
        raise PatternInvalid(f"{one_character} is not a character class: {error.msg}") from error
