"""AWS Signature Version 4 for the calls we make: a POST with a body, without query. botocore's signer is the oracle in tests.

AWS General Reference, "Create a signed AWS API request". Pure.
"""

import hmac
from collections.abc import Mapping
from hashlib import sha256
from typing import Final

from gateway.outbound.request_bytes import place_of

_ALGORITHM: Final = "AWS4-HMAC-SHA256"
# Proxies on the way may change it.
_UNSIGNED: Final = frozenset({"user-agent"})


def sign_post(
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    key_id: str,
    secret: str,
    session_token: str,
    service: str,
    region: str,
    stamp: str,
) -> dict[str, str]:
    """Return the headers with the signature, its date and the session token added.

    url:   without query; its path is empty, `/`, or needs no escape.
    stamp: the moment, UTC, as `20261122T101703Z`.
    """
    place = place_of(url)
    added = {**headers, "X-Amz-Date": stamp, "X-Amz-Security-Token": session_token}
    signed = {name.lower(): " ".join(value.split()) for name, value in added.items()}
    signed["host"] = place.authority
    names = sorted(signed.keys() - _UNSIGNED)
    listed = ";".join(names)
    fields = "".join([f"{name}:{signed[name]}\n" for name in names])
    digest = sha256(body).hexdigest()
    canonical = f"POST\n{place.target}\n\n{fields}\n{listed}\n{digest}"
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    text = f"{_ALGORITHM}\n{stamp}\n{scope}\n{sha256(canonical.encode()).hexdigest()}"
    signature = _mac(_signing_key(secret, stamp[:8], region, service), text).hex()
    added["Authorization"] = (
        f"{_ALGORITHM} Credential={key_id}/{scope}, SignedHeaders={listed}, Signature={signature}"
    )
    return added


def _signing_key(secret: str, day: str, region: str, service: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request"):
        key = _mac(key, part)
    return key


def _mac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")
