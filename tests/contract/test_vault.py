"""Our calls against a real Vault, and beside hvac, which nobody here wrote: the same answers, refusal by refusal."""

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest
from cryptography.hazmat.primitives import serialization
from hvac.exceptions import VaultError

from gateway.clock import SystemClock
from gateway.credentials.session import AwsCredentials, VaultToken, session_for
from gateway.dev.vault import VaultServer, running_vault
from gateway.errors import ErrorCode, FailedClaim, GatewayError
from gateway.identity.token import VerifiedToken
from gateway.policy.rule import VaultAws, VaultRole
from tests.support.aws import within
from tests.support.boto import Keys, client
from tests.support.peer import LOOPBACK, closed_port
from tests.support.policies import workflow
from tests.support.tokens import AUDIENCE, jwk, jwks, private_key, verified
from tests.support.vault_edge import vault_edge
from tests.support.vaults import PreparedVault, assumable_role, hvac_client, prepared_vault, serving_keys


@pytest.fixture(scope="module")
def keys_url() -> Iterator[str]:
    with serving_keys(jwks()) as url:
        yield url


@pytest.fixture(scope="module")
def prepared(vault: VaultServer, keys_url: str) -> Iterator[PreparedVault]:
    with prepared_vault(vault, jwks_url=keys_url) as one:
        yield one


def fresh(**claims: object) -> VerifiedToken:
    return verified(now=time.time(), claims=claims)


async def log_in(token: VerifiedToken, target: VaultRole) -> VaultToken:
    async with vault_edge(clock=SystemClock()) as edge:
        return await edge.vault.login(token, target, deadline=within(20))


async def refused(token: VerifiedToken, target: VaultRole) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        await log_in(token, target)
    return caught.value


# Logins.


@pytest.mark.requirement("VA-01", "VA-04")
async def test_a_token_that_fits_the_role_becomes_a_vault_token_with_the_targets_policies(
    prepared: PreparedVault,
) -> None:
    target = prepared.add_role(ttl_s=600)

    held = await log_in(fresh(), target)

    seen = prepared.seen_by(held.token.reveal())
    assert set(seen["policies"]) == set(held.policies) == {"default", *target.policies}
    assert seen["path"] == f"auth/{target.mount}/login"
    assert 590 <= seen["ttl"] <= 600
    assert held.expires_at == pytest.approx(time.time() + 600, abs=10)


async def test_a_wrapped_token_unwraps_into_the_token_at_the_path_that_was_named(
    prepared: PreparedVault,
) -> None:
    target = replace(prepared.add_role(), wrap_s=60)

    held = await log_in(fresh(), target)

    with hvac_client(prepared.address, held.token.reveal()) as receiver:
        path = receiver.write_data("sys/wrapping/lookup", data={"token": held.token.reveal()})["data"]
        unwrapped = receiver.sys.unwrap()
    assert held.wrapped
    assert path["creation_path"] == held.creation_path
    assert set(unwrapped["auth"]["token_policies"]) == {"default", *target.policies}


async def test_batch_tokens_log_in_too(prepared: PreparedVault) -> None:
    target = prepared.add_role(token_type="batch", token_explicit_max_ttl=0)

    held = await log_in(fresh(), target)

    assert prepared.seen_by(held.token.reveal())["type"] == "batch"


@pytest.mark.requirement("VA-04", "F-52")
@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"policies": ()}, id="wider-policies"),
        pytest.param({"policies": ("another",)}, id="other-policies"),
        pytest.param({"ttl_s": 899}, id="longer-lease"),
        pytest.param({"role": "CAPITAL"}, id="role-with-capitals-which-vault-lowers"),
    ],
)
async def test_a_vault_that_gives_other_than_the_target_allows_leaves_no_token_behind(
    prepared: PreparedVault, change: dict[str, object]
) -> None:
    target = prepared.add_role()
    change = {"role": target.role.upper()} if "role" in change else change
    before = prepared.tokens()

    error = await refused(fresh(), replace(target, **change))  # type: ignore[arg-type]

    assert error.code is ErrorCode.VAULT_ANSWER_MISMATCH
    assert prepared.keeps_only(before)


