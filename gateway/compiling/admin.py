"""The block `admin` of gateway.yaml: who may administer, and every reason not to listen for them."""

from collections.abc import Mapping
from typing import Final

from gateway.compiling.conditions import binding_claims, judge_email, read_conditions
from gateway.compiling.issuers import Issuers
from gateway.compiling.keys import MAX_URL
from gateway.compiling.report import Report, Spot, unknown_reference
from gateway.files.schema.administration import AdminOidcShape, AdminRuleShape, AdminShape, AdminTlsShape
from gateway.files.schema.gateway import GatewayShape
from gateway.files.shapes import Shaped
from gateway.files.source import FindingCode, show
from gateway.identity.issuer import TrustedIssuer
from gateway.identity.presets import PRESETS, UNKNOWN
from gateway.policy.admin_rights import RIGHTS, AdminRights, Right, TokenRule
from gateway.policy.overlap import satisfiable

_SEVERAL_CLIENTS: Final = frozenset({"okta", "auth0"})
_CLIENT_OR_SUBJECT: Final = frozenset({"sub", "azp", "cid", "client_id"})


def compile_admin(gateway: Shaped[GatewayShape], issuers: Issuers, report: Report) -> AdminRights | None:
    """Return who may administer; None where there is no admin listener."""
    shape = gateway.shape.admin if gateway.shape is not None else None
    if shape is None:
        return None
    spot = Spot(gateway.document, ("admin",), report)
    _judge_listening(shape, spot)
    clients = _clients(shape.tls, spot / "tls") if shape.tls is not None else None
    if shape.oidc is None:
        return AdminRights(clients=clients, tokens={})
    _judge_audience(shape.oidc, gateway, spot / "oidc")
    return AdminRights(
        clients=clients,
        audience=shape.oidc.audience,
        tokens=_tokens(shape.oidc, gateway, issuers, spot / "oidc"),
    )


def _judge_listening(shape: AdminShape, spot: Spot) -> None:
    if (spot / "listen").is_hole:
        return
    if shape.listen.startswith("unix:"):
        if shape.tls is not None:
            (spot / "tls").error(
                FindingCode.VALUE_INVALID,
                "A unix socket has no TLS: its mode and the kernel say who connects.",
                "Remove tls, or listen on 127.0.0.1:PORT.",
                key=True,
            )
        return
    if int(shape.listen.rpartition(":")[2]) > 65_535:
        (spot / "listen").error(
            FindingCode.VALUE_INVALID, f"{show(shape.listen)} has no port.", "Write a port up to 65535."
        )
    tls = shape.tls
    by_certificate = tls is not None and tls.client_ca is not None and bool(tls.readers or tls.writers)
    if not by_certificate and shape.oidc is None and not spot.has_hole:
        (spot / "listen").error(
            FindingCode.FIELD_MISSING,
            "Nothing says who may administer the gateway, and every user of this machine reaches this address.",
            "Add oidc, or tls with client_ca, readers and writers; or listen on unix:/PATH.",
        )


def _clients(tls: AdminTlsShape, spot: Spot) -> Mapping[Right, tuple[str, ...]] | None:
    """Return the names of clients by right; None where certificates give none."""
    written: dict[Right, list[str] | None] = {"read": tls.readers, "write": tls.writers}
    for key, names in (("readers", tls.readers), ("writers", tls.writers)):
        for index, name in enumerate(names or ()):
            if ("=" not in name and ":" not in name) or "*" in name:
                (spot / key / index).error(
                    FindingCode.VALUE_INVALID,
                    f"{show(name)} is neither a subject nor a URI.",
                    "Write the whole subject, such as CN=ops,O=Acme, or a URI of the certificate; there are no patterns.",
                )
    named = {right: tuple(names) for right, names in written.items() if names}
    if tls.client_ca is None:
        if named:
            spot.error(
                FindingCode.FIELD_MISSING,
                "Clients are named, and nothing says whose certificates count.",
                "Add client_ca.",
                key=True,
            )
        return None
    return named or None


