"""Our STS edge against ministack, whose STS enforces trust policies; what it invents, scripted peers prove elsewhere."""

import pytest

from gateway.credentials.session import AwsCredentials, session_for
from gateway.errors import AccessDenied, ErrorCode
from gateway.identity.token import VerifiedToken
from gateway.policy.rule import AwsRole
from tests.support.aws import REGION, aws_at, within
from tests.support.aws_seed import seed_role
from tests.support.boto import Keys, client
from tests.support.tokens import verified

TOKEN = verified()
SUBJECT = TOKEN.principal.subject


async def assume(url: str, role: AwsRole, *, token: VerifiedToken = TOKEN) -> AwsCredentials:
    session = session_for(token, role, workflow=None)
    async with aws_at(url, emulator=True) as aws:
        return await aws.sts.assume(token, role, session, region=REGION, deadline=within(20))


@pytest.mark.requirement("ST-01", "ST-04")
async def test_a_token_that_the_trust_policy_accepts_becomes_a_session_of_that_role(ministack: str) -> None:
    role = seed_role(ministack, subject=SUBJECT)

    credentials = await assume(ministack, role)

    assert credentials.identity == (
        f"arn:aws:sts::111122223333:assumed-role/{role.name}/{session_for(TOKEN, role, workflow=None).name}"
    )


@pytest.mark.requirement("ST-05")
async def test_the_issued_triple_is_the_identity_that_aws_then_sees(ministack: str) -> None:
    role = seed_role(ministack, subject=SUBJECT)
    credentials = await assume(ministack, role)

    keys = Keys(
        key_id=credentials.access_key_id,
        secret=credentials.secret_access_key.reveal(),
        session_token=credentials.session_token.reveal(),
    )
    seen = client("sts", ministack, keys).get_caller_identity()

    assert seen["Arn"] == credentials.identity


@pytest.mark.requirement("ST-08")
async def test_a_token_of_another_subject_is_denied_by_the_trust_policy(ministack: str) -> None:
    role = seed_role(ministack, subject="repo:acme/other:environment:prod")

    with pytest.raises(AccessDenied) as caught:
        await assume(ministack, role)

    assert caught.value.code is ErrorCode.AWS_DENIED
    assert caught.value.upstream is not None
    assert caught.value.upstream.code == "AccessDenied"


@pytest.mark.requirement("ST-08")
async def test_a_token_of_another_issuer_is_denied_by_the_trust_policy(ministack: str) -> None:
    role = seed_role(ministack, subject=SUBJECT)

    with pytest.raises(AccessDenied) as caught:
        await assume(ministack, role, token=verified("gitlab"))

    assert caught.value.code is ErrorCode.AWS_DENIED


@pytest.mark.requirement("ST-01")
async def test_the_other_emulator_understands_the_same_request(moto: str) -> None:
    role = seed_role(moto, subject=SUBJECT)

    credentials = await assume(moto, role)

    assert credentials.identity.endswith(
        f"assumed-role/{role.name}/{session_for(TOKEN, role, workflow=None).name}"
    )
