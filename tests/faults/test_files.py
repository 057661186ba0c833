"""Files that are cut, emptied, replaced, taken away or changed faster than anyone reads: the last good rules stay in force."""

import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from pathlib import Path

import pytest

from gateway.audit.reading import read_entries
from tests.faults.conftest import DEPLOY, Faulty
from tests.support.caller import until
from tests.support.gateways import Gateway, fresh, replace, running_gateway, write_config

RULES = "mappings/payments/deploy.yaml"
SOMEBODY_ELSE = 12_345


@pytest.fixture(scope="module", params=[1, 4], ids=["one_worker", "four_workers"])
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway as in production, where owners and modes of files count; see `strict`."""
    folder = tmp_path_factory.mktemp("files")
    config = write_config(folder / "config", aws="http://127.0.0.1:9")
    gateway = config / "gateway.yaml"
    gateway.write_text(re.sub(r"(?m)^  endpoints: .*\n", "", gateway.read_text()))
    environment = {"OIDC_GATEWAY_WORKERS": str(request.param), "TMPDIR": str(folder)}
    with running_gateway(config, folder / "audit", environment=environment, mode="--allow-root") as found:
        # A connection for each request: any worker may be asked.
        found.client.headers["Connection"] = "close"
        yield found


@pytest.fixture
def strict(running: Gateway) -> Gateway:
    """That gateway, of one mind with its files."""
    until(lambda: states(running) == {"current"})
    return running


def states(gateway: Gateway) -> set[object]:
    """Return how the files stand with the workers, whichever are asked."""
    return {gateway.get("/readyz").json()["policy"] for _ in range(16)}


def may_start(gateway: Gateway) -> set[str]:
    return {one["workflow"] for one in gateway.get("/v1/whoami", fresh()).json()["may_start"]}


def cut_in_place(path: Path) -> None:
    """Write as an editor does that has not come to the end yet. A cut between two lines could be meant."""
    content = path.read_bytes()
    path.write_bytes(content[: content.rindex(b"{") + 5])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_link_to_nowhere(path: Path) -> None:
    path.unlink()
    path.symlink_to("/nowhere/at-all.yaml")


def writable_by_all(path: Path) -> None:
    path.chmod(0o666)


def of_somebody_else(path: Path) -> None:
    os.chown(path, SOMEBODY_ELSE, -1)


def put_back(path: Path, content: bytes) -> None:
    if path.is_dir():
        path.rmdir()
    replace(path, content)
    path.chmod(0o644)


@pytest.mark.requirement("F-29")
@pytest.mark.parametrize("file", [RULES, "targets.yaml", "gateway.yaml"])
@pytest.mark.parametrize(
    "spoil", [cut_in_place, emptied, a_folder, a_link_to_nowhere, writable_by_all, of_somebody_else]
)
def test_a_spoilt_file_changes_nothing_is_told_by_name_and_is_taken_again_when_it_is_good(
    strict: Gateway, file: str, spoil: Callable[[Path], None]
) -> None:
    path = strict.config / file
    content, logged = path.read_bytes(), len(strict.lines)

    spoil(path)

    until(lambda: states(strict) == {"stale"})
    assert DEPLOY in may_start(strict)
    assert strict.get("/readyz").status_code == 200
    until(lambda: any(file in line for line in list(strict.lines)[logged:]))
    put_back(path, content)
    until(lambda: states(strict) == {"current"})
    assert DEPLOY in may_start(strict)


@pytest.mark.requirement("F-29")
def test_targets_that_are_deleted_take_nothing_away(strict: Gateway) -> None:
    path = strict.config / "targets.yaml"
    content = path.read_bytes()

    path.unlink()

    until(lambda: states(strict) == {"stale"})
    assert DEPLOY in may_start(strict)
    replace(path, content)
    until(lambda: states(strict) == {"current"})


STORM_S = 3.0


@pytest.mark.requirement("F-31")
def test_in_a_storm_of_good_and_bad_changes_every_request_is_decided_by_one_version_that_its_record_names(
    faulty: Faulty,
) -> None:
    path = faulty.gateway.config / RULES
    granted = path.read_bytes()
    # The same rule for another environment: under this version our caller holds nothing of it.
    withheld = granted.replace(b"any_of: [prod, prod-eu]", b"any_of: [other, prod-eu]")
    assert withheld != granted
    end = threading.Event()
    before = {entry.record.request_id for entry in read_entries(faulty.gateway.audit)}

    def change() -> None:
        versions = (granted, withheld, granted[:300])
        number = 0
        while not end.is_set():
            replace(path, versions[number % 3])
            number += 1
            time.sleep(0.01)

    statuses: set[int] = set()

    # A few tokens in turns: what is kept for each token has bounds of its own, and memory is compared afterwards.
    tokens = [fresh() for _ in range(20)]

    def ask() -> None:
        for token in cycle(tokens):
            if end.is_set():
                return
            answer = faulty.gateway.start(token, DEPLOY, key="storm", input={"version": "1.4.2"})
            statuses.add(answer.status_code)

    with ThreadPoolExecutor() as pool:
        changing, asking = pool.submit(change), [pool.submit(ask) for _ in range(2)]
        end.wait(STORM_S)
        try:
            until(lambda: 201 in statuses and len(statuses) > 1)  # some were decided by either version
        finally:
            end.set()
        for one in (changing, *asking):
            one.result(20)
    replace(path, granted)
    until(lambda: faulty.all_answer(fresh(), 200))

    assert statuses <= {201, 403, 404}
    assert 201 in statuses
    found: dict[str, set[bool]] = {}
    for entry in read_entries(faulty.gateway.audit):
        record = entry.record
        if record.request_id not in before and record.kind in {"intent", "refused"}:
            found.setdefault(record.policy, set()).add(record.kind == "intent")
    assert {allowed for outcomes in found.values() for allowed in outcomes} == {True, False}
    assert all(len(outcomes) == 1 for outcomes in found.values()), "one version, one decision"
