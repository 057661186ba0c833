"""What the strict JSON reader accepts and refuses."""

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway import strict_json
from gateway.ascii_json import ascii_json
from gateway.identity.reading import QUICK_JSON
from gateway.strict_json import TOKEN_LIMITS, JsonLimits, Quick, StrictJsonError, parse_json_object

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


def refused(data: bytes, limits: JsonLimits | None = None) -> StrictJsonError:
    with pytest.raises(StrictJsonError) as caught:
        parse_json_object(data, limits or JsonLimits())
    return caught.value


@pytest.mark.requirement("TV-08")
@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"   ", id="blank"),
        pytest.param(b"[]", id="array"),
        pytest.param(b'"text"', id="string"),
        pytest.param(b"null", id="null"),
        pytest.param(b"{} {}", id="two-objects"),
        pytest.param(b"{}x", id="trailing-text"),
        pytest.param(b"{}\x00", id="trailing-nul"),
        pytest.param("{}\u00a0".encode(), id="trailing-no-break-space"),
        pytest.param(b"{}\x0c", id="trailing-form-feed"),
        pytest.param(b'\xef\xbb\xbf{"a":1}', id="byte-order-mark"),
        pytest.param('{"a":1}'.encode("utf-16"), id="utf-16"),
        pytest.param('{"a":1}'.encode("utf-16-le"), id="utf-16-le"),
        pytest.param('{"a":1}'.encode("utf-32-be"), id="utf-32-be"),
        pytest.param(b'{"a":"\xff"}', id="not-utf-8"),
        pytest.param(b'{"a":"\xed\xa0\x80"}', id="surrogate-in-utf-8"),
        pytest.param(b'{"a":"\xc0\xaf"}', id="overlong-utf-8"),
        pytest.param(b"{'a':1}", id="single-quotes"),
        pytest.param(b'{"a":1,}', id="trailing-comma"),
        pytest.param(b'{"a":01}', id="leading-zero"),
        pytest.param(b'{"a":+1}', id="plus"),
        pytest.param(b'{"a":.5}', id="bare-fraction"),
        pytest.param(b'{"a":"\n"}', id="raw-control-character"),
        pytest.param(b'{"a":"\\x41"}', id="unknown-escape"),
        pytest.param(b'{"a":1 /* no */}', id="comment"),
        pytest.param(b'{"a', id="unfinished-string"),
        pytest.param(b'{"a":"\\', id="unfinished-escape"),
        pytest.param('{"a":\u0661}'.encode(), id="arabic-digit"),
    ],
)
def test_only_one_utf_8_json_object_is_accepted(data: bytes) -> None:
    assert refused(data).kind == "invalid"


@pytest.mark.requirement("TV-08")
def test_json_white_space_around_the_object_is_accepted() -> None:
    assert parse_json_object(b' \t\r\n{"a": 1}\n ') == {"a": 1}


@pytest.mark.requirement("TV-09")
@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b'{"iss":1,"iss":1}', id="plain"),
        pytest.param(b'{"iss":1,"\\u0069ss":2}', id="escaped"),
        pytest.param(b'{"a":{"b":[{"c":1,"c":2}]}}', id="deep"),
        pytest.param(b'{"":1,"":2}', id="empty-name"),
    ],
)
def test_a_name_that_occurs_twice_in_one_object_is_refused_at_every_depth(data: bytes) -> None:
    assert refused(data).kind == "duplicate"


@pytest.mark.requirement("TV-09")
def test_the_same_name_in_two_objects_is_no_duplicate() -> None:
    assert parse_json_object(b'{"a":{"b":1},"c":{"b":1}}') == {"a": {"b": 1}, "c": {"b": 1}}
    # Written so that the quick look leaves it to the close one.
    assert parse_json_object(b'{"a":{"b":"\\n"},"c":{"b":1}}') == {"a": {"b": "\n"}, "c": {"b": 1}}


@pytest.mark.requirement("TV-10")
@pytest.mark.parametrize(
    "value",
    [
        pytest.param(b"NaN", id="nan"),
        pytest.param(b"Infinity", id="infinity"),
        pytest.param(b"-Infinity", id="minus-infinity"),
        pytest.param(b"1e999", id="overflow"),
        pytest.param(b"-1e999", id="negative-overflow"),
        pytest.param(b'"\\ud800"', id="lone-high-surrogate"),
        pytest.param(b'"\\udc00x"', id="lone-low-surrogate"),
        pytest.param(b'[["\\ud800"]]', id="lone-surrogate-in-arrays"),
        pytest.param(b'{"\\ud800":1}', id="lone-surrogate-in-a-name"),
    ],
)
def test_values_that_other_parsers_read_differently_are_refused(value: bytes) -> None:
    assert refused(b'{"a":' + value + b"}").kind == "invalid"


