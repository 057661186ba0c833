"""What a crash interrupted: each intent without an end is closed at the next start, and found when its caller comes back."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.audit.document import USUAL
from gateway.audit.files import journal_files
from gateway.audit.journal import JsonlJournal
from gateway.audit.reading import Query, find, find_stories, read_entries
from gateway.audit.record import Record
from gateway.audit.safe_text import cut
from gateway.audit.verify import verify
from gateway.clock import SystemClock
from gateway.errors import ErrorCode
from gateway.identity.token import Principal
from gateway.metrics import Metrics
from tests.support.records import EXECUTION, INTENT, OUTCOME, REFUSAL, SESSION

FOUND = replace(OUTCOME, request_id="req-later", status="RUNNING", existed=True)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "audit"


def journal(directory: Path, *, metrics: Metrics | None = None, max_bytes: int = 2**26) -> JsonlJournal:
    return JsonlJournal(directory, metrics=metrics or Metrics(), clock=SystemClock(), max_bytes=max_bytes)


def kinds(directory: Path, request_id: str = "req-1") -> list[str]:
    return [entry.record.kind for entry in read_entries(directory) if entry.record.request_id == request_id]


def last(directory: Path, kind: str) -> Record:
    return [entry.record for entry in read_entries(directory) if entry.record.kind == kind][-1]


def notes(directory: Path) -> list[dict[str, object]]:
    lines = [json.loads(line) for file in journal_files(directory) for line in file.lines()]
    return [line for line in lines if line.get("event") == "interrupted"]


@pytest.mark.requirement("AU-04")
async def test_an_intent_without_an_outcome_is_closed_at_the_next_start_with_the_name_to_look_up(
    directory: Path,
) -> None:
    async with journal(directory) as kept:
        await kept.intend(INTENT)

    async with journal(directory):
        closed = last(directory, "unknown")

    assert closed == replace(INTENT, kind="unknown")
    assert closed.execution == "ca6c-ffd7"
    assert notes(directory)[0] | {"closed": 1, "unreadable": 0} == notes(directory)[0]
    assert verify(journal_files(directory)).findings == ()


@pytest.mark.requirement("AU-04")
@pytest.mark.parametrize("end", [OUTCOME, replace(REFUSAL, request_id="req-1")], ids=lambda end: end.kind)
async def test_a_call_with_an_end_is_left_alone(directory: Path, end: Record) -> None:
    async with journal(directory) as kept:
        await kept.intend(INTENT)
        await kept.conclude(end)

    async with journal(directory):
        pass

    assert kinds(directory) == ["intent", end.kind]
    assert notes(directory) == []


@pytest.mark.requirement("AU-04")
async def test_a_call_is_closed_once_however_often_the_gateway_starts(directory: Path) -> None:
    async with journal(directory) as kept:
        await kept.intend(INTENT)

    for _ in range(3):
        async with journal(directory):
            pass

    assert kinds(directory) == ["intent", "unknown"]


@pytest.mark.requirement("AU-04")
async def test_a_crash_in_the_midst_of_closing_leaves_the_rest_to_the_next_start(directory: Path) -> None:
    async with journal(directory) as kept:
        for number in range(100):
            await kept.intend(replace(INTENT, request_id=f"req-{number}"))
    async with journal(directory):
        pass
    second = journal_files(directory)[-1].path
    lines = second.read_bytes().splitlines(keepends=True)
    second.write_bytes(b"".join(lines[:31]) + lines[31][:50])  # the opening and thirty of the closing records

    async with journal(directory):
        pass

    for number in range(100):
        assert kinds(directory, f"req-{number}") == ["intent", "unknown"], number


@pytest.mark.requirement("AU-04")
async def test_only_the_last_file_is_read_however_many_there_are(directory: Path) -> None:
    async with journal(directory, max_bytes=20_000) as kept:
        await kept.intend(INTENT)
        for number in range(50):
            done = replace(INTENT, request_id=f"done-{number}")
            await kept.intend(done)
            await kept.conclude(replace(OUTCOME, request_id=done.request_id))
    files = journal_files(directory)
    first = files[0].path.read_bytes()
    for file in files[1:-1]:
        file.path.write_bytes(b"nothing of this is read\n")

    async with journal(directory):
        pass

    assert len(files) > 3
    assert INTENT.request_id.encode() in first
    assert kinds(directory) == ["intent", "unknown"]


@pytest.mark.requirement("AU-04")
async def test_an_open_intent_whose_file_is_gone_is_counted(directory: Path) -> None:
    async with journal(directory, max_bytes=2_000) as kept:
        await kept.intend(INTENT)
        for number in range(5):
            kept.refuse(replace(REFUSAL, request_id=f"refused-{number}"))
            await kept.intend(replace(INTENT, request_id=f"done-{number}"))
            await kept.conclude(replace(OUTCOME, request_id=f"done-{number}"))
    journal_files(directory)[0].path.unlink()

    async with journal(directory):
        pass

    assert [note["unreadable"] for note in notes(directory)] == [1]


@pytest.mark.requirement("AU-04")
@pytest.mark.parametrize("restarts", [1, 3])
async def test_a_later_call_of_the_same_caller_that_shows_the_execution_ends_the_story(
    directory: Path, restarts: int
) -> None:
    async with journal(directory) as kept:
        await kept.intend(INTENT)
    for _ in range(restarts - 1):
        async with journal(directory):
            pass
    metrics = Metrics()

    async with journal(directory, metrics=metrics) as kept:
        waiting = metrics.registry.get_sample_value("oidc_gateway_audit_unresolved")
        await kept.conclude(FOUND)
        await kept.conclude(replace(FOUND, request_id="req-again"))

    found = last(directory, "found")
    assert kinds(directory) == ["intent", "unknown", "found"]
    assert (found.execution, found.status, found.found_by) == (EXECUTION, "RUNNING", "req-later")
    assert (waiting, metrics.registry.get_sample_value("oidc_gateway_audit_unresolved")) == (1, 0)
    async with journal(directory, metrics=metrics):
        pass
    assert metrics.registry.get_sample_value("oidc_gateway_audit_unresolved") == 0


@pytest.mark.requirement("AU-04")
@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"principal_digest": "0" * 32}, id="caller"),
        pytest.param({"object": "other-workflow"}, id="workflow"),
        pytest.param({"execution": EXECUTION + "x"}, id="execution"),
        pytest.param({"status": None}, id="not-shown"),
        pytest.param({"code": ErrorCode.AWS_DENIED}, id="failed"),
    ],
)
async def test_nothing_else_ends_the_story(directory: Path, other: dict[str, object]) -> None:
    async with journal(directory) as kept:
        await kept.intend(INTENT)

    async with journal(directory) as kept:
        await kept.conclude(replace(FOUND, **other))  # type: ignore[arg-type]

    assert kinds(directory) == ["intent", "unknown"]


@pytest.mark.requirement("AU-04", "AU-06")
@pytest.mark.parametrize(
    ("subject", "later", "closed"),
    [
        pytest.param("s" * 600, "s" * 600, True, id="longer-than-what-is-written"),
        pytest.param("s" * 600, cut("s" * 600, USUAL.text), False, id="what-is-written-of-another"),
        pytest.param("s" * 600, "s" * 599 + "t", False, id="the-same-beginning"),
    ],
)
async def test_whose_call_it_was_is_known_by_all_of_the_subject_and_not_by_what_the_record_shows(
    directory: Path, subject: str, later: str, closed: bool
) -> None:
    first, second = (Principal(issuer="https://idp.example", subject=one) for one in (subject, later))
    async with journal(directory) as kept:
        await kept.intend(replace(INTENT, principal=first, principal_digest=first.digest))

    async with journal(directory) as kept:
        await kept.conclude(replace(FOUND, principal=second, principal_digest=second.digest))

    assert kinds(directory) == ["intent", "unknown", *(["found"] if closed else [])]


@pytest.mark.requirement("AU-06")
async def test_an_interrupted_call_is_found_by_the_session_that_was_planned(directory: Path) -> None:
    planned = replace(INTENT, act="obtain", execution=None, object="payments-prod")
    async with journal(directory) as kept:
        await kept.intend(planned)
    async with journal(directory):
        pass

    for text in (SESSION, planned.session):
        [told] = find_stories(directory, text or "")
        listed = [entry.record.kind for entry in find(directory, Query(session=text))]
        assert [entry.record.kind for entry in told] == listed == ["intent", "unknown"]


async def test_a_call_without_an_execution_stays_unknown_and_waits_for_nobody(directory: Path) -> None:
    metrics = Metrics()
    async with journal(directory) as kept:
        await kept.intend(replace(INTENT, act="obtain", execution=None, object="payments-prod"))

    async with journal(directory, metrics=metrics):
        pass

    assert kinds(directory) == ["intent", "unknown"]
    assert metrics.registry.get_sample_value("oidc_gateway_audit_unresolved") == 0


@pytest.mark.requirement("AU-04")
async def test_the_story_is_told_by_request_id_and_by_the_name_of_the_execution(directory: Path) -> None:
    async with journal(directory) as kept:
        await kept.intend(INTENT)
    async with journal(directory) as kept:
        await kept.intend(replace(INTENT, request_id="req-later"))
        await kept.conclude(FOUND)

    def told(text: str) -> dict[str, list[str]]:
        stories = find_stories(directory, text)
        return {story[0].record.request_id: [entry.record.kind for entry in story] for story in stories}

    whole = ["intent", "unknown", "found"]
    assert told("req-1") == {"req-1": whole}
    assert told("ca6c-ffd7") == told(EXECUTION) == {"req-1": whole, "req-later": ["intent", "outcome"]}


async def test_what_is_remembered_is_bounded(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.audit.unfinished.MAX_REMEMBERED", 50)
    async with journal(directory) as kept:
        for number in range(70):
            await kept.intend(replace(INTENT, request_id=f"req-{number}"))

    metrics = Metrics()
    async with journal(directory, metrics=metrics):
        pass

    assert metrics.registry.get_sample_value("oidc_gateway_audit_unresolved") == 50
    assert kinds(directory, "req-19") == ["intent"]
    assert kinds(directory, "req-20") == ["intent", "unknown"]
