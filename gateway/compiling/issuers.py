"""Issuers of gateway.yaml, completed by their presets, as trusted issuers; and every reason not to trust one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gateway.compiling.conditions import judge_email, read_conditions
from gateway.compiling.keys import MAX_URL, KeysOfIssuer, judge_url
from gateway.compiling.report import Report, Spot
from gateway.files.schema.gateway import GatewayShape
from gateway.files.schema.issuers import IssuerShape
from gateway.files.schema.values import duration_s
from gateway.files.shapes import Shaped
from gateway.files.source import FindingCode, Source, show
from gateway.identity.issuer import TrustedIssuer
from gateway.identity.presets import PRESETS, SUPPORTED_ALGORITHMS, UNKNOWN, Preset, is_okta_org, owner_pins
from gateway.policy.overlap import sample_claims
from gateway.policy.rule import Condition, Operator

#: Signature algorithms of tokens that AWS STS takes.
AWS_ALGORITHMS: Final = frozenset({"RS256", "RS384", "RS512", "ES256", "ES384", "ES512"})
# Stands in for an issuer that is wrong, while where its keys are is judged.
_NO_ISSUER: Final = "https://x.invalid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuers:
    """All trusted issuers, by name.

    requirements: what every token of one must satisfy; every issuer has an entry.
    incomplete:   the issuers, or what one of them requires, cannot be read: nothing follows from what is not there.
    """

    trusted: Mapping[str, TrustedIssuer]
    requirements: Mapping[str, tuple[Condition, ...]]
    incomplete: frozenset[str] = frozenset()
    unreadable: bool = False


def compile_issuers(
    gateway: Shaped[GatewayShape], attachments: Mapping[str, Source], report: Report, *, dev: bool
) -> Issuers:
    """Return the issuers that can be trusted as they are written."""
    trusted: dict[str, TrustedIssuer] = {}
    requirements: dict[str, tuple[Condition, ...]] = {}
    by_url: dict[str, str] = {}
    incomplete: set[str] = set()
    shapes = gateway.shape.issuers if gateway.shape is not None else {}
    # Where there are Vaults, an issuer may be meant for them alone: then its grants are judged one by one.
    aws_alone = gateway.shape is not None and not gateway.shape.vaults
    for name, shape in shapes.items():
        spot = Spot(gateway.document, ("issuers", name), report)
        made = _Issuer(name, shape, spot, attachments, dev=dev, aws_alone=aws_alone).compile()
        if made is None:
            _without_preset(shape, spot)
            continue
        if (spot / "require").has_hole:
            incomplete.add(name)
        first = name if (spot / "issuer").has_hole else by_url.setdefault(made.issuer, name)
        if first != name:
            (spot / "issuer").error(
                FindingCode.NAME_TAKEN,
                f"{show(made.issuer)} is the issuer of {first} already; a token could not tell them apart.",
                "Keep one entry for each issuer.",
            )
        trusted[name] = made
        requirements[name] = _requirements(shape, made, spot)
    return Issuers(
        trusted=trusted,
        requirements=requirements,
        incomplete=frozenset(incomplete),
        unreadable=gateway.is_unreadable("issuers"),
    )


def _without_preset(shape: IssuerShape, spot: Spot) -> None:
    """Judge what is required of an issuer that cannot be trusted, as far as that depends on nothing else."""
    read_conditions(shape.require or {}, spot / "require", UNKNOWN)


def _requirements(shape: IssuerShape, issuer: TrustedIssuer, spot: Spot) -> tuple[Condition, ...]:
    preset = PRESETS[issuer.preset]
    required = read_conditions(shape.require or {}, spot / "require", preset)
    judge_email(required, (), spot / "require")
    whole = not (spot / "require").has_hole
    pins = owner_pins(issuer.issuer)
    if (
        whole
        and pins
        and not any(
            condition.claim in pins and condition.operator in {Operator.EQUALS, Operator.ANY_OF}
            for condition in required
        )
    ):
        spot.error(
            FindingCode.ISSUER_UNPINNED,
            f"{issuer.issuer} signs tokens for everybody; nothing here says which of them are yours.",
            f'Add require: {{ {pins[0]}: "…" }} (or {", ".join(pins[1:])}): the id, not the name, which others can take over.',
            key=True,
        )
    if whole and required and sample_claims(required) is None:
        (spot / "require").error(
            FindingCode.RULE_UNSATISFIABLE,
            "No token can have all of these claims.",
            "Remove one of them.",
            key=True,
        )
    return required


class _Issuer:
    def __init__(
        self,
        name: str,
        shape: IssuerShape,
        spot: Spot,
        attachments: Mapping[str, Source],
        *,
        dev: bool,
        aws_alone: bool,
    ) -> None:
        self._name = name
        self._aws_alone = aws_alone
        self._shape = shape
        self._spot = spot
        self._attachments = attachments
        self._dev = dev
        self._preset: Preset = PRESETS[shape.preset]

    def compile(self) -> TrustedIssuer | None:
        shape, preset = self._shape, self._preset
        issuer = self._url()
        # Whatever else is wrong, everything that does not depend on it is judged as well.
        preset_known = not (self._spot / "preset").is_hole
        self._audiences()
        if preset_known:
            self._tokens()
        algorithms = self._algorithms()
        keys = KeysOfIssuer(shape, self._spot, self._attachments, dev=self._dev).location(
            issuer or _NO_ISSUER
        )
        if issuer is None or not preset_known:
            return None
        self._okta(issuer)
        self._end_of(issuer)
        return TrustedIssuer(
            name=self._name,
            preset=preset.name,
            issuer=issuer,
            audiences=tuple(shape.audiences or ()),
            also_allowed=tuple(shape.also_allowed or ()),
            clients=tuple(shape.clients or ()),
            token_kinds=tuple(shape.tokens or preset.token_kinds[:1]),
            client_claims=preset.client_claims,
            algorithms=algorithms,
            types=preset.types,
            blank_subjects=preset.blank_subjects,
            key_headers_ignored=preset.key_headers_ignored,
            okta_org=preset.name == "okta" and is_okta_org(issuer),
            kid_required=shape.jwks_file is None,
            keys=keys,
            leeway_s=30 if shape.leeway_s is None else shape.leeway_s,
            max_age_s=3600 if shape.max_age is None else duration_s(shape.max_age),
        )

    def _url(self) -> str | None:
        """Return the issuer's URL if it can be trusted."""
        spot = self._spot / "issuer"
        issuer = self._shape.issuer or self._preset.default_issuer
        if spot.is_hole or (issuer is None and (self._spot / "preset").is_hole):
            return None
        if issuer is None:
            self._spot.error(
                FindingCode.FIELD_MISSING,
                f"{self._name} has no issuer, and the preset {self._preset.name} knows none.",
                "Add issuer: the token's `iss`, byte for byte.",
                key=True,
            )
            return None
        return issuer if judge_url(issuer, spot, dev=self._dev, of_issuer=True) else None

    @property
    def _has_clients(self) -> bool:
        return bool(self._shape.clients) or (self._spot / "clients").has_hole

    @property
    def _may_have_clients_alone(self) -> bool:
        return bool(self._preset.token_kinds) or (self._spot / "preset").is_hole

    def _end_of(self, issuer: str) -> None:
        """Issuers are compared byte for byte, and each kind of issuer ends in a slash always or never."""
        wanted = self._preset.ends_in_slash
        if wanted is not None and issuer.endswith("/") != wanted:
            right = f"{issuer}/" if wanted else issuer.rstrip("/")
            (self._spot / "issuer").warning(
                FindingCode.VALUE_UNLIKELY,
                f"Issuers of the preset {self._preset.name} end {'in' if wanted else 'without'} a slash; compared byte for "
                "byte, this one never matches.",
                f"Write {right}",
            )

    def _audiences(self) -> None:
        shape = self._shape
        missing = not shape.audiences and not (self._spot / "audiences").has_hole
        if missing and not (self._may_have_clients_alone and self._has_clients):
            instead = " (for Cognito: clients)" if self._preset.token_kinds else ""
            self._spot.error(
                FindingCode.AUDIENCE_MISSING,
                f"{self._name} has no audiences: a token made for any other service would be good here.",
                f"Add audiences: [https://…]{instead}, a value that nobody else uses.",
                key=True,
            )
        for field, values in (
            ("audiences", shape.audiences),
            ("also_allowed", shape.also_allowed),
            ("clients", shape.clients),
        ):
            for index, value in enumerate(values or ()):
                if not value or len(value) > MAX_URL or "*" in value:
                    (self._spot / field / index).error(
                        FindingCode.VALUE_INVALID,
                        f"{show(value)} is no exact value of 1 to {MAX_URL} characters.",
                        "Write the complete value; there are no patterns.",
                    )
        if shape.also_allowed and not self._has_clients:
            (self._spot / "also_allowed").error(
                FindingCode.FIELD_MISSING,
                "A token for several audiences is good only when its client is listed too.",
                "Add clients: [the client id that `azp` names].",
                key=True,
            )

    def _tokens(self) -> None:
        shape, kinds = self._shape, self._preset.token_kinds
        if shape.tokens is not None and not kinds:
            (self._spot / "tokens").error(
                FindingCode.VALUE_INVALID,
                f"tokens is not for the preset {self._preset.name}.",
                "Remove it; only Cognito says in a token of which kind it is.",
                key=True,
            )
            return
        accepted = shape.tokens or list(kinds[:1])
        if "access" in accepted and not self._has_clients:
            self._spot.error(
                FindingCode.AUDIENCE_MISSING,
                "Access tokens of Cognito have no audience; without clients those of every app would be good here.",
                "Add clients: [app client ids].",
                key=True,
            )
        if self._aws_alone and kinds and "id" not in accepted:
            (self._spot / "tokens").warning(
                FindingCode.AWS_TOKEN_UNUSABLE,
                "AWS STS refuses Cognito's access tokens, which have no `aud` unless the app uses resource binding.",
                "Use ID tokens, or see that the app asks for a resource.",
                key=True,
            )

    def _okta(self, issuer: str) -> None:
        if self._preset.name == "okta" and is_okta_org(issuer):
            (self._spot / "issuer").warning(
                FindingCode.ISSUER_INSECURE,
                "This is an Okta org server: its access tokens are for Okta alone and are refused; ID tokens are good.",
                "For access tokens use a custom authorization server: https://…/oauth2/ID.",
            )

    def _algorithms(self) -> tuple[str, ...]:
        shape = self._shape
        algorithms = self._preset.algorithms if shape.algorithms is None else tuple(shape.algorithms)
        spot = self._spot / "algorithms"
        if not algorithms:
            spot.error(
                FindingCode.ALGORITHM_FORBIDDEN,
                "No algorithm is accepted, so no token is.",
                "Write [RS256], or leave the key out.",
            )
        for index, name in enumerate(shape.algorithms or ()):
            if name not in SUPPORTED_ALGORITHMS:
                (spot / index).error(
                    FindingCode.ALGORITHM_FORBIDDEN,
                    f"{show(name)} is not accepted: not asymmetric, or not known to be safe.",
                    f"Choose: {', '.join(sorted(SUPPORTED_ALGORITHMS))}.",
                )
        useless = [name for name in algorithms if name in SUPPORTED_ALGORITHMS - AWS_ALGORITHMS]
        if not self._aws_alone:
            return algorithms
        if useless and not AWS_ALGORITHMS.intersection(algorithms):
            spot.error(
                FindingCode.AWS_TOKEN_UNUSABLE,
                f"AWS STS refuses tokens signed with {', '.join(useless)}, and every target here is in AWS.",
                "Let the issuer sign with RS256 or ES256.",
            )
        elif useless:
            spot.warning(
                FindingCode.AWS_TOKEN_UNUSABLE,
                f"AWS STS refuses tokens signed with {', '.join(useless)}.",
                "Remove them unless the issuer signs other tokens with them.",
            )
        return algorithms
