"""Whether workers and replicas run on the same: compared by what they post, reported when it lasts."""

import asyncio
import dataclasses
from pathlib import Path

import pytest

from gateway.errors import ErrorCode, Unavailable
from gateway.identity.issuer import KeyLocation
from gateway.identity.jwks import FetchedKeys
from gateway.metrics import Metrics
from gateway.policy.snapshot import PolicyState
from gateway.state.agreement import Agreement, Comparer, View, describing
from gateway.state.board import Status, read_status, write_status
from gateway.state.file_board import FileBoard
from tests.support.clocks import SettableClock
from tests.support.scripted_issuer import ScriptedIssuers, answer
from tests.support.tokens import jwk, jwks, key_id, trusted

ME = "host-8080/w1"


def status(slot: str = "w1", *, host: str = "host-8080", **members: object) -> Status:
    plain = Status(
        worker=f"{host}/{slot}",
        pid=1,
        policy="sha256:old",
        keys="sha256:k",
        switches="sha256:s",
        stale=False,
        started_at=1.0,
        at=1.0,
    )
    return dataclasses.replace(plain, **members)  # type: ignore[arg-type]


def lasting(*statuses: Status, seconds: float = 5.0) -> View:
    """Return the view after everybody has posted the same for this long."""
    comparer = Comparer(ME)
    view = View()
    for now in (0.0, seconds):
        posts = [dataclasses.replace(one, at=one.at + now) for one in statuses]
        view = comparer.compare(posts, now=now)
    return view


@pytest.mark.requirement("MP-07")
@pytest.mark.parametrize("what", ["policy", "keys", "switches"])
def test_a_difference_is_reported_once_it_has_lasted_five_seconds(what: str) -> None:
    other = status("w2", **{what: "sha256:other"})

    assert lasting(status(), other, seconds=4.9).disagree == frozenset()
    assert lasting(status(), other, seconds=5.0).disagree == {what}


@pytest.mark.requirement("MP-07")
def test_a_difference_that_ends_in_between_begins_anew() -> None:
    comparer = Comparer(ME)
    differing = status("w2", policy="sha256:new")

    comparer.compare([status(), differing], now=0)
    comparer.compare([status(at=2.0), status("w2", at=2.0)], now=4)
    view = comparer.compare([status(at=3.0), dataclasses.replace(differing, at=3.0)], now=6)

    assert view.disagree == frozenset()


@pytest.mark.requirement("MP-07")
def test_who_has_posted_nothing_for_fifteen_seconds_is_gone_whatever_clock_it_has() -> None:
    comparer = Comparer(ME)
    silent = status("w2", policy="sha256:new", at=-9e9)

    views = [comparer.compare([status(at=now), silent], now=now) for now in (0.0, 15.0, 15.1)]

    assert [view.workers for view in views] == [(ME, "host-8080/w2"), (ME, "host-8080/w2"), (ME,)]
    assert [view.disagree for view in views] == [frozenset(), {"policy"}, frozenset()]


@pytest.mark.requirement("MP-07")
def test_who_holds_what_is_named_those_first_who_are_the_fewer_and_not_without_bound() -> None:
    many = [status(f"w{number}") for number in range(1, 7)]
    other = status("w7", policy=f"sha256:{'ab' * 32}")

    view = lasting(*many, other)
    torn = lasting(*(status(f"w{number}", policy=f"sha256:{number}") for number in range(1, 10)))

    assert view.differ == (
        "policy abababababab: host-8080/w7",
        "policy old: host-8080/w1 host-8080/w2 host-8080/w3 host-8080/w4 and 2 more",
    )
    assert len(torn.differ) == 4
    assert lasting(*many).differ == ()


async def test_the_log_names_the_worker_that_differs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = SettableClock()
    worker = Worker("w1", tmp_path, ScriptedIssuers(), clock)
    await worker.agreement.turn()
    for _ in range(6):
        await FileBoard(tmp_path, name="w2").post(status("w2", policy="sha256:new", at=clock.wall()))
        clock.advance(1)
        await worker.agreement.turn()

    (said,) = [one for one in caplog.records if one.getMessage() == "workers disagree"]
    assert "policy new: host-8080/w2" in vars(said)["differ"]


NEW = {"policy": "sha256:new"}


