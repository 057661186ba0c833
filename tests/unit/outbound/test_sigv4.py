"""Our signature is the one that botocore would make, whatever is signed."""

from collections.abc import Mapping

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from gateway.outbound.sigv4 import sign_post

_TEXTS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=40)
# After `AWS4` a key of 60 characters fills the block of SHA-256, and a longer one is hashed first (RFC 2104 section 2).
_SECRETS = _TEXTS | st.sampled_from(["k" * 59, "k" * 60, "k" * 61, "k" * 200])
_VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=60)
_URLS = st.sampled_from(
    [
        "https://states.eu-west-1.amazonaws.com",
        "https://states.eu-west-1.amazonaws.com/",
        "https://sync-states.cn-north-1.amazonaws.com.cn/",
        "https://states.eu-west-1.amazonaws.com:443/",
        "http://127.0.0.1:4801/",
        "http://[::1]:4801/",
    ]
)


def ours(
    url: str, headers: Mapping[str, str], body: bytes, secret: str, token: str, stamp: str
) -> dict[str, str]:
    return sign_post(
        url,
        headers,
        body,
        key_id="ASIATESTTESTTEST0001",
        secret=secret,
        session_token=token,
        service="states",
        region="eu-west-1",
        stamp=stamp,
    )


@pytest.mark.requirement("ST-07")
@given(url=_URLS, target=_VALUES, secret=_SECRETS, token=_TEXTS, body=st.binary(max_size=200))
def test_the_signature_is_that_of_botocore(
    url: str, target: str, secret: str, token: str, body: bytes
) -> None:
    headers = {
        "Content-Type": "application/x-amz-json-1.0",
        "X-Amz-Target": target,
        "User-Agent": "oidc-gateway",
    }
    theirs = AWSRequest(method="POST", url=url, headers=headers, data=body)
    SigV4Auth(Credentials("ASIATESTTESTTEST0001", secret, token), "states", "eu-west-1").add_auth(theirs)

    signed = ours(url, headers, body, secret, token, stamp=theirs.context["timestamp"])

    assert signed == dict(theirs.headers.items())
