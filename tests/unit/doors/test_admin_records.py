"""Promise 4 on the admin listener: the record comes first, and a kill switch is not kept back by a sick disk."""

import json
from unittest.mock import AsyncMock, Mock

import pytest
from starlette.requests import Request
from starlette.types import Message

from gateway.audit.administration import AdminLog
from gateway.audit.record import Record
from gateway.doors.admin.access import Gatekeeper
from gateway.doors.admin.door import AdminDoor, Running
from gateway.errors import ErrorCode, Unavailable
from gateway.state.switch_document import board_of
from tests.support.clocks import SettableClock


class Kept:
    """A notebook, a store and a policy folder that write down in which order they were used."""

    def __init__(self, *, sick: bool) -> None:
        self.sick = sick
        self.told: list[str] = []

    async def intend(self, record: Record, *, deadline: float | None = None) -> None:
        if self.sick:
            raise Unavailable(ErrorCode.AUDIT_UNAVAILABLE, "The disk is full.")
        self.told.append(f"intent {record.changes[0]}")

    def note(self, record: Record) -> None:
        self.told.append(f"note {record.changes[0] if record.changes else record.code}")

    async def turn_off(self, _: object) -> bool:
        self.told.append("turned off")
        return True

    async def turn_on(self, _: object) -> None:
        self.told.append("turned on")
        raise Unavailable(ErrorCode.SWITCHES_UNAVAILABLE, "Redis is away.")

    async def read(self) -> object:
        return board_of()


def door(kept: Kept) -> AdminDoor:
    policy = Mock(issuers={}, rules={"payments.prod": None}, workflows={})
    running = Mock(
        spec=Running,
        log=AdminLog(kept, SettableClock(), policy=lambda: "sha256:00"),
        store=kept,
        clock=SettableClock(),
        policies=Mock(current=lambda: policy, reload=AsyncMock(side_effect=AssertionError)),
        turning=lambda _: None,
    )
    return AdminDoor(running, Mock(spec=Gatekeeper, admit=AsyncMock(return_value="alice")))


def request(query: bytes = b"name=payments.prod", body: object = None) -> Request:
    content = b"" if body is None else json.dumps(body).encode()

    async def receive() -> Message:
        return {"type": "http.request", "body": content, "more_body": False}

    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    scope = {
        "type": "http",
        "method": "PUT",
        "path": "/",
        "query_string": query,
        "headers": headers,
        "path_params": {"kind": "rule"},
        "state": {"request_id": "req-1"},
    }
    return Request(scope, receive)


@pytest.mark.requirement("AD-09")
async def test_a_switch_is_recorded_before_it_is_turned_and_after() -> None:
    kept = Kept(sick=False)

    await door(kept).switch_off(request(body={"why": "PAY-9"}))

    assert kept.told == [
        "intent ? off rule payments.prod",
        "turned off",
        "note + off rule payments.prod",
    ]


@pytest.mark.requirement("AD-09")
async def test_a_disk_that_fails_keeps_nobody_from_switching_off() -> None:
    kept = Kept(sick=True)

    answer = await door(kept).switch_off(request(body={"why": "PAY-9"}))

    assert answer.status_code == 200
    assert kept.told == ["turned off", "note + off rule payments.prod"]


@pytest.mark.requirement("AD-09")
async def test_a_disk_that_fails_keeps_what_is_off_off_and_the_files_unread() -> None:
    kept = Kept(sick=True)

    with pytest.raises(Unavailable) as switching:
        await door(kept).switch_on(request(body={"why": "PAY-9"}))
    with pytest.raises(Unavailable) as reloading:
        await door(kept).reload(request(query=b""))

    assert {switching.value.code, reloading.value.code} == {ErrorCode.AUDIT_UNAVAILABLE}
    assert kept.told == []


@pytest.mark.requirement("AD-09")
async def test_a_switch_that_could_not_be_turned_is_recorded_as_that() -> None:
    kept = Kept(sick=False)

    with pytest.raises(Unavailable):
        await door(kept).switch_on(request(body={"why": "PAY-9"}))

    assert kept.told == ["intent ? on rule payments.prod", "turned on", "note switches_unavailable"]
