"""Vault's sentences become codes, claims and advice of ours; the sentences themselves stay in the log.

The first ones are held to a real server in tests/contract/test_vault.py; here stand also those that it will not say on demand.
"""

from collections.abc import Callable

import pytest

from gateway.credentials.vault_errors import engine_refusal, login_refusal
from gateway.errors import ErrorCode, FailedClaim, GatewayError
from gateway.outbound.vault_answers import VaultFault
from tests.support.tokens import verified

TOKEN = verified(groups=["a", "b"], nested={"team": "payments"})


def value(name: str, own: object) -> FailedClaim:
    return FailedClaim(name=name, problem="value", value=own)


@pytest.mark.requirement("VA-06", "VA-07")
@pytest.mark.parametrize(
    ("sentence", "claim"),
    [
        pytest.param(
            'error validating claims: claim "repository_id" does not match any associated bound claim values',
            value("repository_id", "4711"),
            id="value",
        ),
        pytest.param(
            'error validating claims: claim "/nested/team" does not match any associated bound claim values',
            value("/nested/team", "payments"),
            id="pointer",
        ),
        pytest.param(
            'error validating claims: claim "department" is missing',
            FailedClaim(name="department", problem="missing"),
            id="missing",
        ),
        pytest.param(
            'claim "department" not found in token',
            FailedClaim(name="department", problem="missing"),
            id="user-claim-missing",
        ),
        pytest.param(
            'failed to fetch groups: "teams" claim not found in token',
            FailedClaim(name="teams", problem="missing"),
            id="groups-missing",
        ),
        pytest.param(
            'claim "groups" could not be converted to string',
            FailedClaim(name="groups", problem="type", value=["a", "b"]),
            id="user-claim-is-a-list",
        ),
        pytest.param(
            '"ref" claim could not be converted to string list',
            FailedClaim(name="ref", problem="type", value="refs/heads/main"),
            id="groups-are-a-text",
        ),
        pytest.param(
            "error converting claim 'groups' to string",
            FailedClaim(name="groups", problem="type", value=["a", "b"]),
            id="mapped-claim",
        ),
        pytest.param(
            "error validating token: invalid audience (aud) claim: audience claim does not match any expected audience",
            value("aud", "https://gateway.acme.example"),
            id="audience",
        ),
        pytest.param(
            "error validating token: invalid issuer (iss) claim",
            value("iss", "https://token.actions.githubusercontent.com"),
            id="issuer",
        ),
        pytest.param(
            "error validating token: invalid subject (sub) claim",
            value("sub", "repo:acme/payments:environment:prod"),
            id="subject",
        ),
        pytest.param(
            "error validating token: invalid expiration time (exp) claim: token is expired",
            value("exp", TOKEN.expires_at),
            id="expired",
        ),
        pytest.param(
            "error validating token: invalid not before (nbf) claim: token not yet valid",
            value("nbf", TOKEN.claims.members["nbf"]),
            id="not-yet",
        ),
        pytest.param(
            "error validating token: invalid algorithm (alg) header parameter: token signed with unexpected algorithm",
            value("alg", "RS256"),
            id="algorithm",
        ),
    ],
)
def test_a_claim_that_vault_refuses_is_named_with_the_callers_own_value(
    sentence: str, claim: FailedClaim
) -> None:
    error = login_refusal(VaultFault(400, text=sentence), TOKEN)

    assert error.code is ErrorCode.VAULT_DENIED
    assert error.claims == (claim,)
    assert sentence not in error.message


@pytest.mark.requirement("VA-06")
@pytest.mark.parametrize(
    ("sentence", "code"),
    [
        pytest.param(
            'role "nope" could not be found', ErrorCode.MAPPING_INVALID_FOR_VAULT, id="unknown-role"
        ),
        pytest.param("missing role", ErrorCode.MAPPING_INVALID_FOR_VAULT, id="no-role"),
        pytest.param(
            "role with oidc role_type is not allowed", ErrorCode.MAPPING_INVALID_FOR_VAULT, id="wrong-type"
        ),
        pytest.param(
            "audience claim found in JWT but no audiences bound to the role",
            ErrorCode.MAPPING_INVALID_FOR_VAULT,
            id="no-bound-audience",
        ),
        pytest.param(
            "could not load configuration", ErrorCode.MAPPING_INVALID_FOR_VAULT, id="mount-not-configured"
        ),
        pytest.param(
            "error validating token: error verifying token signature: no known key successfully validated the token signature",
            ErrorCode.VAULT_DENIED,
            id="another-pools-key",
        ),
        pytest.param(
            'error validating token: error verifying token signature: fetching keys oidc: get keys failed: Get "https://x"',
            ErrorCode.VAULT_NOT_READY,
            id="keys-unreachable",
        ),
        pytest.param("a sentence of the next release", ErrorCode.VAULT_DENIED, id="unknown"),
        pytest.param("", ErrorCode.VAULT_DENIED, id="none"),
    ],
)
def test_a_login_that_is_about_no_claim_says_who_must_act(sentence: str, code: ErrorCode) -> None:
    error = login_refusal(VaultFault(400, text=sentence), TOKEN)

    assert (error.code, error.claims) == (code, ())


