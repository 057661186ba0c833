"""Our client on real Redis servers that are stalled, restarted, full, locked or set up wrong."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from redis import exceptions

from gateway.clock import Clock, SystemClock
from gateway.dev.children import free_port
from gateway.errors import ConfigurationInvalid, ErrorCode, Unavailable
from gateway.state.address import RedisAddress, parse_url
from gateway.state.board import Status
from gateway.state.rates import Rate, RateTable
from gateway.state.redis_board import RedisBoard
from gateway.state.redis_faults import fault_of, may_be_tls
from gateway.state.redis_rates import SharedRates
from gateway.state.redis_switches import RedisSwitches
from gateway.state.store import Reservation, Taken
from gateway.state.switches import Switch
from tests.support.certificates import Authority
from tests.support.components import skip_without
from tests.support.redis_server import RedisServer, running_redis
from tests.support.shared_state import SharedState, claim, shared_state

pytestmark = skip_without("redis")

PASSWORD = "not-a-real-password"
README_ACL = Path(__file__).parents[2] / "README.md"


@pytest.fixture
def prefix() -> str:
    return f"{uuid4()}:"


@contextmanager
def private(*options: str, users: tuple[str, ...] = ()) -> Iterator[RedisServer]:
    with running_redis(*options, users=users) as server:
        yield server


async def reserve(state: SharedState, key: str = "a", *, life_s: float = 600) -> Reservation | Taken:
    wanted = claim(key, now=time.time(), life_s=life_s)
    return await state.reservations.reserve(wanted, deadline=time.monotonic() + 5)


async def refusal(state: SharedState) -> ErrorCode:
    """Return the code with which a reservation is refused."""
    with pytest.raises(Unavailable) as refused:
        await reserve(state, str(uuid4()))
    return refused.value.code


async def until(true: Callable[[], bool]) -> None:
    """Wait for what our own background work must bring about."""
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 - what is waited for is seen from outside only
            await asyncio.sleep(0.01)


def quick(server: RedisServer) -> RedisAddress:
    """Return its address with the timeout that a gateway has by default."""
    return parse_url(server.url)


def well(state: SharedState) -> Callable[[], bool]:
    return lambda: state.watch.status() == "ok"


# --- It is away ---


@pytest.mark.requirement("TV-45", "F-33")
async def test_a_gateway_starts_without_redis_and_uses_it_when_it_comes(prefix: str) -> None:
    with private() as server:
        server.stop()
        async with shared_state(server.url, prefix=prefix) as state:
            refused, status = await refusal(state), state.watch.status()

            server.start()
            await until(well(state))

            assert (refused, status) == (ErrorCode.REPLAY_STORE_UNAVAILABLE, "unreachable")
            assert isinstance(await reserve(state), Reservation)


@pytest.mark.requirement("TV-45")
async def test_a_redis_that_stalls_is_waited_for_once_and_used_again_when_it_goes_on(prefix: str) -> None:
    with private() as server:
        async with shared_state(quick(server), prefix=prefix) as state:
            with server.stalled():
                first = await asyncio.gather(*(refusal(state) for _ in range(200)))
                await until(lambda: state.watch.status() == "timeout")
                commands_before = seconds_count(state, "reserve")
                later = [await refusal(state) for _ in range(50)]
                commands_after = seconds_count(state, "reserve")

            await until(well(state))

            assert set(first) | set(later) == {ErrorCode.REPLAY_STORE_UNAVAILABLE}
            assert commands_before == commands_after  # while it is known to be away nobody asks it
            assert isinstance(await reserve(state), Reservation)


@pytest.mark.requirement("TV-45")
async def test_who_was_refused_while_redis_stalled_is_not_in_his_own_way_afterwards(prefix: str) -> None:
    with private() as server:
        async with shared_state(quick(server), prefix=prefix) as state:
            await reserve(state, "another")  # a connection for the next one to wait on
            with server.stalled(), pytest.raises(Unavailable) as refused:
                await reserve(state)
            await until(well(state))

            again = await reserve(state)

    assert isinstance(again, Reservation)
    assert refused.value.hint is not None
    assert "request_in_progress" in refused.value.hint


def seconds_count(state: SharedState, operation: str) -> float:
    found = state.metrics.registry.get_sample_value(
        "oidc_gateway_state_seconds_count", {"operation": operation, "outcome": "failed"}
    )
    return found or 0


@pytest.mark.requirement("TV-45")
async def test_a_stalled_redis_costs_no_more_than_the_nearer_of_timeout_and_deadline(prefix: str) -> None:
    with private() as server:
        address = replace(parse_url(server.url), timeout_s=600.0)
        async with shared_state(address, prefix=prefix, period_s=600) as state:
            with server.stalled(), pytest.raises(Unavailable):
                # Without the deadline this test would not end.
                await state.reservations.reserve(claim(now=time.time()), deadline=time.monotonic() + 0.1)


@pytest.mark.requirement("TV-45")
async def test_what_was_begun_and_not_confirmed_while_redis_was_away_stays_taken(prefix: str) -> None:
    with private() as server:
        async with shared_state(quick(server), prefix=prefix) as state:
            got = await reserve(state)
            assert isinstance(got, Reservation)
            await state.reservations.begin(got, deadline=time.monotonic() + 5)
            with server.stalled():
                await state.reservations.confirm(got, answer=b"{}")  # raises nothing
            await until(well(state))

            assert isinstance(await reserve(state), Taken)


@pytest.mark.requirement("TV-42")
async def test_a_restart_with_append_only_file_forgets_nothing(prefix: str) -> None:
    with private("--appendonly", "yes", "--appendfsync", "always") as server:
        async with shared_state(server.url, prefix=prefix) as state:
            await reserve(state)

            server.stop()
            server.start()
            await state.watch.probe()  # else it may still say what was before, while Redis reads its data
            await until(well(state))

            assert isinstance(await reserve(state), Taken)


async def test_a_restart_that_lost_the_data_is_said_loudly(
    prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    with private() as server:
        async with shared_state(server.url, prefix=prefix) as state:
            await reserve(state)

            server.stop()
            server.start()
            await until(lambda: failures(state, "data_lost") == 1)

    assert "Redis was started again and has lost its data" in caplog.text
    assert "appendonly" in caplog.text


async def test_a_redis_that_was_emptied_is_noticed_by_every_gateway_and_marked_again(
    prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    with private() as server:
        async with (
            shared_state(server.url, prefix=prefix) as state,
            shared_state(server.url, prefix=prefix) as other,
        ):
            server.say("FLUSHALL")
            await until(lambda: failures(state, "data_lost") == 1)
            await until(lambda: failures(other, "data_lost") == 1)
            again = server.say("EXISTS", state.redis.key("marker"))
            await state.watch.probe()

            assert failures(state, "data_lost") == 1

    assert again.strip().endswith("1")
    assert "Redis runs on, but has lost its data" in caplog.text
    assert "FLUSHALL" in caplog.text


def failures(state: SharedState, reason: str) -> float | None:
    return state.metrics.registry.get_sample_value("oidc_gateway_state_failures_total", {"reason": reason})


# --- It refuses ---


@pytest.mark.requirement("TV-42")
async def test_a_full_redis_refuses_what_is_new_keeps_what_it_has_and_goes_on_when_there_is_room(
    prefix: str,
) -> None:
    with private() as server:
        async with shared_state(server.url, prefix=prefix) as state:
            await reserve(state, "first")
            server.say("CONFIG", "SET", "maxmemory", "1")

            code = await refusal(state)
            await until(lambda: state.watch.status() == "full")
            server.say("CONFIG", "SET", "maxmemory", "0")
            await until(well(state))

            assert code is ErrorCode.REPLAY_STORE_FULL
            assert isinstance(await reserve(state, "first"), Taken)
            assert isinstance(await reserve(state, "second"), Reservation)


@pytest.mark.requirement("TV-42")
async def test_a_redis_that_evicts_is_not_trusted_with_used_tokens(
    prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    with private("--maxmemory-policy", "allkeys-lru") as server:
        async with shared_state(server.url, prefix=prefix) as state:
            code, status = await refusal(state), state.watch.status()

    assert (code, status) == (ErrorCode.REPLAY_STORE_UNAVAILABLE, "evicting")
    assert "Redis has the maxmemory-policy allkeys-lru" in caplog.text
    assert "set maxmemory-policy noeviction" in caplog.text


@pytest.mark.parametrize(
    ("users", "status", "said"),
    [
        pytest.param(
            ("user default off", f"user gateway on >{PASSWORD}-other ~* &* +@all"),
            "password",
            "state.username and state.password_file must be those of an ACL user",
            id="wrong password",
        ),
        pytest.param(
            ("user default off", f"user gateway on >{PASSWORD} ~* +@all -evalsha -eval"),
            "permission",
            "'evalsha' command",
            id="without the scripts",
        ),
        pytest.param(
            ("user default off", f"user gateway on >{PASSWORD} ~* +@all -info"),
            "permission",
            "'info' command",
            id="without INFO",
        ),
        pytest.param(
            ("user default off", f"user gateway on >{PASSWORD} ~other:* +@all"),
            "permission",
            "give the user what the README's ACL line gives",
            id="other keys",
        ),
    ],
)
@pytest.mark.requirement("TV-45")
async def test_a_user_without_the_right_is_told_which_one_and_never_the_password(
    prefix: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    users: tuple[str, ...],
    status: str,
    said: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    with private(users=users) as server:
        async with shared_state(with_password(server, tmp_path), prefix=prefix) as state:
            code = await refusal(state)
            found = state.watch.status()

    assert (code, found) == (ErrorCode.REPLAY_STORE_UNAVAILABLE, status)
    assert said in caplog.text
    assert PASSWORD not in caplog.text


def with_password(server: RedisServer, folder: Path) -> RedisAddress:
    file = folder / "password"
    file.write_text(f"{PASSWORD}\n")
    file.chmod(0o600)
    return replace(parse_url(server.url), username="gateway", password_file=str(file))


async def test_the_acl_line_of_the_readme_is_enough_for_everything(prefix: str, tmp_path: Path) -> None:
    line = next(
        line.strip()
        for line in README_ACL.read_text().splitlines()
        if line.strip().startswith("user gateway on ")
    )
    user = line.replace(">PASSWORD", f">{PASSWORD}")
    with private(users=("user default off", user)) as server:
        address = with_password(server, tmp_path)
        async with shared_state(address, prefix="oidc-gateway:") as state:
            got = await reserve(state)
            assert isinstance(got, Reservation)
            await state.reservations.begin(got, deadline=time.monotonic() + 5)
            await state.reservations.confirm(got, answer=b"{}")
            answered = await reserve(state)
            switches = RedisSwitches(state.redis, clock=SystemClock())
            turned = await switches.turn_off(switch())
            board = RedisBoard(state.redis)
            await board.post(status("w1"))
            table = RateTable("subject", Rate(quota=10, window_s=60), clock=SystemClock())
            rates = SharedRates(state.redis, (table,), clock=SystemClock(), metrics=state.metrics)
            async with rates:
                for _ in range(5):
                    table.hit("somebody")
                await rates.share_once()

            assert failures(state, "permission") == 0
            assert state.watch.status() == "ok"
            assert isinstance(answered, Taken)
            assert answered.answer == b"{}"
            assert turned
            assert [one.worker for one in await board.read()] == ["w1"]


async def test_a_database_that_is_not_there_is_named(prefix: str, caplog: pytest.LogCaptureFixture) -> None:
    with private("--databases", "1") as server:
        address = replace(parse_url(server.url), database=7)
        async with shared_state(address, prefix=prefix) as state:
            assert state.watch.status() == "database"

    assert "state.url ends in the number of a database" in caplog.text


async def test_a_replica_is_not_written_to(prefix: str, caplog: pytest.LogCaptureFixture) -> None:
    with private() as primary, private("--replicaof", "127.0.0.1", str(primary.port)) as replica:
        async with shared_state(replica.url, prefix=prefix) as state:
            code, found = await refusal(state), state.watch.status()

    assert (code, found) == (ErrorCode.REPLAY_STORE_UNAVAILABLE, "readonly")
    assert "state.url must name the primary" in caplog.text


async def test_a_node_of_a_cluster_is_recognised(prefix: str, caplog: pytest.LogCaptureFixture) -> None:
    # Without one of its own its bus listens 10,000 ports higher, which not every port allows.
    with private("--cluster-enabled", "yes", "--cluster-port", str(free_port())) as server:
        async with shared_state(server.url, prefix=prefix) as state:
            found = state.watch.status()

    assert found == "cluster"
    assert "not a node of a Redis Cluster" in caplog.text


async def test_a_version_that_is_too_old_is_refused(prefix: str, caplog: pytest.LogCaptureFixture) -> None:
    info = b"redis_version:5.0.14\r\nrun_id:abc\r\nrole:master\r\nmaxmemory_policy:noeviction\r\n"
    async with (
        scripted({b"INFO": b"$%d\r\n%s\r\n" % (len(info), info), b"TIME": _time()}) as url,
        shared_state(url, prefix=prefix) as state,
    ):
        code, found = await refusal(state), state.watch.status()

    assert (code, found) == (ErrorCode.REPLAY_STORE_UNAVAILABLE, "version")
    assert "Redis is of version 5.0.14" in caplog.text


async def test_a_server_that_is_still_loading_is_waited_for(prefix: str) -> None:
    loading = b"-LOADING Redis is loading the dataset in memory\r\n"
    async with (
        scripted({b"INFO": loading, b"TIME": loading}) as url,
        shared_state(url, prefix=prefix) as state,
    ):
        assert state.watch.status() == "loading"


async def test_a_server_that_speaks_something_else_is_not_believed(prefix: str) -> None:
    nonsense = b"HTTP/1.1 400 Bad Request\r\n\r\n"
    async with (
        scripted({b"INFO": nonsense, b"TIME": nonsense}) as url,
        shared_state(url, prefix=prefix) as state,
    ):
        assert await refusal(state) is ErrorCode.REPLAY_STORE_UNAVAILABLE
        assert state.watch.status() != "ok"


@pytest.mark.requirement("TV-45")
@pytest.mark.parametrize(
    "answer",
    [b"+OK\r\n", b":5\r\n", b"*2\r\n$1\r\na\r\n:1\r\n", b"$-1\r\n"],
    ids=["text", "number", "list", "nothing"],
)
@pytest.mark.parametrize(
    ("version", "status"),
    [pytest.param("5.0.7", "version", id="old"), pytest.param("7.0.15", "protocol", id="new")],
)
async def test_a_peer_that_answers_as_no_redis_does_is_a_fault_that_is_said(
    prefix: str, caplog: pytest.LogCaptureFixture, answer: bytes, version: str, status: str
) -> None:
    words = (b"EVALSHA", b"EVAL", b"HGETALL", b"GET", b"SET", b"INCRBY")
    async with (
        scripted({b"INFO": _info(version), b"TIME": _time(), **dict.fromkeys(words, answer)}) as url,
        shared_state(url, prefix=prefix) as state,
    ):
        switches, board = RedisSwitches(state.redis, clock=SystemClock()), RedisBoard(state.redis)

        refused, statuses = await refusal(state), await board.read()
        with pytest.raises(Unavailable):
            await switches.turn_off(Switch(kind="rule", name="a", why="b", by="c", at=0))

        assert (refused, statuses) == (ErrorCode.REPLAY_STORE_UNAVAILABLE, ())
        assert state.watch.status() == status
    assert "Redis 6.2 or later" in caplog.text
    assert "Traceback" not in caplog.text


def _info(version: str) -> bytes:
    text = f"redis_version:{version}\r\nrole:master\r\nmaxmemory_policy:noeviction\r\n".encode()
    return b"$%d\r\n%s\r\n" % (len(text), text)


def _time() -> bytes:
    seconds = str(int(time.time())).encode()
    return b"*2\r\n$%d\r\n%s\r\n$1\r\n0\r\n" % (len(seconds), seconds)


class scripted:  # noqa: N801 - used as a function
    """A peer that answers commands by a table, everything else with OK."""

    def __init__(self, answers: dict[bytes, bytes]) -> None:
        self._answers = answers

    async def __aenter__(self) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            words = []
            for _ in range(int(line[1:])):
                size = int((await reader.readline())[1:])
                words.append((await reader.readexactly(size + 2))[:-2])
            writer.write(self._answers.get(words[0].upper(), b"+OK\r\n"))
            await writer.drain()
        writer.close()


# --- TLS ---


async def test_tls_is_verified_by_the_ca_that_is_given(prefix: str, tmp_path: Path) -> None:
    authority, folder = Authority(), tmp_path
    files = tls_files(authority, folder, "127.0.0.1")
    with running_redis(*files, tls=True) as server:
        address = replace(parse_url(server.url), ca_file=str(folder / "ca.pem"))
        async with shared_state(address, prefix=prefix) as state:
            assert isinstance(await reserve(state), Reservation)


@pytest.mark.parametrize(
    ("speaks_tls", "said"),
    [
        pytest.param(False, "then state.url begins with redis://", id="TLS asked of a plain one"),
        pytest.param(True, "then state.url begins with rediss://", id="no TLS where it is wanted"),
    ],
)
async def test_a_url_whose_scheme_does_not_fit_is_said_to_be_a_cause(
    prefix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, *, speaks_tls: bool, said: str
) -> None:
    files = tls_files(Authority(), tmp_path, "127.0.0.1") if speaks_tls else []
    with running_redis(*files, tls=speaks_tls) as server:
        address = replace(quick(server), scheme="redis" if speaks_tls else "rediss")
        async with shared_state(address, prefix=prefix):
            pass

    assert caplog.text.count(said) == 1


@pytest.mark.parametrize("fault", ["another CA", "another name"])
async def test_a_certificate_that_does_not_fit_is_refused(
    prefix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    files = tls_files(Authority(), tmp_path, "redis.example" if fault == "another name" else "127.0.0.1")
    ca_file = tmp_path / "ca.pem"
    if fault == "another CA":
        ca_file.write_text(Authority().pem)
    with running_redis(*files, tls=True) as server:
        address = replace(parse_url(server.url), ca_file=str(ca_file))
        async with shared_state(address, prefix=prefix) as state:
            code, found = await refusal(state), state.watch.status()

    assert (code, found) == (ErrorCode.REPLAY_STORE_UNAVAILABLE, "tls")
    assert "check state.ca_file" in caplog.text


def tls_files(authority: Authority, folder: Path, name: str) -> list[str]:
    (folder / "ca.pem").write_text(authority.pem)
    server = folder / "server.pem"
    server.write_bytes(authority.server_pem(name))
    server.chmod(0o600)
    return [
        *("--tls-cert-file", str(server), "--tls-key-file", str(server)),
        *("--tls-ca-cert-file", str(folder / "ca.pem"), "--tls-auth-clients", "no"),
    ]


async def test_a_redis_that_asks_for_a_certificate_gets_ours(prefix: str, tmp_path: Path) -> None:
    files = tls_files(Authority(), tmp_path, "127.0.0.1")
    files[-1] = "yes"
    with running_redis(*files, tls=True) as server:
        address = replace(parse_url(server.url), ca_file=str(tmp_path / "ca.pem"))
        ours = str(tmp_path / "server.pem")
        async with (
            shared_state(address, prefix=prefix) as without,
            shared_state(replace(address, certificate=ours, key=ours), prefix=prefix) as state,
        ):
            assert without.watch.status() != "ok"
            assert isinstance(await reserve(state), Reservation)


async def test_a_certificate_that_is_asked_for_is_named_and_stays_the_cause(
    prefix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = tls_files(Authority(), tmp_path, "127.0.0.1")
    files[-1] = "yes"
    with running_redis(*files, tls=True) as server:
        address = replace(parse_url(server.url), ca_file=str(tmp_path / "ca.pem"), timeout_s=10.0)
        async with shared_state(address, prefix=prefix) as state:
            await until(lambda: state.watch.status() == "tls")
            caplog.clear()
            reasons = set()
            for _ in range(20):
                await state.watch.probe()
                reasons.add(state.watch.status())

    assert reasons == {"tls"}
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("found", "shown"),
    [
        pytest.param(
            "Error while reading from state:6380 : (104, 'Connection reset by peer')", "tls", id="cut"
        ),
        pytest.param("Error 111 connecting to state:6380. Connection refused.", "unreachable", id="gone"),
    ],
)
def test_only_what_a_failed_handshake_may_look_like_counts_as_one(found: str, shown: str) -> None:
    fault = fault_of(exceptions.ConnectionError(found))

    assert ("tls" if may_be_tls(fault) else fault.reason) == shown


async def test_a_password_that_is_changed_is_read_again_and_a_lost_file_is_named(
    prefix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rule = "~* &* +@all"
    with private(users=("user default off", f"user gateway on >{PASSWORD} {rule}")) as server:
        address = with_password(server, tmp_path)
        async with shared_state(address, prefix=prefix) as state:
            replace_file(address, None)
            server.stop()
            server.users = ("user default off", f"user gateway on >{PASSWORD}-2 {rule}")
            server.start()
            await until(lambda: state.watch.status() == "password")
            lost = f"The file of state.password_file, {address.password_file}, cannot be read" in caplog.text
            replace_file(address, f"{PASSWORD}-2")
            await until(well(state))

    assert lost
    assert PASSWORD not in caplog.text


def replace_file(address: RedisAddress, text: str | None) -> None:
    file = Path(address.password_file or "")
    if text is None:
        file.unlink()
    else:
        file.write_text(text)
        file.chmod(0o600)


async def test_a_call_that_can_wait_no_longer_does_not_count_against_redis(
    redis: RedisServer, prefix: str
) -> None:
    async with shared_state(redis.url, prefix=prefix, period_s=600) as state:
        with pytest.raises(Unavailable):
            await state.reservations.reserve(claim(now=time.time()), deadline=time.monotonic() - 1)

        assert state.watch.status() == "ok"


async def test_a_password_file_that_is_not_there_is_named_at_start(prefix: str, tmp_path: Path) -> None:
    address = replace(parse_url("redis://127.0.0.1:1"), password_file=str(tmp_path / "missing"))

    with pytest.raises(ConfigurationInvalid, match=r"state\.password_file.*missing"):
        async with shared_state(address, prefix=prefix):
            pass


@pytest.mark.parametrize("what", ["password_file", "key"])
async def test_a_secret_that_others_may_read_is_refused_at_start(
    prefix: str, tmp_path: Path, what: str
) -> None:
    file = tmp_path / "secret"
    file.write_text(PASSWORD)
    file.chmod(0o644)
    address = parse_url("rediss://127.0.0.1:1")
    address = (
        replace(address, password_file=str(file))
        if what == "password_file"
        else replace(address, certificate=str(file), key=str(file))
    )

    with pytest.raises(ConfigurationInvalid, match=rf"state\.{what}.*is open to others") as refusal:
        async with shared_state(address, prefix=prefix):
            pass

    assert refusal.value.hint == f"Run: chmod 0600 {file}"


# --- Clocks ---


class OffClock:
    """Our clock, wrong by some seconds."""

    def __init__(self, off_s: float) -> None:
        self.off_s = off_s

    def wall(self) -> float:
        return time.time() + self.off_s

    def monotonic(self) -> float:
        return time.monotonic()


@pytest.mark.requirement("TV-42")
@pytest.mark.parametrize("off_s", [-90.0, 90.0], ids=["behind", "ahead"])
async def test_clocks_ninety_seconds_apart_make_no_reservations_and_both_are_said(
    redis: RedisServer, prefix: str, caplog: pytest.LogCaptureFixture, off_s: float
) -> None:
    clock: Clock = OffClock(off_s)
    async with shared_state(redis.url, prefix=prefix, clock=clock) as state:
        code, found = await refusal(state), state.watch.status()
        offset = state.metrics.registry.get_sample_value("oidc_gateway_state_clock_offset_seconds")

    assert (code, found) == (ErrorCode.REPLAY_STORE_UNAVAILABLE, "clock")
    assert offset == pytest.approx(-off_s, abs=5)
    assert "the clocks differ: " in caplog.text


async def test_a_clock_that_jumps_between_two_probes_is_noticed_by_the_reservation_itself(
    redis: RedisServer, prefix: str
) -> None:
    clock = OffClock(0)
    async with shared_state(redis.url, prefix=prefix, clock=clock, period_s=600) as state:
        clock.off_s = 90

        with pytest.raises(Unavailable) as refused:
            await state.reservations.reserve(claim(now=clock.wall()), deadline=time.monotonic() + 5)

    assert refused.value.code is ErrorCode.REPLAY_STORE_UNAVAILABLE


# --- Switches ---


def switch(name: str = "payments.prod") -> Switch:
    return Switch(kind="rule", name=name, why="PAY-9, a leak", by="ops@acme.example", at=1_795_342_623.0)


@pytest.fixture
async def state(redis: RedisServer, prefix: str) -> AsyncIterator[SharedState]:
    async with shared_state(redis.url, prefix=prefix) as shared:
        yield shared


@pytest.mark.requirement("AD-06", "MP-15")
async def test_a_switch_that_is_turned_reaches_every_replica_and_outlives_all_of_them(
    state: SharedState,
) -> None:
    async with replica(state) as one, replica(state) as two:
        assert await one.turn_off(switch())
        await until(lambda: all(("rule", "payments.prod") in each.current().off for each in (one, two)))

    async with replica(state) as three:
        assert three.current().off["rule", "payments.prod"] == switch()
        assert not await three.turn_off(replace(switch(), by="somebody else"))
        assert await three.turn_on(replace(switch(), why="over")) == switch()
        assert await three.turn_on(switch()) is None
        await until(lambda: not three.current().off)


def replica(state: SharedState) -> RedisSwitches:
    return RedisSwitches(state.redis, clock=SystemClock(), period_s=0.02)


async def test_of_switches_turned_at_the_same_moment_none_is_lost(state: SharedState) -> None:
    boards = [replica(state) for _ in range(4)]

    turned = await asyncio.gather(
        *(board.turn_off(switch(f"payments.{number}")) for number, board in enumerate(boards))
    )

    assert turned == [True] * 4
    assert len((await boards[0].read()).off) == 4


@pytest.mark.requirement("AD-06")
@pytest.mark.parametrize(
    "garbage",
    [
        pytest.param("", id="empty"),
        pytest.param("not json", id="no JSON"),
        pytest.param('{"format": "oidc-gateway/switches.v9", "off": [], "on": []}', id="a later format"),
        pytest.param(json.dumps({"off": []}), id="no format"),
    ],
)
async def test_a_key_full_of_garbage_reads_as_everything_off(
    state: SharedState, redis: RedisServer, caplog: pytest.LogCaptureFixture, garbage: str
) -> None:
    key = state.redis.key("switches")
    redis.say("SET", key, garbage)

    async with replica(state) as board:
        assert not board.current().readable
        with pytest.raises(Unavailable) as refused:
            await board.turn_off(switch())

    assert refused.value.code is ErrorCode.SWITCHES_UNAVAILABLE
    assert key in caplog.text
    assert redis.say("GET", key).endswith(f"{garbage}\r\n")  # nobody overwrites what he cannot read


@pytest.mark.requirement("AD-06", "MP-15")
async def test_switches_that_cannot_be_read_for_five_seconds_count_as_everything_off(prefix: str) -> None:
    clock = OffMonotonic()
    with private() as server:
        async with (
            shared_state(quick(server), prefix=prefix) as shared,
            RedisSwitches(shared.redis, clock=clock, period_s=0.02) as board,
        ):
            with server.stalled():
                await until(lambda: shared.watch.status() == "timeout")
                before = board.current().readable
                clock.off_s += 5.1
                after = board.current().readable
            await until(lambda: board.current().readable)

    assert (before, after) == (True, False)


class OffMonotonic:
    def __init__(self) -> None:
        self.off_s = 0.0

    def wall(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic() + self.off_s


@pytest.mark.requirement("AD-06")
async def test_a_redis_that_lost_its_data_gets_the_switches_back(prefix: str) -> None:
    with private() as server:
        async with shared_state(server.url, prefix=prefix) as shared, replica(shared) as board:
            await board.turn_off(switch())
            await until(lambda: bool(board.current().off))

            server.stop()
            server.start()
            await until(lambda: "PAY-9" in server.say("GET", f"{prefix}switches"))

            assert ("rule", "payments.prod") in board.current().off


# --- The board ---


def status(worker: str, at: float = 0.0) -> Status:
    return Status(
        worker=worker,
        pid=1,
        policy="p",
        keys="k",
        switches="s",
        stale=False,
        started_at=1.0,
        at=at or time.time(),
    )


async def test_everybody_sees_what_everybody_runs_on(state: SharedState) -> None:
    one, two = RedisBoard(state.redis), RedisBoard(state.redis)
    first, second = status("a/w1"), status("b/w1")

    await two.post(second)
    await one.post(status("a/w1", at=1.0))
    await one.post(first)

    assert await two.read() == (first, second)


async def test_whoever_has_said_nothing_for_long_and_garbage_are_removed_from_the_board(
    state: SharedState, redis: RedisServer
) -> None:
    key = state.redis.key("board")
    board = RedisBoard(state.redis)
    redis.say("HSET", key, "old", f"{round((time.time() - 60) * 1000)} {{}}", "garbage", "x")

    await board.post(status("a/w1"))

    assert [one.worker for one in await board.read()] == ["a/w1"]
    assert redis.say("HLEN", key) == ":1\r\n"


async def test_trouble_with_the_board_stops_nothing(prefix: str) -> None:
    with private() as server:
        server.stop()
        async with shared_state(server.url, prefix=prefix) as shared:
            board = RedisBoard(shared.redis)
            await board.post(status("a/w1"))

            assert await board.read() == ()
