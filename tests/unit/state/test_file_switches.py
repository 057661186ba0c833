"""Switches in a file: read with suspicion, written whole, and closed whenever nobody can tell what is off."""

import asyncio
import os
from pathlib import Path

import pytest

from gateway.errors import ErrorCode, Unavailable
from gateway.state.file_switches import PATIENCE_S, FileSwitches
from gateway.state.switch_document import board_of, encode
from gateway.state.switch_file import SwitchFile
from gateway.state.switches import SwitchBoard
from tests.support.clocks import SettableClock
from tests.support.hang import no_hang
from tests.support.switches import off

RULE = off("rule", "payments.prod")
ISSUER = off("issuer", "github")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "switches.json"


def write(path: Path, data: bytes, mode: int = 0o600) -> None:
    path.write_bytes(data)
    path.chmod(mode)


async def seen(path: Path, *, may_be_absent: bool = True) -> SwitchBoard:
    async with FileSwitches(SwitchFile(path, may_be_absent=may_be_absent), clock=SettableClock()) as switches:
        return switches.current()


def store(path: Path, *, may_be_absent: bool = True) -> SwitchFile:
    return SwitchFile(path, may_be_absent=may_be_absent)


async def changed(switches: FileSwitches) -> None:
    before = switches.current()
    while switches.current() == before:  # noqa: ASYNC110 - what is tested is that nobody has to tell
        await asyncio.sleep(0.01)


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


def leftovers(path: Path) -> list[str]:
    return [
        one.name
        for one in path.parent.iterdir()
        if one.name not in {path.name, f".{path.name}.lock", f".{path.name}.was-there"}
    ]


def vanish(path: Path) -> None:
    path.unlink()


def become(path: Path, kind: str) -> None:
    match kind:
        case "folder":
            path.mkdir()
        case "fifo":
            os.mkfifo(path, 0o600)
        case _:
            link(path, Path("nowhere"))


def link(path: Path, real: Path) -> None:
    path.symlink_to(real)


def is_link(path: Path) -> bool:
    return path.is_symlink()


def remove(path: Path) -> None:
    path.unlink()


def content(path: Path) -> bytes:
    return path.read_bytes()


# Reading.


async def test_nothing_is_off_while_the_file_of_the_default_place_does_not_exist(path: Path) -> None:
    assert await seen(path) == board_of()


@pytest.mark.requirement("AD-06", "F-38")
async def test_a_file_that_a_setting_names_must_exist(path: Path) -> None:
    assert not (await seen(path, may_be_absent=False)).readable


@pytest.mark.requirement("AD-06", "F-38")
@pytest.mark.parametrize(
    ("data", "mode"),
    [
        pytest.param(b"\x00garbage", 0o600, id="garbage"),
        pytest.param(b"", 0o600, id="empty"),
        pytest.param(encode(board_of([RULE])), 0o622, id="others-may-write"),
        pytest.param(encode(board_of([RULE])), 0o660, id="the-group-may-write"),
    ],
)
async def test_a_file_that_cannot_be_believed_is_closed(path: Path, data: bytes, mode: int) -> None:
    write(path, data, mode)

    assert not (await seen(path)).readable


@pytest.mark.requirement("AD-06")
@pytest.mark.parametrize("kind", ["folder", "fifo", "dangling-link"])
async def test_what_is_no_file_is_closed_and_stops_nobody(path: Path, kind: str) -> None:
    become(path, kind)

    with no_hang():
        board = await seen(path, may_be_absent=False)

    assert not board.readable


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.requirement("AD-06")
async def test_a_file_of_another_user_is_closed(path: Path) -> None:
    write(path, encode(board_of([RULE])))
    os.chown(path, 12345, -1)

    assert not (await seen(path)).readable


@pytest.mark.requirement("AD-06")
async def test_a_file_that_vanishes_while_the_gateway_runs_is_closed_until_it_is_back(path: Path) -> None:
    data = encode(board_of([RULE]))
    write(path, data)
    async with FileSwitches(store(path), clock=SettableClock()) as switches:
        remove(path)
        await switches.look()
        gone = switches.current()
        write(path, data)
        await switches.look()
        back = switches.current()

    assert not gone.readable
    assert back.rules == {"payments.prod"}


@pytest.mark.requirement("AD-06")
async def test_what_was_looked_at_too_long_ago_is_closed(path: Path) -> None:
    clock = SettableClock()
    async with FileSwitches(store(path), clock=clock, period_s=3600) as switches:
        fresh = switches.current()
        clock.advance(PATIENCE_S + 0.1)
        old = switches.current()

    assert (fresh.readable, old.readable) == (True, False)


