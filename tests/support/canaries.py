"""Marked secrets, and the search for them in what was written, in every spelling that they may have taken on the way there."""

import base64
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote, unquote_to_bytes

# Without hex digits in lower case: eight of them are unmistakable among digests.
_ALPHABET: Final = "GHJKMNPQRSTVWXYZghjkmnpqrstvwxyz23456789"
_PIECE: Final = 16
_STEP: Final = 8
_TAIL: Final = 8
_RUN: Final = re.compile(rb"[A-Za-z0-9_+/-]{16,}")
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


@dataclass(slots=True)
class Marks:
    """Secrets of a whole test run, too many to be looked for one by one, and what the product wrote meanwhile.

    Found is any piece of 24 characters of them.
    """

    texts: set[bytes] = field(default_factory=set)
    written: dict[str, bytes] = field(default_factory=dict)
    _pieces: set[bytes] = field(default_factory=set)

    def hold(self, secret: str) -> None:
        """Take note of a secret in letters, digits, `-` and `_`."""
        raw = secret.encode()
        self._pieces.update(_pieces(raw))

    def add(self, place: str, content: str | bytes) -> None:
        """Take what was written somewhere."""
        raw = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
        self.written[place] = self.written.get(place, b"") + raw

    def found(self, place: str, content: bytes) -> list[str]:
        """Say what of the secrets is in it."""
        said = [f"{text!r} in {place}" for text in self.texts if text in content]
        for run in _RUN.finditer(content):
            text = run[0]
            if len(text) == 64 and text.isalnum() and text == text.lower():
                continue  # a digest
            for at in range(len(text) - _PIECE + 1):
                if text[at : at + _PIECE] in self._pieces:
                    said.append(f"a piece of a token's signature in {place}: {_around(content, text)!r}")
                    break
        return said[:5]


def _pieces(raw: bytes) -> Iterable[bytes]:
    # The signature of an RSA key is long; its beginning and its end stand for it.
    starts = {*range(0, min(64, len(raw)) - _PIECE + 1, _STEP), len(raw) - _PIECE, len(raw) - _PIECE - _STEP}
    return (raw[at : at + _PIECE] for at in starts if at >= 0)


#: Of this run. Support that makes secrets or runs the product adds to it; `tests.support.canary_plugin` searches at the end.
RUN: Final = Marks(texts={b"an-issued-secret", b"an-issued-session-token", b"hvs.a-token-of-the-role"})
