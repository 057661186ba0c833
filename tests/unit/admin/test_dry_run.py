"""What would happen to a token in the running gateway: by its keys and switches, and without any effect."""

from dataclasses import replace

import pytest

from gateway.admin.dry_run import Answer, run_dry
from gateway.identity.issuer import KeyLocation
from gateway.identity.jwks import FetchedKeys
from gateway.identity.token import Claims
from gateway.metrics import Metrics
from gateway.policy.rule import Start, Wish
from gateway.policy.snapshot import Policy
from gateway.secret import Secret
from gateway.state.switch_document import board_of, unreadable
from gateway.state.switches import Switch, SwitchBoard, SwitchKind
from tests.support.clocks import START_S, SettableClock
from tests.support.policies import is_, policy, rule, start
from tests.support.scripted_issuer import ScriptedIssuers
from tests.support.tokens import token, trusted

ISSUER = trusted("github", keys=KeyLocation())
POLICY = replace(
    policy(rule("one", [is_("ref", "refs/heads/main")], start())), issuers={ISSUER.issuer: ISSUER}
)


class Gateway:
    """The keys of a gateway whose issuer counts who asks it."""

    def __init__(self) -> None:
        clock = SettableClock()
        self.issuers = ScriptedIssuers()
        self.keys = FetchedKeys(fetch=self.issuers, clock=clock, metrics=Metrics(), jitter=lambda: 1.0)
        self.deadline = clock.monotonic() + 5

    def explain(
        self,
        asked: Secret | Claims,
        wish: Wish | None = None,
        *,
        board: SwitchBoard | None = None,
        by: Policy = POLICY,
    ) -> Answer:
        return run_dry(
            asked,
            by,
            wish,
            now=START_S,
            known_key=self.keys.known,
            board=board_of() if board is None else board,
        )


def marks(answer: Answer) -> set[str]:
    return {step.mark for step in (*answer.forecast.steps, *answer.switches)}


@pytest.mark.requirement("AD-04")
@pytest.mark.parametrize("held", [False, True], ids=["no-keys", "other-keys"])
async def test_nothing_is_fetched_for_a_key_that_is_not_at_hand(held: bool) -> None:
    gateway = Gateway()
    async with gateway.keys:
        if held:
            await gateway.keys.prefetch([ISSUER], deadline=gateway.deadline)
        before = len(gateway.issuers.calls)

        answer = gateway.explain(Secret(token(header={"kid": "unknown"})), Start(workflow="deploy"))

    assert len(gateway.issuers.calls) == before
    assert "unknown" in marks(answer)


@pytest.mark.requirement("AD-04")
async def test_a_key_that_is_at_hand_proves_the_signature() -> None:
    gateway = Gateway()
    async with gateway.keys:
        await gateway.keys.prefetch([ISSUER], deadline=gateway.deadline)

        good = gateway.explain(Secret(token()), Start(workflow="deploy"))
        forged = gateway.explain(Secret(token(which="second", header={"kid": "first-rs256"})))

    assert (good.allowed, marks(good)) == (True, {"ok"})
    assert forged.allowed is False
    assert any("token_signature_invalid" in step.text for step in forged.forecast.steps)


@pytest.mark.requirement("AD-04")
async def test_of_a_token_its_digest_is_told() -> None:
    text = Secret(token())

    assert Gateway().explain(text).token == text.digest()


@pytest.mark.parametrize(
    ("kind", "name", "said"),
    [
        ("issuer", "github", "issuer_disabled"),
        ("subject", "github someone", "subject_disabled"),
        ("workflow", "deploy", "workflow_disabled"),
    ],
)
def test_what_is_switched_off_stands_in_the_way_and_says_why(kind: SwitchKind, name: str, said: str) -> None:
    off = Switch(kind=kind, name=name, why="SEC-1", by="me", at=START_S)
    claims = Claims(issuer="github", members={"sub": "someone", "ref": "refs/heads/main"})

    answer = Gateway().explain(claims, Start(workflow="deploy"), board=board_of([off]))

    assert answer.allowed is False
    assert [step.text.split(":")[0] for step in answer.switches] == [said]
    assert "SEC-1" in answer.switches[0].text


def test_a_rule_that_is_off_grants_nothing() -> None:
    off = Switch(kind="rule", name="team.one", why="SEC-1", by="me", at=START_S)
    claims = Claims(issuer="github", members={"sub": "someone", "ref": "refs/heads/main"})

    answers = [
        Gateway().explain(claims, Start(workflow="deploy"), board=board)
        for board in (board_of(), board_of([off]))
    ]

    assert [answer.allowed for answer in answers] == [True, False]


@pytest.mark.requirement("AD-06")
def test_switches_that_cannot_be_read_stand_in_every_way() -> None:
    claims = Claims(issuer="github", members={"sub": "someone", "ref": "refs/heads/main"})

    answer = Gateway().explain(claims, Start(workflow="deploy"), board=unreadable())

    assert answer.allowed is False
    assert answer.switches[0].text.startswith("switches_unavailable")
