"""The Vault of the embedded environment against the files, with a real Vault and an AWS that enforces."""

from collections.abc import Iterator

import pytest

from gateway.dev.vault import VaultServer, running_vault
from gateway.dev.vault_seed import seed_vault
from gateway.policy.rule import VaultRole
from gateway.policy.snapshot import Policy
from tests.support.policies import is_, rule
from tests.support.tokens import jwks
from tests.support.vault_edge import engine, vault_role
from tests.support.vault_plans import (
    administrator,
    credentials_of,
    planned,
    start_as,
    token_of,
    vault_policy,
)
from tests.support.vaults import assumable_role, serving_keys


@pytest.fixture(scope="module")
def keys_url() -> Iterator[str]:
    with serving_keys(jwks()) as url:
        yield url


@pytest.fixture
def own_vault(vault: VaultServer) -> Iterator[VaultServer]:
    """A Vault that this test alone has; the shared one says that there are any."""
    with running_vault() as server:
        yield server


def target_of(server: VaultServer, aws_url: str, *, name: str = "payments-ci") -> VaultRole:
    return vault_role(
        server.address,
        name=name,
        role=name,
        policies=(name,),
        aws=engine(arn=assumable_role(aws_url)),
    )


def policy_of(target: VaultRole, keys_url: str, repository: str = "4711") -> Policy:
    wanted = rule("ci", [is_("repository_id", repository)], start_as(target), credentials_of(target))
    return vault_policy(wanted, targets=[target], jwks_url=keys_url)


def test_an_empty_vault_becomes_what_the_files_say_and_a_second_time_nothing_changes(
    own_vault: VaultServer, ministack: str, keys_url: str
) -> None:
    policy = policy_of(target_of(own_vault, ministack), keys_url)

    faults = [
        seed_vault(own_vault, policy, aws_url=ministack, region="eu-west-1"),
        seed_vault(own_vault, policy, aws_url=ministack, region="eu-west-1"),
    ]

    with administrator(own_vault) as session:
        assert planned(session, policy).in_step
        issued = session.write(
            "aws/sts/payments", {"role_arn": str(target_arn(policy)), "role_session_name": "test"}
        )
    assert faults == [(), ()]
    assert issued["data"]["access_key"].startswith("ASIA")


def target_arn(policy: Policy) -> str:
    (target,) = (one for one in policy.targets.values() if isinstance(one, VaultRole))
    assert target.aws is not None
    return str(target.aws.arn)


def test_an_edit_reaches_vault_and_what_the_files_no_longer_have_goes(
    own_vault: VaultServer, ministack: str, keys_url: str
) -> None:
    before, after = target_of(own_vault, ministack), target_of(own_vault, ministack, name="renamed")
    seed_vault(own_vault, policy_of(before, keys_url), aws_url=ministack, region="eu-west-1")
    edited = policy_of(after, keys_url, repository="9")

    seed_vault(own_vault, edited, aws_url=ministack, region="eu-west-1")

    with administrator(own_vault) as session:
        roles = session.names("auth/jwt-github/role")
        role = session.read("auth/jwt-github/role/renamed")
        assert planned(session, edited).in_step
    assert roles == ("renamed",)
    assert role is not None
    assert role["data"]["bound_claims"] == {"repository_id": ["9"]}


def test_what_vault_cannot_hold_is_said_and_the_rest_is_made(
    own_vault: VaultServer, ministack: str, keys_url: str
) -> None:
    good = target_of(own_vault, ministack)
    twin = vault_role(own_vault.address, name="twin", role="payments-ci")
    policy = vault_policy(
        rule("ci", [is_("repository_id", "4711")], token_of(good)),
        rule("also", [is_("repository_id", "4711")], token_of(twin)),
        targets=[good, twin],
        jwks_url=keys_url,
    )

    faults = seed_vault(own_vault, policy, aws_url=ministack, region="eu-west-1")

    with administrator(own_vault) as session:
        assert session.names("auth/jwt-github/role") == ("payments-ci",)
    assert [fault for fault in faults if "name the same role" in fault] != []
