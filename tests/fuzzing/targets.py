"""What is fuzzed: each target takes any bytes, and raises when a promise is broken."""

import gzip
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import astuple
from pathlib import Path
from typing import Final

from gateway.arn import ArnInvalid, parse_assumed_role, parse_role, parse_state_machine
from gateway.errors import TokenRejected
from gateway.identity.jwk import VerificationKey
from gateway.identity.keys import read_key_set
from gateway.identity.reading import QUICK_JSON, read_token
from gateway.identity.verify import verify_token
from gateway.secret import Secret
from gateway.strict_json import (
    TOKEN_LIMITS,
    StrictJsonError,
    _count_structure,
    _parse_closely,
    parse_json_object,
)
from tests.support import arn_oracle
from tests.support.clocks import START_S
from tests.support.config_folder import GOOD, PAYMENTS, compiled
from tests.support.corpus.every import corpus
from tests.support.mutations import signed_token
from tests.support.token_oracle import oracle_accepts
from tests.support.tokens import claims_of, jwks, key_id, token, trusted

_VECTORS: Final = Path(__file__).parents[1] / "vectors"
_ISSUER: Final = trusted("generic")
_KEYS: Final[Mapping[str, VerificationKey]] = read_key_set(jwks()).by_id
_SPLIT: Final = b"\0\0"


class PromiseBroken(Exception):
    """The fuzzer has found something."""


def _demand(*, holds: bool, what: str) -> None:
    if not holds:
        raise PromiseBroken(what)


def fuzz_token(data: bytes) -> None:
    """Any text is refused by the one error, or believed by a second opinion too."""
    _judge(data.decode("latin-1"))


def fuzz_signed(data: bytes) -> None:
    """Header and payload, parted by two NULs, are signed by the issuer itself: its own nonsense is refused all the same."""
    header, _, payload = data.partition(_SPLIT)
    _judge(signed_token(header, payload, algorithm="ES256"))


def _judge(text: str) -> None:
    try:
        unverified = read_token(Secret(text))
        key = _KEYS.get(unverified.key_id or "")
        believed = key is not None and bool(verify_token(unverified, _ISSUER, key, now=START_S).digest)
    except TokenRejected:
        believed = False
    _demand(holds=believed == oracle_accepts(text), what=f"two opinions of {text!r}")


def fuzz_json(data: bytes) -> None:
    """The quick look and the close look read the same, or refuse for the same reason."""
    quick, close = _kind(data, closely=False), _kind(data, closely=True)
    _demand(holds=repr(quick) == repr(close), what=f"{quick!r} and {close!r}")


def _kind(data: bytes, *, closely: bool) -> object:
    try:
        if not closely:
            return parse_json_object(data, quick=QUICK_JSON)
        text = data.decode("utf-8")
        _count_structure(data, TOKEN_LIMITS)
        return _parse_closely(text, data, TOKEN_LIMITS) if text[:1] != "\ufeff" else "invalid"
    except UnicodeDecodeError:
        return "invalid"
    except StrictJsonError as fault:
        return fault.kind


def fuzz_keys(data: bytes) -> None:
    """A published key set is read or refused as a whole, and holds no key that is not fit."""
    try:
        found = read_key_set(data)
    except StrictJsonError:
        return
    for key_id_, key in found.by_id.items():
        _demand(holds=key.key_id == key_id_ and bool(key.algorithms), what=key_id_)


def fuzz_mapping(data: bytes) -> None:
    """A team's file is read, or every fault of it is a finding; what the other team may do stays as it is."""
    with tempfile.TemporaryDirectory() as name:
        found = compiled(Path(name), {"mappings/payments/deploy.yaml": data})
    rules = found.policy.rules if found.policy else {}
    _demand(holds=bool(rules) or found.errors > 0, what="no rules and no finding")
    _demand(holds=not rules or "ops.watch" in rules, what="another team lost its rule")


def fuzz_targets(data: bytes) -> None:
    """The targets' file is read, or every fault of it is a finding."""
    _compile("targets.yaml", data)


