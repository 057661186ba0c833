"""What our verifier says of tokens and signatures, in a process of its own: `python -m tests.support.verdicts`.

Reads one JSON object from standard input and writes the version of pyjwt and the verdicts to standard output. It calls the
verifier's own functions, and so passes by the check of versions that a gateway makes when it starts.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from gateway.errors import TokenRejected
from gateway.identity.issuer import KeyLocation, TrustedIssuer
from gateway.identity.jwk import UnfitKeyError, read_key
from gateway.identity.keys import KeySet, read_key_set
from gateway.identity.reading import read_token
from gateway.identity.signature import signature_is_valid
from gateway.identity.verify import check_acceptable, issuer_unknown, verify_token
from gateway.secret import Secret


def verdict_on(text: str, trusted: Mapping[str, tuple[TrustedIssuer, KeySet]], *, now: float) -> str:
    """Return `believed` or the code of the refusal."""
    try:
        token = read_token(Secret(text))
        if token.issuer not in trusted:
            raise issuer_unknown()
        issuer, keys = trusted[token.issuer]
        check_acceptable(token, issuer)
        key = keys.find(token.key_id)
        if key is None:
            return "token_key_ambiguous" if token.key_id in keys.ambiguous else "token_key_unknown"
        verify_token(token, issuer, key, now=now)
    except TokenRejected as refusal:
        return str(refusal.code)
    return "believed"


def verdict_on_signature(group: Mapping[str, object], message: str, signature: str) -> bool:
    """Say whether a published signature is good."""
    try:
        key = read_key(group["jwk"])
    except UnfitKeyError:
        return False
    return signature_is_valid(str(group["alg"]), key, bytes.fromhex(message), bytes.fromhex(signature))


def trusted_issuers(asked: Sequence[Mapping[str, Any]]) -> dict[str, tuple[TrustedIssuer, KeySet]]:
    """Return the issuers of the question, each with its keys."""
    found = {}
    for one in asked:
        issuer = TrustedIssuer(
            name="asked",
            preset="generic",
            issuer=str(one["issuer"]),
            audiences=(str(one["audience"]),),
            algorithms=tuple(one["algorithms"]),
            key_headers_ignored=bool(one["key_headers_ignored"]),
            leeway_s=one["leeway_s"],
            keys=KeyLocation(),
        )
        found[issuer.issuer] = issuer, read_key_set(json.dumps(one["keys"]).encode())
    return found


def main() -> None:
    """Answer the question on standard input."""
    asked = json.load(sys.stdin)
    tokens = [
        [verdict_on(text, trusted, now=asked["now"]) for text in part["tokens"]]
        for part in asked["parts"]
        for trusted in [trusted_issuers(part["issuers"])]
    ]
    signatures = [
        [verdict_on_signature(group, one["msg"], one["sig"]) for one in group["tests"]]
        for group in asked["signatures"]
    ]
    json.dump({"pyjwt": version("pyjwt"), "tokens": tokens, "signatures": signatures}, sys.stdout)


if __name__ == "__main__":
    main()