@pytest.mark.requirement("F-32")
@pytest.mark.parametrize(
    ("statuses", "behind"),
    [
        pytest.param([status(stale=True), status("w2", **NEW)], True, id="rejected-here-taken-there"),
        pytest.param([status(), status("w2", **NEW), status("w3", **NEW)], True, id="not-noticed-here-alone"),
        pytest.param([status(), status("w2", **NEW)], False, id="one-against-one"),
        pytest.param([status(**NEW), status("w2"), status("w3", **NEW)], False, id="another-is-behind"),
        pytest.param([status(stale=True), status("w2", stale=True)], False, id="rejected-everywhere"),
        pytest.param(
            [status(stale=True), status("w2", stale=True, **NEW)], False, id="the-other-is-no-better"
        ),
        pytest.param(
            [status(stale=True), status(host="other-8080", **NEW)], False, id="a-replica-has-files-of-its-own"
        ),
    ],
)
def test_a_worker_without_the_policy_that_its_siblings_took_is_behind(
    statuses: list[Status], behind: bool
) -> None:
    assert lasting(*statuses).behind is behind
    assert not lasting(*statuses, seconds=4.9).behind


def test_of_a_worker_and_its_successor_the_later_counts() -> None:
    view = lasting(status(), status("w2", **NEW, at=1.0), status("w2", pid=2, at=2.0))

    assert view.disagree == frozenset()


def test_the_issuers_are_named_of_whose_keys_another_holds_another_version() -> None:
    mine = status(key_sets={"github": "1", "okta": "1", "new": "", "mine": "1"})
    theirs = status("w2", key_sets={"github": "2", "okta": "1", "new": "1", "gone": "1"})

    assert lasting(mine, theirs, seconds=0).key_sets == {"github": "1", "new": ""}


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b'{"worker": "a/w1", "pid', id="torn"),
        pytest.param(b"[" * 100_000, id="deep"),
        pytest.param(b"{}", id="bare"),
        pytest.param(b"\xff\xfe", id="binary"),
        pytest.param(write_status(status(pid=1)).replace(b'"pid":1', b'"pid":true'), id="another-type"),
        pytest.param(
            write_status(status()).replace(b'"key_sets":{}', b'"key_sets":{"a":1}'), id="no-version"
        ),
    ],
)
async def test_what_is_no_status_is_nobodys(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "w2.json").write_bytes(data)
    board = FileBoard(tmp_path, name="w1")

    await board.post(status())

    assert read_status(data) is None
    assert await board.read() == (status(),)


class Worker:
    """One process's keys and agreement, over a board that it shares with others."""

    def __init__(self, name: str, folder: Path, peer: ScriptedIssuers, clock: SettableClock) -> None:
        self.metrics = Metrics()
        self.policy = PolicyState(digest="sha256:p", state="current", loaded_at=1.0, findings=0)
        self.keys = FetchedKeys(fetch=peer, clock=clock, metrics=self.metrics, jitter=lambda: 1.0)
        me = f"host-8080/{name}"
        self.agreement = Agreement(
            (FileBoard(folder, name=name),),
            me=me,
            slots=tuple(f"host-8080/w{number}" for number in range(1, 5)),
            describe=describing(
                me,
                policy=lambda: self.policy,
                keys=self.keys.states,
                switches=lambda: "sha256:s",
                clock=clock,
            ),
            keys_differ=self.keys.refresh_disputed,
            clock=clock,
            metrics=self.metrics,
        )


async def settle() -> None:
    tasks = [task for task in asyncio.all_tasks() if task.get_name() == "issuer-keys-fetch"]
    await asyncio.gather(*tasks)


@pytest.mark.requirement("KS-26")
async def test_when_keys_rotate_all_workers_hold_them_soon_after_the_first_with_one_fetch_each(
    tmp_path: Path,
) -> None:
    clock, peer = SettableClock(), ScriptedIssuers(jwks(jwk("RS256")))
    issuer = trusted(keys=KeyLocation(jwks_uri="https://keys.example/keys"))
    workers = [Worker(f"w{number}", tmp_path, peer, clock) for number in range(1, 5)]
    for worker in workers:
        await worker.keys.prefetch([issuer], deadline=clock.monotonic() + 5)
    clock.advance(61)
    peer.keys = answer(jwks(jwk("RS256"), jwk("ES256")))
    peer.calls.clear()

    # A token with the new key reaches one of them.
    await workers[2].keys.find(issuer, key_id("ES256"), deadline=clock.monotonic() + 5)
    views: list[View] = []
    for _ in range(8):
        clock.advance(1)
        views = [await worker.agreement.turn() for worker in workers]
        await settle()

    assert all(worker.keys.known(issuer, key_id("ES256")) is not None for worker in workers)
    assert peer.key_fetches == 4
    assert [view.disagree for view in views] == [frozenset()] * 4


