"""Answers of HTTP/1.1 read from bytes as they come, within bounds, and never more generously than needed. Pure.

llhttp, strict, reads; what it leaves open is closed here: how many headers of how many bytes, how long a body, no second
answer, no other transfer coding than chunked, and nothing that is called an answer before its end was seen.
"""

from typing import Final

import httptools

from gateway.outbound.http import Answer, FailureKind, OutboundFailure

#: Of an answer's status line and headers, its trailers and the 1xx answers before it, together.
MAX_HEAD_BYTES: Final = 32_768
MAX_HEADERS: Final = 100
_VERSIONS: Final = frozenset({"1.0", "1.1"})
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
# A chunk of one byte takes six; more than this around a body is padding.
_MOST_AROUND: Final = 8
BROKEN: Final = "the connection broke or the answer is not HTTP"


class AnswerReader:
    """Reads the answers of one connection, one after the other.

    keep: the last answer came whole and leaves the connection fit for another.
    """

    def __init__(self, host: str) -> None:
        """Prepare. host: for the words of failures."""
        self._host = host
        self._parser = httptools.HttpResponseParser(self)
        self.keep = True
        self.begin(0)

    def begin(self, max_answer_bytes: int) -> None:
        """Expect an answer with a body of at most so many bytes."""
        self._most = max_answer_bytes
        self._status = 0
        self._headers: dict[str, str] = {}
        self._body = bytearray()
        self._received = self._head_bytes = self._lines = 0
        self._headed: bool = False
        self._whole: bool = False
        self._failure: OutboundFailure | None = None

    def feed(self, data: bytes) -> Answer | None:
        """Take what came; return the answer once it is whole. Raises OutboundFailure, and then the connection is of no more use."""
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.keep = False
            if not self._whole:
                self._fail("broken", f"{self._host}: {BROKEN}")
        if self._failure is not None:
            self.keep = False
            raise self._failure
        if self._whole:
            return self._answer()
        self._bound()
        return None

    def end(self) -> Answer:
        """Take the end of the connection, which is the end of a body without a stated length (RFC 9112 section 6.3); raises OutboundFailure."""
        self.keep = False
        stated = "content-length" in self._headers or "transfer-encoding" in self._headers
        if self._failure is not None or not self._headed or stated:
            raise self._failure or OutboundFailure("broken", f"{self._host}: {BROKEN}", sent=True)
        return self._answer()

    # What llhttp calls. A failure is kept for `feed` to raise: an exception in here would lose its kind.

    def on_message_begin(self) -> None:
        """Begin an answer; one that nobody asked for makes the connection unfit."""
        if self._whole:
            self.keep = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, or a trailer, which is counted and forgotten."""
        if self._whole:
            return
        self._head_bytes += len(name) + len(value)
        self._lines += 1
        if self._head_bytes > MAX_HEAD_BYTES or self._lines > MAX_HEADERS:
            self._fail("broken", f"{self._host}: {BROKEN}")
        elif not self._headed:
            key, text = name.decode("latin-1").lower(), value.decode("latin-1").strip()
            found = self._headers.get(key)
            self._headers[key] = text if found is None else f"{found}, {text}"

    def on_headers_complete(self) -> None:
        """Judge the head as soon as it is there."""
        if self._whole:
            return
        self._status = self._parser.get_status_code()
        if self._status < 200:
            return
        self._headed = True
        coding = self._headers.get("transfer-encoding")
        length = self._headers.get("content-length", "0")
        if self._status in _REDIRECTS:
            self._fail("redirect", f"{self._host} answered with a redirect")
        elif self._headers.get("content-encoding", "identity").lower() != "identity":
            self._fail("encoding", f"{self._host} compressed its answer unasked")
        elif self._in_doubt(coding, length):
            self._fail("broken", f"{self._host}: {BROKEN}")
        elif int(length) > self._most:
            self._too_large()

    def on_body(self, data: bytes) -> None:
        """Take a piece of the body."""
        if self._whole or self._failure is not None:
            return
        self._body += data
        if len(self._body) > self._most:
            self._too_large()

    def on_message_complete(self) -> None:
        """End an answer; a 1xx is no answer yet (RFC 9110 section 15.2), and 101 is none we asked for."""
        if self._whole:
            return
        if self._status < 200:
            self._headers.clear()
            if self._status == 101:
                self._fail("broken", f"{self._host}: {BROKEN}")
            return
        self._whole = True
        self.keep = self._parser.should_keep_alive()

    def _in_doubt(self, coding: str | None, length: str) -> bool:
        return (
            self._parser.get_http_version() not in _VERSIONS
            or (coding is not None and coding.lower() != "chunked")
            or not length.isdecimal()
        )

    def _answer(self) -> Answer:
        # Nothing of it stays here: the connection may be idle for long, and answers hold credentials.
        body, self._body = bytes(self._body), bytearray()
        headers, self._headers = self._headers, {}
        return Answer(status=self._status, headers=headers, body=body)

    def _bound(self) -> None:
        """Stop what llhttp would go on reading without an end: a header without one, chunks with long extensions."""
        if not self._headed and self._received > MAX_HEAD_BYTES:
            self._fail("broken", f"{self._host}: {BROKEN}")
        elif self._received > MAX_HEAD_BYTES + _MOST_AROUND * self._most:
            self._too_large()
        if self._failure is not None:
            self.keep = False
            raise self._failure

    def _too_large(self) -> None:
        self._fail("too_large", f"{self._host} answered with more than {self._most} bytes")

    def _fail(self, kind: FailureKind, message: str) -> None:
        if self._failure is None:
            self._failure = OutboundFailure(kind, message, sent=True)
