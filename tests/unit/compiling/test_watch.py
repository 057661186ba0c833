"""The reload rules, with real files and real file events; what the files say is kept as simple as can be."""

import asyncio
import logging
import shutil
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from gateway.compiling.folder import Loaded
from gateway.compiling.watch import PolicyRejected, WatchedPolicy
from gateway.errors import ConfigurationInvalid, ErrorCode
from gateway.files.source import Finding, FindingCode, Place
from gateway.metrics import Metrics
from gateway.policy.snapshot import Policy
from tests.support.clocks import START_S, SettableClock
from tests.support.policies import is_, policy, rule, start

RULE = rule("one", [is_("ref", "main")], start())


@dataclass(frozen=True, slots=True, kw_only=True)
class Read(Loaded):
    """What the one file said. text: None for no file."""

    text: str | None = None
    searched: Callable[[], tuple[Finding, ...]] = tuple

    def overlaps(self) -> tuple[Finding, ...]:
        return self.searched()


class OneFile:
    """Loads a policy from `policy.txt`: its text is the digest, unless it says otherwise."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls = 0
        self.slow = threading.Event()  # cleared: a file that says `slow` takes until it is set
        self.searched: Callable[[], tuple[Finding, ...]] = tuple

    def __call__(self, seen: Loaded | None, active: Loaded | None) -> Loaded:
        self.calls += 1
        if not self.folder.is_dir():
            raise NotADirectoryError(20, "Not a directory")
        file = self.folder / "policy.txt"
        text = file.read_text().strip() if file.exists() else None
        if isinstance(seen, Read) and seen.text == text:
            return seen
        if text == "bug":
            raise ValueError("a bug of ours")
        if text == "slow":
            self.slow.wait(5)
        if not text or text.startswith("broken"):
            return Read(policy=None, findings=(finding("broken"), finding("a hint", "warning")), text=text)
        held = ("payments",) if text.startswith("held") else ()
        return Read(
            policy=replace(policy(RULE), digest=text),
            findings=(finding("held back"),) if held else (),
            held_back=held,
            inert_grants=2 if text.startswith("inert") else 0,
            text=text,
            searched=self.searched,
        )


def finding(message: str, severity: str = "error") -> Finding:
    return Finding(
        code=FindingCode.VALUE_INVALID,
        severity="error" if severity == "error" else "warning",
        place=Place(file="policy.txt", line=1, column=1),
        message=message,
        fix="Mend it.",
    )


def refuse_unstartable(candidate: Policy) -> None:
    if candidate.digest.startswith("unstartable"):
        raise ConfigurationInvalid(ErrorCode.INTERNAL_ERROR, "This Region has no STS.", hint="Name another.")


class Watched:
    """A running source with its folder, and what it reported."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.metrics = Metrics()
        self.clock = SettableClock()
        self.load = OneFile(folder)
        self.told: list[str] = []
        self.source = WatchedPolicy(
            folder,
            dev=True,
            clock=self.clock,
            metrics=self.metrics,
            on_change=self._tell,
            vet=refuse_unstartable,
            load=self.load,
            patience_s=0.1,
        )

    async def _tell(self, changed: Policy) -> None:
        self.told.append(changed.digest)

    def write(self, text: str) -> None:
        replaced = self.folder / "policy.txt.new"
        replaced.write_text(text)
        replaced.rename(self.folder / "policy.txt")

    def reloads(self) -> dict[str, float]:
        count = self.metrics.registry.get_sample_value
        found = {
            result: count("oidc_gateway_policy_reloads_total", {"result": result})
            for result in ("accepted", "rejected")
        }
        return {result: number for result, number in found.items() if number}

    def gauge(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"oidc_gateway_policy_{name}", labels)

    async def until(self, condition: Callable[[], bool], within_s: float = 5) -> float:
        """Wait until a condition holds; return how long that took."""
        began = time.monotonic()
        async with asyncio.timeout(within_s):
            while not condition():  # noqa: ASYNC110 - files signal nothing but to the code under test
                await asyncio.sleep(0.01)
        return time.monotonic() - began

    async def becomes(self, digest: str, within_s: float = 5) -> float:
        return await self.until(lambda: self.source.current().digest == digest, within_s)

    async def settle(self) -> None:
        """Wait until another load has begun and ended after now."""
        calls = self.load.calls
        await self.until(lambda: self.load.calls > calls)
        await asyncio.sleep(0.05)


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[Watched]:
    folder = tmp_path / "config"
    folder.mkdir()
    running = Watched(folder)
    running.write("good-1")
    async with running.source:
        yield running


