"""Where a request ends: our own strict reading of head and chunks, before the parser sees a byte. Pure."""

import re
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from gateway.errors import ErrorCode, RequestRejected


@dataclass(frozen=True, slots=True, kw_only=True)
class FramingLimits:
    """What a request may take up on the wire.

    max_header_bytes:       request line, fields and the blank line together.
    max_fields:             header fields.
    max_request_line_bytes: without its line end.
    max_chunks:             pieces of a chunked body; one-byte chunks cost more than their bytes.
    """

    max_header_bytes: int = 32 * 1024
    max_fields: int = 64
    max_request_line_bytes: int = 4 * 1024
    max_chunks: int = 8192


class Head(NamedTuple):
    """A request head without ambiguity.

    line:        the request line; method and target are its parts.
    body_length: bytes of the body, None when it is chunked.
    fields:      names in lower case, values without the white space around them.
    is_plain:    HTTP/1.1 that asks for nothing besides its answer: no `Expect`, `Upgrade` or `Connection`.
    """

    line: bytes
    method: bytes
    target: bytes
    fields: list[tuple[bytes, bytes]]
    body_length: int | None
    is_plain: bool

    def text(self) -> bytes:
        """Return the head for the parser: what was judged and nothing else, so that both read the same.

        Without `Upgrade`: HTTP/1.1 is all we speak (RFC 9110 section 7.8).
        """
        kept = [b"%b: %b\r\n" % field for field in self.fields if field[0] != b"upgrade"]
        return b"".join([self.line, _LINE_END, *kept, _LINE_END])


_LINE_END: Final = b"\r\n"
# Origin form only: absolute form, authority form and `*` belong to proxies. No fragment.
_REQUEST_LINE: Final = re.compile(
    rb"(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS|TRACE) (/[!\"$-~]*) HTTP/1\.([01])"
)
# RFC 9110 sections 5.1 and 5.5: no blank before the colon, no control characters, no folding.
_NAME_BYTES: Final = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_VALUE_BYTES: Final = bytes([0x09, *range(0x20, 0x7F), *range(0x80, 0x100)])
_HOST: Final = re.compile(rb"[A-Za-z0-9._:\[\]-]{1,255}")
_ASKS_FOR_MORE: Final = frozenset({b"expect", b"upgrade", b"connection"})
_LENGTH: Final = re.compile(rb"[0-9]{1,15}")
_CHUNK_SIZE: Final = re.compile(rb"[0-9A-Fa-f]{1,8}")
_LONGEST_SIZE_LINE: Final = 10


def malformed(message: str) -> RequestRejected:
    """Return the refusal of a request whose framing is not exactly one thing."""
    return RequestRejected(ErrorCode.REQUEST_MALFORMED, message)


class HeadReader:
    """Gathers one request head after the other and refuses it while it grows; holds `max_header_bytes` at most.

    Raises RequestRejected: `uri_too_long`, `headers_too_large`, `request_malformed`.
    """

    def __init__(self, limits: FramingLimits) -> None:
        self._limits = limits
        self._bytes = bytearray()

    def __bool__(self) -> bool:
        return bool(self._bytes)

    def add(self, data: bytes) -> tuple[bytes, bytes] | None:
        """Return the complete head and what follows it, or None while more is needed."""
        if not self._bytes and (end := data.find(b"\r\n\r\n")) >= 0:
            # The usual case: the whole head in one piece.
            self._check(data, end + 4)
            return data[: end + 4], data[end + 4 :]
        # Only new bytes are searched (and three before them), so dripping costs no square of the length.
        known = len(self._bytes)
        self._bytes += data[: self._limits.max_header_bytes + 1 - known]
        found = self._bytes.find(b"\r\n\r\n", max(0, known - 3))
        end = found + 4 if found >= 0 else len(self._bytes)
        self._check(self._bytes, end)
        # Seen at once: a client that ends its lines so never sends the end that we wait for.
        if self._bytes.count(b"\n", known, end) != self._bytes.count(_LINE_END, max(0, known - 1), end):
            raise malformed("A line of the request's head ends in a bare line feed.")
        if found < 0:
            return None
        head = bytes(self._bytes[:end])
        self._bytes = bytearray()
        return head, data[end - known :]

    def _check(self, text: bytes | bytearray, end: int) -> None:
        longest = self._limits.max_request_line_bytes
        if end > longest + 1 and text.find(_LINE_END, 0, longest + 2) < 0:
            raise RequestRejected(ErrorCode.URI_TOO_LONG, f"The request line is longer than {longest} bytes.")
        if end > self._limits.max_header_bytes:
            raise _headers_too_large()


def _headers_too_large() -> RequestRejected:
    return RequestRejected(
        ErrorCode.HEADERS_TOO_LARGE, "The request's header fields are larger or more than allowed."
    )