@pytest.mark.requirement("VA-07")
@pytest.mark.parametrize(
    "name", ["a b", "<script>", 'x\\" y', "x" * 129, "\u202e", "eyJhbGciOiJub25lIn0.e30.\n"]
)
def test_a_claims_name_of_a_harmful_form_is_not_repeated(name: str) -> None:
    error = login_refusal(VaultFault(400, text=f'claim "{name}" is missing'), TOKEN)

    assert error.code is ErrorCode.VAULT_DENIED
    assert error.claims == ()


@pytest.mark.requirement("VA-07")
@pytest.mark.parametrize("status", [400, 403, 404, 412, 418, 429, 500, 502, 503])
@pytest.mark.parametrize(
    "refusal", [lambda fault: login_refusal(fault, TOKEN), engine_refusal], ids=["login", "engine"]
)
@pytest.mark.parametrize("sentence", ["", "Error assuming role: AccessDenied: ", "claim could not be read: "])
def test_no_refusal_repeats_what_vault_said(
    refusal: Callable[[VaultFault], GatewayError], status: int, sentence: str
) -> None:
    words = "policy-of-somebody arn:aws:iam::1:role/hidden"

    error = refusal(VaultFault(status, text=sentence + words))

    told = f"{error} {error.message} {error.hint} {error.claims} {error.upstream}"
    assert [word for word in words.split() if word in told] == []


@pytest.mark.requirement("VA-06")
@pytest.mark.parametrize(
    ("status", "sentence", "code"),
    [
        pytest.param(403, "permission denied", ErrorCode.VAULT_DENIED, id="policies"),
        pytest.param(
            400,
            'role_arn "arn:aws:iam::1:role/x" not in allowed role arns for Vault role "payments"',
            ErrorCode.MAPPING_INVALID_FOR_VAULT,
            id="another-arn",
        ),
        pytest.param(400, 'Role "payments" not found', ErrorCode.MAPPING_INVALID_FOR_VAULT, id="no-role"),
        pytest.param(
            400,
            "Error assuming role: ValidationError: DurationSeconds exceeds the MaxSessionDuration",
            ErrorCode.MAPPING_INVALID_FOR_VAULT,
            id="too-long-for-aws",
        ),
        pytest.param(
            400, "Error assuming role: AccessDenied: User is not authorized", ErrorCode.VAULT_DENIED, id="aws"
        ),
        pytest.param(400, "something else", ErrorCode.VAULT_DENIED, id="unknown"),
        pytest.param(502, "upstream rate limited", ErrorCode.VAULT_THROTTLED, id="aws-throttles-vault"),
        pytest.param(429, "lease count quota exceeded", ErrorCode.VAULT_THROTTLED, id="quota"),
        pytest.param(503, "Vault is sealed", ErrorCode.VAULT_SEALED, id="sealed"),
    ],
)
def test_a_refusal_of_the_aws_engine_says_who_must_act(status: int, sentence: str, code: ErrorCode) -> None:
    error = engine_refusal(VaultFault(status, text=sentence))

    assert error.code is code
    assert "arn:aws" not in f"{error.message} {error.hint}"


@pytest.mark.requirement("VA-06")
def test_the_status_of_vault_goes_to_the_caller_and_nothing_else_of_it() -> None:
    error = login_refusal(VaultFault(403, text="permission denied by policy secret-plans"), TOKEN)

    assert error.upstream is not None
    assert (error.upstream.service, error.upstream.code, error.upstream.request_id) == ("vault", "403", None)
