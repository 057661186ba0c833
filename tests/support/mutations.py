"""Spoils good things in small ways: tokens before and after they are signed, JSON texts, any text. The same seed, the same spoils."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Final

from tests.support.clocks import START_S
from tests.support.tokens import b64, claims_of, key_id, sign

#: What stands in the place of any member's value.
_ODD_VALUES: Final[tuple[object, ...]] = (
    None, True, False, 0, 1, -1, 2**31, 2**53, 2**64, 253_402_300_800, 1.0, 1.5, 1e300, "", " ", "0", "true", "null",
    "\x00", "\x7f", "\n", "\u202e", "é", "\U0001f600", "a" * 300, "../../etc/passwd", "https://evil.example", "*", ".*",
    [], [[]], {}, {"a": 1}, [None], ["x", "x"], [1, "1"], {"": ""}, [["x"] * 50], {"a": {"b": {"c": []}}},
)  # fmt: skip
_CLAIMS: Final = (
    "iss", "sub", "aud", "exp", "iat", "nbf", "jti", "azp", "cid", "client_id", "events", "act", "email", "token_use", "x",
)  # fmt: skip
_HEADERS: Final = (
    "alg", "kid", "typ", "crit", "b64", "zip", "cty", "jwk", "jku", "x5u", "x5c", "x5t", "enc", "x",
)  # fmt: skip
_ODD_HEADERS: Final[tuple[object, ...]] = (
    "none", "None", "HS256", "RS256", "ES256", "PS256", "EdDSA", "ES256K", "rs256", "JWT", "jwt", "at+jwt", "application/jwt",
    "logout+jwt", key_id("RS256"), key_id("ES256"), ["exp"], ["b64"],
)  # fmt: skip
_JSON_PIECES: Final = (
    "{", "}", "[", "]", ":", ",", '"', "\\", "\\u0069", "\\ud800", "\\\\", "null", "NaN", "Infinity", "-", "0", "1e999",
    "1" * 70, "/**/", "\ufeff", "\x00", " ", "\t", "'", '"iss":', '"exp":9', ',"sub":"x"', '"":0,', "[" * 20, "{}",
)  # fmt: skip
_TEXT_PIECES: Final = (
    ".", "=", "==", "-", "_", "+", "/", "%2e", " ", "\n", "\r\n", "\x00", '"', "é", "\ud800", "Bearer ", "A", "e30", "{", "AAAA",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Spoiler:
    """Makes tokens of the issuer `generic` that are good but for a few changes, and sometimes none. random: the only chance."""

    random: Random
    algorithms: tuple[str, ...] = ("ES256", "ES256", "ES256", "EdDSA", "RS256")

    def token(self) -> str:
        """Return one token, spoilt on one level, rarely on two."""
        random = self.random
        algorithm = random.choice(self.algorithms)
        header = {"alg": algorithm, "kid": key_id(algorithm), "typ": "JWT"}
        payload = claims_of("generic")
        levels = random.choices(
            ("none", "claims", "header", "json", "segments", "text", "signature"),
            (2, 30, 15, 25, 10, 15, 8),
            k=random.choice((1, 1, 1, 2)),
        )
        if "claims" in levels:
            payload = self._members(payload, _CLAIMS, _ODD_VALUES)
        spoilt = (
            self._members(header, _HEADERS, (*_ODD_VALUES, *_ODD_HEADERS)) if "header" in levels else header
        )
        texts = [_dump(spoilt), _dump(payload)]
        if "json" in levels:
            at = random.choice((0, 1, 1, 1))
            texts[at] = self.json_text(texts[at])
        signed = signed_token(*texts, algorithm=algorithm)
        if "signature" in levels:
            signed = self._signature(signed)
        if "segments" in levels:
            signed = self._segments(signed)
        return self.text(signed) if "text" in levels else signed

    def _members(
        self, good: Mapping[str, object], names: tuple[str, ...], odd: tuple[object, ...]
    ) -> dict[str, object]:
        spoilt = dict(good)
        for _ in range(self.random.choice((1, 1, 2))):
            name = self.random.choice(names)
            match self.random.randrange(6):
                case 0:
                    spoilt.pop(name, None)
                case 1 if isinstance(good.get(name), str):
                    spoilt[name] = self.text(str(good[name])).encode("utf-8", "replace").decode()
                case 1 | 2 if isinstance(good.get(name), int):
                    spoilt[name] = int(START_S) + self.random.choice(
                        (-90_000, -3_700, -31, -29, 0, 29, 31, 600, 90_000)
                    )
                case 3 if name in good:
                    spoilt[name] = [good[name]]
                case _:
                    spoilt[name] = self.random.choice(odd)
        return spoilt

    def json_text(self, good: bytes) -> bytes:
        """Return a JSON text with pieces put in, taken out, doubled or swapped; sometimes in another encoding."""
        spoilt = self._splice(good.decode("utf-8", "replace"), _JSON_PIECES)
        encoding = self.random.choices(("utf-8", "utf-16", "latin-1", "utf-8-sig"), (40, 1, 1, 1))[0]
        return spoilt.encode(encoding, "replace")

    def text(self, good: str) -> str:
        """Return any text with characters put in, taken out, doubled or swapped."""
        return self._splice(good, _TEXT_PIECES)

    def _splice(self, good: str, pieces: tuple[str, ...]) -> str:
        random, text = self.random, good
        for _ in range(random.choice((1, 1, 1, 2, 3))):
            at = random.randint(0, len(text))
            end = min(len(text), at + random.choice((1, 1, 2, 8, 40)))
            match random.randrange(6):
                case 0:
                    text = text[:at] + random.choice(pieces) + text[at:]
                case 1:
                    text = text[:at] + text[end:]
                case 2:
                    text = text[:end] + text[at:]
                case 3:
                    text = text[:at] + random.choice(pieces) + text[end:]
                case 4:
                    text = (
                        text[:at] + "".join(chr(ord(one) ^ 1) for one in text[at : at + 1]) + text[at + 1 :]
                    )
                case _:
                    text = (
                        text[:at]
                        if random.random() < 0.3
                        else text[:at] + text[at:end].swapcase() + text[end:]
                    )
        return text

    def _signature(self, token: str) -> str:
        head, _, _ = token.rpartition(".")
        made: tuple[Callable[[], bytes], ...] = (
            lambda: self.random.randbytes(
                self.random.choice((1, 32, 63, 64, 65, 96, 256, 257, 1_024, 1_025))
            ),
            lambda: bytes(64),
            lambda: sign(head.encode("utf-8", "replace"), "ES256", "attacker"),
            lambda: sign(head.encode("utf-8", "replace"), "RS256", "attacker"),
            lambda: sign(b"something else", "ES256"),
        )
        return f"{head}.{b64(self.random.choice(made)())}"

    def _segments(self, token: str) -> str:
        parts = token.split(".")
        match self.random.randrange(6):
            case 0:
                self.random.shuffle(parts)
            case 1:
                parts.append(self.random.choice(parts))
            case 2:
                parts.pop(self.random.randrange(len(parts)))
            case 3:
                parts[self.random.randrange(len(parts))] = ""
            case 4:
                parts[self.random.randrange(len(parts))] += self.random.choice(("=", "==", "A", "AA"))
            case _:
                parts += [""] * self.random.choice((1, 2, 3, 2_000))
        return ".".join(parts)


def signed_token(header: bytes, payload: bytes, *, algorithm: str) -> str:
    """Return these bytes as a compact token that this algorithm's session key has signed, whatever the header says."""
    signing_input = f"{b64(header)}.{b64(payload)}"
    return f"{signing_input}.{b64(sign(signing_input.encode(), algorithm))}"


def _dump(members: Mapping[str, object]) -> bytes:
    return json.dumps(members).encode()