def judge_head(text: bytes, limits: FramingLimits) -> Head:
    """Say how long the request's body is, if no two readers could differ about it.

    Raises RequestRejected: `request_malformed`, `headers_too_large`.
    """
    line_end = text.index(_LINE_END)
    known = _REQUEST_LINE.fullmatch(text, 0, line_end)
    if known is None:
        raise malformed("The request line is not that of an HTTP/1.1 request to a path.")
    fields = _fields(text[line_end + 2 : -2], limits)
    names = [name for name, _ in fields]
    found = dict(fields)
    if names.count(b"host") != 1 or not _HOST.fullmatch(found[b"host"]):
        raise malformed("A request carries exactly one Host.")
    http_1_0 = known[3] == b"0"
    if names.count(b"content-length") + names.count(b"transfer-encoding") > 1:
        raise malformed("The length of the body is stated more than once.")
    body_length = _body_length(found, http_1_0=http_1_0)
    asks_for_more = not _ASKS_FOR_MORE.isdisjoint(names)
    return Head(
        line=text[:line_end],
        body_length=body_length,
        method=known[1],
        target=known[2],
        fields=fields,
        is_plain=not (asks_for_more or http_1_0),
    )


def _fields(block: bytes, limits: FramingLimits) -> list[tuple[bytes, bytes]]:
    # To look for one byte takes half the time of looking for two; each line must end in the other as well.
    lines = block.split(b"\n", limits.max_fields + 1)
    if len(lines) > limits.max_fields + 1:
        raise _headers_too_large()
    fields = []
    for line in lines[:-1]:
        name, colon, value = line[:-1].partition(b":")
        # What is left when everything allowed is taken away; a token takes a pattern four times as long.
        if (
            not (name and colon and line.endswith(b"\r"))
            or name.translate(None, _NAME_BYTES)
            or value.translate(None, _VALUE_BYTES)
        ):
            raise malformed("A header field is malformed or folded.")
        fields.append((name.lower(), value.strip(b" \t")))
    return fields


def _body_length(found: dict[bytes, bytes], *, http_1_0: bool) -> int | None:
    coding = found.get(b"transfer-encoding")
    if coding is not None:
        if coding.lower() != b"chunked" or http_1_0:
            raise malformed("The only transfer coding is chunked.")
        return None
    length = found.get(b"content-length")
    if length is None:
        return 0
    if not _LENGTH.fullmatch(length):
        raise malformed("Content-Length is not a number.")
    return int(length)


class BodyReader(Protocol):
    """Says which bytes still belong to a body."""

    done: bool

    def take(self, data: bytes) -> int:
        """Return how many bytes of `data`, from its start, belong to the body."""
        ...


class PlainBody:
    """A body of a declared length."""

    def __init__(self, length: int) -> None:
        self._left = length
        self.done = length == 0

    def take(self, data: bytes) -> int:
        """Return how many bytes of `data` belong to the body."""
        taken = min(self._left, len(data))
        self._left -= taken
        self.done = self._left == 0
        return taken


class ChunkedBody:
    """A body in chunks without extensions and without trailers (RFC 9112 section 7.1).

    Both are legal and both have been read differently by two parsers on one path. What ends a chunk's data is
    checked by the parser behind us.
    """

    def __init__(self, limits: FramingLimits) -> None:
        self._line = b""
        self._left = 0
        self._chunks_left = limits.max_chunks
        self._last = False
        self.done = False

    def take(self, data: bytes) -> int:
        """Return how many bytes of `data` belong to the body; raises RequestRejected (`request_malformed`)."""
        position = 0
        while position < len(data) and not self.done:
            if self._left:
                step = min(self._left, len(data) - position)
                self._left -= step
                position += step
            else:
                position = self._take_line(data, position)
        return position

    def _take_line(self, data: bytes, start: int) -> int:
        end = data.find(b"\n", start, start + _LONGEST_SIZE_LINE - len(self._line))
        stop = end + 1 if end >= 0 else min(len(data), start + _LONGEST_SIZE_LINE - len(self._line))
        self._line += data[start:stop]
        if end >= 0:
            self._read_line(self._line)
            self._line = b""
        elif len(self._line) >= _LONGEST_SIZE_LINE:
            raise malformed("A chunk's size line is too long; extensions are not accepted.")
        return stop

    def _read_line(self, line: bytes) -> None:
        if self._last:
            if line != _LINE_END:
                raise malformed("Trailers after a chunked body are not accepted.")
            self.done = True
            return
        if not line.endswith(_LINE_END) or not _CHUNK_SIZE.fullmatch(line, 0, len(line) - 2):
            raise malformed("A chunk's size is malformed, or has an extension.")
        size = int(line, 16)
        self._last = size == 0
        self._left = size + 2 if size else 0
        self._chunks_left -= 1
        if self._chunks_left < 0:
            raise malformed("The body has too many chunks.")