@pytest.mark.requirement("KS-26")
async def test_an_issuer_that_answers_each_worker_differently_is_asked_once_in_a_cool_down_and_reported(
    tmp_path: Path,
) -> None:
    clock, peer = SettableClock(), ScriptedIssuers(jwks(jwk("RS256")))
    issuer = trusted(keys=KeyLocation(jwks_uri="https://keys.example/keys"))
    workers = [Worker(f"w{number}", tmp_path, peer, clock) for number in (1, 2)]
    for worker, keys in zip(workers, (jwks(jwk("RS256")), jwks(jwk("ES256"))), strict=True):
        peer.keys = answer(keys)
        await worker.keys.prefetch([issuer], deadline=clock.monotonic() + 5)
    peer.calls.clear()

    fetches = [await fetches_after(1, workers, peer, clock) for _ in range(110)]

    assert fetches.index(2) >= 59
    assert fetches[-1] == 2


async def fetches_after(
    seconds: int, workers: list[Worker], peer: ScriptedIssuers, clock: SettableClock
) -> int:
    clock.advance(seconds)
    for worker in workers:
        await worker.agreement.turn()
    await settle()
    return peer.key_fetches


@pytest.mark.requirement("KS-26", "MP-07")
async def test_workers_that_hold_other_keys_say_so(tmp_path: Path) -> None:
    clock, peer = SettableClock(), ScriptedIssuers(jwks(jwk("RS256")))
    issuer = trusted(keys=KeyLocation(jwks_uri="https://keys.example/keys"))
    workers = [Worker(f"w{number}", tmp_path, peer, clock) for number in (1, 2)]
    await workers[0].keys.prefetch([issuer], deadline=clock.monotonic() + 5)

    for _ in range(8):
        await fetches_after(1, workers, peer, clock)

    view = workers[0].agreement.view()
    assert view is not None
    assert view.disagree == {"keys"}
    assert b'workers_disagree{what="keys"} 1.0' in workers[0].metrics.exposition()


@pytest.mark.requirement("MP-07")
async def test_workers_that_are_not_there_are_shown_as_such(tmp_path: Path) -> None:
    worker = Worker("w2", tmp_path, ScriptedIssuers(), SettableClock())

    view = await worker.agreement.turn()

    assert view.workers == ("host-8080/w2",)
    shown = worker.metrics.exposition().decode()
    assert 'oidc_gateway_workers{worker="w1"} 0.0' in shown
    assert 'oidc_gateway_workers{worker="w2"} 1.0' in shown


class DeadBoard:
    """A board that cannot be reached."""

    async def post(self, status: Status) -> None:
        raise Unavailable(ErrorCode.REPLAY_STORE_UNAVAILABLE, "gone", retry_after_s=1)

    async def read(self) -> tuple[Status, ...]:
        return ()


async def test_a_board_that_fails_is_counted_and_the_others_are_read(tmp_path: Path) -> None:
    clock, metrics = SettableClock(), Metrics()
    file_board = FileBoard(tmp_path, name="w2")
    await file_board.post(status("w2", policy="sha256:new"))
    agreement = Agreement(
        (DeadBoard(), FileBoard(tmp_path, name="w1")),
        me=ME,
        slots=(),
        describe=lambda: status(at=clock.wall()),
        keys_differ=lambda _: None,
        clock=clock,
        metrics=metrics,
    )

    first = await agreement.turn()
    clock.advance(5)
    second = await agreement.turn()

    assert first.workers == (ME, "host-8080/w2")
    assert second.disagree == {"policy"}
    assert b"oidc_gateway_board_failures_total 2.0" in metrics.exposition()


async def test_a_board_that_fails_is_named_with_what_to_look_at(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = SettableClock()
    agreement = Agreement(
        (FileBoard(tmp_path / "gone", name="w1"),),
        me=ME,
        slots=(),
        describe=lambda: status(at=clock.wall()),
        keys_differ=lambda _: None,
        clock=clock,
        metrics=Metrics(),
    )

    await agreement.turn()
    await agreement.turn()

    (said,) = [vars(record) for record in caplog.records]
    assert (said["file"], said["reason"]) == (str(tmp_path / "gone" / ".w1"), "No such file or directory")
    assert "$TMPDIR" in said["hint"]


async def test_a_process_alone_has_nobody_to_agree_with() -> None:
    agreement = Agreement(
        (),
        me=ME,
        slots=(),
        describe=status,
        keys_differ=lambda _: None,
        clock=SettableClock(),
        metrics=Metrics(),
    )

    async with agreement:
        assert agreement.view() is None


async def test_from_the_start_it_is_known_who_serves_and_how_many_do_not_yet(tmp_path: Path) -> None:
    clock = SettableClock()
    worker = Worker("w1", tmp_path, ScriptedIssuers(), clock)

    async with worker.agreement:
        view = worker.agreement.view()

    assert view is not None
    assert (view.workers, view.missing) == (("host-8080/w1",), 3)