def state(watched: Watched) -> tuple[str, str, int]:
    now = watched.source.state()
    return (now.digest, now.state, now.findings)


async def test_the_policy_is_there_and_announced_when_the_start_returns(watched: Watched) -> None:
    assert state(watched) == ("good-1", "current", 0)
    assert watched.source.state().loaded_at == START_S
    assert watched.told == ["good-1"]
    assert watched.reloads() == {"accepted": 1}
    assert watched.gauge("info", digest="good-1") == 1
    assert watched.gauge("rules") == 1
    assert watched.gauge("stale") == 0


@pytest.mark.requirement("MP-06", "MP-07")
async def test_good_to_good_is_live_within_a_second(watched: Watched) -> None:
    before = watched.source.current()
    watched.clock.advance(60)
    watched.write("good-2")

    took = await watched.becomes("good-2")

    assert took < 1
    assert state(watched) == ("good-2", "current", 0)
    assert watched.source.state().loaded_at == START_S + 60
    assert before.digest == "good-1"  # a call that began with it keeps it
    assert watched.reloads() == {"accepted": 2}
    assert watched.gauge("info", digest="good-1") is None
    assert watched.gauge("info", digest="good-2") == 1
    assert watched.gauge("loaded_timestamp_seconds") == START_S + 60
    await watched.until(lambda: watched.told == ["good-1", "good-2"])


