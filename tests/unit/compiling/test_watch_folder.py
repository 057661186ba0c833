"""The reload rules with the administrators' own files: the example configuration, watched and changed."""

import asyncio
import logging
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import NoReturn

import pytest

from gateway.compiling.watch import PolicyRejected, WatchedPolicy
from gateway.metrics import Metrics
from tests.support.clocks import SettableClock

CONFIG = Path(__file__).parents[3] / "config"
PAYMENTS = "mappings/payments/deploy.yaml"
RULE = "payments.prod"


class Example:
    """The example configuration in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        shutil.copytree(CONFIG, folder)
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        self.folder = folder
        self.metrics = Metrics()
        self.source = WatchedPolicy(folder, dev=False, clock=SettableClock(), metrics=self.metrics)

    def edit(self, file: str, change: Callable[[str], str]) -> None:
        path = self.folder / file
        fresh = path.with_name(f".{path.name}.new")
        fresh.write_text(change(path.read_text()))
        fresh.rename(path)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not condition():  # noqa: ASYNC110 - files signal nothing but to the code under test
                await asyncio.sleep(0.01)

    async def becomes_stale(self) -> None:
        await self.until(lambda: self.source.state().state == "stale")

    def reloads(self, result: str) -> float:
        count = self.metrics.registry.get_sample_value(
            "oidc_gateway_policy_reloads_total", {"result": result}
        )
        return count or 0


@pytest.fixture
async def example(tmp_path: Path) -> AsyncIterator[Example]:
    watched = Example(tmp_path / "config")
    async with watched.source:
        yield watched


@pytest.mark.requirement("MP-06")
async def test_a_rule_that_is_added_goes_live(example: Example) -> None:
    before = example.source.current()

    example.edit(PAYMENTS, lambda text: text.replace("name: prod ", "name: production "))
    await example.until(lambda: "payments.production" in example.source.current().rules)

    assert RULE in before.rules
    assert RULE not in example.source.current().rules
    assert example.source.state().state == "current"
    assert example.source.current().digest != before.digest


@pytest.mark.requirement("F-58")
async def test_while_no_thread_can_be_had_to_look_the_watch_goes_on(
    example: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = asyncio.Event()
    tried = 0

    async def no_thread(*_: object) -> NoReturn:
        nonlocal tried
        tried += 1
        if tried > 2:
            failed.set()
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as exhausted:
        exhausted.setattr(asyncio, "to_thread", no_thread)
        example.edit(PAYMENTS, lambda text: text.replace("name: prod ", "name: meanwhile "))
        await asyncio.wait_for(failed.wait(), 10)

    await example.until(lambda: "payments.meanwhile" in example.source.current().rules)


@pytest.mark.requirement("MP-05", "MP-06")
@pytest.mark.parametrize("file", ["gateway.yaml", "targets.yaml"])
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda path: path.write_text(""), id="emptied"),
        pytest.param(lambda path: path.unlink(), id="deleted"),
        pytest.param(lambda path: path.write_text("format: [oops\n"), id="broken"),
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[:200]), id="cut"),
        pytest.param(lambda path: (path.unlink(), path.mkdir()), id="a-directory"),
        pytest.param(lambda path: path.chmod(0o666), id="writable-by-all"),
    ],
)
async def test_central_files_are_all_or_nothing(
    example: Example, file: str, change: Callable[[Path], object]
) -> None:
    before = example.source.current()

    change(example.folder / file)
    await example.becomes_stale()

    assert example.source.current() is before
    assert example.source.state().findings >= 1
    assert example.reloads("rejected") >= 1


@pytest.mark.requirement("MP-05")
async def test_a_policy_left_with_no_rules_keeps_the_last_good_one(example: Example) -> None:
    before = example.source.current()

    shutil.rmtree(example.folder / "mappings")
    await example.becomes_stale()

    assert set(example.source.current().rules) == set(before.rules)


@pytest.mark.requirement("MP-05")
async def test_deleting_one_mapping_file_is_a_change_like_any_other(example: Example) -> None:
    (example.folder / PAYMENTS).unlink()

    await example.until(lambda: RULE not in example.source.current().rules)

    assert example.source.state().state == "current"
    assert example.source.current().rules


@pytest.mark.requirement("MP-05", "MP-06")
async def test_a_broken_mapping_file_holds_back_its_team_while_others_go_on(example: Example) -> None:
    example.edit(PAYMENTS, lambda text: text + "oops: [\n")
    await example.becomes_stale()
    example.edit(
        "mappings/ops/operators.yaml", lambda text: text.replace("release-operators\n", "operators\n", 1)
    )
    await example.until(lambda: "ops.operators" in example.source.current().rules)

    assert RULE in example.source.current().rules
    assert example.source.state().state == "stale"
    example.edit(PAYMENTS, lambda text: text.replace("oops: [\n", ""))
    await example.until(lambda: example.source.state().state == "current")


@pytest.mark.requirement("MP-06")
async def test_a_target_taken_from_a_team_revokes_at_once_and_is_counted(example: Example) -> None:
    example.edit("targets.yaml", lambda text: text.replace("teams: [payments]", "teams: [ops]", 1))

    count = example.metrics.registry.get_sample_value
    await example.until(lambda: (count("oidc_gateway_policy_inert_grants") or 0) > 0)

    assert example.source.state().state == "current"


@pytest.mark.requirement("MP-06")
async def test_touching_every_file_is_no_event(example: Example, caplog: pytest.LogCaptureFixture) -> None:
    before = example.source.current()

    with caplog.at_level(logging.INFO, "gateway"):
        for path in example.folder.rglob("*.yaml"):
            path.touch()
        await example.until(lambda: example.reloads("unchanged") > 0)

    assert example.source.current() is before
    assert caplog.messages == []


@pytest.mark.requirement("MP-05")
async def test_a_start_with_files_that_cannot_be_used_names_the_first_fault(tmp_path: Path) -> None:
    example = Example(tmp_path / "config")
    (example.folder / "gateway.yaml").unlink()

    with pytest.raises(PolicyRejected, match=r"gateway\.yaml:1:1: gateway\.yaml does not exist"):
        await example.source.__aenter__()


async def test_a_start_without_a_folder_names_it(tmp_path: Path) -> None:
    source = WatchedPolicy(tmp_path / "none", dev=False, clock=SettableClock(), metrics=Metrics())

    with pytest.raises(PolicyRejected, match="cannot be read"):
        await source.__aenter__()


@pytest.mark.requirement("MP-06")
async def test_a_misspelt_name_keeps_the_last_good_rules_and_is_stale_until_it_is_mended(
    example: Example,
) -> None:
    before = example.source.current().rules[RULE]

    example.edit(PAYMENTS, lambda text: text.replace("start: deploy-payments", "start: deploy-payment"))
    await example.becomes_stale()

    assert example.source.state().findings == 1
    assert example.source.current().rules[RULE].grants == before.grants
    assert example.metrics.registry.get_sample_value("oidc_gateway_policy_stale") == 1

    example.edit(PAYMENTS, lambda text: text.replace("start: deploy-payment,", "start: deploy-payments,"))
    await example.until(lambda: example.source.state().state == "current")


@pytest.mark.requirement("MP-06")
async def test_a_workflow_that_its_owner_removes_is_revoked_at_once_and_shows_as_stale(
    example: Example,
) -> None:
    def without(text: str) -> str:
        head, rest = text.split("  migrate-ledger:\n")
        return head + "  triage-incident:\n" + rest.split("  triage-incident:\n")[1]

    example.edit("targets.yaml", without)
    await example.becomes_stale()

    assert example.source.current().rules["payments.migrate"].grants == ()
    assert len(example.source.current().rules[RULE].grants) == 2
    assert example.source.state().findings == 1


def _warned(caplog: pytest.LogCaptureFixture) -> dict[str, list[str]]:
    records = [vars(one) for one in caplog.records if one.levelname == "WARNING" and hasattr(one, "teams")]
    return {str(one["msg"]).partition(":")[0]: one["teams"] for one in records}


@pytest.mark.requirement("MP-06", "MP-13")
async def test_a_team_whose_files_are_bad_keeps_its_rules_while_the_process_runs_and_says_so(
    example: Example, caplog: pytest.LogCaptureFixture
) -> None:
    example.edit(PAYMENTS, lambda text: f"{text}\nodd: 1\n")
    await example.becomes_stale()

    state = example.source.state()

    assert (state.held_back, state.without_rules) == (("payments",), ())
    assert RULE in example.source.current().rules
    assert _warned(caplog) == {"teams are held back": ["payments"]}


@pytest.mark.requirement("MP-06", "MP-13")
async def test_a_process_that_starts_with_bad_files_of_a_team_has_none_of_its_rules_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    example = Example(tmp_path / "config")
    example.edit(PAYMENTS, lambda text: f"{text}\nodd: 1\n")

    async with example.source:
        state, rules = example.source.state(), example.source.current().rules

    assert (state.held_back, state.without_rules) == (("payments",), ("payments",))
    assert RULE not in rules
    assert rules
    assert _warned(caplog) == {"teams have no rules in force": ["payments"]}
