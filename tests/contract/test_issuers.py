"""Real tokens of providers that nobody here wrote, through files as an administrator writes them, real discovery and real keys."""

import asyncio
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from textwrap import indent
from urllib.parse import urlsplit

import pytest

from gateway.clock import SystemClock
from gateway.compiling.compile import compile_policy
from gateway.errors import ErrorCode, TokenRejected
from gateway.files.folder import load_sources
from gateway.identity.identify import VerifyingIdentify
from gateway.identity.jwks import FetchedKeys
from gateway.identity.keys import KeyFault
from gateway.identity.token import VerifiedToken
from gateway.metrics import Metrics
from gateway.outbound.addresses import ThreadedLookUp
from gateway.outbound.keyfetch import KeyFetch
from gateway.policy.decide import Allowed, Denied, decide
from gateway.policy.rule import Start
from gateway.policy.snapshot import Policy
from gateway.secret import Secret
from tests.support.cognito import CognitoPool, create_pool
from tests.support.provider import OidcProvider, RunningIssuer, running_oidc_provider
from tests.support.switches import Board

TARGETS = """\
format: oidc-gateway/targets.v1
roles:
  worker: { arn: arn:aws:iam::111122223333:role/worker }
workflows:
  work: { state_machine: arn:aws:states:eu-west-1:111122223333:stateMachine:work, type: standard }
"""
START = Start(workflow="work", target=None)


@dataclass(slots=True, kw_only=True)
class AheadClock:
    """The real clocks, run ahead by as many seconds as a test says: the tokens here are of this very moment."""

    ahead_s: float = 0.0

    def wall(self) -> float:
        return SystemClock().wall() + self.ahead_s

    def monotonic(self) -> float:
        return SystemClock().monotonic() + self.ahead_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """What judges tokens, put together as the application does it."""

    policy: Policy
    keys: FetchedKeys
    clock: AheadClock

    async def identify(self, token: str) -> VerifiedToken:
        now, deadline = self.clock.wall(), self.clock.monotonic() + 10
        return await VerifyingIdentify(self.keys, gate=Board().gate.issuer)(
            Secret(token), self.policy.issuers, now=now, deadline=deadline
        )

    async def refusal(self, token: str) -> TokenRejected:
        with pytest.raises(TokenRejected) as refused:
            await self.identify(token)
        return refused.value

    async def start(self, token: str) -> Allowed | Denied:
        verified = await self.identify(token)
        return decide(verified.claims, START, self.policy, now=self.clock.wall())


@asynccontextmanager
async def gateway(folder: Path, issuers: Mapping[str, str], **claims: str) -> AsyncIterator[Gateway]:
    """Yield a gateway by files. issuers: entries of gateway.yaml by name; claims: of a rule, by issuer name."""
    entries = "".join(f"  {name}:\n{indent(entry, '    ')}" for name, entry in issuers.items())
    rules = "".join(
        f"  - {{ name: {name}, why: a test, issuer: {name}, claims: {claims.get(name, '{ sub: nobody }')}, "
        "grants: [{ start: work, as: worker }] }\n"
        for name in issuers
    )
    (folder / "mappings").mkdir(exist_ok=True)
    (folder / "gateway.yaml").write_text(
        f"format: oidc-gateway/gateway.v1\nissuers:\n{entries}aws: {{ region: eu-west-1 }}\n"
    )
    (folder / "targets.yaml").write_text(TARGETS)
    (folder / "mappings" / "rules.yaml").write_text(f"format: oidc-gateway/mapping.v1\nrules:\n{rules}")
    compiled = compile_policy(load_sources(folder, lenient=True), dev=True, today=datetime.now(tz=UTC).date())
    assert compiled.policy is not None, compiled.findings
    clock, metrics = AheadClock(), Metrics()
    fetch = KeyFetch(look_up=ThreadedLookUp(), metrics=metrics).fetch
    async with FetchedKeys(fetch=fetch, clock=clock, metrics=metrics) as keys:
        yield Gateway(policy=compiled.policy, keys=keys, clock=clock)


def okta_entry(issuer: RunningIssuer, *, audience: str | None = None) -> str:
    return f'preset: okta\nissuer: {issuer.issuer}\naudiences: ["{audience or issuer.audience}"]\n'


