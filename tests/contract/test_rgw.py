"""An STS that we did not write and that verifies tokens itself: whatever the gateway relays is judged there a second time."""

import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import jwt
import pytest
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from gateway.arn import parse_role, parse_state_machine
from gateway.credentials.session import session_for
from gateway.identity.issuer import KeyLocation
from gateway.identity.keys import read_key_set
from gateway.identity.reading import read_token
from gateway.identity.token import VerifiedToken
from gateway.identity.verify import verify_token
from gateway.policy.input_schema import InputSchema
from gateway.policy.rule import AwsRole, Workflow
from gateway.secret import Secret
from tests.support.aws import REGION, aws_at, within
from tests.support.boto import Keys, client
from tests.support.gateways import Gateway, running_gateway
from tests.support.provider import RunningIssuer, running_oidc_provider
from tests.support.rgw import Rgw, SigningKey
from tests.support.tokens import b64, private_key, trusted

# No `emulator`: its answers are held against everything that AWS's are.
_GATEWAY: Final = """\
format: oidc-gateway/gateway.v1
issuers:
  okta: {{ preset: okta, issuer: {issuer}, audiences: ["{audience}"] }}
aws:
  region: eu-west-1
  endpoints: {{ eu-west-1: {{ sts: {aws}, states: {aws} }} }}
"""
_RULES: Final = """\
format: oidc-gateway/mapping.v1
rules:
  - name: agent
    why: a test
    issuer: okta
    claims: {{ cid: agent }}
    grants: [{grants}]
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """The certified provider, an STS that trusts it, and a gateway before it that would allow more than the STS does.

    roles: ARNs by the name of the gateway's target; each trusts tokens with another claim.
    """

    okta: RunningIssuer
    key: SigningKey
    rgw: Rgw
    roles: Mapping[str, str]
    gateway: Gateway

    def ask(self, token: str, *, role: str = "subject") -> dict[str, Any]:
        """Let boto3 make the unsigned call that the gateway makes, past the gateway. Raises ClientError."""
        answer: dict[str, Any] = client("sts", self.rgw.url, None).assume_role_with_web_identity(
            RoleArn=self.roles[role], RoleSessionName="past-the-gateway", WebIdentityToken=token
        )
        return answer

    def asked_of_sts(self) -> float:
        """Return how many calls the gateway has made to its STS."""
        lines = self.gateway.get("/metrics").text.splitlines()
        counted = [line for line in lines if "upstream" in line and "_count{" in line]
        return sum(float(line.rsplit(" ", 1)[1]) for line in counted if 'service="sts"' in line)

    def signed(self, key: rsa.RSAPrivateKey | None = None, **claims: object) -> str:
        """Return a token of the issuer's own, with other claims, signed by its key or by another."""
        own = jwt.decode(self.okta.token("agent"), options={"verify_signature": False})
        return jwt.encode(
            {**own, **claims}, key or self.key.private, algorithm="RS256", headers={"kid": self.key.key_id}
        )


