"""Marked secrets, and the search for them in what was written, in every spelling that they may have taken on the way there."""

import base64
import re
import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from typing import Final
from urllib.parse import quote, unquote_to_bytes

# Without hex digits in lower case: eight of them are unmistakable among digests.
_ALPHABET: Final = "GHJKMNPQRSTVWXYZghjkmnpqrstvwxyz23456789"
_PIECE: Final = 16
_STEP: Final = 8
_TAIL: Final = 8
#: So many different letters stand in 16 of a random text.
_VARIED: Final = 5
_RUN: Final = re.compile(rb"[A-Za-z0-9_+/-]{16,}")
_HEX: Final = re.compile(rb"[0-9A-Fa-f]{32,}")
_RANDOM: Final = re.compile("[A-Za-z0-9_-]{24,}")
_TO_BASE64URL: Final = bytes.maketrans(b"+/", b"-_")
_LINE_ENDS: Final = re.compile(rb"(?:\\[rn]|[\r\n])[ \t]*")


def canary(before: str = "", *, length: int = 32) -> str:
    """Return a text that is nowhere else. before: what gives it the shape of such a secret."""
    return before + "".join(secrets.choice(_ALPHABET) for _ in range(length))


def leaks(written: Mapping[str, bytes], held: Mapping[str, str]) -> list[str]:
    """Say which of the secrets `held` is where in what was `written`; both by a name for people.

    Found are the whole text, any piece of 24 characters and the last 8; as they are, across line ends, URL-escaped, and in
    base64, base64url and hex of the whole.
    """
    return [
        f"{name} in {place} as {spelling}: {_around(view, needle)!r}"
        for place, content in written.items()
        for shape, view in _views(content)
        for name, secret in held.items()
        for spelling, needle in _needles(secret, shape)
        if needle in view
    ][:20]


def _around(view: bytes, needle: bytes) -> bytes:
    at = view.find(needle)
    return view[max(0, at - 160) : at + len(needle) + 60]


def _views(content: bytes) -> Iterator[tuple[str, bytes]]:
    yield "", content
    joined = _LINE_ENDS.sub(b"", content)
    if joined != content:
        yield "", joined
    if b"%" in content:
        yield "", unquote_to_bytes(content)
    yield "lower", content.lower()


