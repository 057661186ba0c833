"""Where a request ends does not depend on how its bytes are cut into pieces."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.doors.framing import ChunkedBody, FramingLimits, HeadReader, PlainBody, judge_head
from gateway.errors import GatewayError, RequestRejected
from tests.support.hang import no_hang

LIMITS = FramingLimits()
HEAD = b"POST /v1/executions HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nUpgrade: h2c\r\n\r\n"


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in itertools.pairwise(edges)]


CUTS = st.lists(st.integers(min_value=0, max_value=10_000), max_size=12)


@given(CUTS, st.binary(max_size=40))
def test_a_head_ends_in_the_same_place_however_it_is_cut(cuts: list[int], body: bytes) -> None:
    reader = HeadReader(LIMITS)
    rest = b""
    text = b""

    for piece in pieces(HEAD + body, cuts):
        found = None if text else reader.add(piece)
        if found:
            text, rest = found
        elif text:
            rest += piece

    assert (text, rest) == (HEAD, body)


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=6), CUTS, st.binary(max_size=20))
def test_a_chunked_body_ends_in_the_same_place_however_it_is_cut(
    chunks: list[bytes], cuts: list[int], following: bytes
) -> None:
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    reader = ChunkedBody(LIMITS)
    taken = 0

    for piece in pieces(body + following, cuts):
        taken += 0 if reader.done else reader.take(piece)

    assert reader.done
    assert taken == len(body)


@given(st.binary(max_size=300), CUTS)
def test_any_bytes_after_chunked_are_taken_or_refused_and_never_more(data: bytes, cuts: list[int]) -> None:
    reader = ChunkedBody(LIMITS)

    try:
        for piece in pieces(data, cuts):
            assert 0 <= reader.take(piece) <= len(piece)
    except RequestRejected:
        pass


@given(st.binary(max_size=600))
def test_any_bytes_as_a_head_are_judged_or_refused(data: bytes) -> None:
    try:
        head = judge_head(data + b"\r\n\r\n", LIMITS)
    except GatewayError:
        return

    assert head.text().endswith(b"\r\n\r\n")


def test_a_body_of_a_declared_length_takes_exactly_that() -> None:
    reader = PlainBody(5)

    assert [reader.take(b"abc"), reader.take(b"defgh")] == [3, 2]
    assert reader.done


@pytest.mark.requirement("HT-04")
@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param(b"3;ext=1\r\nabc\r\n0\r\n\r\n", id="an-extension"),
        pytest.param(b"3;\r\nabc\r\n0\r\n\r\n", id="an-empty-extension"),
        pytest.param(b"3 \r\nabc\r\n0\r\n\r\n", id="a-blank-after-the-size"),
        pytest.param(b"0x3\r\nabc\r\n0\r\n\r\n", id="a-prefix"),
        pytest.param(b"3\nabc\r\n0\r\n\r\n", id="a-bare-line-feed"),
        pytest.param(b"0\r\nX: a\r\n\r\n", id="a-trailer"),
    ],
)
def test_chunks_in_another_writing_are_refused_before_any_parser_sees_them(chunks: bytes) -> None:
    with pytest.raises(RequestRejected):
        ChunkedBody(LIMITS).take(chunks)


@pytest.mark.requirement("HT-17")
def test_an_upgrade_never_reaches_the_parser() -> None:
    head = judge_head(HEAD, LIMITS)

    assert b"\r\nupgrade:" not in head.text().lower()
    assert head.body_length is None


def test_a_bare_line_feed_is_seen_at_the_start_of_a_piece() -> None:
    reader = HeadReader(LIMITS)
    reader.add(b"GET / HTTP/1.1\r\nX: a")

    with pytest.raises(RequestRejected):
        reader.add(b"\nY: b")


def test_a_line_end_cut_in_two_is_still_one() -> None:
    reader = HeadReader(LIMITS)
    reader.add(b"GET / HTTP/1.1\r")

    assert reader.add(b"\nHost: a\r\n\r\n") is not None


@pytest.mark.requirement("HT-01")
@pytest.mark.parametrize(
    "field",
    [
        pytest.param(b"a" * 500_000 + b":" + b"b" * 500_000 + b"\0", id="control-character-at-the-end"),
        pytest.param(b"a" * 1_000_000, id="no-colon"),
        pytest.param(b"a:" * 500_000 + b"\0", id="many-colons"),
    ],
)
def test_a_malformed_field_costs_no_square_of_its_length(field: bytes) -> None:
    head = b"GET / HTTP/1.1\r\nHost: a\r\n" + field + b"\r\n\r\n"

    with no_hang(), pytest.raises(RequestRejected):
        judge_head(head, FramingLimits())
