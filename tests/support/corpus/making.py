"""How a sample is made: a good token, changed in the one thing that is wrong with it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from gateway.errors import ErrorCode
from tests.support.corpus.keys import Sign, signed_by
from tests.support.tokens import AUDIENCE, b64

ISSUER: Final = "https://issuer.example/tenant"
OTHER_ISSUER: Final = "https://other.example"
LEEWAY_S: Final = 60  # the most an issuer may have: the samples stay what they are while the tests run

# A name, the token, and why we refuse it; None when we believe it.
Rows = Iterator[tuple[str, str, ErrorCode | None]]
good_signature: Final = signed_by("rsa")
es256: Final = signed_by("ec", "ES256")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One token. code: why we refuse it, None when we believe it."""

    name: str
    token: str
    code: ErrorCode | None = None


def compact(header: bytes, payload: bytes, sign: Sign) -> str:
    """Return header, payload and a signature over them in compact form."""
    return sealed(b64(header), b64(payload), sign)


def sealed(header: str, payload: str, sign: Sign) -> str:
    """Return two segments as they are, and a signature over them."""
    return f"{header}.{payload}.{b64(sign(f'{header}.{payload}'.encode()))}"


def pad(segment: str) -> str:
    """Return the segment with the padding that RFC 7515 leaves out."""
    return segment + "=" * (-len(segment) % 4)


def dump(value: object) -> bytes:
    return json.dumps(value).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Maker:
    """Makes tokens that differ from a good one in what is asked for. now: whole seconds since the epoch."""

    now: int

    def claims(self, **changed: object) -> dict[str, object]:
        """Return good claims, changed; a claim set to `...` is left out."""
        good: dict[str, object] = {
            "iss": ISSUER,
            "sub": "build-7",
            "aud": AUDIENCE,
            "iat": self.now - 60,
            "exp": self.now + 600,
        }
        return {name: value for name, value in (good | changed).items() if value is not ...}

    def claiming(self, **changed: object) -> str:
        return compact(self.header(), dump(self.claims(**changed)), good_signature)

    def header(self, **changed: object) -> bytes:
        good: dict[str, object] = {"alg": "RS256", "kid": "rsa", "typ": "JWT"}
        return dump({name: value for name, value in (good | changed).items() if value is not ...})

    def headed(self, sign: Sign | None = None, /, **changed: object) -> str:
        return compact(self.header(**changed), dump(self.claims()), sign or good_signature)

    def saying(self, payload: str | bytes) -> str:
        """Return a well-signed token with exactly this payload."""
        data = payload if isinstance(payload, bytes) else payload.encode("utf-8", "surrogatepass")
        return compact(self.header(), data, good_signature)

    def payload(self, more: str = "") -> str:
        """Return the good payload as text, with more members before its end."""
        return json.dumps(self.claims())[:-1] + more + "}"

    def time_as(self, text: str) -> str:
        """Return a token whose `exp` is this text, whatever it means."""
        return self.saying(json.dumps(self.claims(exp=...))[:-1] + f', "exp": {text}}}')