@pytest.mark.requirement("MP-05", "MP-06")
@pytest.mark.parametrize(
    "text",
    [
        pytest.param("broken", id="good-to-broken"),
        pytest.param("", id="good-to-empty"),
        pytest.param("unstartable", id="good-to-compiles-but-cannot-start"),
        pytest.param("bug", id="good-to-a-bug-of-ours"),
    ],
)
async def test_what_cannot_come_into_force_leaves_the_last_good_policy_and_says_so(
    watched: Watched, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    watched.clock.advance(60)
    with caplog.at_level(logging.INFO, "gateway.compiling"):
        watched.write(text)
        await watched.until(lambda: watched.source.state().state == "stale")

    assert state(watched) == ("good-1", "stale", 1)
    assert watched.source.current().digest == "good-1"
    assert watched.source.state().loaded_at == START_S
    assert watched.told == ["good-1"]
    assert watched.reloads() == {"accepted": 1, "rejected": 1}
    assert watched.gauge("stale") == 1
    assert watched.gauge("info", digest="good-1") == 1
    assert "policy files rejected; the last good policy stays in force" in caplog.messages


@pytest.mark.requirement("MP-06")
async def test_every_finding_of_a_rejected_file_is_logged_with_its_place_and_fix(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "gateway.compiling"):
        watched.write("broken")
        await watched.until(lambda: watched.source.state().state == "stale")

    told = [
        (vars(record)["place"], vars(record)["problem"], vars(record)["fix"], record.levelname)
        for record in caplog.records
        if record.message == "policy finding"
    ]
    assert told == [
        ("policy.txt:1:1", "broken", "Mend it.", "ERROR"),
        ("policy.txt:1:1", "a hint", "Mend it.", "WARNING"),
    ]


@pytest.mark.requirement("MP-06")
@pytest.mark.parametrize("text", ["broken", "", "unstartable", "bug"])
async def test_a_rejected_file_that_is_mended_is_current_again(watched: Watched, text: str) -> None:
    watched.write(text)
    await watched.until(lambda: watched.source.state().state == "stale")

    watched.write("good-2")
    await watched.becomes("good-2")

    assert state(watched) == ("good-2", "current", 0)
    assert watched.gauge("stale") == 0


@pytest.mark.requirement("MP-06")
async def test_a_rejected_change_that_is_taken_back_is_current_without_a_change(watched: Watched) -> None:
    watched.clock.advance(60)
    watched.write("broken")
    await watched.until(lambda: watched.source.state().state == "stale")
    watched.write("good-1")
    await watched.until(lambda: watched.source.state().state == "current")

    assert watched.source.state().loaded_at == START_S
    assert watched.told == ["good-1"]
    assert watched.gauge("stale") == 0


@pytest.mark.requirement("MP-06")
async def test_unchanged_bytes_are_no_event(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    before = watched.source.current()
    with caplog.at_level(logging.INFO, "gateway.compiling"):
        watched.write("good-1")
        await watched.settle()

    assert watched.source.current() is before
    assert watched.told == ["good-1"]
    assert watched.reloads() == {"accepted": 1}
    assert caplog.messages == []


@pytest.mark.requirement("MP-06")
async def test_a_rejected_file_that_stays_as_it_is_is_reported_once(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    watched.write("broken")
    await watched.until(lambda: watched.source.state().state == "stale")
    caplog.clear()
    with caplog.at_level(logging.INFO, "gateway.compiling"):
        watched.write("broken")
        await watched.settle()

    assert caplog.messages == []
    assert watched.reloads() == {"accepted": 1, "rejected": 1}


@pytest.mark.requirement("MP-05", "MP-06")
async def test_empty_to_good_starts_only_with_the_good(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    with pytest.raises(PolicyRejected) as raised:
        await watched.source.__aenter__()

    watched.write("good-1")
    async with watched.source:
        assert state(watched) == ("good-1", "current", 0)

    assert raised.value.message == (f"The files in {tmp_path} cannot be used. First: policy.txt:1:1: broken")
    assert raised.value.hint == f"Run: oidc-gateway check {tmp_path}"
    assert [found.message for found in raised.value.findings] == ["broken", "a hint"]


async def test_a_team_that_is_held_back_makes_the_state_stale_while_the_rest_goes_live(
    watched: Watched,
) -> None:
    watched.write("held-2")

    await watched.becomes("held-2")

    assert state(watched) == ("held-2", "stale", 1)
    assert watched.gauge("stale") == 1
    assert watched.reloads() == {"accepted": 2}


async def test_inert_grants_are_counted(watched: Watched) -> None:
    watched.write("inert-2")

    await watched.becomes("inert-2")

    assert state(watched) == ("inert-2", "current", 0)
    assert watched.gauge("inert_grants") == 2


def in_place(watched: Watched) -> None:
    (watched.folder / "policy.txt").write_text("good-2")


def in_two_halves(watched: Watched) -> None:
    with (watched.folder / "policy.txt").open("w") as file:
        file.write("good")
        file.flush()
        file.write("-2")


def with_a_swap_file(watched: Watched) -> None:
    (watched.folder / ".policy.txt.swp").write_text("x")
    (watched.folder / "policy.txt").rename(watched.folder / "policy.txt~")
    (watched.folder / "policy.txt").write_text("good-2")
    (watched.folder / ".policy.txt.swp").unlink()


def removed_and_made_again(watched: Watched) -> None:
    (watched.folder / "policy.txt").unlink()
    (watched.folder / "policy.txt").write_text("good-2")


@pytest.mark.requirement("MP-06")
@pytest.mark.parametrize(
    "save",
    [in_place, in_two_halves, with_a_swap_file, removed_and_made_again],
    ids=lambda save: save.__name__,
)
async def test_every_way_editors_save_goes_live_within_a_second(
    watched: Watched, save: Callable[[Watched], None]
) -> None:
    save(watched)

    assert await watched.becomes("good-2") < 1
    assert watched.source.state().state == "current"


def swap(link: Path, target: str) -> None:
    fresh = link.with_name("..data_tmp")
    fresh.symlink_to(target)
    fresh.rename(link)


@pytest.mark.requirement("MP-06")
async def test_a_config_map_that_kubernetes_swaps_goes_live_within_a_second(tmp_path: Path) -> None:
    for version in ("1", "2"):
        (tmp_path / f"..2026_{version}").mkdir()
        (tmp_path / f"..2026_{version}" / "policy.txt").write_text(f"good-{version}")
    swap(tmp_path / "..data", "..2026_1")
    (tmp_path / "policy.txt").symlink_to("..data/policy.txt")
    watched = Watched(tmp_path)

    async with watched.source:
        swap(tmp_path / "..data", "..2026_2")
        shutil.rmtree(tmp_path / "..2026_1")
        took = await watched.becomes("good-2")

    assert took < 1


@pytest.mark.requirement("MP-06")
async def test_a_folder_that_is_replaced_as_a_whole_is_followed(watched: Watched) -> None:
    fresh = watched.folder.with_name("fresh")
    fresh.mkdir()
    (fresh / "policy.txt").write_text("good-2")
    watched.folder.rename(watched.folder.with_name("old"))
    fresh.rename(watched.folder)
    await watched.becomes("good-2")

    watched.write("good-3")

    assert await watched.becomes("good-3") < 4


@pytest.mark.requirement("MP-06")
async def test_a_folder_that_is_gone_keeps_the_policy_until_it_is_back(watched: Watched) -> None:
    away = watched.folder.with_name("away")
    watched.folder.rename(away)
    await watched.until(lambda: watched.source.state().state == "stale")
    kept = watched.source.current().digest
    away.rename(watched.folder)

    await watched.until(lambda: watched.source.state().state == "current", within_s=10)

    assert kept == "good-1"


@pytest.mark.requirement("MP-06")
async def test_where_the_file_system_sends_no_events_a_change_is_found_all_the_same(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "policy.txt").write_text("good-2")
    (watched.folder / "policy.txt").unlink()
    (watched.folder / "policy.txt").symlink_to(elsewhere / "policy.txt")
    await watched.becomes("good-2")

    (elsewhere / "policy.txt").write_text("good-3")  # nobody watches that folder

    assert await watched.becomes("good-3") < 4


@pytest.mark.requirement("MP-06")
async def test_a_hundred_changes_a_second_end_in_the_last_one(watched: Watched) -> None:
    seen: set[str] = set()
    for number in range(200):
        watched.write(f"good-{number}" if number % 3 else "broken")
        seen.add(watched.source.current().digest)
        await asyncio.sleep(0.01)
    watched.write("good-last")

    await watched.becomes("good-last")

    assert all(digest.startswith("good-") for digest in seen)
    assert watched.load.calls < 200


@pytest.mark.requirement("MP-06")
async def test_while_a_reload_takes_longer_than_it_should_the_state_is_not_current(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    watched.write("slow")
    await watched.until(lambda: watched.source.state().state == "stale")
    during = watched.source.current().digest
    stale = watched.gauge("stale")
    logged = list(caplog.messages)

    watched.load.slow.set()
    await watched.becomes("slow")

    assert during == "good-1"
    assert stale == 1
    assert "policy files are still being read; the last good policy stays in force" in logged
    assert state(watched) == ("slow", "current", 0)
    assert watched.gauge("stale") == 0


@pytest.mark.requirement("MP-06", "MP-11")
async def test_a_policy_is_in_force_before_its_overlaps_are_looked_for_and_no_change_waits_for_them(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    go_on = threading.Event()

    def search() -> tuple[Finding, ...]:
        go_on.wait(5)
        return (finding("two rules overlap", "warning"),)

    watched.load.searched = search
    watched.write("good-2")
    await watched.becomes("good-2")
    watched.write("good-3")
    await watched.becomes("good-3")
    before = [record for record in caplog.records if record.message == "policy finding"]

    go_on.set()
    await watched.until(lambda: "policy finding" in caplog.messages)

    assert before == []
    assert [vars(one)["problem"] for one in caplog.records if one.message == "policy finding"] == [
        "two rules overlap"
    ]


async def test_a_search_for_overlaps_that_fails_is_logged_and_changes_nothing(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> tuple[Finding, ...]:
        raise ValueError("a bug of ours")

    watched.load.searched = fail
    watched.write("good-2")
    await watched.until(lambda: "overlaps could not be looked for" in caplog.messages)

    assert state(watched) == ("good-2", "current", 0)


async def test_a_listener_that_fails_changes_nothing(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(_: Policy) -> None:
        raise ValueError("broken listener")

    monkeypatch.setattr(watched.source, "_on_change", fail)
    watched.write("good-2")
    await watched.becomes("good-2")
    await watched.until(lambda: "policy change could not be announced" in caplog.messages)
    watched.write("good-3")

    await watched.becomes("good-3")


async def test_a_slow_listener_holds_up_no_reload_and_no_stop(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(_: Policy) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(watched.source, "_on_change", never)
    for number in (2, 3):
        watched.write(f"good-{number}")
        await watched.becomes(f"good-{number}")


async def test_nothing_is_loaded_or_watched_before_the_start_and_after_the_end(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    watched.write("good-1")
    with pytest.raises(RuntimeError):
        watched.source.current()
    async with watched.source:
        pass
    calls = watched.load.calls

    watched.write("good-2")
    await asyncio.sleep(0.3)

    assert watched.load.calls == calls
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("policy")]