def _judge_audience(oidc: AdminOidcShape, gateway: Shaped[GatewayShape], spot: Spot) -> None:
    """Demand an audience of its own: else every token for an exchange would be half a key to the administration."""
    shape, at = gateway.shape, spot / "audience"
    if len(oidc.audience) > MAX_URL or "*" in oidc.audience:
        at.error(FindingCode.VALUE_INVALID, f"{show(oidc.audience)} is no exact value.", "Write it whole.")
    for name, issuer in (shape.issuers if shape is not None else {}).items():
        # Clients as well: a Cognito ID token's audience is the app client.
        taken = (*(issuer.audiences or ()), *(issuer.also_allowed or ()), *(issuer.clients or ()))
        if oidc.audience in taken:
            at.error(
                FindingCode.VALUE_INVALID,
                f"{show(oidc.audience)} is an audience or client that {name} has for exchanges.",
                "Use a value of its own, so that no token for an exchange is one for administration.",
            )
            return
    if shape is not None and shape.server.public_url and _same_url(oidc.audience, shape.server.public_url):
        at.warning(
            FindingCode.VALUE_UNLIKELY,
            "This is the public URL, which callers use as their audience.",
            "Use a value of its own.",
        )


def _same_url(one: str, other: str) -> bool:
    return one.rstrip("/") == other.rstrip("/")


def _tokens(
    oidc: AdminOidcShape, gateway: Shaped[GatewayShape], issuers: Issuers, spot: Spot
) -> dict[Right, TokenRule]:
    rules: dict[Right, AdminRuleShape | None] = {"read": oidc.read, "write": oidc.write}
    if not any(rules.values()) and not spot.has_hole:
        spot.error(
            FindingCode.FIELD_MISSING,
            "Tokens give no right here, so nobody could do anything.",
            "Add read, write, or both.",
            key=True,
        )
    found: dict[Right, TokenRule] = {}
    for right in RIGHTS:
        shape = rules[right]
        if shape is not None:
            found[right] = _rule(shape, gateway, issuers, spot / right)
    return found


def _rule(shape: AdminRuleShape, gateway: Shaped[GatewayShape], issuers: Issuers, spot: Spot) -> TokenRule:
    issuer = issuers.trusted.get(shape.issuer)
    written = gateway.written("issuers")
    if shape.issuer not in written and not issuers.unreadable:
        unknown_reference(spot / "issuer", "issuer", shape.issuer, sorted(written))
    preset = PRESETS[issuer.preset] if issuer else UNKNOWN
    claims = spot / "claims"
    conditions = read_conditions(shape.claims, claims, preset)
    if issuer is not None and not claims.has_hole and issuer.name not in issuers.incomplete:
        required = issuers.requirements.get(issuer.name, ())
        judge_email(conditions, required, claims)
        bound = binding_claims((*required, *conditions))
        if not any(preset.binds_subject(claim) for claim in binding_claims(conditions)) or (
            issuer.preset in _SEVERAL_CLIENTS and _CLIENT_OR_SUBJECT.isdisjoint(bound)
        ):
            _unbound(issuer, claims)
        elif not satisfiable((*required, *conditions)):
            claims.error(
                FindingCode.RULE_UNSATISFIABLE,
                f"No token of {issuer.name} can have all of these claims and those that gateway.yaml requires of it.",
                "Compare them with require of the issuer.",
                key=True,
            )
    return TokenRule(issuer=shape.issuer, conditions=conditions)


def _unbound(issuer: TrustedIssuer, claims: Spot) -> None:
    named = ", ".join(sorted(PRESETS[issuer.preset].subject_claims)[:6])
    also = "; and one of sub, azp, cid, client_id" if issuer.preset in _SEVERAL_CLIENTS else ""
    claims.error(
        FindingCode.RULE_UNBOUND,
        "Nothing here says whose tokens are meant, so every token of the issuer could administer the gateway.",
        f"Add a claim that does: {named}{also}.",
        key=True,
    )