@pytest.mark.requirement("MP-15", "AD-06")
async def test_a_change_is_noticed_without_being_told(path: Path) -> None:
    async with FileSwitches(store(path), clock=SettableClock(), period_s=0.01) as switches:
        await store(path).turn_off(RULE)
        with no_hang():
            await changed(switches)

    assert switches.current().rules == {"payments.prod"}


@pytest.mark.requirement("AD-06")
async def test_what_is_off_survives_a_restart(path: Path) -> None:
    await store(path).turn_off(RULE)

    assert (await seen(path)).off == {("rule", "payments.prod"): RULE}


# Writing.


async def test_switching_off_writes_a_file_for_its_owner_alone(path: Path) -> None:
    assert await store(path).turn_off(RULE)

    assert mode_of(path) == 0o600
    assert (await store(path).read()).off == {("rule", "payments.prod"): RULE}


async def test_switching_keeps_the_mode_that_an_administrator_gave_the_file(path: Path) -> None:
    write(path, encode(board_of()), 0o644)

    await store(path).turn_off(RULE)

    assert mode_of(path) == 0o644


async def test_switching_the_same_thing_off_twice_says_so(path: Path) -> None:
    assert [await store(path).turn_off(RULE), await store(path).turn_off(RULE)] == [True, False]


async def test_switching_on_returns_how_it_was_switched_off(path: Path) -> None:
    await store(path).turn_off(RULE)

    assert [await store(path).turn_on(RULE), await store(path).turn_on(RULE)] == [RULE, None]
    assert (await store(path).read()).off == {}


async def test_a_link_stays_a_link_and_what_it_leads_to_is_replaced(path: Path, tmp_path: Path) -> None:
    real = tmp_path / "elsewhere.json"
    write(real, encode(board_of()))
    link(path, real)

    await store(path).turn_off(RULE)

    assert is_link(path)
    assert (await store(real).read()).rules == {"payments.prod"}


async def test_two_who_write_at_once_lose_nothing(path: Path) -> None:
    rules = [off("rule", f"r{number}") for number in range(40)]

    await asyncio.gather(*(store(path).turn_off(rule) for rule in rules))

    assert len((await store(path).read()).off) == 40
    assert leftovers(path) == []


@pytest.mark.requirement("AD-06")
async def test_a_file_that_cannot_be_read_is_never_written_over(path: Path) -> None:
    write(path, b"garbage")

    with pytest.raises(Unavailable) as refused:
        await store(path).turn_off(RULE)

    assert refused.value.code is ErrorCode.SWITCHES_UNAVAILABLE
    assert content(path) == b"garbage"


async def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="No such file or directory"):
        await store(tmp_path / "no" / "switches.json").turn_off(RULE)


async def test_a_beginning_is_written_once_and_nothing_that_exists_is_touched(path: Path) -> None:
    first = await store(path, may_be_absent=False).create()
    await store(path, may_be_absent=False).turn_off(ISSUER)
    second = await store(path, may_be_absent=False).create()

    assert (first, second) == (True, False)
    assert ("issuer", "github") in (await store(path).read()).off


async def test_without_a_beginning_a_named_file_cannot_be_turned(path: Path) -> None:
    with pytest.raises(Unavailable, match="does not exist"):
        await store(path, may_be_absent=False).turn_off(RULE)


@pytest.mark.requirement("AD-06")
async def test_a_file_that_vanished_is_missed_by_gateways_that_start_later_and_by_commands(
    path: Path,
) -> None:
    await store(path).turn_off(RULE)
    vanish(path)

    with pytest.raises(Unavailable, match="does not exist, and did before") as refusal:
        await store(path).read()

    assert not (await seen(path)).readable
    assert "switch init" in (refusal.value.hint or "")


@pytest.mark.requirement("AD-06")
async def test_a_file_that_was_put_there_by_hand_is_missed_as_well(path: Path) -> None:
    write(path, encode(board_of([RULE])))
    await seen(path)
    vanish(path)

    board = await seen(path)

    assert not board.readable


@pytest.mark.requirement("AD-06")
async def test_a_new_file_ends_that(path: Path) -> None:
    await store(path).turn_off(RULE)
    vanish(path)

    await store(path).create()

    assert (await seen(path)).readable


@pytest.mark.requirement("AD-06")
@pytest.mark.parametrize(
    ("data", "mode", "said"),
    [
        pytest.param(b"garbage", 0o600, "oidc-gateway switch init --switches", id="garbage"),
        pytest.param(encode(board_of()), 0o622, "run: chmod go-w", id="others may write"),
    ],
)
async def test_the_log_says_what_to_do_about_a_file_that_cannot_be_believed(
    path: Path, caplog: pytest.LogCaptureFixture, data: bytes, mode: int, said: str
) -> None:
    write(path, data, mode)

    await seen(path)

    (line,) = [vars(record) for record in caplog.records if record.levelname == "ERROR"]
    assert str(path) in line["reason"]
    assert said in line["hint"]
