"""Which published keys may verify a token, and why the others may not."""

import json
from collections.abc import Mapping

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from gateway.identity.jwk import DropReason
from gateway.identity.keys import KeySet, read_key_set
from gateway.strict_json import StrictJsonError
from tests.support.tokens import b64, jwk, jwks, key_id, private_key

_GOOD = jwk("RS256", "good")


def without(key: Mapping[str, object], *names: str) -> dict[str, object]:
    return {name: value for name, value in key.items() if name not in names}


def rsa_key(modulus: int, exponent: int = 65_537, **members: object) -> dict[str, object]:
    return {
        "kty": "RSA",
        "kid": "odd-one",
        "n": b64(modulus.to_bytes((modulus.bit_length() + 7) // 8)),
        "e": b64(exponent.to_bytes(max(1, (exponent.bit_length() + 7) // 8))),
        **members,
    }


def roca_modulus() -> int:
    """A modulus with the fingerprint of CVE-2017-15361: a power of 65537 modulo the product of the small primes."""
    primorial = 1
    for candidate in range(2, 168):
        if all(candidate % divisor for divisor in range(2, candidate)):
            primorial *= candidate
    start = pow(65_537, 12_345, primorial)
    lift = (1 << 2_047) // primorial + 1
    return start + lift * primorial


_MODULUS = (1 << 2_047) + 0x1234567  # of the right size, and no ROCA fingerprint
_EC = jwk("ES256")
_ED = jwk("EdDSA")

BAD_KEYS = [
    pytest.param("text", DropReason.NOT_AN_OBJECT, id="not-an-object"),
    pytest.param({"kty": "oct", "k": "AAAA", "kid": "s"}, DropReason.SYMMETRIC, id="symmetric"),
    pytest.param({"kty": "XYZ", "kid": "s"}, DropReason.KEY_TYPE, id="unknown-type"),
    pytest.param({"kid": "s"}, DropReason.KEY_TYPE, id="no-type"),
    pytest.param(jwk("RS256", use="enc"), DropReason.USE, id="for-encryption"),
    pytest.param(jwk("RS256") | {"use": None}, DropReason.USE, id="use-null"),
    pytest.param(jwk("RS256", key_ops=["encrypt"]), DropReason.KEY_OPS, id="key-ops-encrypt"),
    pytest.param(jwk("RS256", key_ops="verify"), DropReason.KEY_OPS, id="key-ops-text"),
    pytest.param(jwk("RS256", key_ops=[]), DropReason.KEY_OPS, id="key-ops-empty"),
    pytest.param(jwk("RS256", alg="RSA-OAEP"), DropReason.ALGORITHM, id="alg-of-encryption"),
    pytest.param(jwk("RS256", alg="ES256"), DropReason.ALGORITHM, id="alg-of-another-type"),
    pytest.param(jwk("RS256", alg="HS256"), DropReason.ALGORITHM, id="alg-symmetric"),
    pytest.param(jwk("RS256", alg=["RS256"]), DropReason.ALGORITHM, id="alg-list"),
    pytest.param(jwk("RS256", kid=7), DropReason.KEY_ID, id="kid-number"),
    pytest.param(jwk("RS256", kid=""), DropReason.KEY_ID, id="kid-empty"),
    pytest.param(without(jwk("RS256"), "n"), DropReason.ENCODING, id="rsa-without-modulus"),
    pytest.param(jwk("RS256", n="***"), DropReason.ENCODING, id="rsa-modulus-not-base64url"),
    pytest.param(jwk("RS256", e="AQAB="), DropReason.ENCODING, id="rsa-exponent-padded"),
    pytest.param(rsa_key((1 << 1_023) + 1), DropReason.RSA_SIZE, id="rsa-1024"),
    pytest.param(rsa_key((1 << 2_046) + 1), DropReason.RSA_SIZE, id="rsa-2047"),
    pytest.param(rsa_key((1 << 8_192) + 1), DropReason.RSA_SIZE, id="rsa-8193"),
    pytest.param(rsa_key(_MODULUS, 1), DropReason.RSA_EXPONENT, id="exponent-1"),
    pytest.param(rsa_key(_MODULUS, 65_536), DropReason.RSA_EXPONENT, id="exponent-even"),
    pytest.param(rsa_key(_MODULUS, 2**32 + 1), DropReason.RSA_EXPONENT, id="exponent-33-bits"),
    pytest.param(rsa_key(roca_modulus()), DropReason.ROCA, id="roca"),
    pytest.param(_EC | {"crv": "secp256k1"}, DropReason.CURVE, id="other-curve"),
    pytest.param(_EC | {"crv": "P-384"}, DropReason.ENCODING, id="coordinates-of-another-curve"),
    pytest.param(_EC | {"y": _EC["x"]}, DropReason.POINT, id="not-on-the-curve"),
    pytest.param(_EC | {"x": b64(b"\0" * 32), "y": b64(b"\0" * 32)}, DropReason.POINT, id="infinity"),
    pytest.param(_ED | {"crv": "X25519"}, DropReason.CURVE, id="key-agreement-curve"),
    pytest.param(_ED | {"crv": "Ed448"}, DropReason.CURVE, id="ed448"),
    pytest.param(_ED | {"x": b64(b"x" * 31)}, DropReason.ENCODING, id="ed25519-short"),
    pytest.param(jwk("RS256", d="AQAB"), DropReason.PRIVATE, id="rsa-private"),
    pytest.param(_EC | {"d": "AQAB"}, DropReason.PRIVATE, id="ec-private"),
    pytest.param(_ED | {"d": ""}, DropReason.PRIVATE, id="okp-private-empty"),
]


@pytest.mark.requirement("TV-18", "TV-19", "TV-20", "KS-13")
@pytest.mark.parametrize(("bad", "reason"), BAD_KEYS)
@pytest.mark.parametrize("order", [1, -1], ids=["bad-first", "bad-last"])
def test_a_bad_key_is_dropped_with_its_reason_and_never_spoils_the_others(
    bad: object, reason: DropReason, order: int
) -> None:
    found = read_key_set(json.dumps({"keys": [bad, _GOOD][::order]}).encode())

    assert [drop.reason for drop in found.dropped] == [reason]
    assert found.find("good-rs256") is not None
    assert len(found.by_id) == 1


@pytest.mark.requirement("TV-19")
@pytest.mark.parametrize(
    "key",
    [
        pytest.param(rsa_key(_MODULUS), id="rsa-2048"),
        pytest.param(rsa_key((1 << 8_191) + 0x1234567), id="rsa-8192"),
        pytest.param(rsa_key(_MODULUS, 3), id="exponent-3"),
        pytest.param(rsa_key(_MODULUS, 2**32 - 1), id="exponent-32-bits"),
    ],
)
def test_keys_at_the_limits_are_kept(key: dict[str, object]) -> None:
    assert read_key_set(jwks(key)).find("odd-one") is not None


@pytest.mark.requirement("TV-20")
def test_ordinary_keys_have_no_roca_fingerprint() -> None:
    public = private_key("RS256").public_key()
    assert isinstance(public, rsa.RSAPublicKey)

    assert read_key_set(jwks(rsa_key(public.public_numbers().n))).dropped == ()


@pytest.mark.requirement("TV-20")
@pytest.mark.parametrize("order", [1, -1], ids=["private-first", "private-last"])
def test_a_key_whose_private_part_is_published_is_not_used_under_another_name_either(order: int) -> None:
    found = read_key_set(jwks(*[jwk("RS256", d="AQAB"), jwk("RS256", kid="alias"), _GOOD][::order]))

    assert found.find("alias") is None
    assert found.find(key_id("RS256")) is None
    assert {drop.reason for drop in found.dropped} == {DropReason.PRIVATE, DropReason.EXPOSED}
    assert len(found.exposed) == 1


@pytest.mark.requirement("TV-20")
def test_a_key_that_was_exposed_earlier_is_never_used_again() -> None:
    exposed = read_key_set(jwks(jwk("RS256", d="AQAB"))).exposed

    later = read_key_set(jwks(jwk("RS256")), exposed=exposed)

    assert later.is_empty
    assert [drop.reason for drop in later.dropped] == [DropReason.EXPOSED]


@pytest.mark.requirement("KS-16")
@pytest.mark.parametrize("order", [1, -1], ids=["first", "last"])
def test_a_kid_of_two_keys_is_refused_and_the_others_stay(order: int) -> None:
    twins = [jwk("RS256", "one", kid="twin"), jwk("ES256", "two", kid="twin"), _GOOD]

    found = read_key_set(jwks(*twins[::order]))

    assert found.find("twin") is None
    assert found.ambiguous == {"twin"}
    assert found.find("good-rs256") is not None


@pytest.mark.requirement("KS-16")
def test_an_unusable_key_does_not_make_a_kid_ambiguous() -> None:
    found = read_key_set(jwks(jwk("RS256", kid="shared"), jwk("RS256", "enc", kid="shared", use="enc")))

    assert found.find("shared") is not None


@pytest.mark.requirement("TV-17")
def test_keys_are_never_tried_in_turn() -> None:
    one = read_key_set(jwks(jwk("RS256", kid=None)))
    two = read_key_set(jwks(jwk("RS256", kid=None), _GOOD))

    assert one.find(None) is not None
    assert two.find(None) is None
    assert one.find("anything") is None


@pytest.mark.requirement("TV-18")
@pytest.mark.parametrize(
    ("key", "algorithms"),
    [
        pytest.param(
            jwk("RS256", alg=None), {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}, id="rsa"
        ),
        pytest.param(jwk("RS256"), {"RS256"}, id="rsa-with-alg"),
        pytest.param(jwk("ES256", alg=None), {"ES256"}, id="p-256"),
        pytest.param(jwk("ES384", alg=None), {"ES384"}, id="p-384"),
        pytest.param(jwk("ES512", alg=None), {"ES512"}, id="p-521"),
        pytest.param(jwk("EdDSA", alg=None), {"EdDSA"}, id="ed25519"),
        pytest.param(jwk("EdDSA", alg="Ed25519"), {"EdDSA"}, id="ed25519-by-its-newer-name"),
        pytest.param(jwk("RS256", use=None, key_ops=["verify"]), {"RS256"}, id="key-ops"),
    ],
)
def test_a_key_verifies_only_the_algorithms_of_its_type(
    key: Mapping[str, object], algorithms: set[str]
) -> None:
    found = read_key_set(jwks(key))

    assert [set(each.algorithms) for each in found.by_id.values()] == [algorithms]


def test_the_thumbprint_is_that_of_rfc_7638() -> None:
    """The example of RFC 7638 section 3.1."""
    modulus = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMs"
        "tn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5haj"
        "rn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
    )

    found = read_key_set(jwks({"kty": "RSA", "n": modulus, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"}))

    assert found.thumbprints == {"NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"}


@pytest.mark.requirement("KS-12")
@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"<html></html>", id="html"),
        pytest.param(b"", id="empty"),
        pytest.param(b"[]", id="array"),
        pytest.param(b'{"keys":[]}{}', id="trailing-data"),
        pytest.param(b'{"keys":[],"keys":[]}', id="duplicate-member"),
        pytest.param(b'{"keys":{}}', id="keys-object"),
        pytest.param(b'{"keys":null}', id="keys-null"),
        pytest.param(b'{"keys":[{"kid":"a","kid":"b"}]}', id="duplicate-in-a-key"),
        pytest.param(jwks()[:-1], id="truncated"),
        pytest.param(json.dumps({"keys": [{}] * 101}).encode(), id="more-than-100-keys"),
        pytest.param(b'{"keys":[' + b"[" * 100_000, id="deep"),
    ],
)
def test_what_is_no_key_set_is_refused_as_a_whole(data: bytes) -> None:
    with pytest.raises(StrictJsonError):
        read_key_set(data)


@pytest.mark.requirement("KS-14")
@pytest.mark.parametrize("data", [b"{}", b'{"keys":[]}', jwks(jwk("RS256", use="enc"))])
def test_a_set_without_a_usable_key_is_empty(data: bytes) -> None:
    assert read_key_set(data).is_empty


def test_the_version_follows_the_usable_keys_and_not_their_order() -> None:
    first, second = jwk("RS256", "one"), jwk("ES256", "two")

    def version(*keys: Mapping[str, object]) -> str:
        return read_key_set(jwks(*keys)).version

    assert version(first, second) == version(second, first, jwk("RS256", "enc", use="enc"))
    assert version(first) != version(first, second)
    assert version(first) != version(first | {"kid": "renamed"})
    assert version(first) != version(without(first, "alg"))


def test_a_set_with_certificates_and_a_hundred_keys_is_read() -> None:
    curve = ec.SECP256R1()
    numbers = [ec.generate_private_key(curve).public_key().public_numbers() for _ in range(100)]
    keys = [
        {
            "kty": "EC", "crv": "P-256", "kid": f"key-{place}", "x": b64(key.x.to_bytes(32)), "y": b64(key.y.to_bytes(32)),
            "x5c": ["A" * 1_600] * 2, "x5t": "A" * 27,
        }
        for place, key in enumerate(numbers)
    ]  # fmt: skip

    assert len(read_key_set(jwks(*keys)).by_id) == 100


@pytest.mark.requirement("KS-13")
@given(
    st.dictionaries(
        st.sampled_from(["kty", "crv", "kid", "alg", "use", "key_ops", "n", "e", "x", "y", "d"]),
        st.none() | st.booleans() | st.integers() | st.text(max_size=50) | st.lists(st.text(max_size=5), max_size=3)
        | st.sampled_from(["RSA", "EC", "OKP", "P-256", "Ed25519", "AQAB"]),
    )
)  # fmt: skip
def test_any_member_is_kept_or_dropped_but_never_an_error(member: dict[str, object]) -> None:
    found = read_key_set(json.dumps({"keys": [member, _GOOD]}).encode())

    assert isinstance(found, KeySet)
    assert found.find("good-rs256") is not None
