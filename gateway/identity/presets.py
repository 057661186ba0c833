"""Presets: what is known about each kind of issuer, as data. A new provider is a value here, never a subclass."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal
from urllib.parse import urlsplit

from gateway.identity.issuer import TokenKind

ClaimType = Literal["string", "integer", "boolean", "list"]

# TV-12: all that this gateway can verify; everything else is refused when a file or a token names it.
SUPPORTED_ALGORITHMS: Final = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
)

# Claims that say how or how strongly somebody signed in, not who: a rule on these alone binds nobody.
_UNBINDING: Final = frozenset(
    {
        "acr", "amr", "at_hash", "auth_time", "cnf", "email_verified", "events", "gty", "locale", "nonce",
        "phone_number_verified", "ref_type", "scope", "scp", "sid", "token_use", "typ", "ver", "version", "zoneinfo",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueHint:
    """What the values of a claim look like.

    choices: all there are; empty: any that has the prefix.
    prefix:  what each begins with. not_prefix: what none begins with.
    """

    choices: tuple[str, ...] = ()
    prefix: str = ""
    not_prefix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """Defaults and quirks of one kind of issuer. Fields named as in TrustedIssuer mean the same there.

    default_issuer:     the issuer string when the file gives none; None: the file must give one.
    token_kinds:        values that the file's `tokens` may hold; empty: the file must not have `tokens`.
    key_headers_ignored: tokens with `jwk`, `jku`, `x5u` or `x5c` headers are read without them; else refused.
    subject_claims:     conditions on one of these bind the subject. A name starting with `/` is a JSON pointer.
    custom_claims_bind: so does a condition on any claim that is not known to say nothing about the subject.
    claim_types:        JSON types of well-known claims, so that a rule that can never match is found in the file.
    claims_closed:      tokens have no claims but those known here and those with free_prefixes.
    free_prefixes:      beginnings of claims' names that the issuer's users choose.
    value_hints:        what values look like, by claim; a value that does not is never sent.
    ends_in_slash:      issuers of this kind always (True) or never (False) end in a slash; None: it varies.
    audience_hint:      what a caller does to get a token with the right audience; one sentence.
    """

    name: str
    default_issuer: str | None = None
    algorithms: tuple[str, ...] = ("RS256", "ES256")
    types: tuple[str, ...] = ("", "jwt")
    blank_subjects: bool = False
    client_claims: tuple[str, ...] = ("azp", "cid", "client_id")
    token_kinds: tuple[TokenKind, ...] = ()
    key_headers_ignored: bool = False
    subject_claims: frozenset[str] = frozenset({"sub"})
    custom_claims_bind: bool = False
    claim_types: Mapping[str, ClaimType] = field(default_factory=dict)
    claims_closed: bool = False
    free_prefixes: tuple[str, ...] = ()
    value_hints: Mapping[str, ValueHint] = field(default_factory=dict)
    ends_in_slash: bool | None = None
    audience_hint: str

    def binds_subject(self, claim: str) -> bool:
        """Say whether a condition on this claim narrows a rule to certain subjects."""
        if claim in self.subject_claims:
            return True
        return self.custom_claims_bind and claim not in _UNBINDING


# Issuers that sign for everybody, by host: a token of them proves nothing until one of these claims pins its owner.
# Names can be given up and taken by others; these claims are ids that are never given out twice.
_SHARED_HOSTS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "token.actions.githubusercontent.com": ("repository_owner_id", "repository_id", "enterprise_id"),
        "gitlab.com": ("namespace_id", "project_id"),
        "accounts.google.com": ("sub", "azp"),
        "agent.buildkite.com": ("organization_id", "pipeline_id"),
        "app.terraform.io": (
            "terraform_organization_id",
            "terraform_project_id",
            "terraform_workspace_id",
        ),
    }
)


def owner_pins(issuer: str) -> tuple[str, ...]:
    """Return the claims of which a shared issuer must require at least one; empty when it is not shared.

    By host whatever the preset, so that `generic` is no way around it. A path (an enterprise's own GitHub issuer)
    changes nothing: it is a name, and names can be taken over.
    """
    return _SHARED_HOSTS.get(urlsplit(issuer).hostname or "", ())


def is_okta_org(issuer: str) -> bool:
    """Say whether an Okta issuer is an org authorization server, whose access tokens are for Okta alone."""
    return not urlsplit(issuer).path.partition("/oauth2/")[2]


def _types(
    *, string: str = "", integer: str = "", boolean: str = "", lists: str = ""
) -> Mapping[str, ClaimType]:
    known: dict[str, ClaimType] = {"sub": "string", "jti": "string", "azp": "string"}
    known |= dict.fromkeys(string.split(), "string")
    known |= dict.fromkeys(integer.split(), "integer")
    known |= dict.fromkeys(boolean.split(), "boolean")
    known |= dict.fromkeys(lists.split(), "list")
    return MappingProxyType(known)


_OPENID_STRINGS: Final = (
    "email name preferred_username given_name family_name nickname locale zoneinfo acr nonce sid"
)

_BOOLEAN_TEXT: Final = ValueHint(choices=("true", "false"))

_OKTA = Preset(
    name="okta",
    ends_in_slash=False,
    subject_claims=frozenset({"sub", "cid", "uid", "groups"}),
    custom_claims_bind=True,
    claim_types=_types(
        string=f"{_OPENID_STRINGS} cid uid idp",
        integer="ver auth_time",
        boolean="email_verified",
        lists="scp groups amr",
    ),
    audience_hint="Ask the Okta authorization server whose audience this gateway lists; another server's tokens never fit.",
)

_COGNITO = Preset(
    name="cognito",
    ends_in_slash=False,
    value_hints={"token_use": ValueHint(choices=("id", "access"))},
    algorithms=("RS256",),
    token_kinds=("id", "access"),
    subject_claims=frozenset({"sub", "client_id", "username", "cognito:username", "cognito:groups"}),
    custom_claims_bind=True,
    claim_types=_types(
        string=f"{_OPENID_STRINGS} client_id token_use username cognito:username scope event_id origin_jti phone_number",
        integer="auth_time version",
        boolean="email_verified phone_number_verified",
        lists="cognito:groups cognito:roles",
    ),
    audience_hint="Sign in through an app client of this user pool that the gateway lists.",
)

_AUTH0 = Preset(
    name="auth0",
    ends_in_slash=True,
    types=("", "jwt", "at+jwt"),
    subject_claims=frozenset({"sub", "azp", "client_id", "org_id"}),
    custom_claims_bind=True,
    claim_types=_types(
        string=f"{_OPENID_STRINGS} client_id scope gty org_id org_name",
        integer="auth_time",
        boolean="email_verified",
        lists="permissions amr",
    ),
    audience_hint="Ask Auth0 for the API identifier of this gateway with the parameter `audience`, slash for slash.",
)

_GITHUB_ACTIONS = Preset(
    name="github-actions",
    default_issuer="https://token.actions.githubusercontent.com",
    algorithms=("RS256",),
    blank_subjects=True,  # environment names may hold blanks, and they are part of the subject
    subject_claims=frozenset(
        {
            "sub",
            "repository",
            "repository_id",
            "repository_owner_id",
            "enterprise_id",
            "environment_node_id",
            "job_workflow_ref",
            "workflow_ref",
        }
    ),
    # GitHub writes ids, numbers and booleans as text.
    claim_types=_types(
        string=(
            "actor actor_id base_ref enterprise enterprise_id environment environment_node_id event_name head_ref "
            "issuer_scope job_workflow_ref job_workflow_sha ref ref_protected ref_type repository repository_id "
            "repository_owner repository_owner_id repository_visibility run_attempt run_id run_number "
            "runner_environment sha workflow workflow_ref workflow_sha check_run_id"
        )
    ),
    claims_closed=True,
    free_prefixes=("repo_property_",),  # custom properties of repositories
    value_hints={
        "ref": ValueHint(prefix="refs/"),
        "ref_protected": _BOOLEAN_TEXT,
        "ref_type": ValueHint(choices=("branch", "tag")),
        "repository_visibility": ValueHint(choices=("public", "private", "internal")),
        "runner_environment": ValueHint(choices=("github-hosted", "self-hosted")),
        # docs.github.com, "Events that trigger workflows"; an unknown one is warned about, never refused.
        "event_name": ValueHint(
            choices=(
                "branch_protection_rule",
                "check_run",
                "check_suite",
                "create",
                "delete",
                "deployment",
                "deployment_status",
                "discussion",
                "discussion_comment",
                "dynamic",
                "fork",
                "gollum",
                "image_version",
                "issue_comment",
                "issues",
                "label",
                "merge_group",
                "milestone",
                "page_build",
                "public",
                "pull_request",
                "pull_request_review",
                "pull_request_review_comment",
                "pull_request_target",
                "push",
                "registry_package",
                "release",
                "repository_dispatch",
                "schedule",
                "status",
                "watch",
                "workflow_call",
                "workflow_dispatch",
                "workflow_run",
            )
        ),
    },
    audience_hint=(
        "Ask for the audience with the token: core.getIDToken(audience), or &audience=… at "
        "ACTIONS_ID_TOKEN_REQUEST_URL; /.well-known/oidc-gateway lists this gateway's."
    ),
)

_GITLAB = Preset(
    name="gitlab",
    default_issuer="https://gitlab.com",
    algorithms=("RS256",),
    subject_claims=frozenset(
        {"sub", "project_id", "project_path", "namespace_id", "ci_config_ref_uri", "user_id"}
    ),
    # GitLab writes ids and booleans as text, but not the runner's id.
    claim_types=_types(
        string=(
            "namespace_id namespace_path project_id project_path user_id user_login user_email user_access_level "
            "pipeline_id pipeline_source job_id job_source ref ref_type ref_path ref_protected environment "
            "environment_protected environment_action deployment_tier deployment_action runner_environment sha "
            "ci_config_ref_uri ci_config_sha project_visibility"
        ),
        integer="runner_id",
        lists="groups_direct user_identities",
    ),
    claims_closed=True,
    value_hints={
        "ref": ValueHint(not_prefix="refs/"),
        "ref_path": ValueHint(prefix="refs/"),
        "ref_protected": _BOOLEAN_TEXT,
        "environment_protected": _BOOLEAN_TEXT,
        "ref_type": ValueHint(choices=("branch", "tag")),
        "project_visibility": ValueHint(choices=("public", "private", "internal")),
    },
    audience_hint="Declare the audience in the job: `id_tokens: {NAME: {aud: …}}`; /.well-known/oidc-gateway lists this gateway's.",
)

_KUBERNETES = Preset(
    name="kubernetes",
    subject_claims=frozenset(
        {
            "sub",
            "/kubernetes.io/namespace",
            "/kubernetes.io/serviceaccount/name",
            "/kubernetes.io/serviceaccount/uid",
        }
    ),
    claim_types=_types(
        string=(
            "/kubernetes.io/namespace /kubernetes.io/serviceaccount/name /kubernetes.io/serviceaccount/uid "
            "/kubernetes.io/pod/name /kubernetes.io/pod/uid /kubernetes.io/node/name /kubernetes.io/node/uid"
        )
    ),
    claims_closed=True,
    value_hints={"sub": ValueHint(prefix="system:serviceaccount:")},
    audience_hint="Set `audience` of the projected serviceAccountToken volume; the cluster's default audience is not meant for us.",
)

_GENERIC = Preset(
    name="generic",
    types=("", "jwt", "at+jwt"),
    key_headers_ignored=True,
    custom_claims_bind=True,
    claim_types=_types(
        string=f"{_OPENID_STRINGS} client_id scope",
        integer="auth_time",
        boolean="email_verified phone_number_verified",
        lists="amr",
    ),
    audience_hint="Ask the issuer for a token with an audience of this gateway; /.well-known/oidc-gateway lists them.",
)

#: Of an issuer of which nothing is known: what is wrong with it is wrong for all of them.
UNKNOWN: Final = Preset(name="unknown", custom_claims_bind=True, audience_hint="")

PRESETS: Final[Mapping[str, Preset]] = MappingProxyType(
    {
        preset.name: preset
        for preset in (_OKTA, _COGNITO, _AUTH0, _GITHUB_ACTIONS, _GITLAB, _KUBERNETES, _GENERIC)
    }
)
