from dataclasses import replace
from pathlib import Path

import pytest

from gateway.audit.reading import Query, find, find_stories, read_entries
from tests.support.records import EXECUTION, INTENT, OUTCOME, REFUSAL, SESSION, TOKEN, chained

OTHER = replace(
    OUTCOME,
    request_id="req-3",
    token="00" * 32,
    token_alias=None,
    issued=SESSION + "x",
    execution=EXECUTION + "x",
    rules=("ops.all",),
    trace="ab" * 16,
)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    lines, _ = chained([INTENT, REFUSAL, OTHER, OUTCOME])
    (tmp_path / "audit-000001.jsonl").write_bytes(b"".join(lines[:2]))
    (tmp_path / "audit-000010.jsonl").write_bytes(lines[3])
    (tmp_path / "audit-000009.jsonl").write_bytes(b"not json\n" + lines[2])
    (tmp_path / "notes.txt").write_text("not ours")
    return tmp_path


def found(directory: Path, query: Query) -> list[tuple[str, str]]:
    return [(entry.record.kind, entry.record.request_id) for entry in find(directory, query)]


def test_files_are_read_in_the_order_of_their_numbers_and_broken_lines_skipped(directory: Path) -> None:
    places = [(entry.file, entry.line) for entry in read_entries(directory)]

    assert places == [
        ("audit-000001.jsonl", 1),
        ("audit-000001.jsonl", 2),
        ("audit-000009.jsonl", 2),
        ("audit-000010.jsonl", 1),
    ]


@pytest.mark.requirement("AU-06")
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param(Query(request="req-1"), [("intent", "req-1"), ("outcome", "req-1")], id="request"),
        pytest.param(Query(execution=EXECUTION), [("intent", "req-1"), ("outcome", "req-1")], id="execution"),
        pytest.param(
            Query(execution="ca6c-ffd7"), [("intent", "req-1"), ("outcome", "req-1")], id="execution-name"
        ),
        pytest.param(Query(session=SESSION), [("intent", "req-1"), ("outcome", "req-1")], id="session"),
        pytest.param(
            Query(session=SESSION.rpartition("/")[2]),
            [("intent", "req-1"), ("outcome", "req-1")],
            id="session-name",
        ),
        pytest.param(Query(rule="ops.all"), [("outcome", "req-3")], id="rule"),
        pytest.param(Query(token="00" * 32), [("outcome", "req-3")], id="token"),
        pytest.param(Query(trace="ab" * 16), [("outcome", "req-3")], id="trace"),
        pytest.param(
            Query(token=TOKEN[:8]),
            [("intent", "req-1"), ("refused", "req-2"), ("outcome", "req-1")],
            id="token-prefix",
        ),
        pytest.param(
            Query(token="9f" * 32, rule="payments.prod", request="req-2"),
            [("refused", "req-2")],
            id="several",
        ),
        pytest.param(Query(token=TOKEN[:7]), [], id="prefix-too-short"),
        pytest.param(Query(rule="payments.pro"), [], id="part-of-a-rule"),
        pytest.param(Query(request="é"), [], id="no-ascii"),
    ],
)
def test_a_record_is_found_by_what_an_administrator_has(
    directory: Path, query: Query, expected: list[tuple[str, str]]
) -> None:
    assert found(directory, query) == expected


@pytest.mark.requirement("AU-06")
@pytest.mark.parametrize(
    ("text", "requests"),
    [
        pytest.param("req-1", [["intent", "outcome"]], id="request"),
        pytest.param(EXECUTION, [["intent", "outcome"]], id="execution"),
        pytest.param(SESSION, [["intent", "outcome"]], id="session"),
        pytest.param(TOKEN, [["intent", "outcome"], ["refused"]], id="token"),
        pytest.param("ab" * 16, [["outcome"]], id="trace"),
        pytest.param("nothing", [], id="unknown"),
    ],
)
def test_a_story_holds_all_records_of_each_request(
    directory: Path, text: str, requests: list[list[str]]
) -> None:
    stories = find_stories(directory, text)

    assert [[entry.record.kind for entry in story] for story in stories] == requests
