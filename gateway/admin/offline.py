"""What would happen to this token, and why: the whole way of a call without network, record or effect. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from gateway.errors import GatewayError
from gateway.identity.claim_rules import check_audience, check_kind, check_subject, check_texts
from gateway.identity.issuer import TrustedIssuer
from gateway.identity.keys import read_key_set
from gateway.identity.reading import read_token
from gateway.identity.times import check_times
from gateway.identity.token import Claims, UnverifiedToken
from gateway.identity.verify import check_acceptable, check_signature
from gateway.policy.claims import MISSING, ClaimCheck
from gateway.policy.decide import Allowed, Denied, decide, grants_of
from gateway.policy.rule import Grant, Operator, Wish
from gateway.policy.snapshot import Policy
from gateway.secret import Secret

Mark = Literal["ok", "no", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that was checked. mark: `unknown` where only the running gateway can say."""

    mark: Mark
    text: str
    hint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """Everything that was checked, in the order of a real call.

    allowed: nothing that can be checked offline speaks against it.
    grants:  what the claims hold; only when no wish was given.
    """

    steps: tuple[Step, ...]
    allowed: bool
    decision: Allowed | Denied | None = None
    grants: tuple[Grant, ...] = ()


def forecast(text: Secret, policy: Policy, wish: Wish | None, *, now: float) -> Forecast:
    """Say what the gateway would answer. Every check is made, also after one has failed.

    The token's claims are believed for this answer only: without a key file in the policy its signature is not checked.
    """
    try:
        token = read_token(text)
    except GatewayError as fault:
        return Forecast(steps=(_failed(fault),), allowed=False)
    issuer = policy.issuers.get(token.issuer)
    if issuer is None:
        return Forecast(steps=(_unknown_issuer(token.issuer, policy),), allowed=False)
    steps = [
        Step(mark="ok", text=f"The issuer is `{issuer.name}` ({issuer.preset})."),
        *_token_steps(token, issuer, now),
    ]
    claims = Claims(issuer=issuer.name, members=token.unbelieved_payload)
    if wish is None:
        grants = grants_of(claims, policy, now=now)
        return Forecast(steps=tuple(steps), allowed=_good(steps) and bool(grants), grants=grants)
    decision = decide(claims, wish, policy, now=now)
    steps += [describe_check(check) for check in decision.checks]
    return Forecast(
        steps=tuple(steps), allowed=_good(steps) and isinstance(decision, Allowed), decision=decision
    )


def describe_check(check: ClaimCheck) -> Step:
    """Say one comparison to an administrator, who may know what was wanted."""
    wanted = " or ".join(repr(value) for value in check.wanted)
    said = {
        Operator.EQUALS: wanted,
        Operator.ANY_OF: f"one of {wanted}",
        Operator.CONTAINS: f"a list that contains {wanted}",
        Operator.CONTAINS_ANY: f"a list that contains {wanted}",
        Operator.CONTAINS_ALL: f"a list that contains {' and '.join(repr(value) for value in check.wanted)}",
        Operator.SCOPE: f"scopes with {wanted}",
        Operator.ABSENT: "no such claim",
    }[check.operator]
    presented = "missing" if check.presented is MISSING else repr(check.presented)
    if check.outcome == "matched":
        return Step(mark="ok", text=f"{check.claim}: {presented}")
    if not check.wanted and check.operator is not Operator.ABSENT:
        return Step(mark="no", text=f"{check.claim}: no rule is written for {presented}")
    reason = " (the type differs)" if check.outcome == "type" else ""
    return Step(mark="no", text=f"{check.claim}: {presented}, wanted {said}{reason}")


def _token_steps(token: UnverifiedToken, issuer: TrustedIssuer, now: float) -> list[Step]:
    members = token.unbelieved_payload
    return [
        _step("Its header is acceptable.", lambda: check_acceptable(token, issuer)),
        _signature_step(token, issuer),
        _step("Its times are good.", lambda: check_times(members, issuer, now=now)),
        _step("It is of the right kind.", lambda: check_kind(members, issuer)),
        _step("Audience and client are accepted.", lambda: check_audience(members, issuer)),
        _step(f"The subject is {members.get('sub')!r}.", lambda: check_subject(members, issuer)),
        _step("Its texts are clean.", lambda: check_texts(members)),
    ]


def _step(text: str, check: Callable[[], object]) -> Step:
    try:
        check()
    except GatewayError as fault:
        return _failed(fault)
    return Step(mark="ok", text=text)


def _signature_step(token: UnverifiedToken, issuer: TrustedIssuer) -> Step:
    if issuer.keys.static_jwks is None:
        return Step(mark="unknown", text="Its signature is not checked: the issuer's keys are not in a file.")
    key = read_key_set(issuer.keys.static_jwks.encode()).find(token.key_id)
    if key is None:
        return Step(mark="no", text="No key of the issuer's key file has the id that the token names.")
    return _step("Its signature is valid.", lambda: check_signature(token, key))


def _unknown_issuer(issuer: str, policy: Policy) -> Step:
    close = get_close_matches(issuer, list(policy.issuers), n=1, cutoff=0.8)
    hint = f"Close to it is {close[0]}: compare them byte for byte." if close else "Add it to gateway.yaml."
    return Step(
        mark="no", text=f"token_issuer_unknown: the issuer {issuer!r} is not in gateway.yaml.", hint=hint
    )


def _failed(fault: GatewayError) -> Step:
    return Step(mark="no", text=f"{fault.code}: {fault.message}", hint=fault.hint)


def _good(steps: list[Step]) -> bool:
    return all(step.mark != "no" for step in steps)