# Refusals.


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """How a role and a token are made that do not fit, and what the caller must hear."""

    code: ErrorCode
    claim: FailedClaim | None = None
    target: Callable[[PreparedVault, str], VaultRole] = lambda vault, _: vault.add_role()
    token: Callable[[], VerifiedToken] = fresh


def about(name: str, own: object) -> FailedClaim:
    return FailedClaim(name=name, problem="value", value=own)


def another_pools_mount(vault: PreparedVault, _: str) -> VaultRole:
    with serving_keys(jwks(jwk("RS256", "second"))) as url:
        mount = vault.add_mount(url)
    # Vault has fetched the keys when the mount was configured; a login fetches them again.
    return vault.add_role(mount=mount)


def another_keys_pem(vault: PreparedVault, _: str) -> VaultRole:
    pem = (
        private_key("RS256", "second")
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    mount = vault.add_mount(None, jwt_validation_pubkeys=[pem.decode()])
    return vault.add_role(mount=mount)


REFUSALS = {
    "claim-mismatch": Refusal(
        code=ErrorCode.VAULT_DENIED,
        claim=about("repository_id", "9999"),
        token=lambda: fresh(repository_id="9999"),
    ),
    "claim-missing": Refusal(
        code=ErrorCode.VAULT_DENIED,
        claim=FailedClaim(name="department", problem="missing"),
        target=lambda vault, _: vault.add_role(bound_claims={"department": "x"}),
    ),
    "claim-is-a-list-without-the-value": Refusal(
        code=ErrorCode.VAULT_DENIED,
        claim=about("groups", ["a", "b"]),
        target=lambda vault, _: vault.add_role(bound_claims={"groups": "c"}),
        token=lambda: fresh(groups=["a", "b"]),
    ),
    "nested-claim": Refusal(
        code=ErrorCode.VAULT_DENIED,
        claim=about("/nested/team", "other"),
        target=lambda vault, _: vault.add_role(bound_claims={"/nested/team": "payments"}),
        token=lambda: fresh(nested={"team": "other"}),
    ),
    "user-claim-missing": Refusal(
        code=ErrorCode.VAULT_DENIED,
        claim=FailedClaim(name="department", problem="missing"),
        target=lambda vault, _: vault.add_role(user_claim="department"),
    ),
    "user-claim-is-a-list": Refusal(
        code=ErrorCode.VAULT_DENIED,
        claim=FailedClaim(name="groups", problem="type", value=["a"]),
        target=lambda vault, _: vault.add_role(user_claim="groups"),
        token=lambda: fresh(groups=["a"]),
    ),
    "groups-missing": Refusal(
        code=ErrorCode.VAULT_DENIED,
        claim=FailedClaim(name="teams", problem="missing"),
        target=lambda vault, _: vault.add_role(groups_claim="teams"),
    ),
    "groups-are-numbers": Refusal(
        code=ErrorCode.VAULT_DENIED,
        target=lambda vault, _: vault.add_role(groups_claim="teams"),
        token=lambda: fresh(teams=[7]),
    ),
    "mapped-claim-is-a-list": Refusal(
        code=ErrorCode.VAULT_DENIED,
        claim=FailedClaim(name="groups", problem="type", value=["a"]),
        target=lambda vault, _: vault.add_role(claim_mappings={"groups": "groups"}),
        token=lambda: fresh(groups=["a"]),
    ),
    "audience": Refusal(
        code=ErrorCode.VAULT_DENIED,
        claim=about("aud", AUDIENCE),
        target=lambda vault, _: vault.add_role(bound_audiences=["https://other.example"]),
    ),
    "issuer": Refusal(
        code=ErrorCode.VAULT_DENIED,
        claim=about("iss", "https://gitlab.com"),
        token=lambda: verified("gitlab", now=time.time()),
    ),
    "subject": Refusal(
        code=ErrorCode.VAULT_DENIED,
        claim=about("sub", "repo:acme/payments:environment:prod"),
        target=lambda vault, _: vault.add_role(bound_subject="somebody"),
    ),
    "expired": Refusal(
        code=ErrorCode.VAULT_DENIED,
        claim=FailedClaim(name="exp", problem="value"),
        token=lambda: verified(now=time.time() - 3600),
    ),
    "not-yet": Refusal(
        code=ErrorCode.VAULT_DENIED,
        claim=FailedClaim(name="nbf", problem="value"),
        token=lambda: verified(now=time.time() + 3600),
    ),
    "algorithm": Refusal(
        code=ErrorCode.VAULT_DENIED,
        claim=about("alg", "RS256"),
        target=lambda vault, url: vault.add_role(mount=vault.add_mount(url, jwt_supported_algs=["ES256"])),
    ),
    "another-pools-key": Refusal(code=ErrorCode.VAULT_DENIED, target=another_keys_pem),
    "another-pools-keys-have-gone": Refusal(code=ErrorCode.VAULT_NOT_READY, target=another_pools_mount),
    "unknown-role": Refusal(
        code=ErrorCode.MAPPING_INVALID_FOR_VAULT,
        target=lambda vault, _: replace(vault.add_role(), role="nobody-wrote-this-one"),
    ),
    "role-of-the-wrong-type": Refusal(
        code=ErrorCode.MAPPING_INVALID_FOR_VAULT,
        target=lambda vault, _: vault.add_role(
            role_type="oidc", allowed_redirect_uris=["http://localhost/callback"]
        ),
    ),
    "no-bound-audiences": Refusal(
        code=ErrorCode.MAPPING_INVALID_FOR_VAULT, target=lambda vault, _: vault.add_role(bound_audiences=[])
    ),
    "unknown-mount": Refusal(
        code=ErrorCode.VAULT_DENIED,
        target=lambda vault, _: replace(vault.add_role(), mount="nobody-made-this"),
    ),
    "another-network": Refusal(
        code=ErrorCode.VAULT_DENIED,
        target=lambda vault, _: vault.add_role(token_bound_cidrs=["203.0.113.0/24"]),
    ),
}


@pytest.mark.requirement("VA-06", "VA-07")
@pytest.mark.parametrize("name", REFUSALS)
async def test_a_refusal_is_said_in_our_words_hvac_agrees_that_it_is_one_and_no_token_is_left(
    prepared: PreparedVault, keys_url: str, name: str
) -> None:
    case = REFUSALS[name]
    target, token = case.target(prepared, keys_url), case.token()
    before = prepared.tokens()

    error = await refused(token, target)

    with hvac_client(prepared.address) as foreign, pytest.raises(VaultError) as theirs:
        foreign.auth.jwt.jwt_login(target.role, token.compact.reveal(), use_token=False, path=target.mount)
    assert error.code is case.code
    assert [(one.name, one.problem) for one in error.claims] == (
        [(case.claim.name, case.claim.problem)] if case.claim else []
    )
    if case.claim and case.claim.value is not None:
        assert error.claims[0].value == case.claim.value
    for sentence in theirs.value.errors or ():
        assert sentence not in f"{error.message} {error.hint}"
    assert prepared.keeps_only(before)


async def test_hvac_logs_in_where_we_do(prepared: PreparedVault) -> None:
    target, token = prepared.add_role(), fresh()

    ours = await log_in(token, target)

    with hvac_client(prepared.address) as foreign:
        theirs = foreign.auth.jwt.jwt_login(
            target.role, token.compact.reveal(), use_token=False, path=target.mount
        )
    mine = prepared.seen_by(ours.token.reveal())
    other = prepared.seen_by(theirs["auth"]["client_token"])
    for member in ("policies", "entity_id", "display_name", "type", "explicit_max_ttl", "meta", "path"):
        assert mine[member] == other[member]


# Many at once.


@pytest.mark.requirement("VA-03", "F-54")
async def test_two_hundred_logins_at_once_get_each_their_own_token_and_leave_no_other(
    prepared: PreparedVault,
) -> None:
    target = prepared.add_role(user_claim="sub")
    tokens = [fresh(sub=f"caller-{number}") for number in range(200)]
    before = prepared.tokens()

    async with vault_edge(clock=SystemClock()) as edge:
        held = await asyncio.gather(
            *(edge.vault.login(token, target, deadline=within(60)) for token in tokens)
        )

    names = [prepared.seen_by(one.token.reveal())["display_name"] for one in held]
    assert names == [f"{target.mount}-caller-{number}" for number in range(200)]
    assert len(prepared.tokens() - before) == 200
    for one in held:
        prepared.revoke(one.token.reveal())
    assert prepared.keeps_only(before)


# A Vault that is sealed.


@pytest.mark.requirement("VA-06", "F-51")
async def test_a_vault_that_is_sealed_in_mid_flight_says_so(vault: VaultServer, keys_url: str) -> None:
    with running_vault() as server, prepared_vault(server, jwks_url=keys_url) as other:
        target = other.add_role()
        await log_in(fresh(), target)
        other.admin.sys.seal()

        error = await refused(fresh(), target)

    assert error.code is ErrorCode.VAULT_SEALED
    assert error.retry_after_s == 5


@pytest.mark.requirement("VA-06")
async def test_a_quota_of_vault_that_is_used_up_is_throttling(prepared: PreparedVault, keys_url: str) -> None:
    target = prepared.add_role(mount=prepared.add_mount(keys_url))
    quota = f"sys/quotas/rate-limit/{target.mount}"
    prepared.admin.write_data(quota, data={"path": f"auth/{target.mount}/", "rate": 0.001})
    await log_in(fresh(), target)

    error = await refused(fresh(), target)

    assert error.code is ErrorCode.VAULT_THROTTLED


async def test_a_vault_without_namespaces_ignores_the_one_that_a_target_names(
    prepared: PreparedVault,
) -> None:
    # Only Vault Enterprise has them. Recorded because it is a trap: elsewhere the target means the root namespace.
    target = prepared.add_role()
    elsewhere = replace(target, vault=replace(target.vault, namespace="nobody-made-this"))

    held = await log_in(fresh(), elsewhere)

    assert prepared.seen_by(held.token.reveal())["path"] == f"auth/{target.mount}/login"


async def test_a_vault_that_is_gone_is_not_ready(prepared: PreparedVault) -> None:
    target = prepared.add_role()
    gone = replace(target, vault=replace(target.vault, address=f"http://{LOOPBACK}:{await closed_port()}"))

    error = await refused(fresh(), gone)

    assert error.code is ErrorCode.VAULT_NOT_READY


# AWS credentials of Vault's engine.


def with_engine(prepared: PreparedVault, aws_url: str, **fields: object) -> VaultRole:
    engine = prepared.add_engine(aws_url, role_arn=assumable_role(aws_url), **fields)
    target = prepared.add_role(token_policies=[prepared.may_use(engine)])
    return replace(target, aws=engine)


async def issue(target: VaultRole, *, own: bool = True, ttl_s: int = 900) -> AwsCredentials:
    token = fresh()
    target = replace(target, ttl_s=ttl_s)
    session = session_for(token, target, workflow=workflow() if own else None)
    async with vault_edge(clock=SystemClock()) as edge:
        return await edge.vault.aws(token, target, session, deadline=within(20))


async def not_issued(target: VaultRole) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        await issue(target)
    return caught.value


@pytest.mark.requirement("VA-05", "VA-08")
async def test_vaults_engine_issues_credentials_for_the_session_and_no_vault_token_is_left(
    prepared: PreparedVault, ministack: str
) -> None:
    target = with_engine(prepared, ministack)
    before = prepared.tokens()

    credentials = await issue(target)

    keys = Keys(
        key_id=credentials.access_key_id,
        secret=credentials.secret_access_key.reveal(),
        session_token=credentials.session_token.reveal(),
    )
    assert client("sts", ministack, keys).get_caller_identity()["Arn"] == credentials.identity
    assert credentials.lease is not None
    assert target.aws is not None
    assert credentials.lease.startswith(f"{target.aws.mount}/sts/{target.aws.role}/")
    assert credentials.expires_at == pytest.approx(time.time() + 900, abs=15)
    assert prepared.keeps_only(before)


@pytest.mark.requirement("VA-05")
async def test_a_token_of_two_uses_is_enough_for_the_engine_and_the_revocation(
    prepared: PreparedVault, ministack: str, caplog: pytest.LogCaptureFixture
) -> None:
    engine = prepared.add_engine(ministack, role_arn=assumable_role(ministack))
    target = prepared.add_role(token_policies=[prepared.may_use(engine)], token_num_uses=2)
    before = prepared.tokens()

    await issue(replace(target, aws=engine))

    assert prepared.keeps_only(before)
    assert "is not revoked" not in caplog.text


@pytest.mark.requirement("VA-08")
async def test_a_lifetime_that_vault_cuts_is_the_one_that_is_reported(
    prepared: PreparedVault, ministack: str
) -> None:
    target = with_engine(prepared, ministack, max_sts_ttl="1200s", default_sts_ttl="1200s")

    credentials = await issue(target, own=False, ttl_s=3600)

    assert credentials.expires_at == pytest.approx(time.time() + 1200, abs=15)


def foreign_arn(engine: VaultAws) -> VaultAws:
    return replace(engine, arn=replace(engine.arn, name="another"))


@pytest.mark.requirement("VA-05", "VA-06")
async def test_a_role_whose_policies_do_not_allow_the_engine_is_denied_and_leaves_no_token(
    prepared: PreparedVault, ministack: str
) -> None:
    target = replace(prepared.add_role(), aws=with_engine(prepared, ministack).aws)
    before = prepared.tokens()

    error = await not_issued(target)

    assert error.code is ErrorCode.VAULT_DENIED
    assert error.message == "The policies of the Vault role do not allow its AWS engine role."
    assert prepared.keeps_only(before)


@pytest.mark.requirement("VA-06")
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(foreign_arn, id="an-arn-that-the-engine-role-does-not-list"),
        pytest.param(lambda engine: replace(engine, role="nobody-wrote-this"), id="unknown-engine-role"),
        pytest.param(lambda engine: replace(engine, mount="nobody-made-this"), id="unknown-engine"),
    ],
)
async def test_an_engine_that_the_files_describe_wrongly_is_the_administrators_affair(
    prepared: PreparedVault, ministack: str, change: Callable[[VaultAws], VaultAws]
) -> None:
    engine = with_engine(prepared, ministack).aws
    assert engine is not None
    wrong = change(engine)
    target = prepared.add_role(token_policies=[prepared.may_use(wrong)])
    before = prepared.tokens()

    error = await not_issued(replace(target, aws=wrong))

    assert error.code is ErrorCode.MAPPING_INVALID_FOR_VAULT
    assert prepared.keeps_only(before)


@pytest.mark.requirement("VA-06")
async def test_an_iam_role_that_does_not_trust_vault_is_a_denial_by_aws(
    prepared: PreparedVault, ministack: str
) -> None:
    engine = prepared.add_engine(
        ministack, role_arn=assumable_role(ministack, trusted_account="999999999999")
    )
    target = prepared.add_role(token_policies=[prepared.may_use(engine)])

    error = await not_issued(replace(target, aws=engine))

    assert error.code is ErrorCode.VAULT_DENIED
    assert error.message == "AWS does not let Vault's AWS engine assume the target's role."