def auth0_entry(issuer: RunningIssuer, *, clients: str = "machine, web", more: str = "") -> str:
    return (
        f'preset: auth0\nissuer: {issuer.issuer}\naudiences: ["{issuer.audience}"]\n'
        f"clients: [{clients}]\n{more}"
    )


def userinfo(issuer: RunningIssuer) -> str:
    return f'also_allowed: ["{issuer.issuer}userinfo"]\n'


def cognito_entry(pool: CognitoPool, *, tokens: str, clients: str | None = None) -> str:
    return (
        f"preset: cognito\nissuer: {pool.issuer}\ntokens: [{tokens}]\n"
        f'clients: ["{clients or pool.client_id}"]\njwks_uri: {pool.jwks_uri}\n'
    )


def payload(token: str) -> dict[str, object]:
    part = token.split(".")[1]
    members: dict[str, object] = json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return members


def with_payload(token: str, **changes: object) -> str:
    """Return the token with other claims under the old signature."""
    header, _, signature = token.split(".")
    changed = json.dumps(payload(token) | changes).encode()
    return f"{header}.{urlsafe_b64encode(changed).rstrip(b'=').decode()}.{signature}"


# --- Okta's shape: no `typ`, `cid`, `scp` as a list ---


@pytest.mark.requirement("TV-16", "KS-02")
async def test_an_okta_token_is_verified_with_keys_found_by_discovery(
    oidc_provider: OidcProvider, tmp_path: Path
) -> None:
    okta = oidc_provider.okta
    token = okta.token("agent")

    async with gateway(tmp_path, {"okta": okta_entry(okta)}) as running:
        verified = await running.identify(token)

    assert (verified.principal.issuer, verified.principal.subject) == (okta.issuer, "agent")
    assert verified.claims.members == payload(token)


async def test_a_rule_on_okta_s_client_scope_and_group_starts_the_workflow(
    oidc_provider: OidcProvider, tmp_path: Path
) -> None:
    okta = oidc_provider.okta
    rule = "{ cid: agent, scp: { contains: workflows.start }, groups: { contains: Everyone } }"

    async with gateway(tmp_path, {"okta": okta_entry(okta)}, okta=rule) as running:
        agent = await running.start(okta.token("agent"))
        reporter = await running.start(okta.token("reporter"))

    assert isinstance(agent, Allowed)
    assert isinstance(reporter, Denied)
    assert [check.claim for check in reporter.checks if check.outcome != "matched"] == ["cid"]


async def test_a_scope_that_the_okta_client_did_not_ask_for_is_not_there(
    oidc_provider: OidcProvider, tmp_path: Path
) -> None:
    okta = oidc_provider.okta
    rule = "{ cid: agent, scp: { contains: workflows.start } }"

    async with gateway(tmp_path, {"okta": okta_entry(okta)}, okta=rule) as running:
        answer = await running.start(okta.token("agent", scope="workflows.view"))

    assert isinstance(answer, Denied)
    assert answer.code is ErrorCode.CLAIM_MISMATCH
    assert [(check.claim, check.outcome) for check in answer.checks] == [("cid", "matched"), ("scp", "value")]


@pytest.mark.requirement("TV-22", "KS-05")
async def test_a_token_of_another_okta_authorization_server_is_refused_without_a_fetch(
    oidc_provider: OidcProvider, tmp_path: Path
) -> None:
    okta = oidc_provider.okta
    other = okta_entry(okta).replace("/oauth2/default", "/oauth2/agents")

    async with gateway(tmp_path, {"okta": other}) as running:
        refused = await running.refusal(okta.token("agent"))

        assert refused.code is ErrorCode.TOKEN_ISSUER_UNKNOWN
        assert running.keys.states() == ()


@pytest.mark.requirement("TV-24")
async def test_an_okta_token_for_another_audience_is_refused_by_name(
    oidc_provider: OidcProvider, tmp_path: Path
) -> None:
    okta = oidc_provider.okta

    async with gateway(tmp_path, {"okta": okta_entry(okta, audience="api://another")}) as running:
        refused = await running.refusal(okta.token("agent"))

    assert refused.code is ErrorCode.TOKEN_AUDIENCE_MISMATCH
    assert [(claim.name, claim.value) for claim in refused.claims] == [("aud", "api://gateway")]


