"""From text to UnverifiedToken: size, shape, base64url, header and payload, in that order, believing nothing."""

import binascii
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final

import msgspec

from gateway.errors import ErrorCode, TokenRejected
from gateway.identity.presets import SUPPORTED_ALGORITHMS
from gateway.identity.token import UnverifiedToken
from gateway.secret import Secret
from gateway.strict_json import StrictJsonError, parse_json_object

MAX_TOKEN_CHARS: Final = 16_384
LONGEST_FOR_STS_CHARS: Final = 20_000  # model of AssumeRoleWithWebIdentity; no setting goes beyond
_MAX_HEADER_BYTES: Final = 4_096
_MAX_PAYLOAD_BYTES: Final = 12_288
_MAX_SIGNATURE_BYTES: Final = 1_024
_MAX_KEY_ID_CHARS: Final = 256
#: How every JSON object that begins with a name begins in base64url; nothing else that people send does.
_HEADER_START: Final = "eyJ"

#: Asked first: a third of the time of Python's own parser, and stricter, if anything.
QUICK_JSON: Final = msgspec.json.Decoder().decode
# The other alphabet and padding become what no decoder takes.
_TO_PLAIN_BASE64: Final = bytes.maketrans(b"-_+/=", b"+/!!!")
_PADDING: Final = (b"", b"", b"==", b"=")
# The characters whose unused bits are zero, by the length of the segment modulo 4.
_LAST: Final = (b"", b"", b"AQgw", b"AEIMQUYcgkosw048")

# Longest first where one is the start of another. Vault's have a dot, so the prefix is looked at before the shape.
_OPAQUE: Final = (
    ("hvs.", "a Vault service token"),
    ("hvb.", "a Vault batch token"),
    ("ghp_", "a GitHub personal access token"),
    ("github_pat_", "a GitHub personal access token"),
    ("gho_", "a GitHub OAuth token"),
    ("ghu_", "a GitHub user token"),
    ("ghs_", "a GitHub installation token (GITHUB_TOKEN)"),
    ("ghr_", "a GitHub refresh token"),
    ("glpat-", "a GitLab personal access token"),
    ("glcbt-", "a GitLab job token (CI_JOB_TOKEN)"),
    ("AKIA", "an AWS access key"),
    ("ASIA", "an AWS access key"),
    ("ya29.", "a Google access token"),
)
_WANTED: Final = "Send a signed JWT (three parts divided by dots) from your identity provider."
_JSON_CODES: Final = {
    "invalid": ErrorCode.TOKEN_JSON_INVALID,
    "duplicate": ErrorCode.TOKEN_JSON_DUPLICATE,
    "too_complex": ErrorCode.TOKEN_JSON_TOO_COMPLEX,
}


def read_token(text: Secret, *, max_chars: int = MAX_TOKEN_CHARS) -> UnverifiedToken:
    """Take a compact JWS apart (RFC 7515 section 7.1) and check everything that needs neither issuer nor key.

    max_chars: longest accepted text, up to 20,000, which is what STS takes.
    Raises TokenRejected; no message holds any part of the token.
    """
    compact = text.reveal()
    if len(compact) > min(max_chars, LONGEST_FOR_STS_CHARS):
        raise TokenRejected(ErrorCode.TOKEN_TOO_LARGE, f"The token is longer than {max_chars:,} characters.")
    header_text, payload_text, signature_text = _split(compact)
    header_bytes = _decode_header(header_text)
    payload_bytes = _decode(payload_text, "payload", _MAX_PAYLOAD_BYTES)
    signature = _decode(signature_text, "signature", _MAX_SIGNATURE_BYTES)
    header, algorithm, key_id = _read_header(header_bytes)
    payload = _parse(payload_bytes, "payload")
    expiry = payload.get("exp")
    return UnverifiedToken(
        compact=text,
        issuer=_read_issuer(payload),
        key_id=key_id,
        algorithm=algorithm,
        claimed_expiry=expiry if type(expiry) is int else None,
        signing_input=compact[: -len(signature_text) - 1].encode("ascii"),
        signature=signature,
        unbelieved_header=header,
        unbelieved_payload=payload,
        # JSON strings hold control characters only as escapes, but for this one.
        no_controls=b"\\" not in payload_bytes and b"\x7f" not in payload_bytes,
    )


def _split(compact: str) -> list[str]:
    if not compact.startswith(_HEADER_START) or not compact.isascii():
        _refuse_what_is_no_jwt(compact)
    # Bounded: splitting at every dot would let a text of dots cost memory (CVE-2025-30204).
    segments = compact.split(".", 5)
    match len(segments):
        case 3:
            pass
        case 5:
            raise TokenRejected(
                ErrorCode.TOKEN_ENCRYPTED,
                "The token is encrypted (JWE); only signed tokens are accepted.",
                hint="Turn token encryption off for this client at the identity provider.",
            )
        case 1:
            raise TokenRejected(
                ErrorCode.TOKEN_OPAQUE, "The token is opaque, not a JWT.", hint=_opaque_hint()
            )
        case _:
            raise TokenRejected(
                ErrorCode.TOKEN_MALFORMED, "The token does not have exactly three parts.", hint=_WANTED
            )
    if not all(segments):
        raise TokenRejected(ErrorCode.TOKEN_MALFORMED, "A part of the token is empty.", hint=_WANTED)
    return segments


