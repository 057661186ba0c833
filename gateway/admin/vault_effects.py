"""What a difference between Vault and the files means: whether Vault lets more through than the files say. Pure."""

import json
from collections.abc import Mapping
from typing import Final, Literal

#: wider: Vault allows something that the files do not. narrower: it refuses something that they allow.
Effect = Literal["wider", "narrower", "different"]

_MORE_IS_WIDER: Final = frozenset(
    {
        "bound_audiences", "token_policies", "role_arns", "policy_arns", "jwt_supported_algs",
        "bound_iam_principal_arn",
    }
)  # fmt: skip
_EMPTY_IS_ALL: Final = frozenset({"jwt_supported_algs", "bound_subject"})
_NARROWS: Final = frozenset({"token_num_uses", "token_no_default_policy"})
_LIMITS: Final = frozenset(
    {"token_ttl", "token_max_ttl", "token_explicit_max_ttl", "default_sts_ttl", "max_sts_ttl"}
)
# What Vault takes for 0; -1 means none.
_LEEWAYS: Final[Mapping[str, int]] = {
    "expiration_leeway": 150,
    "not_before_leeway": 150,
    "clock_skew_leeway": 60,
}
_ADDS_POWER: Final = frozenset({"default_role", "groups_claim", "session_tags", "token_period", "iam_groups"})
# Whose tokens are believed, or what kind of power is given: anything else than what the files say is something more.
_TRUST: Final = frozenset(
    {
        "bound_issuer", "bound_subject", "bound_claims_type", "jwks_url", "jwks_ca_pem", "jwks_pairs", "oidc_discovery_url",
        "oidc_discovery_ca_pem", "jwt_validation_pubkeys", "credential_type", "provider_config", "role_type",
        "auth_type", "iam_server_id_header_value", "token_type",
    }
)  # fmt: skip
_FOREVER: Final = 2**62


def effect_of(field: str, held: object, wanted: object) -> Effect:
    """Say what it means that Vault holds this where the files want that; both as `normal` returns them."""
    if field in ("bound_claims", "policy_document", "policy"):
        return "narrower" if _within(field, held, wanted) else "wider"
    if field in _LIMITS:
        return "wider" if _limit(held) > _limit(wanted) else "narrower"
    if field in _LEEWAYS:
        return "wider" if _leeway(field, held) > _leeway(field, wanted) else "narrower"
    if field in _ADDS_POWER:
        return "wider" if held else "narrower"
    if field in _MORE_IS_WIDER:
        if not held and field in _EMPTY_IS_ALL:
            return "wider"
        return "wider" if _texts(held) - _texts(wanted) else "narrower"
    if field == "resolve_aws_unique_ids":
        # Without ids a role that is deleted and made anew under its name fits again.
        return "narrower" if held else "wider"
    if field in _NARROWS:
        return "narrower"  # unlimited, and with `default`, is what the files want
    return "wider" if field in _TRUST else "different"


def normal(field: str, value: object) -> object:
    """Return a value such that equal ones mean the same: order, emptiness and spelling do not count."""
    if value is None or value in ("", [], {}, ()):
        return None
    if field == "bound_claims" and isinstance(value, Mapping):
        return {
            claim: _sorted(wanted if isinstance(wanted, list) else [wanted])
            for claim, wanted in value.items()
        }
    if field == "policy_document" and isinstance(value, str):
        return _document(value)
    if field == "policy" and isinstance(value, str):
        return value.strip()
    if field.endswith("_pem") and isinstance(value, str):
        return value.strip()
    return _sorted(value) if isinstance(value, list) else value


def _sorted(values: list[object]) -> list[object]:
    # Told apart by type as well: true, 1 and "1" are three values.
    found = {json.dumps(value, sort_keys=True): value for value in values}
    return [found[key] for key in sorted(found)]


def _within(field: str, held: object, wanted: object) -> bool:
    """Say whether what Vault holds lets nothing through that the files do not want."""
    if field == "policy":
        return _lines(held) <= _lines(wanted)
    if field == "policy_document":
        # Without one the IAM role alone is the limit.
        return not wanted or (bool(held) and _powers(held) <= _powers(wanted))
    bound = _mapping(held)
    return all(
        claim in bound and _texts(bound[claim]) <= _texts(values)
        for claim, values in _mapping(wanted).items()
    )


def _document(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _powers(document: object) -> frozenset[str]:
    """Return every single thing that an IAM policy says, one action on one resource each."""
    statements = _mapping(document).get("Statement", [document])
    return frozenset(
        json.dumps([{**_mapping(one), "Action": None, "Resource": None}, action, resource], sort_keys=True)
        for one in _several(statements)
        for action in _several(_mapping(one).get("Action"))
        for resource in _several(_mapping(one).get("Resource"))
    )


def _several(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def _lines(text: object) -> frozenset[str]:
    # What only opens or closes a block says nothing by itself.
    lines = (line.strip() for line in str(text or "").splitlines())
    return frozenset(line for line in lines if line and line != "}" and not line.startswith("#"))


def _limit(value: object) -> int:
    # 0: as long as Vault's mount allows, by default 32 days.
    return value if isinstance(value, int) and value > 0 else _FOREVER


def _leeway(field: str, value: object) -> int:
    seconds = value if isinstance(value, int) else 0
    return _LEEWAYS[field] if seconds == 0 else max(seconds, 0)


def _texts(value: object) -> frozenset[str]:
    return frozenset(json.dumps(one, sort_keys=True) for one in _several(value) if one is not None)


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}