@pytest.mark.requirement("TV-26")
async def test_a_client_that_is_not_listed_is_refused_by_name(
    oidc_provider: OidcProvider, tmp_path: Path
) -> None:
    okta = oidc_provider.okta

    async with gateway(tmp_path, {"okta": okta_entry(okta) + "clients: [agent]\n"}) as running:
        refused = await running.refusal(okta.token("reporter"))

    assert refused.code is ErrorCode.TOKEN_CLIENT_MISMATCH
    assert [(claim.name, claim.value) for claim in refused.claims] == [("cid", "reporter")]


@pytest.mark.requirement("TV-29")
async def test_a_real_token_expires(oidc_provider: OidcProvider, tmp_path: Path) -> None:
    okta = oidc_provider.okta
    token = okta.token("agent")

    async with gateway(tmp_path, {"okta": okta_entry(okta)}) as running:
        await running.identify(token)
        running.clock.ahead_s = 3_600 + 31
        refused = await running.refusal(token)

    assert refused.code is ErrorCode.TOKEN_EXPIRED
    assert refused.claims[0].value == payload(token)["exp"]


@pytest.mark.requirement("TV-21")
async def test_a_claim_changed_under_a_real_signature_is_refused(
    oidc_provider: OidcProvider, tmp_path: Path
) -> None:
    okta = oidc_provider.okta

    async with gateway(tmp_path, {"okta": okta_entry(okta)}) as running:
        refused = await running.refusal(with_payload(okta.token("reporter"), sub="agent", cid="agent"))

    assert refused.code is ErrorCode.TOKEN_SIGNATURE_INVALID


# --- Auth0's shape: a slash at the end, `azp`, `aud` as a list, claims named by URLs ---


@pytest.mark.requirement("KS-02")
async def test_an_auth0_machine_token_is_verified_slash_for_slash(
    oidc_provider: OidcProvider, tmp_path: Path
) -> None:
    auth0 = oidc_provider.auth0

    async with gateway(tmp_path, {"auth0": auth0_entry(auth0)}) as running:
        verified = await running.identify(auth0.token("machine"))

    assert verified.principal.issuer.endswith("/")
    assert verified.principal.subject == "machine@clients"


@pytest.mark.requirement("TV-24")
async def test_a_person_s_auth0_token_for_us_and_for_userinfo_starts_by_a_claim_that_a_url_names(
    oidc_provider: OidcProvider, tmp_path: Path
) -> None:
    auth0 = oidc_provider.auth0
    rule = "{ sub: auth0|65f0c1, https://acme.example/team: reporting }"
    entry = auth0_entry(auth0, more=userinfo(auth0))

    async with gateway(tmp_path, {"auth0": entry}, auth0=rule) as running:
        person = await running.start(auth0.token("web"))
        machine = await running.start(auth0.token("machine"))

    assert isinstance(person, Allowed)
    assert isinstance(machine, Denied)
    assert [(check.claim, check.outcome) for check in machine.checks] == [("sub", "value")]


@pytest.mark.requirement("TV-24")
async def test_userinfo_beside_our_audience_has_to_be_allowed(
    oidc_provider: OidcProvider, tmp_path: Path
) -> None:
    auth0 = oidc_provider.auth0

    async with gateway(tmp_path, {"auth0": auth0_entry(auth0)}) as running:
        refused = await running.refusal(auth0.token("web"))

    assert refused.code is ErrorCode.TOKEN_AUDIENCE_MISMATCH
    assert refused.claims[0].value == [auth0.audience, f"{auth0.issuer}userinfo"]


@pytest.mark.requirement("TV-24", "TV-26")
async def test_an_auth0_token_with_two_audiences_is_refused_when_its_client_is_not_listed(
    oidc_provider: OidcProvider, tmp_path: Path
) -> None:
    auth0 = oidc_provider.auth0
    entry = auth0_entry(auth0, clients="machine", more=userinfo(auth0))

    async with gateway(tmp_path, {"auth0": entry}) as running:
        refused = await running.refusal(auth0.token("web"))

    assert refused.code is ErrorCode.TOKEN_CLIENT_MISMATCH
    assert [(claim.name, claim.value) for claim in refused.claims] == [("azp", "web")]


