import json
import re

import pytest

from gateway.audit.chain import START, unseal
from gateway.audit.syslog_text import host_name, to_message
from gateway.files.schema.keeping import SHORTEST_MESSAGE_BYTES
from tests.support.records import INTENT, REFUSAL, chained

LINES, _ = chained([INTENT, REFUSAL])
# RFC 5424 section 6, without structured data.
FORM = re.compile(rb"<(\d{1,3})>1 (\S+) (\S{1,255}) (\S{1,48}) (\S{1,128}) (\S{1,32}) - (.*)", re.DOTALL)


def parts(message: bytes) -> tuple[bytes, ...]:
    found = FORM.fullmatch(message)
    assert found is not None
    return found.groups()


def test_a_line_is_the_message_itself_so_that_the_copy_can_be_verified() -> None:
    priority, at, host, app, run, kind, text = parts(to_message(LINES[0], host="gw-1", max_bytes=8_192))

    assert (host, app, kind) == (b"gw-1", b"oidc-gateway", b"intent")
    assert (priority, at, run) == (b"110", b"2026-11-22T10:17:03.123456Z", b"00c0ffee00c0ffee")
    assert text + b"\n" == LINES[0]
    assert unseal(text + b"\n").prev == START.hash


def test_a_refusal_is_a_notice() -> None:
    assert to_message(LINES[1], host="gw-1", max_bytes=8_192).startswith(b"<109>1 ")


@pytest.mark.parametrize("claims", [("x" * 500, 60), ("é\n" * 200, 60)], ids=["long", "escaped"])
def test_a_line_too_long_for_the_receiver_is_said_in_short_with_the_hash_of_the_whole(
    claims: tuple[str, int],
) -> None:
    from dataclasses import replace

    text, number = claims
    [line], _ = chained(
        [replace(INTENT, claims=tuple((f"c{n}", text) for n in range(number)), user_agent=text, object=text)]
    )

    message = to_message(line, host="h" * 255, max_bytes=SHORTEST_MESSAGE_BYTES)

    short = json.loads(parts(message)[-1])
    whole = json.loads(line)
    assert len(message) <= SHORTEST_MESSAGE_BYTES < len(line)
    assert short["shortened"] == len(line) - 1
    assert {name: short[name] for name in ("seq", "prev", "hash", "request_id")} == {
        name: whole[name] for name in ("seq", "prev", "hash", "request_id")
    }


@pytest.mark.parametrize(
    ("name", "written"), [("gw-1", "gw-1"), ("gw 1\n", "gw1"), ("", "-"), ("é", "-"), ("x" * 300, "x" * 255)]
)
def test_a_host_name_fits_into_the_header(name: str, written: str) -> None:
    assert host_name(name) == written
