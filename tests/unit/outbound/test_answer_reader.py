"""What counts as an answer, whatever a peer sends: exactly one, whole, within bounds."""

import pytest

from gateway.outbound.answer_reader import MAX_HEAD_BYTES, MAX_HEADERS, AnswerReader
from gateway.outbound.http import Answer, OutboundFailure

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def read(*pieces: bytes, most: int = 100) -> tuple[Answer | None, AnswerReader]:
    reader = AnswerReader("aws.test")
    reader.begin(most)
    answer = None
    for piece in pieces:
        answer = reader.feed(piece)
    return answer, reader


def refused(*pieces: bytes, most: int = 100) -> OutboundFailure:
    with pytest.raises(OutboundFailure) as caught:
        read(*pieces, most=most)
    return caught.value


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(GOOD, id="length"),
        pytest.param(CHUNKED + b"2\r\nok\r\n0\r\n\r\n", id="chunks"),
        pytest.param(
            CHUNKED + b"1;a=b\r\no\r\n1\r\nk\r\n0\r\nTrailer: x\r\n\r\n", id="extension and trailer"
        ),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" + GOOD, id="after 100"),
        pytest.param(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + GOOD, id="after 103"),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 1000], ids=["byte by byte", "in pieces", "at once"])
def test_an_answer_is_the_same_however_its_bytes_arrive(data: bytes, size: int) -> None:
    answer, reader = read(*(data[at : at + size] for at in range(0, len(data), size)))

    assert answer is not None
    assert (answer.status, answer.body, reader.keep) == (200, b"ok", True)
    assert {"trailer", "link"}.isdisjoint(answer.headers)


def test_a_connection_reads_one_answer_after_the_other_and_nothing_of_the_first_is_left() -> None:
    _, reader = read(b"HTTP/1.1 400 Bad\r\nX-Amzn-RequestId: 1\r\nContent-Length: 3\r\n\r\nbad")

    reader.begin(100)
    answer = reader.feed(GOOD)

    assert answer == Answer(status=200, headers={"content-length": "2"}, body=b"ok")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", id="two lengths"
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", id="two that differ"
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok", id="a list of lengths"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nok", id="negative length"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nok", id="length overflows"
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok", id="blank before the colon"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            id="length and chunks",
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", id="another coding"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n", id="coding that is none"),
        pytest.param(CHUNKED + b"zz\r\nok\r\n", id="chunk size no number"),
        pytest.param(CHUNKED + b"-1\r\nok\r\n", id="chunk size negative"),
        pytest.param(CHUNKED + b"fffffffffffffffff\r\nok\r\n", id="chunk size overflows"),
        pytest.param(CHUNKED + b"2\r\nokk\r\n", id="chunk longer than it says"),
        pytest.param(b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", id="bare line ends"),
        pytest.param(b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 2\r\n\r\nok", id="folded header"),
        pytest.param(b"HTTP/1.1 200 OK\r\nA: b\0c\r\nContent-Length: 2\r\n\r\nok", id="NUL in a header"),
        pytest.param(b"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n", id="101"),
        pytest.param(b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok", id="another version"),
        pytest.param(b"HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok", id="status of two digits"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", id="another protocol"),
        pytest.param(b"\x15\x03\x01\x00\x02\x02\x46", id="TLS alert"),
    ],
)
def test_what_two_readers_could_take_for_two_answers_is_none(data: bytes) -> None:
    failure = refused(data)

    assert (failure.kind, failure.sent) == ("broken", True)
    assert str(failure) == "aws.test: the connection broke or the answer is not HTTP"


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([b"HTTP/1.1 200 OK\r\nA: " + b"x" * (MAX_HEAD_BYTES + 1)], id="a header without end"),
        pytest.param([b"HTTP/1.1 200 ", b"x" * (MAX_HEAD_BYTES + 1)], id="a status line without end"),
        pytest.param([b"HTTP/1.1 200 OK\r\n", *[b"A: " + b"x" * 999 + b"\r\n"] * 40], id="much in many"),
        pytest.param([b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * (MAX_HEADERS + 1) + b"\r\n"], id="too many"),
        pytest.param([b"HTTP/1.1 100 Continue\r\n\r\n"] * 2_000, id="1xx without end"),
        pytest.param([CHUNKED + b"2\r\nok\r\n0\r\n" + b"A: b\r\n" * (MAX_HEADERS + 1)], id="trailers"),
    ],
)
def test_what_comes_beside_a_body_is_bounded(pieces: list[bytes]) -> None:
    assert refused(*pieces).kind == "broken"


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n"], id="as it says"),
        pytest.param([CHUNKED, b"65\r\n" + b"x" * 101 + b"\r\n"], id="in a chunk"),
        pytest.param([CHUNKED, *[b"1\r\nx\r\n"] * 101], id="in many chunks"),
        pytest.param([b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 101], id="until the end"),
        pytest.param([CHUNKED, b"2;", *[b"x" * 1000] * 40], id="in a chunk's extension"),
    ],
)
def test_reading_stops_where_an_answer_is_larger_than_was_asked_for(pieces: list[bytes]) -> None:
    failure = refused(*pieces)

    assert (failure.kind, str(failure)) == ("too_large", "aws.test answered with more than 100 bytes")


def test_an_answer_of_just_the_size_that_was_asked_for_is_taken() -> None:
    answer, _ = read(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + b"x" * 100)

    assert answer is not None
    assert len(answer.body) == 100


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_a_failure_as_soon_as_its_head_is_read(status: int) -> None:
    failure = refused(f"HTTP/1.1 {status} Over there\r\nLocation: /\r\nContent-Length: 9\r\n\r\n".encode())

    assert (failure.kind, str(failure)) == ("redirect", "aws.test answered with a redirect")


def test_a_compressed_body_is_a_failure_because_nobody_asked_for_it() -> None:
    assert refused(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n").kind == "encoding"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(GOOD + GOOD, id="a second answer"),
        pytest.param(GOOD + b"junk", id="junk"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok", id="close"),
        pytest.param(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", id="HTTP/1.0"),
    ],
)
def test_an_answer_counts_and_its_connection_does_not_where_more_came_or_the_peer_says_so(
    data: bytes,
) -> None:
    answer, reader = read(data)

    assert answer is not None
    assert (answer.body, reader.keep) == (b"ok", False)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Le", id="in the head"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n", id="after 100"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok", id="before the length"),
        pytest.param(CHUNKED + b"2\r\nok\r\n", id="before the last chunk"),
    ],
)
def test_an_answer_that_ends_early_is_none(data: bytes) -> None:
    _, reader = read(data)

    with pytest.raises(OutboundFailure) as caught:
        reader.end()

    assert (caught.value.kind, caught.value.sent, reader.keep) == ("broken", True, False)


def test_a_body_without_a_stated_length_ends_with_its_connection() -> None:
    _, reader = read(b"HTTP/1.1 200 OK\r\n\r\nok")

    assert (reader.end().body, reader.keep) == (b"ok", False)


def test_an_idle_connection_holds_nothing_of_its_last_answer() -> None:
    _, reader = read(b"HTTP/1.1 200 OK\r\nX-Key: secret\r\nContent-Length: 6\r\n\r\nsecret")

    assert "secret" not in str(vars(reader))


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_that_has_no_body_ends_with_its_head(status: int) -> None:
    answer, reader = read(f"HTTP/1.1 {status} None\r\n\r\n".encode())

    assert answer is not None
    assert (answer.status, answer.body, reader.keep) == (status, b"", True)
