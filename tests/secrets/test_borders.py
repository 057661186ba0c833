"""A library's exception holds what it was given; nothing of its words crosses our border, at whatever edge it is raised."""

import json
import re
import uuid
from pathlib import Path

import httpx2
import pytest

from tests.secrets.scene import Scene, running_scene
from tests.secrets.test_canaries import files_below, goes_well
from tests.support.caller import problem
from tests.support.canaries import canary, leaks
from tests.support.components import skip_without
from tests.support.hurt_gateway import DISK_FAILS

pytestmark = skip_without("redis")

GOOD = {"version": "1.4.2"}


@pytest.mark.requirement("SE-04")
@pytest.mark.parametrize(
    ("place", "code"),
    [
        ("aiohappyeyeballs", "aws_unavailable"),
        ("httptools", "aws_unavailable"),
        ("httptools-bug", "internal_error"),
        ("botocore", "internal_error"),
        ("redis", "replay_store_unavailable"),
        ("disk", "audit_unavailable"),
        ("verifier", "internal_error"),
        ("decision", "internal_error"),
    ],
)
def test_a_librarys_failure_is_told_by_our_code_and_never_in_its_words(
    place: str, code: str, tmp_path: Path
) -> None:
    words = canary("words ")
    with running_scene(tmp_path, hurt={"raises": {place: words}}) as scene:
        if place == "disk":
            (scene.temporary / DISK_FAILS).touch()
        once = [scene.secrets.token(environment="once") for _ in range(2)]
        answers = [
            scene.start(once[0], input=GOOD),
            scene.ask("POST", "/v1/credentials", once[1], body={"target": "payments-prod"}),
        ]
        metrics = scene.gateway.client.get("/metrics").content
        (scene.temporary / DISK_FAILS).unlink(missing_ok=True)
        scene.gateway.process.terminate()
        scene.gateway.ended()
        written = {
            "log": scene.gateway.log().encode(),
            "metrics": metrics,
            "traces": b"".join(scene.collector.bodies),
            "answers": b"".join(
                str(dict(one.headers)).encode() + one.content for one in answers if one.status_code >= 400
            ),
            **files_below(scene.gateway.audit),
            **files_below(scene.temporary),
        }

    assert code in {problem(answer)["code"] for answer in answers if answer.status_code >= 400}
    assert {answer.status_code for answer in answers} <= {500, 502, 503} | (
        {200} if place == "botocore" else set()
    )
    assert leaks(written, {"words": words, **scene.secrets.everywhere}) == []
    assert "Traceback" not in scene.gateway.log()


@pytest.mark.requirement("SE-02")
def test_where_a_library_talks_and_nothing_holds_it_back_what_is_shaped_like_a_secret_is_masked(
    tmp_path: Path,
) -> None:
    with running_scene(tmp_path, hurt={"loud": True, "unfiltered": True}) as scene:
        goes_well(scene)
        scene.gateway.process.terminate()
        scene.gateway.ended()
        log = scene.gateway.log()

    talking = {line["logger"].partition(".")[0] for line in map(json.loads, _lines(log))} - {"gateway"}
    shaped = ("token", "AWS access key id", "AWS session token", "Vault token")
    held = {name: text for name, text in scene.secrets.everywhere.items() if name.startswith(shaped)}
    # Else nothing was proven.
    assert {"botocore"} <= talking, talking
    assert leaks({"log": log.encode()}, held) == []


def _lines(log: str) -> list[str]:
    return [line for line in log.splitlines() if line.startswith("{")]


@pytest.mark.requirement("SE-09", "F-28")
def test_no_text_in_any_place_of_a_request_turns_a_line_of_log_or_record_or_ends_in_a_5xx(
    tmp_path: Path,
) -> None:
    naughty = json.loads((Path(__file__).parents[1] / "vectors" / "naughty_strings.json").read_text())[
        "strings"
    ]
    texts = [
        *naughty,
        "a\r\nb\x1b[31m\x7f\x85\u2028\u2029\u202e\u200b\ufeff",
        '"}\n{"level":"ERROR"',
        "x" * 5_000,
    ]
    with running_scene(tmp_path) as scene:
        statuses = {answer.status_code for text in texts for answer in _everywhere(scene, text)}
        scene.gateway.process.terminate()
        scene.gateway.ended()
        log = scene.gateway.log()

    lines = log.split("\n")
    records = [
        line
        for path in scene.gateway.audit.glob("audit-*.jsonl")
        for line in path.read_bytes().split(b"\n")
        if line
    ]
    assert {status for status in statuses if status >= 500} == set()
    assert len(lines) > len(texts)
    for line in [*lines, *map(bytes.decode, records)]:
        assert line == "" or line.startswith("Listening on") or isinstance(json.loads(line), dict)
        assert line.isascii()
        assert line.isprintable()


def _everywhere(scene: Scene, text: str) -> list[httpx2.Response]:
    """Put a text into every claim that a rule or the record reads, and every field of requests."""
    token = scene.secrets.token
    claims = {
        "repository": text,
        "environment": text,
        "actor": text,
        text or "x": text,
        "deep": {"list": [text]},
    }
    in_claims = [
        scene.gateway.get("/v1/whoami", made)
        for made in (
            token(claims=claims),
            token(sub=text),
            token(jti=text, ref=text),
            token(iss=text),
            token(aud=text),
        )
    ]
    good = token()
    visible = re.sub(r"[^\x20-\x7e]", "?", text).strip()
    headers = {
        "User-Agent": visible,
        "traceparent": visible,
        "X-Forwarded-For": visible,
        "Idempotency-Key": visible,
    }
    path = httpx2.URL("http://x/" + uuid.uuid4().hex).path
    return [
        *in_claims,
        scene.gateway.ask("GET", "/v1/whoami", good, headers=headers),
        scene.gateway.ask(
            "POST", "/v1/executions", good, body={"workflow": text, "input": {}}, headers=headers
        ),
        scene.gateway.ask(
            "POST", "/v1/executions", good, body={"workflow": "deploy-payments", "input": {text: text}}
        ),
        scene.gateway.ask("POST", "/v1/credentials", good, body={"target": text, text: text}),
        scene.gateway.exchange(good, audience=text or "x", scope=text, resource=text),
        scene.gateway.client.get(path, params={"x": text}, headers={"Authorization": f"Bearer x{visible}"}),
    ]
