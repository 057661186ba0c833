"""What would happen to this token, and why: the whole way of a call without network, record or effect. Pure."""

from collections.abc import Callable
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Literal

from gateway.errors import GatewayError
from gateway.identity.claim_rules import check_audience, check_kind, check_subject, check_texts
from gateway.identity.issuer import TrustedIssuer
from gateway.identity.jwk import VerificationKey
from gateway.identity.keys import read_key_set
from gateway.identity.reading import read_token
from gateway.identity.times import check_times
from gateway.identity.token import Claims, UnverifiedToken
from gateway.identity.verify import check_acceptable, check_signature
from gateway.policy.claims import MISSING, ClaimCheck
from gateway.policy.decide import Allowed, Denied, decide, grants_of
from gateway.policy.holdings import Held
from gateway.policy.rule import Operator, Wish
from gateway.policy.snapshot import Policy
from gateway.secret import Secret

Mark = Literal["ok", "no", "unknown"]
#: Finds a key that is at hand; never fetches one.
KnownKey = Callable[[TrustedIssuer, str | None], VerificationKey | None]


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
    claims:  what was judged; None where not even the issuer is known.
    """

    steps: tuple[Step, ...]
    allowed: bool
    decision: Allowed | Denied | None = None
    grants: tuple[Held, ...] = ()
    claims: Claims | None = field(default=None, repr=False)


def forecast(
    text: Secret,
    policy: Policy,
    wish: Wish | None,
    *,
    now: float,
    known_key: KnownKey | None = None,
    off: frozenset[str] = frozenset(),
) -> Forecast:
    """Say what the gateway would answer. Every check is made, also after one has failed.

    The token's claims are believed for this answer only: where no key is at hand its signature is not checked.
    known_key: finds a key without fetching any; None: only keys that stand in files are known.
    off:       ids of rules that are switched off.
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
        *_token_steps(token, issuer, now, known_key or _key_in_file),
    ]
    claims = Claims(issuer=issuer.name, members=token.unbelieved_payload)
    return _decided(claims, policy, wish, steps, now=now, off=off)


def forecast_of_claims(
    claims: Claims, policy: Policy, wish: Wish | None, *, now: float, off: frozenset[str] = frozenset()
) -> Forecast:
    """Say what the gateway would decide about a token with these claims, were it good."""
    return _decided(claims, policy, wish, [], now=now, off=off)


def _decided(
    claims: Claims, policy: Policy, wish: Wish | None, steps: list[Step], *, now: float, off: frozenset[str]
) -> Forecast:
    if wish is None:
        grants = grants_of(claims, policy, now=now, off=off)
        allowed = _good(steps) and bool(grants)
        return Forecast(steps=tuple(steps), allowed=allowed, grants=grants, claims=claims)
    decision = decide(claims, wish, policy, now=now, off=off)
    steps = [*steps, *(describe_check(check) for check in decision.checks)]
    allowed = _good(steps) and isinstance(decision, Allowed)
    return Forecast(steps=tuple(steps), allowed=allowed, decision=decision, claims=claims)


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


def _token_steps(
    token: UnverifiedToken, issuer: TrustedIssuer, now: float, known_key: KnownKey
) -> list[Step]:
    members = token.unbelieved_payload
    return [
        _step("Its header is acceptable.", lambda: check_acceptable(token, issuer)),
        _signature_step(token, issuer, known_key),
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


def _key_in_file(issuer: TrustedIssuer, key_id: str | None) -> VerificationKey | None:
    static = issuer.keys.static_jwks
    return None if static is None else read_key_set(static.encode()).find(key_id)


def _signature_step(token: UnverifiedToken, issuer: TrustedIssuer, known_key: KnownKey) -> Step:
    key = known_key(issuer, token.key_id)
    if key is not None:
        return _step("Its signature is valid.", lambda: check_signature(token, key))
    if issuer.keys.static_jwks is not None:
        return Step(mark="no", text="No key of the issuer's key file has the id that the token names.")
    return Step(mark="unknown", text="Its signature is not checked: the issuer's keys are not at hand.")


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
