"""Tokens that we believe and STS would not take: refused before the call, with the claim's name."""

from dataclasses import replace

import pytest

from gateway.credentials.suitability import require_usable_for_aws
from gateway.errors import AccessDenied, ErrorCode, FailedClaim
from gateway.identity.token import Claims, VerifiedToken
from tests.support.policies import role
from tests.support.tokens import verified

ROLES = "https://aws.amazon.com/roles"
ARN = "arn:aws:iam::111122223333:role/deployer"
OTHER = "arn:aws:iam::111122223333:role/other"


def with_claims(**members: object) -> VerifiedToken:
    token = verified()
    merged = {**token.claims.members, **members}
    kept = {name: value for name, value in merged.items() if value is not None}
    return replace(token, claims=Claims(issuer=token.claims.issuer, members=kept))


@pytest.mark.requirement("TV-33")
@pytest.mark.parametrize(
    "token",
    [
        pytest.param(verified(), id="as it comes from GitHub"),
        pytest.param(with_claims(aud=["one"]), id="one audience in a list"),
        pytest.param(with_claims(aud=["one", "two"], azp="one"), id="several with azp"),
        pytest.param(with_claims(**{ROLES: [OTHER, ARN]}), id="role in the list"),
        pytest.param(with_claims(**{ROLES: f"{OTHER};{ARN}"}), id="role in the text"),
        *[
            pytest.param(replace(verified(), algorithm=name), id=name)
            for name in ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512")
        ],
    ],
)
def test_a_token_that_sts_can_take_passes(token: VerifiedToken) -> None:
    require_usable_for_aws(token, role())


@pytest.mark.requirement("TV-33")
@pytest.mark.parametrize(
    ("token", "claim"),
    [
        pytest.param(
            replace(verified(), algorithm="PS256"),
            FailedClaim(name="alg", problem="value", value="PS256"),
            id="PS256",
        ),
        pytest.param(
            replace(verified(), algorithm="EdDSA"),
            FailedClaim(name="alg", problem="value", value="EdDSA"),
            id="EdDSA",
        ),
        pytest.param(
            replace(verified(), key_id=None), FailedClaim(name="kid", problem="missing"), id="no kid"
        ),
        pytest.param(
            with_claims(aud=None),
            FailedClaim(name="aud", problem="missing"),
            id="no aud, as Cognito's access tokens",
        ),
        pytest.param(
            with_claims(aud=["one", "two"]),
            FailedClaim(name="azp", problem="missing"),
            id="several audiences",
        ),
        pytest.param(
            with_claims(**{ROLES: [OTHER]}),
            FailedClaim(name=ROLES, problem="value", value=[OTHER]),
            id="other roles",
        ),
        pytest.param(
            with_claims(**{ROLES: f"{ARN}x;{OTHER}"}),
            FailedClaim(name=ROLES, problem="value", value=f"{ARN}x;{OTHER}"),
            id="a longer role",
        ),
        pytest.param(
            with_claims(**{ROLES: []}), FailedClaim(name=ROLES, problem="value", value=[]), id="an empty list"
        ),
        pytest.param(
            with_claims(**{ROLES: {"arn": ARN}}),
            FailedClaim(name=ROLES, problem="type", value={"arn": ARN}),
            id="not a list",
        ),
    ],
)
def test_a_token_that_sts_would_refuse_is_refused_with_the_claims_name(
    token: VerifiedToken, claim: FailedClaim
) -> None:
    with pytest.raises(AccessDenied) as caught:
        require_usable_for_aws(token, role())

    assert caught.value.code is ErrorCode.TOKEN_UNUSABLE_FOR_AWS
    assert caught.value.claims == (claim,)
    assert ARN not in caught.value.message