@pytest.mark.requirement("TV-10")
def test_an_escaped_surrogate_pair_is_one_character() -> None:
    assert parse_json_object(b'{"a":"\\ud83d\\ude00"}') == {"a": "\U0001f600"}


LIMITS = JsonLimits(depth=3, members=4, array_length=5, name_length=6, string_length=7, digits=8)


@pytest.mark.requirement("TV-11")
@pytest.mark.parametrize(
    ("at_the_limit", "beyond"),
    [
        pytest.param(b'{"a":[[1]]}', b'{"a":[[[1]]]}', id="depth-of-arrays"),
        pytest.param(b'{"a":{"b":{}}}', b'{"a":{"b":{"c":{}}}}', id="depth-of-objects"),
        pytest.param(b'{"a":{"b":1,"c":2,"d":3}}', b'{"a":{"b":1,"c":2,"d":3,"e":4}}', id="members"),
        pytest.param(b'{"a":[1,2,3,4,5]}', b'{"a":[1,2,3,4,5,6]}', id="array"),
        pytest.param(b'{"a":[[1,2,3,4,5]]}', b'{"a":[[1,2,3,4,5,6]]}', id="array-in-array"),
        pytest.param(b'{"abcdef":1}', b'{"abcdefg":1}', id="name"),
        pytest.param(b'{"a":"1234567"}', b'{"a":"12345678"}', id="string"),
        pytest.param(b'{"a":["1234567"]}', b'{"a":["12345678"]}', id="string-in-array"),
        pytest.param(b'{"a":12345678}', b'{"a":123456789}', id="integer"),
        pytest.param(b'{"a":1.345678}', b'{"a":1.3456789}', id="fraction"),
    ],
)
def test_each_limit_holds_exactly(at_the_limit: bytes, beyond: bytes) -> None:
    parse_json_object(at_the_limit, LIMITS)

    assert refused(beyond, LIMITS).kind == "too_complex"


def _of_members(count: int) -> bytes:
    return b"{" + b",".join(b'"%d":1' % number for number in range(count)) + b"}"


@pytest.mark.requirement("TV-11")
@pytest.mark.parametrize("written", [b"", b"\\n"], ids=["plain", "with-an-escape"])
@pytest.mark.parametrize(
    ("most", "beyond"),
    [
        pytest.param(b'{"a":' + b"[" * 15 + b"]" * 15 + b"}", b'{"a":' + b"[" * 16 + b"]" * 16 + b"}", id="depth"),
        pytest.param(_of_members(511), _of_members(512), id="members"),
        pytest.param(
            b'{"a":[' + b"1," * 1_023 + b"1]}", b'{"a":[' + b"1," * 1_024 + b"1]}", id="array"
        ),
        pytest.param(b'{"' + b"n" * 256 + b'":1}', b'{"' + b"n" * 257 + b'":1}', id="name"),
        pytest.param(b'{"a":"' + b"s" * 8_192 + b'"}', b'{"a":"' + b"s" * 8_193 + b'"}', id="string"),
        pytest.param(b'{"a":' + b"1" * 64 + b"}", b'{"a":' + b"1" * 65 + b"}", id="digits"),
    ],
)  # fmt: skip
def test_a_token_may_be_as_complex_as_this_and_not_more(written: bytes, most: bytes, beyond: bytes) -> None:
    def with_another_member(data: bytes) -> bytes:
        return data[:-1] + b',"z":"' + written + b'"}'

    parse_json_object(with_another_member(most))

    assert refused(with_another_member(beyond)).kind == "too_complex"


@pytest.mark.requirement("TV-11")
def test_what_stands_side_by_side_is_not_nested() -> None:
    data = b'{"a":[' + b"{}," * 40 + b"{}]}"

    assert parse_json_object(data) == {"a": [{}] * 41}


@pytest.mark.requirement("TV-11")
@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b'{"a":' + b"[" * 100_000, id="arrays"),
        pytest.param(b'{"a":' * 100_000, id="objects"),
        pytest.param(b'{"' + b"\\" * 99_999 + b'":' + b"[" * 1000, id="backslashes"),
    ],
)
def test_depth_is_counted_before_the_parser_recurses(data: bytes) -> None:
    assert refused(data).kind in {"too_complex", "invalid"}


