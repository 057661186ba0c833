"""The fields of what is written to Vault: a JWT mount's configuration, a role, a policy, a role of the AWS engine. Pure.

Every field that Vault knows is given, because a write to a role keeps what it does not name. Left to the administrator are
only those that can narrow and that the files do not describe: `token_bound_cidrs`, `external_id`, `mfa_serial_number`.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from gateway.admin.vault_bounds import bounds_of
from gateway.identity.issuer import TrustedIssuer
from gateway.identity.keys import read_key_set
from gateway.identity.pem import public_pems
from gateway.identity.presets import PRESETS
from gateway.policy.rule import Condition, Grant, Operator, Scalar, VaultRole, Workflow

#: Begins every policy that is written here.
POLICY_MARK: Final = "# Written by `oidc-gateway vault apply` for "
_SHARED_MARK: Final = (
    "# The block for the AWS engine is kept by `oidc-gateway vault apply`, all else is yours; for "
)
_ENGINE_ROLES: Final = "; engine roles: "
_BLOCK: Final = re.compile(r'(path "([^"]+)" \{\n[^}]*\})')
#: AWS takes no longer session policy (AssumeRole, parameter Policy).
LONGEST_DOCUMENT: Final = 2_048
_SHORTEST_STS_S: Final = 900
_WELL_KNOWN: Final = "/.well-known/openid-configuration"
_FOLLOWS: Final = ("states:DescribeExecution", "states:GetExecutionHistory", "states:StopExecution")


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyMark:
    """What a policy that was written here says of itself.

    users:     paths of the auth roles that it is for. engine_roles: paths of those that were written along with it.
    untouched: all of it is as it was written; what somebody has changed since is not ours alone any more.
    """

    users: tuple[str, ...]
    engine_roles: tuple[str, ...]
    untouched: bool

    def is_of(self, mounts: Iterable[str]) -> bool:
        """Say whether it is for roles of these mounts alone."""
        return all(any(user.startswith(f"auth/{mount}/role/") for mount in mounts) for user in self.users)


def jwt_config(issuer: TrustedIssuer) -> Mapping[str, object] | str:
    """Return the configuration of a JWT mount for this issuer, or why Vault cannot have its keys and what to do."""
    keys = issuer.keys
    derived = issuer.issuer.removesuffix("/") + _WELL_KNOWN
    pems = public_pems(read_key_set(keys.static_jwks.encode())) if keys.static_jwks is not None else ()
    if keys.static_jwks is not None and not pems:
        return f"no key in the jwks_file of {issuer.name} can be used. Put its keys there, or give the issuer a jwks_uri."
    if not pems and keys.jwks_uri is None and keys.discovery_url != derived:
        return f"Vault finds {issuer.name} at {derived} alone. Give the issuer a jwks_uri in place of discovery_url."
    discovery = keys.jwks_uri is None and not pems
    return {
        "jwks_url": keys.jwks_uri or "",
        "jwks_ca_pem": (keys.ca_pem or "") if keys.jwks_uri is not None else "",
        "jwks_pairs": [],
        "oidc_discovery_url": issuer.issuer.removesuffix("/") if discovery else "",
        "oidc_discovery_ca_pem": (keys.ca_pem or "") if discovery else "",
        "oidc_client_id": "",
        "oidc_response_mode": "",
        "oidc_response_types": [],
        "jwt_validation_pubkeys": list(pems),
        "jwt_supported_algs": sorted(issuer.algorithms),
        "bound_issuer": issuer.issuer,
        "default_role": "",  # otherwise a login that names no role would get one
        "provider_config": {},
        "unsupported_critical_cert_extensions": [],
    }


def jwt_role(
    role: VaultRole, issuer: TrustedIssuer, rules: Sequence[Sequence[Condition]]
) -> Mapping[str, object] | None:
    """Return the fields of a role for tokens that satisfy one of these rules; None when no token can."""
    audiences, implied = _of_issuer(issuer)
    types = PRESETS[issuer.preset].claim_types
    lists = frozenset(claim for claim, kind in types.items() if kind == "list")
    bounds = bounds_of([(*conditions, *implied) for conditions in rules], lists=lists)
    if bounds is None:
        return None
    claims = {claim: list(values) for claim, values in bounds.items()}
    subject = _only_text(bounds.get("sub", ()))
    if subject:
        del claims["sub"]
    # 0 would be Vault's default of 60 and 150 seconds.
    leeway = issuer.leeway_s or -1
    return {
        "role_type": "jwt",  # a role without a type is one for browsers
        "bound_audiences": sorted(audiences),
        "bound_subject": subject,
        "bound_claims_type": "string",
        "bound_claims": claims,
        "user_claim": role.user_claim,
        "user_claim_json_pointer": role.user_claim.startswith("/"),
        "groups_claim": "",
        "claim_mappings": {},
        "allowed_redirect_uris": [],
        "oidc_scopes": [],
        "verbose_oidc_logging": False,
        "max_age": 0,
        "expiration_leeway": leeway,
        "not_before_leeway": leeway,
        "clock_skew_leeway": leeway,
        **token_fields(role.policies, role.ttl_s),
    }


def token_fields(policies: Iterable[str], ttl_s: int) -> Mapping[str, object]:
    """Return the fields that say what tokens of a role are, of whatever auth method."""
    return {
        "token_policies": sorted(set(policies)),
        "token_no_default_policy": False,  # `default` lets a token revoke itself
        "token_type": "service",  # a batch token cannot be revoked
        "token_ttl": ttl_s,
        "token_max_ttl": ttl_s,
        "token_explicit_max_ttl": ttl_s,  # holds even where somebody renews it
        "token_period": 0,
        # Unlimited: a repeated call would use up a count, and a token without uses cannot revoke itself.
        "token_num_uses": 0,
    }


def _of_issuer(issuer: TrustedIssuer) -> tuple[tuple[str, ...], tuple[Condition, ...]]:
    """Return the audiences of which each token carries one, and the claims that the gateway demands before any rule."""
    if not issuer.token_kinds:
        return issuer.audiences, ()
    kinds = _is("token_use", issuer.token_kinds)
    if issuer.audiences:
        return issuer.audiences, (kinds,)
    if "id" in issuer.token_kinds:
        # A Cognito ID token's audience is the app client. Vault lets no token without audience into a role that has one.
        return issuer.clients, (_is("token_use", ("id",)),)
    return (), (kinds, _is("client_id", issuer.clients))


def _is(claim: str, values: Sequence[str]) -> Condition:
    return Condition(claim=claim, operator=Operator.ANY_OF, wanted=tuple(values))


def _only_text(values: tuple[Scalar, ...]) -> str:
    return values[0] if len(values) == 1 and isinstance(values[0], str) else ""


def policy_text(roles: Iterable[VaultRole], *, shared: bool) -> str:
    """Return the policy that lets tokens of these roles ask the AWS engine for credentials, and nothing else.

    shared: it may be completed by hand; as soon as it is, it is nobody's to delete but the administrator's.
    """
    every = tuple(roles)
    users = {f"auth/{role.mount}/role/{role.role}" for role in every}
    engine_roles = {f"{role.aws.mount}/roles/{role.aws.role}" for role in every if role.aws is not None}
    return _text(_SHARED_MARK if shared else POLICY_MARK, users, engine_roles)


def _text(mark: str, users: Iterable[str], engine_roles: Iterable[str]) -> str:
    roles = sorted(engine_roles)
    first = f"{mark}{', '.join(sorted(users))}{_ENGINE_ROLES}{', '.join(roles)}."
    paths = ["/sts/".join(role.rsplit("/roles/", 1)) for role in roles]
    return "\n".join([first, *(f'path "{path}" {{\n  capabilities = ["update"]\n}}\n' for path in paths)])


def mark_of(policy: str) -> PolicyMark | None:
    """Return what the first line of a policy says that was written here; None where it is none of ours."""
    first = policy.partition("\n")[0]
    for mark in (POLICY_MARK, _SHARED_MARK):
        users, between, engine_roles = first.removeprefix(mark).removesuffix(".").partition(_ENGINE_ROLES)
        if first.startswith(mark) and between:
            found = PolicyMark(
                users=tuple(users.split(", ")),
                engine_roles=tuple(engine_roles.split(", ")),
                untouched=False,
            )
            whole = all("/roles/" in role for role in found.engine_roles)
            same = whole and policy.strip() == _text(mark, found.users, found.engine_roles).strip()
            return replace(found, untouched=same)
    return None


def missing_blocks(wanted: str, held: str) -> str:
    """Return the blocks of a policy written here that another text does not have, in its own spelling or in ours."""
    blocks = _BLOCK.findall(wanted)
    return "\n".join(f"{whole}\n" for whole, path in blocks if not _allows_update(held, path))


def _allows_update(policy: str, path: str) -> bool:
    block = re.search(rf'^\s*path\s+"{re.escape(path)}"\s*\{{([^}}]*)\}}', policy, re.MULTILINE)
    if block is None:
        return False
    capabilities = re.search(r"capabilities\s*=\s*\[([^\]]*)\]", block[1])
    return capabilities is not None and '"update"' in capabilities[1] and '"deny"' not in capabilities[1]


def engine_fields(*, arns: list[str], policy_document: str, ttl_s: int) -> Mapping[str, object]:
    """Return the fields of a role of the AWS engine that assumes these IAM roles."""
    ttl = max(ttl_s, _SHORTEST_STS_S)
    return {
        "credential_type": "assumed_role",
        "role_arns": arns,
        "policy_document": policy_document,
        "policy_arns": [],
        "iam_groups": [],
        "iam_tags": {},
        "session_tags": {},
        "default_sts_ttl": ttl,
        "max_sts_ttl": ttl,
        "user_path": "",
        "permissions_boundary_arn": "",
    }


def engine_policy(grants: Iterable[Grant]) -> str | int:
    """Return the IAM policy for exactly the workflows of these grants, or its length where AWS would not take it."""
    statements: dict[str, dict[str, object]] = {}
    for grant in grants:
        if grant.workflow is None:
            continue
        if grant.verb == "start":
            _add(statements, _start(grant.workflow))
        if grant.workflow.type == "standard":
            follow: dict[str, object] = {"Effect": "Allow", "Action": list(_FOLLOWS)}
            _add(statements, (follow, grant.workflow.state_machine.execution("*")))
    document = {"Version": "2012-10-17", "Statement": [statements[key] for key in sorted(statements)]}
    text = json.dumps(document, separators=(",", ":"))
    return text if len(text) <= LONGEST_DOCUMENT else len(text)


def _start(workflow: Workflow) -> tuple[dict[str, object], str]:
    machine = workflow.state_machine
    action = "states:StartSyncExecution" if workflow.type == "express-sync" else "states:StartExecution"
    start: dict[str, object] = {"Effect": "Allow", "Action": [action]}
    if machine.qualifier is not None:
        # IAM judges a version or alias by the machine's own ARN; the qualifier is a condition key.
        start["Condition"] = {
            "ForAnyValue:StringEquals": {"states:StateMachineQualifier": [machine.qualifier]}
        }
    return (
        start,
        f"arn:{machine.partition}:states:{machine.region}:{machine.account}:stateMachine:{machine.name}",
    )


def _add(statements: dict[str, dict[str, object]], wanted: tuple[dict[str, object], str]) -> None:
    statement, resource = wanted
    held = statements.setdefault(json.dumps(statement, sort_keys=True), {**statement, "Resource": []})
    resources = held["Resource"]
    if isinstance(resources, list) and resource not in resources:
        resources.append(resource)
        resources.sort()