def _opaque_hint() -> str:
    return f"{_WANTED} Auth0 and some others issue opaque tokens when no audience (API) is asked for."


def _refuse_what_is_no_jwt(compact: str) -> None:
    if not compact:
        raise TokenRejected(ErrorCode.TOKEN_MISSING, "The token is empty.", hint=_WANTED)
    for prefix, kind in _OPAQUE:
        if compact.startswith(prefix):
            raise TokenRejected(
                ErrorCode.TOKEN_OPAQUE,
                f"This looks like {kind}, not an OIDC token.",
                hint=f"{_WANTED} If it was a real secret, it has now travelled: consider replacing it.",
            )
    if compact[:7].lower() == "bearer ":
        raise TokenRejected(
            ErrorCode.TOKEN_MALFORMED,
            "The token begins with the word Bearer.",
            hint="Send the bare token; the word belongs to the Authorization header, once.",
        )
    if compact.startswith("{"):
        raise TokenRejected(
            ErrorCode.TOKEN_MALFORMED,
            "The token is JSON, not a compact JWT.",
            hint="Send the bare token; it is often a member of the JSON that the provider answered.",
        )
    if not _is_plain(compact):
        raise _not_plain()


def _is_plain(compact: str) -> bool:
    return compact.isascii() and compact.isprintable() and " " not in compact and '"' not in compact


def _not_plain() -> TokenRejected:
    return TokenRejected(
        ErrorCode.TOKEN_MALFORMED,
        "The token holds quotes, white space, line breaks or characters beyond ASCII.",
        hint="Send it exactly as issued, without a line end.",
    )


def _decode(segment: str, part: str, max_bytes: int) -> bytes:
    # Four characters carry three bytes; nothing is decoded that is too long anyway.
    if len(segment) * 3 // 4 > max_bytes:
        raise TokenRejected(
            ErrorCode.TOKEN_TOO_LARGE, f"The token's {part} is longer than {max_bytes:,} bytes."
        )
    decoded = _base64url(segment.encode("ascii"))
    if decoded is None:
        if not _is_plain(segment):
            raise _not_plain()
        raise TokenRejected(
            ErrorCode.TOKEN_ENCODING_INVALID,
            f"The token's {part} is not canonical base64url without padding.",
            hint="Send it exactly as issued.",
        )
    return decoded


def _base64url(raw: bytes) -> bytes | None:
    """Return the bytes that have this one spelling (RFC 4648 section 3.5), None where it is not canonical."""
    rest = len(raw) % 4
    # What the library's decoder would let pass: unused bits that are set.
    if rest == 1 or (rest and raw[-1] not in _LAST[rest]):
        return None
    try:
        return binascii.a2b_base64(raw.translate(_TO_PLAIN_BASE64) + _PADDING[rest], strict_mode=True)
    except binascii.Error:
        return None


@lru_cache(maxsize=256)
def _decode_header(segment: str) -> bytes:
    return _decode(segment, "header", _MAX_HEADER_BYTES)


def _parse(data: bytes, part: str) -> dict[str, object]:
    try:
        return parse_json_object(data, quick=QUICK_JSON)
    except StrictJsonError as fault:
        raise TokenRejected(
            _JSON_CODES[fault.kind], f"The token's {part} is not acceptable JSON: {fault.message}"
        ) from None


@lru_cache(maxsize=256)
def _read_header(data: bytes) -> tuple[Mapping[str, object], str, str | None]:
    """Return the header, its `alg` and its `kid`. Issuers have one header for a key, so it is seldom read anew."""
    header = MappingProxyType(_parse(data, "header"))
    if "crit" in header:
        raise TokenRejected(
            ErrorCode.TOKEN_CRIT_UNSUPPORTED,
            "The token's header names critical extensions; none is known here.",
        )
    for name in ("b64", "zip", "cty"):
        if name in header:
            raise _header_invalid(f"has the member {name}, which is not accepted here")
    algorithm = header.get("alg")
    if not isinstance(algorithm, str):
        raise _header_invalid("has no alg that is a text")
    if not isinstance(header.get("typ", ""), str):
        raise _header_invalid("has a typ that is not a text")
    key_id = _read_key_id(header)
    if algorithm not in SUPPORTED_ALGORITHMS:
        raise TokenRejected(
            ErrorCode.TOKEN_ALG_NOT_ALLOWED,
            "The token's signature algorithm is not accepted.",
            hint="Only asymmetric signatures are: RS, PS and ES with 256 to 512 bits, and EdDSA.",
        )
    return header, algorithm, key_id


def _read_key_id(header: Mapping[str, object]) -> str | None:
    if "kid" not in header:
        return None
    key_id = header["kid"]
    if (
        not isinstance(key_id, str)
        or not 0 < len(key_id) <= _MAX_KEY_ID_CHARS
        or not (key_id.isascii() and key_id.isprintable())
    ):
        raise _header_invalid("has a kid that is not 1 to 256 printable ASCII characters")
    return key_id


def _header_invalid(fault: str) -> TokenRejected:
    return TokenRejected(ErrorCode.TOKEN_HEADER_INVALID, f"The token's header {fault}.")


def _read_issuer(payload: Mapping[str, object]) -> str:
    issuer = payload.get("iss")
    if not isinstance(issuer, str) or not issuer:
        raise TokenRejected(ErrorCode.TOKEN_ISSUER_UNKNOWN, "The token names no issuer (claim iss).")
    return issuer