@pytest.mark.requirement("TV-22", "KS-03")
async def test_an_auth0_issuer_written_without_its_slash_is_another_issuer_for_tokens_and_for_discovery(
    oidc_provider: OidcProvider, tmp_path: Path
) -> None:
    auth0 = oidc_provider.auth0
    entry = auth0_entry(auth0).replace(auth0.issuer, auth0.issuer.removesuffix("/"))

    async with gateway(tmp_path, {"auth0": entry}) as running:
        refused = await running.refusal(auth0.token("machine"))
        await running.keys.prefetch(running.policy.issuers.values(), deadline=running.clock.monotonic() + 5)

        assert refused.code is ErrorCode.TOKEN_ISSUER_UNKNOWN
        assert [state.fault for state in running.keys.states()] == [KeyFault.DISCOVERY_MISMATCH]


@pytest.mark.requirement("TV-17")
async def test_two_issuers_of_one_host_keep_their_keys_apart(
    oidc_provider: OidcProvider, tmp_path: Path
) -> None:
    okta, auth0 = oidc_provider.okta, oidc_provider.auth0
    entries = {"okta": okta_entry(okta), "auth0": auth0_entry(auth0)}

    async with gateway(tmp_path, entries) as running:
        verified = [await running.identify(token) for token in (okta.token("agent"), auth0.token("machine"))]
        refused = await running.refusal(with_payload(okta.token("agent"), iss=auth0.issuer))

    assert [token.issuer.name for token in verified] == ["okta", "auth0"]
    assert refused.code is ErrorCode.TOKEN_KEY_UNKNOWN


# --- Rotation: the provider comes back with other keys ---


@pytest.mark.requirement("KS-15", "KS-20")
@pytest.mark.usefixtures("oidc_provider")  # says when the program is missing
async def test_other_keys_of_a_restarted_provider_are_found_after_the_cool_down_and_the_old_ones_are_gone(
    tmp_path: Path,
) -> None:
    async with AsyncExitStack() as stack:
        with running_oidc_provider() as before:
            running = await stack.enter_async_context(gateway(tmp_path, {"okta": okta_entry(before.okta)}))
            old = before.okta.token("agent")
            await running.identify(old)
        with running_oidc_provider(port=urlsplit(before.okta.issuer).port) as after:
            new = after.okta.token("agent")
            hasty = await running.refusal(new)
            running.clock.ahead_s = 61
            verified = await running.identify(new)
            gone = await running.refusal(old)

    assert hasty.code is ErrorCode.TOKEN_KEY_UNKNOWN
    assert verified.principal.subject == "agent"
    assert gone.code is ErrorCode.TOKEN_KEY_UNKNOWN


