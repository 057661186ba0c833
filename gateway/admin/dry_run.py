"""What would happen to a token, or to claims, in the running gateway: its keys and switches, and no effect. Pure."""

from dataclasses import dataclass

from gateway.admin.offline import Forecast, KnownKey, Step, forecast, forecast_of_claims
from gateway.identity.token import Claims
from gateway.policy.rule import Start, Wish
from gateway.policy.snapshot import Policy
from gateway.secret import Secret
from gateway.state.switches import SwitchBoard, SwitchKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The forecast, and what the switches say.

    allowed: nothing speaks against it, as far as it is known.
    token:   SHA-256 of the token; None where there was none.
    """

    forecast: Forecast
    switches: tuple[Step, ...]
    allowed: bool
    token: str | None


def run_dry(
    asked: Secret | Claims,
    policy: Policy,
    wish: Wish | None,
    *,
    now: float,
    known_key: KnownKey,
    board: SwitchBoard,
) -> Answer:
    """Say what a call with this token, or with claims of a token that were good, would be answered.

    known_key: finds a key that is at hand and fetches none.
    """
    if isinstance(asked, Secret):
        found = forecast(asked, policy, wish, now=now, known_key=known_key, off=board.rules)
    else:
        found = forecast_of_claims(asked, policy, wish, now=now, off=board.rules)
    switches = _switches(found.claims, wish, board)
    return Answer(
        forecast=found,
        switches=switches,
        allowed=found.allowed and not switches,
        token=asked.digest() if isinstance(asked, Secret) else None,
    )


def _switches(claims: Claims | None, wish: Wish | None, board: SwitchBoard) -> tuple[Step, ...]:
    """Return what is off and stands in the way; rules that are off are left out of the decision itself."""
    if not board.readable:
        hint = "Mend the switch store; nothing is allowed until it can be read."
        return (
            Step(mark="no", text="switches_unavailable: what is switched off cannot be read.", hint=hint),
        )
    touched: list[tuple[SwitchKind, str]] = []
    if claims is not None:
        touched.append(("issuer", claims.issuer))
        subject = claims.members.get("sub")
        if isinstance(subject, str):
            touched.append(("subject", f"{claims.issuer} {subject}"))
    if isinstance(wish, Start):
        touched.append(("workflow", wish.workflow))
    return tuple(
        Step(mark="no", text=f"{kind}_disabled: {name!r} was switched off by {off.by}: {off.why}")
        for kind, name in touched
        if (off := board.off.get((kind, name))) is not None
    )
