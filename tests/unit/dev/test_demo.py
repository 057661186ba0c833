"""What the demo shows, and what it takes for a failed step."""

import io
from http import HTTPMethod

import jwt
import pytest

from gateway.dev.calls import Answer, as_curl
from gateway.dev.demo import differences, forge, pick
from gateway.dev.issuer import DevIssuer
from gateway.dev.screen import WIDTH, Screen, broken_command, shortened
from gateway.dev.steps import PRESENT, HttpStep
from gateway.dev.story import STORY, TOKENS
from gateway.dev.tokens import TokenOrder

_STEP = HttpStep(says="", token=None, status=201, expect={"status": "RUNNING", "arn": "$ARN", "url": PRESENT})


def answer(status: int, document: object) -> Answer:
    return Answer(status=status, document=document, body=b"")


def test_an_answer_as_expected_has_no_differences() -> None:
    good = answer(201, {"status": "RUNNING", "arn": "arn:1", "url": None, "more": 1})

    assert differences(_STEP, good, {"ARN": "arn:1"}) == []


@pytest.mark.parametrize(
    ("bad", "first"),
    [
        pytest.param(
            answer(200, {"status": "RUNNING", "arn": "arn:1", "url": 1}),
            "expected status 201, not 200",
            id="status",
        ),
        pytest.param(
            answer(201, {"status": "FAILED", "arn": "arn:1", "url": 1}),
            'expected status: "RUNNING"',
            id="value",
        ),
        pytest.param(
            answer(201, {"status": "RUNNING", "arn": "arn:2", "url": 1}),
            'expected arn: "arn:1"',
            id="variable",
        ),
        pytest.param(
            answer(201, {"status": "RUNNING", "arn": "arn:1"}), "expected url: any value", id="absent"
        ),
    ],
)
def test_every_difference_is_named_and_the_answer_shown(bad: Answer, first: str) -> None:
    lines = differences(_STEP, bad, {"ARN": "arn:1"})

    assert lines[0] == first
    assert lines[-1].startswith("answered: {")


def test_a_failed_step_does_not_show_credentials() -> None:
    lines = differences(
        _STEP, answer(500, {"SecretAccessKey": "k", "access_token": "t", "data": {"id": "v"}}), {"ARN": "x"}
    )

    assert (
        lines[-1]
        == 'answered: {"SecretAccessKey": "(hidden)", "access_token": "(hidden)", "data": "(hidden)"}'
    )


def test_a_step_is_shown_as_a_command_with_the_token_in_a_shell_variable() -> None:
    step = HttpStep(says="", token="CI_TOKEN", key="991-1", body={"workflow": "it's"}, status=201)

    assert " ".join(as_curl(step)) == (
        'curl -s "$GATEWAY/v1/executions" -H "Authorization: Bearer $CI_TOKEN" -H "Idempotency-Key: 991-1" '
        """-H "Content-Type: application/json" -d '{"workflow": "it'"'"'s"}'"""
    )


def test_a_token_of_vault_goes_to_vault_as_its_own_clients_send_it() -> None:
    step = HttpStep(
        says="",
        token=None,
        vault_token="JOB",
        server="VAULT_ADDR",
        method=HTTPMethod.GET,
        path="/v1/x",
        status=200,
    )

    assert " ".join(as_curl(step)) == 'curl -s "$VAULT_ADDR/v1/x" -H "X-Vault-Token: $JOB"'


def test_the_length_of_a_list_can_be_expected() -> None:
    assert pick({"data": {"keys": ["a", "b"]}}, "data/keys/#") == 2


def test_a_post_without_a_body_says_so() -> None:
    step = HttpStep(says="", token=None, method=HTTPMethod.POST, path="$ROLLOUT/stop", status=200)

    assert as_curl(step) == ["curl -s", "-X POST", '"$GATEWAY$ROLLOUT/stop"']


def test_every_command_of_the_story_fits_the_screen() -> None:
    out = io.StringIO()
    screen = Screen(out)
    for chapter in STORY:
        for step in chapter.steps:
            screen.step(step.says)
            if isinstance(step, HttpStep):
                screen.command(as_curl(step))

    assert max(map(len, out.getvalue().splitlines())) <= WIDTH


def test_the_story_names_only_tokens_that_exist() -> None:
    named = {
        step.token for chapter in STORY for step in chapter.steps if isinstance(step, HttpStep) and step.token
    }
    exchanged = {
        step.form["subject_token"].removeprefix("$")
        for chapter in STORY
        for step in chapter.steps
        if isinstance(step, HttpStep) and step.form
    }

    assert named | exchanged <= TOKENS.keys()


def test_a_long_command_is_broken_between_its_words() -> None:
    assert broken_command(["curl", "-H a", "-d b"], width=12) == ["$ curl \\", "    -H a \\", "    -d b"]


def test_execution_names_are_shortened_to_their_beginnings() -> None:
    assert shortened(f"x:{'a' * 32}-{'b' * 32}") == "x:aaaaaaaa…-bbbbbbbb…"


def test_colors_appear_only_on_a_terminal() -> None:
    out = io.StringIO()

    Screen(out).status(403, {"code": "claim_mismatch"})

    assert out.getvalue() == "    403 Forbidden\n      code  claim_mismatch\n"


def test_a_forged_token_keeps_header_and_claims_but_not_the_key() -> None:
    issuer = DevIssuer(name="github", path="/github", audience="a", defaults={"sub": "s"})
    token = issuer.mint(TokenOrder(issuer="github"), issuer="https://i")

    forged = forge(token)

    assert jwt.get_unverified_header(forged) == jwt.get_unverified_header(token)
    assert forged.split(".")[1] == token.split(".")[1]
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(forged, issuer.key.public_key(), algorithms=["RS256"], audience="a")