@pytest.mark.requirement("TV-11")
def test_brackets_and_colons_inside_strings_are_not_structure() -> None:
    text = '[{:"\\' * 300

    assert parse_json_object(json.dumps({"a": text}).encode()) == {"a": text}


@pytest.mark.requirement("TV-10")
def test_no_message_shows_the_text() -> None:
    fault = refused(b'{"a": hunter2}')

    assert "hunter2" not in f"{fault} {fault.__cause__} {fault.args}"
    # The library's own error holds the text; nothing that shows this one may follow it there.
    assert fault.__suppress_context__


@given(st.dictionaries(st.text(max_size=8), _JSON, max_size=5))
def test_whatever_the_standard_library_writes_is_read_back(value: dict[str, object]) -> None:
    limits = JsonLimits(depth=50)

    assert parse_json_object(json.dumps(value).encode(), limits) == value
    assert parse_json_object(json.dumps(value, ensure_ascii=False).encode(), limits) == value


@given(st.binary(max_size=60))
def test_any_bytes_give_an_object_or_the_one_error(data: bytes) -> None:
    try:
        found = parse_json_object(data)
    except StrictJsonError:
        return
    assert found == json.loads(data)


# Pieces of objects as an attacker would write them: names that come again, at any depth, and every kind of value.
_NAMES = st.sampled_from(["a", "b", "", "iss", "a:b", "\\u0061", "\x7f", "n" * 257])
_SCALARS = st.sampled_from(
    [
        "1",
        "-0",
        "1" * 15,
        "1" * 16,
        "1" * 65,
        "1.0",
        "1e999",
        "NaN",
        "true",
        "null",
        '"x"',
        '":"',
        '"\\ud800"',
        '"\\""',
        "'",
        '"\x01"',
    ]
)
_OBJECT_TEXTS = st.recursive(
    _SCALARS,
    lambda values: (
        st.lists(values, max_size=3).map(lambda items: "[" + ",".join(items) + "]")
        | st.lists(st.tuples(_NAMES, values), max_size=3).map(
            lambda pairs: "{" + ",".join(f'"{name}":{value}' for name, value in pairs) + "}"
        )
    ),
    max_leaves=12,
)


@pytest.mark.requirement("TV-08", "TV-09", "TV-10", "TV-11")
@settings(max_examples=500)
@given(_OBJECT_TEXTS)
@example('{"a":"\x01"}')
@example('{"a":1,"a":2}')
@example('{"a":NaN}')
@example('{"a":[' + "1," * 1_024 + "1]}")
def test_the_quick_look_accepts_nothing_that_the_close_look_refuses(text: str) -> None:
    data = text.encode()

    for parser in (json.loads, QUICK_JSON):
        quick = strict_json._parse_plain(text, data, TOKEN_LIMITS, parser)

        if quick is not None:
            assert quick == strict_json._parse_closely(text, data, TOKEN_LIMITS)


@pytest.mark.requirement("TV-09")
def test_the_quick_look_is_taken_and_sees_a_name_that_comes_again() -> None:
    def quick(text: str, parser: Quick) -> dict[str, object] | None:
        return strict_json._parse_plain(text, text.encode(), TOKEN_LIMITS, parser)

    for parser in (json.loads, QUICK_JSON):
        assert quick('{"a":{"b":["1"]},"exp":1}', parser) == {"a": {"b": ["1"]}, "exp": 1}
        assert quick('{"a":{"b":"1","b":"2"}}', parser) is None


@given(st.dictionaries(st.text(max_size=8), _JSON, max_size=5))
def test_what_is_written_is_one_printable_ascii_line_that_reads_back(value: dict[str, object]) -> None:
    text = ascii_json(value)

    assert text.isascii()
    assert text.isprintable()
    assert json.loads(text) == value


@pytest.mark.parametrize("odd", ["\x7f", "\u2028", "\u202e", "\ud800", "\x1b", 10**30, (1, 2)], ids=ascii)
def test_odd_values_are_written_as_the_standard_library_writes_them(odd: object) -> None:
    wanted = json.dumps({"a": odd}, separators=(",", ":")).replace("\x7f", "\\u007f")

    assert ascii_json({"a": odd}) == wanted


def test_what_json_cannot_say_is_not_written() -> None:
    with pytest.raises(TypeError):
        ascii_json({"a": object()})
