"""The login payload of Vault's AWS auth method: a signed request for `sts:GetCallerIdentity`, handed over unsent. Pure."""

import base64
import json
from collections.abc import Mapping
from typing import Final

#: Region of AWS's global STS, which Vault asks unless its mount says otherwise.
GLOBAL_REGION: Final = "us-east-1"


def sts_host(region: str) -> str:
    """Return the host name of STS in a Region."""
    return f"sts.{region}.amazonaws.com" + (".cn" if region.startswith("cn-") else "")


def login_payload(
    role: str, *, method: str, url: str, headers: Mapping[str, str], body: str
) -> dict[str, object]:
    """Return what `auth/aws/login` takes (Vault's API documentation, AWS auth method, Login)."""
    return {
        "role": role,
        "iam_http_request_method": method,
        "iam_request_url": _encoded(url),
        "iam_request_body": _encoded(body),
        "iam_request_headers": _encoded(json.dumps({name: [value] for name, value in headers.items()})),
    }


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode("ascii")