@pytest.mark.requirement("KS-23")
@pytest.mark.usefixtures("oidc_provider")
async def test_tokens_of_a_provider_that_is_down_stay_good_with_its_last_keys(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        with running_oidc_provider() as provider:
            running = await stack.enter_async_context(gateway(tmp_path, {"okta": okta_entry(provider.okta)}))
            token = provider.okta.token("agent")
            await running.identify(token)
        running.clock.ahead_s = 1_200
        running.keys.refresh_due()
        await asyncio.gather(*(one for one in asyncio.all_tasks() if one.get_name() == "issuer-keys-fetch"))
        verified = await running.identify(token)
        states = running.keys.states()

    assert verified.principal.subject == "agent"
    assert [state.fault for state in states] == [KeyFault.UNREACHABLE]


# --- Cognito: the issuer is AWS's host, the keys are elsewhere, and there are two kinds of tokens ---


@pytest.fixture(params=["ministack", "moto"])
def aws(request: pytest.FixtureRequest) -> str:
    """Both emulators' pools must be understood: neither is AWS."""
    return str(request.getfixturevalue(request.param))


@pytest.mark.requirement("TV-23", "TV-25")
async def test_a_cognito_id_token_is_verified_with_keys_from_the_jwks_uri_of_the_file(
    aws: str, tmp_path: Path
) -> None:
    pool = create_pool(aws, groups=["release-operators"])
    token = pool.sign_in().id_token

    async with gateway(tmp_path, {"operators": cognito_entry(pool, tokens="id")}) as running:
        verified = await running.identify(token)

    assert verified.principal.issuer == pool.issuer
    assert verified.claims.members["aud"] == pool.client_id
    assert verified.claims.members["cognito:groups"] == ["release-operators"]


@pytest.mark.requirement("TV-23", "TV-25", "TV-28")
async def test_a_cognito_access_token_is_verified_where_access_tokens_are_accepted_and_its_client_stands_in_for_aud(
    aws: str, tmp_path: Path
) -> None:
    pool = create_pool(aws)
    token = pool.sign_in().access_token

    async with gateway(tmp_path, {"operators": cognito_entry(pool, tokens="access")}) as running:
        verified = await running.identify(token)

    assert "aud" not in verified.claims.members
    assert verified.claims.members["client_id"] == pool.client_id


@pytest.mark.requirement("TV-25")
@pytest.mark.parametrize(
    ("accepted", "sent"),
    [pytest.param("id", "access", id="access for id"), pytest.param("access", "id", id="id for access")],
)
async def test_a_cognito_token_of_the_other_kind_is_refused_by_its_token_use(
    aws: str, tmp_path: Path, accepted: str, sent: str
) -> None:
    pool = create_pool(aws)
    signed_in = pool.sign_in()
    token = signed_in.access_token if sent == "access" else signed_in.id_token

    async with gateway(tmp_path, {"operators": cognito_entry(pool, tokens=accepted)}) as running:
        refused = await running.refusal(token)

    assert refused.code is ErrorCode.TOKEN_USE_MISMATCH
    assert [(claim.name, claim.value) for claim in refused.claims] == [("token_use", sent)]


@pytest.mark.requirement("TV-25")
@pytest.mark.parametrize(
    ("kind", "code", "claim"),
    [
        pytest.param("id", ErrorCode.TOKEN_AUDIENCE_MISMATCH, "aud", id="id"),
        pytest.param("access", ErrorCode.TOKEN_CLIENT_MISMATCH, "client_id", id="access"),
    ],
)
async def test_a_cognito_token_of_another_app_client_is_refused(
    aws: str, tmp_path: Path, kind: str, code: ErrorCode, claim: str
) -> None:
    pool = create_pool(aws)
    signed_in = pool.sign_in()
    token = signed_in.access_token if kind == "access" else signed_in.id_token
    entry = cognito_entry(pool, tokens=kind, clients="another-client")

    async with gateway(tmp_path, {"operators": entry}) as running:
        refused = await running.refusal(token)

    assert refused.code is code
    assert [(failed.name, failed.value) for failed in refused.claims] == [(claim, pool.client_id)]


async def test_a_rule_on_a_cognito_group_starts_the_workflow_for_its_members_alone(
    aws: str, tmp_path: Path
) -> None:
    member, outsider = create_pool(aws, groups=["release-operators"]), create_pool(aws, groups=["readers"])
    rule = '{ "cognito:groups": { contains: release-operators } }'
    entries = {
        "members": cognito_entry(member, tokens="id"),
        "outsiders": cognito_entry(outsider, tokens="id"),
    }

    async with gateway(tmp_path, entries, members=rule, outsiders=rule) as running:
        allowed = await running.start(member.sign_in().id_token)
        denied = await running.start(outsider.sign_in().id_token)

    assert isinstance(allowed, Allowed)
    assert allowed.rules == ("members",)
    assert isinstance(denied, Denied)


# --- moto publishes one key under one `kid` for every pool ---


@pytest.mark.requirement("TV-17")
async def test_of_two_pools_with_one_key_the_one_that_is_not_trusted_is_unknown(
    moto: str, tmp_path: Path
) -> None:
    ours, theirs = create_pool(moto), create_pool(moto)

    async with gateway(tmp_path, {"ours": cognito_entry(ours, tokens="id")}) as running:
        await running.identify(ours.sign_in().id_token)
        refused = await running.refusal(theirs.sign_in().id_token)

    assert refused.code is ErrorCode.TOKEN_ISSUER_UNKNOWN


@pytest.mark.requirement("TV-17", "TV-22")
async def test_two_trusted_pools_with_one_key_never_pass_for_each_other(moto: str, tmp_path: Path) -> None:
    ours, theirs = create_pool(moto), create_pool(moto)
    entries = {"ours": cognito_entry(ours, tokens="id"), "theirs": cognito_entry(theirs, tokens="id")}

    async with gateway(
        tmp_path, entries, ours='{ "cognito:username": alice }', theirs='{ "cognito:username": bob }'
    ) as running:
        signed_in = theirs.sign_in().id_token
        verified = await running.identify(signed_in)
        answer = await running.start(signed_in)
        moved = await running.refusal(with_payload(signed_in, iss=ours.issuer))

    assert verified.principal.issuer == theirs.issuer
    assert isinstance(answer, Denied)
    assert moved.code is ErrorCode.TOKEN_SIGNATURE_INVALID