def fuzz_gateway(data: bytes) -> None:
    """The gateway's own file is read, or every fault of it is a finding."""
    _compile("gateway.yaml", data)


def _compile(file: str, data: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        found = compiled(Path(name), {file: data})
    _demand(holds=found.policy is not None or found.errors > 0, what="no policy and no finding")


def fuzz_arn(data: bytes) -> None:
    """An ARN is taken apart as a second opinion does, and says exactly what stood there; or both refuse it."""
    text = data.decode("latin-1")
    for parse, second in (
        (parse_role, arn_oracle.role_of),
        (parse_assumed_role, arn_oracle.session_of),
        (parse_state_machine, arn_oracle.machine_of),
    ):
        try:
            found = parse(text)
        except ArnInvalid:
            _demand(holds=second(text) is None, what=text)
            continue
        _demand(holds=astuple(found) == second(text) and str(found) == text, what=text)


TARGETS: Final[Mapping[str, Callable[[bytes], None]]] = {
    "token": fuzz_token,
    "signed": fuzz_signed,
    "json": fuzz_json,
    "keys": fuzz_keys,
    "mapping": fuzz_mapping,
    "targets": fuzz_targets,
    "gateway": fuzz_gateway,
    "arn": fuzz_arn,
}


def seeds(target: str) -> Iterator[bytes]:
    """Return what the fuzzer starts from."""
    header = json.dumps({"alg": "ES256", "kid": key_id("ES256"), "typ": "JWT"}).encode()
    suite = json.loads((_VECTORS / "json_test_suite.json").read_text("utf-8"))
    match target:
        case "token":
            yield token("generic", algorithm="ES256").encode()
            yield from (one.token.encode("latin-1", "replace") for one in corpus(int(START_S)))
        case "signed":
            yield header + _SPLIT + json.dumps(claims_of("generic")).encode()
        case "json":
            yield json.dumps(claims_of("github")).encode()
            yield from (b'{"a":' + one.encode("latin-1") + b"}" for one in suite["accepted"])
        case "keys":
            yield jwks()
            packed = json.loads(gzip.decompress((_VECTORS / "wycheproof_signatures.json.gz").read_bytes()))
            yield from (json.dumps({"keys": [one["jwk"]]}).encode() for one in packed["groups"][:20])
        case "mapping":
            yield PAYMENTS.encode()
        case "targets" | "gateway":
            yield GOOD[f"{target}.yaml"].encode()
        case _:
            yield from _ARNS


_ARNS: Final = (
    b"arn:aws:iam::111122223333:role/name",
    b"arn:aws-us-gov:iam::111122223333:role/path/to/name",
    b"arn:aws-iso-b:iam::111122223333:role/" + b"p" * 510 + b"/" + b"n" * 64,
    b"arn:aws-cn:iam::111122223333:role/a:b!~/name+=,.@-_",
    b"arn:aws:sts::111122223333:assumed-role/name/session",
    b"arn:aws-eusc:sts::111122223333:assumed-role/" + b"r" * 64 + b"/" + b"s" * 64,
    b"arn:aws:states:eu-west-1:111122223333:stateMachine:name",
    b"arn:aws-iso-f:states:us-isof-south-1:111122223333:stateMachine:name:7",
    b"arn:aws:states:" + b"r" * 32 + b":111122223333:stateMachine:" + b"n" * 80 + b":" + b"q" * 80,
)


def words(target: str) -> tuple[str, ...]:
    """Return what the fuzzer puts in whole: what it would hardly come upon letter by letter."""
    if target != "arn":
        return ()
    partitions = ("aws", "aws-cn", "aws-us-gov", "aws-iso", "aws-iso-b", "aws-iso-e", "aws-iso-f", "aws-eusc")
    kinds = (":iam::", ":role/", ":sts::", ":assumed-role/", ":states:", ":stateMachine:", ":execution:")
    return ("arn:", *partitions, *kinds, "111122223333", "eu-west-1", "name", "/", "//", ":", "::", "$LATEST")