@pytest.fixture(scope="module")
def scene(rgw: Rgw, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    key, folder = SigningKey.generate(), tmp_path_factory.mktemp("rgw")
    with running_oidc_provider(okta_key=key.private_jwk()) as provider:
        okta = provider.okta
        rgw.trust(okta.issuer, audience=okta.audience, key=key)
        roles = {
            "subject": rgw.create_role(okta.issuer, sub="agent", aud=okta.audience, may=["s3:*"]),
            "other-subject": rgw.create_role(okta.issuer, sub="reporter"),
            "custom-claim": rgw.create_role(okta.issuer, cid="agent"),
            "other-custom-claim": rgw.create_role(okta.issuer, cid="reporter"),
        }
        config = _write(folder / "config", okta, rgw, roles)
        with running_gateway(config, folder / "audit") as gateway:
            yield Scene(okta=okta, key=key, rgw=rgw, roles=roles, gateway=gateway)


def _write(config: Path, okta: RunningIssuer, rgw: Rgw, roles: Mapping[str, str]) -> Path:
    (config / "mappings").mkdir(parents=True)
    text = _GATEWAY.format(issuer=okta.issuer, audience=okta.audience, aws=rgw.url)
    (config / "gateway.yaml").write_text(text)
    lines = "".join(f"  {name}: {{ arn: {arn}, duration: 15m }}\n" for name, arn in roles.items())
    (config / "targets.yaml").write_text(f"format: oidc-gateway/targets.v1\nroles:\n{lines}")
    grants = ", ".join(f"{{ obtain: {name} }}" for name in roles)
    (config / "mappings" / "rules.yaml").write_text(_RULES.format(grants=grants))
    return config


Forge = Callable[[Scene], str]


def _changed_signature(scene: Scene) -> str:
    head, _, signature = scene.okta.token("agent").rpartition(".")
    return f"{head}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"


def _changed_claim(scene: Scene) -> str:
    header, _, signature = scene.okta.token("agent").split(".")
    payload = jwt.decode(scene.okta.token("reporter"), options={"verify_signature": False})
    return f"{header}.{b64(json.dumps({**payload, 'sub': 'agent', 'cid': 'agent'}).encode())}.{signature}"


def _other_key(scene: Scene) -> str:
    key = private_key("RS256", "forger")
    assert isinstance(key, rsa.RSAPrivateKey)
    return scene.signed(key)


def _keyed_with_the_certificate(scene: Scene) -> str:
    """HS256 under the same key id, whose secret is what everybody can read in the key set (CVE-2015-9235)."""
    lines = base64.b64encode(scene.key.certificate)
    secret = b"-----BEGIN CERTIFICATE-----\n" + lines + b"\n-----END CERTIFICATE-----"
    return _with_secret(scene, secret)


def _keyed_with_the_public_key(scene: Scene) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    secret = scene.key.private.public_key().public_bytes(serialization.Encoding.PEM, form)
    return _with_secret(scene, secret)


def _with_secret(scene: Scene, secret: bytes) -> str:
    header = b64(json.dumps({"alg": "HS256", "kid": scene.key.key_id}).encode())
    head = f"{header}.{scene.okta.token('agent').split('.')[1]}"
    return f"{head}.{b64(hmac.digest(secret, head.encode(), hashlib.sha256))}"


def _unsigned(scene: Scene) -> str:
    header = b64(json.dumps({"alg": "none", "kid": scene.key.key_id}).encode())
    return f"{header}.{scene.okta.token('agent').split('.')[1]}."


def _expired(scene: Scene) -> str:
    return scene.signed(iat=int(time.time()) - 900, exp=int(time.time()) - 600)


FORGERIES: Final = [
    pytest.param(_changed_signature, "token_signature_invalid", id="changed signature"),
    pytest.param(_changed_claim, "token_signature_invalid", id="changed claim"),
    pytest.param(_other_key, "token_signature_invalid", id="other key, same key id"),
    pytest.param(_keyed_with_the_certificate, "token_alg_not_allowed", id="HS256 with the certificate"),
    pytest.param(_keyed_with_the_public_key, "token_alg_not_allowed", id="HS256 with the public key"),
    pytest.param(_unsigned, "token_malformed", id="no signature"),
    pytest.param(_expired, "token_expired", id="expired"),
    pytest.param(
        lambda scene: scene.signed(aud="api://other"), "token_audience_mismatch", id="other audience"
    ),
    pytest.param(
        lambda scene: scene.signed(iss=f"{scene.okta.issuer}/"), "token_issuer_unknown", id="other issuer"
    ),
]


@pytest.mark.requirement("ST-01", "ST-04")
def test_a_token_that_the_second_judge_believes_becomes_credentials_that_work(scene: Scene) -> None:
    bucket = scene.rgw.create_bucket()

    answer = scene.gateway.ask(
        "POST", "/v1/credentials", scene.okta.token("agent"), body={"target": "subject"}
    )
    assert answer.status_code == 200, answer.text
    stored = scene.rgw.s3(Keys.of(answer.json())).put_object(Bucket=bucket, Key="report", Body=b"1")

    assert stored["ResponseMetadata"]["HTTPStatusCode"] == 200


@pytest.mark.requirement("ST-04")
def test_what_is_checked_of_an_answer_is_what_a_verifying_sts_truly_says(scene: Scene) -> None:
    answer = scene.ask(scene.okta.token("agent"))

    assert (answer["SubjectFromWebIdentityToken"], answer["Audience"], answer["Provider"]) == (
        "agent",
        scene.okta.audience,
        scene.okta.issuer,
    )


def test_the_same_token_signed_again_by_its_issuers_key_is_believed_by_both(scene: Scene) -> None:
    # Otherwise the forgeries below could be refused for the way in which they are made.
    believed = scene.signed()

    assert scene.ask(believed)["SubjectFromWebIdentityToken"] == "agent"
    assert scene.gateway.get("/v1/whoami", believed).status_code == 200


@pytest.mark.parametrize(("forge", "code"), FORGERIES)
@pytest.mark.requirement("ST-08")
def test_a_forged_token_is_refused_by_the_second_judge_without_the_first(
    scene: Scene, forge: Forge, code: str
) -> None:
    forged = forge(scene)

    with pytest.raises(ClientError) as refused:
        scene.ask(forged)

    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403, code


@pytest.mark.parametrize(("forge", "code"), FORGERIES)
@pytest.mark.requirement("ST-01")
def test_a_forged_token_never_gets_as_far_as_the_second_judge(scene: Scene, forge: Forge, code: str) -> None:
    before = scene.asked_of_sts()

    answer = scene.gateway.ask("POST", "/v1/credentials", forge(scene), body={"target": "subject"})

    assert (answer.status_code, answer.json()["code"]) == (401, code)
    assert scene.asked_of_sts() == before


@pytest.mark.parametrize(
    ("role", "status", "code"),
    [
        pytest.param("subject", 200, None, id="subject that it trusts"),
        pytest.param("other-subject", 502, "aws_error", id="another subject"),
        pytest.param("custom-claim", 200, None, id="custom claim that it trusts"),
        pytest.param("other-custom-claim", 502, "aws_error", id="another custom claim"),
    ],
)
@pytest.mark.requirement("ST-08")
def test_what_our_rule_allows_still_needs_the_trust_of_the_role(
    scene: Scene, role: str, status: int, code: str | None
) -> None:
    answer = scene.gateway.ask("POST", "/v1/credentials", scene.okta.token("agent"), body={"target": role})

    # AWS's own refusal is `aws_denied`. This STS words its refusals as S3 does, which is no answer of an STS we know.
    assert (answer.status_code, answer.json().get("code")) == (status, code), answer.text


@pytest.mark.requirement("ST-06")
async def test_under_our_session_policy_the_role_may_not_do_what_it_otherwise_may(scene: Scene) -> None:
    ours, other = scene.rgw.create_bucket(), scene.rgw.create_bucket()
    whole = scene.rgw.s3(await _assume(scene, None))
    for bucket in (ours, other):
        whole.put_object(Bucket=bucket, Key="report", Body=b"1")

    narrowed = scene.rgw.s3(await _assume(scene, ours))
    read = narrowed.get_object(Bucket=ours, Key="report")["Body"].read()
    with pytest.raises(ClientError, match="AccessDenied"):
        narrowed.put_object(Bucket=ours, Key="report", Body=b"2")
    with pytest.raises(ClientError, match="AccessDenied"):
        narrowed.get_object(Bucket=other, Key="report")

    assert read == b"1"


async def _assume(scene: Scene, bucket: str | None) -> Keys:
    """Let our edge assume the role; bucket: under the session policy of a start, with this in the machine's place."""
    role = AwsRole(name="subject", arn=parse_role(scene.roles["subject"]), duration_s=900)
    token = _verified(scene)
    workflow = None if bucket is None else _workflow(scene.rgw.account)
    session = session_for(token, role, workflow=workflow)
    if bucket is not None and session.session_policy is not None:
        session = replace(session, session_policy=_in_words_of_s3(session.session_policy, bucket))
    async with aws_at(scene.rgw.url) as aws:
        found = await aws.sts.assume(token, role, session, region=REGION, deadline=within(20))
    return Keys(
        key_id=found.access_key_id,
        secret=found.secret_access_key.reveal(),
        session_token=found.session_token.reveal(),
    )


def _workflow(account: str) -> Workflow:
    return Workflow(
        name="work",
        state_machine=parse_state_machine(f"arn:aws:states:{REGION}:{account}:stateMachine:work"),
        type="standard",
        input_schema=InputSchema.anything(),
        output_visible=False,
        timeout_s=None,
    )


def _in_words_of_s3(policy: str, bucket: str) -> str:
    """Return our own session policy as this STS can read it: it calls actions of other services malformed."""
    words = {
        "states:StartExecution": "s3:GetObject",
        "states:DescribeExecution": "s3:ListBucket",
        "states:GetExecutionHistory": "s3:GetBucketLocation",
        "states:StopExecution": "s3:DeleteObject",
    }
    for word, instead in words.items():
        assert word in policy
        policy = policy.replace(word, instead)
    policy, machines = re.subn(
        r"arn:aws:states:[^:]+:\d+:stateMachine:work", f"arn:aws:s3:::{bucket}/*", policy
    )
    policy, executions = re.subn(
        r"arn:aws:states:[^:]+:\d+:execution:work:\*", f"arn:aws:s3:::{bucket}", policy
    )
    assert (machines, executions) == (1, 1)
    return policy


def _verified(scene: Scene) -> VerifiedToken:
    public = {name: scene.key.private_jwk()[name] for name in ("kty", "n", "e", "kid", "use", "alg")}
    key_set = json.dumps({"keys": [public]})
    issuer = trusted(
        "okta",
        issuer=scene.okta.issuer,
        audiences=(scene.okta.audience,),
        keys=KeyLocation(static_jwks=key_set),
    )
    unverified = read_token(Secret(scene.okta.token("agent")))
    key = read_key_set(key_set.encode()).by_id[scene.key.key_id]
    return verify_token(unverified, issuer, key, now=time.time())
