"""A secret text shows itself to whoever asks for it by name, and to nothing else."""

import copy
import dataclasses
import json
import logging
import pickle
import traceback
from collections.abc import Callable
from typing import get_type_hints

import pytest

from gateway.credentials.session import AwsCredentials, VaultToken
from gateway.exchange.call import Call
from gateway.identity.token import UnverifiedToken, VerifiedToken
from gateway.outbound.aws import AwsCall, SigningKey
from gateway.outbound.http import Outgoing
from gateway.outbound.vault import VaultCall
from gateway.secret import Secret
from gateway.state.address import RedisAddress

pytestmark = pytest.mark.requirement("SE-03")
TEXT = "a-canary-in-a-secret"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Whoever forgot to write repr=False."""

    held: Secret


SHOWN: list[Callable[[Secret], object]] = [
    str,
    repr,
    lambda held: f"{held}",
    lambda held: f"{held!r:>80}",
    lambda held: f"{held:x>80}",
    lambda held: "%s %r" % (held, held),  # noqa: UP031
    lambda held: "{} {!r} {!a}".format(held, held, held),  # noqa: UP032
    lambda held: [held],
    lambda held: {"held": held},
    lambda held: Holder(held=held),
    dir,
    lambda held: logging.makeLogRecord({"msg": "%s", "args": (held,)}).getMessage(),
]


@pytest.mark.parametrize("show", SHOWN)
def test_no_way_of_writing_it_down_shows_it(show: Callable[[Secret], object]) -> None:
    assert TEXT not in repr(show(Secret(TEXT)))


@pytest.mark.parametrize(
    "serialise",
    [
        pickle.dumps,
        copy.copy,
        copy.deepcopy,
        json.dumps,
        lambda held: json.dumps({"a": [held]}),
        vars,
        hash,
        iter,
        bytes,
    ],
    ids=["pickle", "copy", "deepcopy", "json", "json-inside", "vars", "hash", "iter", "bytes"],
)
def test_it_is_not_serialised(serialise: Callable[[Secret], object]) -> None:
    with pytest.raises(TypeError) as refused:
        serialise(Secret(TEXT))

    assert TEXT not in str(refused.value)


def test_a_dataclass_that_holds_one_gives_it_to_nobody_as_a_text() -> None:
    with pytest.raises(TypeError):
        dataclasses.asdict(Holder(held=Secret(TEXT)))


def test_it_equals_only_another_secret_of_the_same_text_and_is_compared_in_constant_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[bytes, bytes]] = []

    def compare(one: bytes, other: bytes) -> bool:
        asked.append((one, other))
        return one == other

    monkeypatch.setattr("gateway.secret.hmac.compare_digest", compare)

    assert Secret(TEXT) == Secret(TEXT)
    assert Secret(TEXT) != Secret(TEXT[:-1])
    assert Secret(TEXT) != TEXT
    assert len(asked) == 2


def test_a_traceback_with_local_variables_shows_none() -> None:
    held, told = Secret(TEXT), ""
    try:
        held / 2  # type: ignore[operator]
    except TypeError as fault:
        told = "".join(traceback.TracebackException.from_exception(fault, capture_locals=True).format())

    assert "held = Secret(…)" in told
    assert f"'{TEXT}'" not in told


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        (Call, "token"),
        (UnverifiedToken, "compact"),
        (VerifiedToken, "compact"),
        (AwsCredentials, "secret_access_key"),
        (AwsCredentials, "session_token"),
        (VaultToken, "token"),
        (SigningKey, "secret_access_key"),
        (SigningKey, "session_token"),
        (VaultCall, "token"),
    ],
)
def test_every_token_and_key_that_the_gateway_holds_is_one(kind: type, field: str) -> None:
    assert get_type_hints(kind)[field] in (Secret, Secret | None)


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        (AwsCall, "body"),
        (AwsCall, "headers"),
        (AwsCall, "private"),
        (Outgoing, "body"),
        (Outgoing, "headers"),
        (VaultCall, "body"),
    ],
)
def test_what_carries_one_on_the_wire_is_not_part_of_a_repr(kind: type, field: str) -> None:
    assert not kind.__dataclass_fields__[field].repr  # type: ignore[attr-defined]


def test_the_address_of_redis_holds_no_password() -> None:
    assert {"password"}.isdisjoint(RedisAddress.__dataclass_fields__)
