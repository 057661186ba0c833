import json
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from gateway.audit.document import MAX_BODY_BYTES, USUAL, _second, encode, to_document
from gateway.audit.recall import DocumentInvalid, to_record
from gateway.audit.record import Record, Wording
from gateway.identity.token import Principal
from gateway.policy.claims import MISSING, ClaimCheck
from gateway.policy.rule import Operator
from tests.support.records import ADMIN, INTENT, NOW, OUTCOME, REFUSAL

NAUGHTY = "a\r\nb\x1b[31m\x7f\x85\u2028\u2029\u202e\u200b\ufeff\U000e0041\ud800"

#: Of version 1, in their order: who reads records with a program of their own relies on each.
MEMBERS = (
    "v", "kind", "request_id", "at", "act", "policy", "code", "token",
    "token_alias", "token_bytes", "key_id_digest", "issuer_name", "issuer", "subject", "principal", "claims",
    "rules", "checks", "object", "target", "session", "issued", "lease", "execution",
    "existed", "status", "found_by", "expires_at", "earlier", "earlier_at", "repeated", "upstream",
    "source", "user_agent", "trace", "actor", "why", "changes",
)  # fmt: skip


@pytest.mark.requirement("AU-02")
@pytest.mark.parametrize("record", [INTENT, OUTCOME, REFUSAL, ADMIN], ids=lambda record: record.kind)
def test_a_record_comes_back_from_its_document_as_it_was(record: Record) -> None:
    assert to_record(json.loads(encode(record))) == record


@pytest.mark.requirement("AU-02")
def test_every_record_has_the_same_members_and_a_version() -> None:
    bare = Record(kind="refused", request_id="r", at=NOW, act="whoami", policy="sha256:00")

    for record in (bare, INTENT, OUTCOME, REFUSAL, ADMIN):
        assert tuple(to_document(record)) == MEMBERS
    assert to_document(bare)["v"] == 1


@pytest.fixture(params=["UTC", "Asia/Kolkata"])
def _zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Another time zone for the machine; times that were written before are forgotten."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    _second.cache_clear()
    yield
    monkeypatch.undo()
    time.tzset()
    _second.cache_clear()


@pytest.mark.requirement("AU-02")
@pytest.mark.usefixtures("_zone")
def test_times_are_utc_with_microseconds_wherever_the_machine_stands() -> None:
    assert to_document(INTENT)["at"] == "2026-11-22T10:17:03.123456Z"


@pytest.mark.requirement("AU-02")
@pytest.mark.parametrize(
    ("value", "written"),
    [
        pytest.param("x", {"value": "x", "type": "string"}, id="string"),
        pytest.param(True, {"value": "true", "type": "boolean"}, id="boolean"),
        pytest.param(1, {"value": "1", "type": "integer"}, id="integer"),
        pytest.param(1.5, {"value": "1.5", "type": "number"}, id="number"),
        pytest.param(None, {"value": "null", "type": "null"}, id="null"),
        pytest.param(["a", 1], {"value": '["a", 1]', "type": "list"}, id="list"),
        pytest.param({"a": {"b": 1}}, {"value": '{"a": {"b": 1}}', "type": "object"}, id="object"),
        pytest.param(MISSING, {"value": "", "type": "missing"}, id="missing"),
    ],
)
def test_a_claim_is_a_name_a_text_and_a_type_whatever_its_value(
    value: object, written: dict[str, str]
) -> None:
    document = to_document(replace(INTENT, claims=(("claim", value),)))

    assert document["claims"] == [{"name": "claim", **written}]


@pytest.mark.requirement("AU-02")
def test_nothing_a_caller_sends_ends_the_line_or_turns_the_text() -> None:
    record = replace(INTENT, claims=((NAUGHTY, NAUGHTY), ("list", [NAUGHTY])), user_agent=NAUGHTY)

    line = encode(record)

    assert line.isascii()
    assert line.isprintable()
    assert to_record(json.loads(line)).user_agent == NAUGHTY


@pytest.mark.requirement("AU-02")
@pytest.mark.parametrize("filling", ["x", "\U0001f600", "\x00", '"'], ids=["ascii", "astral", "nul", "quote"])
def test_a_record_stays_below_its_limit_however_much_a_caller_sends(filling: str) -> None:
    text = filling * 10_000
    check = ClaimCheck(
        claim=text, outcome="value", presented=text, wanted=(text,) * 100, operator=Operator.ANY_OF
    )
    record = replace(
        INTENT, claims=((text, text),) * 500, checks=(check,) * 500, rules=(text,) * 500, user_agent=text
    )

    line = encode(record)

    assert len(line) <= MAX_BODY_BYTES
    assert "[cut, 10000 characters]" in line