def _needles(secret: str, shape: str) -> Iterator[tuple[str, bytes]]:
    raw = secret.encode()
    if shape == "lower":
        yield "hex", raw.hex().encode()
        yield "hex of a piece", raw[-_PIECE:].hex().encode()
        return
    yield "itself", raw
    yield "its last characters", raw[-_TAIL:]
    for at in range(0, len(raw) - _PIECE + 1, _STEP):
        yield "a piece", raw[at : at + _PIECE]
    if (escaped := quote(secret, safe="").encode()) != raw:
        yield "URL-escaped", escaped
    for offset in range(3):
        # What of the encoding does not depend on what stands before and after.
        inner = raw[offset : offset + (len(raw) - offset) // 3 * 3]
        if len(inner) >= _PIECE // 2:
            yield "base64", base64.b64encode(inner)
            yield "base64url", base64.urlsafe_b64encode(inner)


class Marks:
    """Secrets of a whole test run, too many to be looked for one by one, and what the product showed and wrote meanwhile.

    Found is any piece of 24 characters of them: as it is, in the other alphabet of base64, across line ends, URL-escaped, and
    in base64, base64url and hex of the whole.
    """

    def __init__(self) -> None:
        self._secrets: set[bytes] = set()
        self._claims: set[bytes] = set()
        self._written: dict[tuple[str, str], bytearray] = {}
        self._records: set[tuple[str, str]] = set()
        self.counted: Counter[str] = Counter()

    def hold(self, secret: str) -> None:
        """Take note of a secret in letters, digits, `-`, `_`, `+` and `/`, which belongs nowhere."""
        self._secrets.update(_pieces(secret.encode().translate(_TO_BASE64URL)))

    def hold_claim(self, value: str) -> None:
        """Take note of a claim's value, which belongs into records of the audit and nowhere else."""
        self._claims.update(_pieces(value.encode().translate(_TO_BASE64URL)))

    def hold_token(self, token: str) -> None:
        """Take note of the signature of what looks like a token."""
        parts = token.split(".")
        if len(parts) == 3:
            self.hold_random(parts[2])

    def hold_random(self, text: str) -> None:
        """Take note of it unless somebody may have thought it up, and write it elsewhere too."""
        if _is_random(text):
            self.hold(text)

    def add(self, kind: str, place: str, content: str | bytes, *, records: bool = False) -> None:
        """Take what was written somewhere. kind: of such places, by which they are counted. records: of the audit."""
        raw = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
        if (kind, place) not in self._written:
            self.counted[kind] += 1
        self._written.setdefault((kind, place), bytearray()).extend(raw + b"\n")
        if records:
            self._records.add((kind, place))

    def written(self, kind: str, place: str) -> bytes:
        """Return what was taken of a place."""
        return bytes(self._written.get((kind, place), b""))

    def search(self) -> list[str]:
        """Say where in all that was taken something is that does not belong there."""
        said: list[str] = []
        for sought, records in ((self._secrets, True), (self._secrets | self._claims, False)):
            # What one place says, others say too: most of it is looked at once.
            clean: set[bytes] = set()
            for (kind, place), content in self._written.items():
                if ((kind, place) in self._records) == records:
                    said += _found(f"{kind}: {place}", bytes(content), sought, clean)
        return said

    def found(self, place: str, content: bytes, *, records: bool = False) -> list[str]:
        """Say what of the secrets is in it, five things at most."""
        return _found(place, content, self._secrets if records else self._secrets | self._claims, set())

    @contextmanager
    def apart(self) -> Iterator["Marks"]:
        """Take what is held and written in this block for itself: a test of the search may plant what it likes."""
        inner = Marks()
        outer = {name: getattr(self, name) for name in vars(self)}
        vars(self).update(vars(inner))
        try:
            yield inner
        finally:
            vars(self).update(outer)


def _found(place: str, content: bytes, sought: AbstractSet[bytes], clean: set[bytes]) -> list[str]:
    runs = {run for view in _whole_views(content) for run in _RUN.findall(view)} - clean
    told = [run for run in runs if any(_has(sought, text) for text in _spellings(run))]
    clean |= runs.difference(told)
    return [f"a piece of a secret in {place}: {_around(content, run)!r}" for run in told[:5]]


def _has(sought: AbstractSet[bytes], text: bytes) -> bool:
    return not sought.isdisjoint([text[at : at + _PIECE] for at in range(len(text) - _PIECE + 1)])


def _whole_views(content: bytes) -> Iterator[bytes]:
    yield content
    joined = _LINE_ENDS.sub(b"", content)
    if joined != content:
        yield joined
    if b"%" in content:
        yield unquote_to_bytes(content)


def _spellings(run: bytes) -> Iterator[bytes]:
    """Yield what a run of letters may stand for, in the alphabet in which secrets are held."""
    text = run.translate(_TO_BASE64URL)
    yield text
    if _HEX.fullmatch(run):
        yield from _runs(bytes.fromhex(run[: len(run) // 2 * 2].decode()))
    elif (
        len(run) >= _PIECE * 4 // 3 and run != run.lower()
    ):  # base64 of so much has capitals, as good as always
        for offset in range(4):
            inner = text[offset:]
            yield from _runs(base64.urlsafe_b64decode(inner[: len(inner) // 4 * 4]))


def _runs(decoded: bytes) -> Iterable[bytes]:
    return (run.translate(_TO_BASE64URL) for run in _RUN.findall(decoded))


def _pieces(raw: bytes) -> Iterable[bytes]:
    # The signature of an RSA key is long; its beginning and its end stand for it.
    starts = {*range(0, min(64, len(raw)) - _PIECE + 1, _STEP), len(raw) - _PIECE, len(raw) - _PIECE - _STEP}
    return (raw[at : at + _PIECE] for at in starts if at >= 0)


def _is_random(text: str) -> bool:
    kinds = {letter.isdigit() for letter in text if letter.isalnum()}
    varied = all(len(set(piece)) >= _VARIED for piece in _pieces(text.encode()))
    return _RANDOM.fullmatch(text) is not None and len(kinds) == 2 and varied


#: Of this run: support that makes secrets, runs the product or sees its answers adds to it; `tests.support.canary_run` searches at the end.
RUN: Final = Marks()
for _text in ("an-issued-secret", "an-issued-session-token", "a-token-of-the-role"):
    RUN.hold(_text)