@pytest.mark.requirement("AU-02")
def test_what_is_cut_is_marked_and_counted() -> None:
    claims = tuple((f"claim-{n}", "x" * (USUAL.text + 1)) for n in range(USUAL.items + 3))

    written = to_document(replace(INTENT, claims=claims))["claims"]

    assert isinstance(written, list)
    assert written[0]["value"] == "x" * USUAL.text + f"…[cut, {USUAL.text + 1} characters]"
    assert written[-1] == {"name": "…", "value": "3 more claims", "type": "cut"}


@pytest.mark.parametrize(
    "secret",
    [
        pytest.param("eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl", id="token"),
        pytest.param(
            "eyAiYWxnIjogIlJTMjU2IiB9.eyJzdWIiOiJ4IiwiYSI6MX0.c2lnbmF0dXJlc2lnbmF0dXJl", id="spaced-token"
        ),
        pytest.param("AKIA" + "A" * 16, id="access-key"),
        pytest.param("ASIA" + "B" * 16, id="session-key"),
        pytest.param("hvs." + "c" * 24, id="vault"),
        pytest.param("IQoJ" + "d" * 200, id="session-token"),
    ],
)
def test_a_text_shaped_like_a_secret_is_masked_wherever_it_stands(secret: str) -> None:
    padding = "p" * (USUAL.text - 10) + " "  # a cut through the secret must not leave a piece of it
    record = replace(
        INTENT,
        claims=(("a", secret), ("b", padding + secret), ("c", {"deep": [secret]}), (secret, 1)),
        user_agent=secret,
        request_id=secret,
    )

    line = encode(record)

    assert secret[:9] not in line
    assert line.count("[masked") == 6


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"v": 2}, id="version"),
        pytest.param({"kind": "journal"}, id="kind"),
        pytest.param({"act": "sing"}, id="act"),
        pytest.param({"code": "no_such_code"}, id="code"),
        pytest.param({"at": "yesterday"}, id="time"),
        pytest.param({"claims": "none"}, id="claims"),
        pytest.param({"claims": [1]}, id="claim"),
        pytest.param({"request_id": None}, id="missing"),
    ],
)
def test_an_object_that_is_no_record_is_named_as_such(change: dict[str, object]) -> None:
    document = {**to_document(INTENT), **change}

    with pytest.raises(DocumentInvalid):
        to_record(document)


@pytest.mark.requirement("AU-07")
def test_a_record_of_an_earlier_release_without_the_members_of_administrators_is_understood() -> None:
    document = to_document(INTENT)
    for member in ("actor", "why", "changes"):
        del document[member]

    assert to_record(document) == INTENT


@pytest.mark.requirement("AU-07")
def test_however_much_an_act_changed_its_record_is_bounded_and_says_how_much_is_left_out() -> None:
    record = replace(ADMIN, changes=tuple(f"+ payments.rule-{n}" for n in range(USUAL.items + 3)))

    changes = to_document(record)["changes"]

    assert isinstance(changes, list)
    assert (len(changes), changes[-1]) == (USUAL.items + 1, "… 3 more")


@pytest.mark.parametrize(
    ("claims", "subject"),
    [
        pytest.param((("repository", "acme/payments"), ("tier", 1)), "sub", id="ASCII"),
        pytest.param((("team", "Zürich \u202e"), ("n", 1.5), ("ok", True)), "sub", id="claim beyond ASCII"),
        pytest.param((("repository", "acme/payments"),), "Zürich", id="subject beyond ASCII"),
        pytest.param((("team", "\x7f\n"), ("deep", {"a": ["ü", None]})), "Zürich", id="both"),
        pytest.param((("jwt", "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln"),), "sub", id="masked"),
        pytest.param(tuple((f"c{n}", "ü" * 500) for n in range(64)), "sub", id="cut tighter"),
    ],
)
def test_what_the_records_of_a_call_share_is_written_as_each_would_write_it_alone(
    claims: tuple[tuple[str, object], ...], subject: str
) -> None:
    alone = replace(INTENT, claims=claims, principal=Principal(issuer="https://idp.test", subject=subject))
    together = replace(alone, wording=Wording(claims=claims, checks=alone.checks))

    lines = [encode(together), encode(replace(together, kind="outcome"))]

    assert lines == [encode(alone), encode(replace(alone, kind="outcome"))]


def test_words_are_never_used_for_other_claims_than_those_they_were_made_of() -> None:
    wording = Wording(claims=INTENT.claims, checks=INTENT.checks)
    encode(replace(INTENT, wording=wording))

    others = replace(INTENT, claims=(("repository", "acme/other"),), wording=wording)

    assert json.loads(encode(others)) == json.loads(encode(replace(others, wording=None)))
