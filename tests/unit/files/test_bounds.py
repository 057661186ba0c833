"""What a file, and a team's files together, may cost: exact at the bound, cheap beyond it, and nothing large is kept."""

import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from gateway.files import allowance, folder
from gateway.files.bounds import (
    COLLECTION_NODES,
    MAX_MISTAKES,
    MAX_NODES,
    MAX_TEAM_BYTES,
    MAX_TEAM_NODES,
    RULES,
    TESTS,
    Bounds,
    Items,
)
from gateway.files.document import MAX_FINDINGS, Document, read_document
from gateway.files.folder import load_sources
from gateway.files.schema.mapping import MappingShape
from gateway.files.shapes import shape_document
from gateway.files.source import MAX_BYTES, MAX_EXCERPT, Source
from tests.support.config_folder import OPS, PAYMENTS, compiled, load

RULE: Final = """\
  - name: r-{number}
    why: "PAY-{number} deploys of payments"
    issuer: github
    claims:
      repository: acme/payments-{number}
      ref: refs/heads/main
      environment: {{ any_of: [prod, staging] }}
    grants:
      - {{ start: deploy-payments, as: payments-prod }}
      - {{ view: deploy-payments, as: payments-prod }}
"""
HEAD: Final = "format: oidc-gateway/mapping.v1\n"
_LITTLE: Final = Bounds(members=3, entries=4, items={"rules": Items(most=2, compulsory=frozenset({"name"}))})


def read(text: str, bounds: Bounds = RULES) -> Document:
    return read_document(Source(file="m.yaml", digest="d", text=text, findings=()), bounds)


def said(document: Document) -> list[tuple[str, str]]:
    return [(str(one.place), one.message) for one in document.findings]


@pytest.mark.requirement("MP-03")
def test_a_hundred_thousand_ordinary_rules_are_within_what_a_team_may_have_and_full_files_of_them_in_a_file() -> (
    None
):
    rules = "".join(RULE.format(number=number) for number in range(90_000, 90_100))

    document = read(f"{HEAD}rules:\n{rules}")

    assert document.nodes * 1_000 <= MAX_TEAM_NODES
    assert len(rules) * 1_000 <= MAX_TEAM_BYTES
    assert document.nodes * MAX_BYTES / len(rules) <= MAX_NODES


@pytest.mark.requirement("MP-03")
def test_as_many_keys_and_values_as_a_file_may_have_are_read_and_one_more_are_not() -> None:
    text = "a: [b, c]\nd: e\n"
    count = 2 * COLLECTION_NODES + 5

    good, bad = read(text, Bounds(nodes=count)), read(text, Bounds(nodes=count - 1))

    assert (good.findings, good.data, good.nodes) == ((), {"a": ["b", "c"], "d": "e"}, count)
    assert said(bad) == [
        (
            "m.yaml:2:4",
            (
                f"This file has more than {count - 1} keys and values "
                f"(a list or mapping counts {COLLECTION_NODES}). The rest of the file is not read."
            ),
        )
    ]
    assert bad.data is None


@pytest.mark.requirement("MP-03")
@pytest.mark.parametrize(
    ("good", "bad", "place", "message"),
    [
        pytest.param(
            "x: {a: 1, b: 2, c: 3}",
            "x: {a: 1, b: 2, c: 3, d: 4}",
            "m.yaml:1:26",
            "This mapping has more than 3 members.",
            id="members",
        ),
        pytest.param(
            "x: [a, b, c, d]",
            "x: [a, b, c, d, e]",
            "m.yaml:1:17",
            "This list has more than 4 items.",
            id="entries",
        ),
        pytest.param(
            "rules: [{name: a}, {name: b}]",
            "rules: [{name: a}, {name: b}, {name: c}]",
            "m.yaml:1:31",
            "This list has more than 2 items.",
            id="items",
        ),
        pytest.param(
            "x: {rules: [a, b, c, d]}",
            "x: {rules: [[], b, c, d, e]}",
            "m.yaml:1:26",
            "This list has more than 4 items.",
            id="a list of that name elsewhere",
        ),
    ],
)
def test_a_collection_of_as_many_parts_as_it_may_have_is_read_and_with_one_more_the_file_is_not(
    good: str, bad: str, place: str, message: str
) -> None:
    assert read(good, _LITTLE).findings == ()

    document = read(bad, _LITTLE)

    assert said(document) == [(place, f"{message} The rest of the file is not read.")]
    assert document.data is None


@pytest.mark.requirement("MP-03")
@pytest.mark.parametrize(
    ("bounds", "section"),
    [pytest.param(RULES, "rules", id="rules"), pytest.param(TESTS, "tests", id="tests")],
)
def test_the_long_lists_end_where_their_formats_end(bounds: Bounds, section: str) -> None:
    most = {"rules": 100_000, "tests": 1_000}[section]

    good = read(f"{section}: [{'a,' * most}]", bounds)
    bad = read(f"{section}: [{'a,' * most}a]", bounds)

    assert good.findings == ()
    assert [message for _, message in said(bad)] == [
        f"This list has more than {most:,} items. The rest of the file is not read."
    ]


@pytest.mark.requirement("MP-03")
@pytest.mark.parametrize("item", ["[]", "{name: a, why: w}"])
def test_items_that_lack_what_each_must_have_are_read_until_there_are_too_many(item: str) -> None:
    most = MAX_MISTAKES

    good = read(f"rules: [{','.join([item] * most)}]")
    bad = read(f"rules: [{','.join([item] * (most + 1))}, {'{' * 9}")

    assert good.findings == ()
    assert [message for _, message in said(bad)] == [
        "More than 2,000 items lack a member that each must have. The rest of the file is not read."
    ]
    assert "claims, grants, issuer, name, why" in bad.findings[0].fix


@pytest.mark.requirement("MP-03")
def test_after_the_last_finding_that_there_is_room_for_nothing_is_read() -> None:
    document = read("a: [" + "on, " * (MAX_FINDINGS + 1) + "]")

    assert len(document.findings) == MAX_FINDINGS + 1
    assert document.findings[-1].severity == "error"
    assert document.data is None


@pytest.mark.requirement("MP-03")
@pytest.mark.parametrize("wrong", [MAX_MISTAKES, MAX_MISTAKES + 1])
def test_mistakes_are_told_up_to_a_number_and_beyond_it_only_that_there_are_more(wrong: int) -> None:
    rule = "{name: a, why: w, issuer: 1, claims: {sub: x}, grants: [{obtain: t}]}"
    document = read(f"{HEAD}rules: [{', '.join([rule] * wrong)}]")

    shaped = shape_document(document, MappingShape)

    beyond = wrong > MAX_MISTAKES
    assert len(shaped.findings) == (1 if beyond else wrong)
    assert (shaped.findings[0].message == "There are more than 2,000 mistakes in this file.") == beyond
    assert (shaped.shape is None) == beyond
    assert (shaped.document.data is None) == beyond


def test_what_has_too_many_mistakes_is_wrong_even_where_a_warning_stands_in_the_same_place() -> None:
    # The key is written with a Cyrillic letter, and is the first thing in the file.
    bad = "{name: a, why: w, issuer: 1, claims: {sub: x}, grants: [{obtain: t}]}"
    document = read(f"rulеs: 1\n{HEAD}rules: [{', '.join([bad] * (MAX_MISTAKES + 1))}]")

    shaped = shape_document(document, MappingShape)

    assert [finding.severity for finding in document.findings] == ["warning"]
    assert not shaped.sound


@pytest.mark.requirement("MP-03")
def test_a_finding_keeps_no_line_that_nobody_could_read() -> None:
    short = read("a: on # " + "x" * (MAX_EXCERPT - 8))
    long = read("a: on # " + "x" * (MAX_EXCERPT - 7))

    assert [len(finding.excerpt) for finding in short.findings] == [MAX_EXCERPT]
    assert [finding.excerpt for finding in long.findings] == [""]


_HOSTILE: Final = """
import json, resource, sys
from pathlib import Path
from gateway.files.folder import load_sources
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
sources = load_sources(Path(sys.argv[1]), lenient=True)
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
files = (*sources.mappings, *sources.tests)
bad = [one for one in files if one.file.startswith("mappings/evil")]
print(json.dumps({
    "grown": grown,
    "findings": sum(len(one.findings) for one in bad),
    "refused": all(not one.sound for one in bad),
    "kept": [one.file for one in bad if one.document.data is not None],
    "others": all(one.sound for one in files if one not in bad),
}))
"""
#: Address space of the whole process, and what a file of eight mebibytes may add to what is resident.
_SPACE: Final = 1 << 30
_GROWTH_KB: Final = 250 * 1024


def _filled(head: str, unit: str, tail: str = "") -> str:
    return head + unit * ((MAX_BYTES - len(head) - len(tail)) // len(unit)) + tail


@pytest.mark.requirement("MP-03", "MP-06")
@pytest.mark.parametrize(
    ("name", "text"),
    [
        pytest.param("x.yaml", _filled(f"{HEAD}rules: [", "[],", "]"), id="empty lists"),
        pytest.param("x.yaml", _filled(f"{HEAD}rules: [", "{a},", "]"), id="empty values"),
        pytest.param("x.yaml", _filled(f"{HEAD}rules: [", "a,", "]"), id="texts"),
        pytest.param(
            "x.yaml", _filled(f"{HEAD}rules: [", "[" + "[]," * 9_000 + "],", "]"), id="lists of empty lists"
        ),
        pytest.param(
            "x.yaml",
            _filled(f"{HEAD}rules: [", "{name: a,why: 1,issuer: 1,claims: 1,grants: 1},", "]"),
            id="wrong values",
        ),
        pytest.param("x.yaml", _filled(f"{HEAD}rules: [3]\n", "on: on\n"), id="truth values"),
        pytest.param("x.yaml", _filled(f"{HEAD}rules: [3]\n", "# AKIAIOSFODNN7EXAMPLA\n"), id="secrets"),
        pytest.param("x.yaml", _filled(f"{HEAD}rules: [3]\n", "\t\n"), id="tabs"),
        pytest.param(
            "x.test.yaml",
            _filled(
                "format: oidc-gateway/tests.v1\ntests:\n",
                "  - {name: a, issuer: github, claims: {sub: x}, may_not: [{obtain: t}]}\n",
            ),
            id="tests",
        ),
    ],
)
def test_a_file_as_large_as_files_may_be_is_refused_with_few_findings_and_in_little_memory(
    tmp_path: Path, name: str, text: str
) -> None:
    load(tmp_path, {f"mappings/evil/{name}": text})

    done = subprocess.run(
        [sys.executable, "-c", _HOSTILE, str(tmp_path)],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (_SPACE, _SPACE)),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert done.returncode == 0, done.stderr[-2_000:]
    answer = json.loads(done.stdout)
    assert answer.pop("findings") <= MAX_FINDINGS + 1
    assert answer.pop("grown") <= _GROWTH_KB
    assert answer == {"refused": True, "kept": [], "others": True}


@pytest.mark.requirement("MP-03", "MP-06")
def test_a_teams_files_have_their_bytes_together_and_another_teams_have_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(allowance, "MAX_TEAM_BYTES", len(PAYMENTS) + len(OPS))
    exact = PAYMENTS + "#" * (len(OPS) - 1) + "\n"

    sources = load(tmp_path, {"mappings/payments/deploy.yaml": exact})
    more = load(
        tmp_path,
        {
            "mappings/payments/deploy.yaml": exact,
            "mappings/payments/more.yaml": "#",
            "mappings/payments/z.yaml": "#",
        },
    )

    assert all(one.sound for one in sources.mappings)
    assert {one.file: one.sound for one in more.mappings} == {
        "mappings/ops.yaml": True,
        "mappings/payments/deploy.yaml": False,
        "mappings/payments/more.yaml": False,
        "mappings/payments/z.yaml": False,
    }
    refused = more.mappings[-1]
    assert refused.document.digest == "", "it was not even opened"
    assert [finding.code for finding in refused.findings] == ["file_too_large"]
    assert (
        f"rules of mappings/payments have more than {len(PAYMENTS) + len(OPS):,} bytes"
        in refused.findings[0].message
    )


@pytest.mark.requirement("MP-03", "MP-06")
def test_tests_have_their_bytes_apart_from_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allowance, "MAX_TESTS_BYTES", 10)

    sources = load(tmp_path, {"mappings/payments/deploy.test.yaml": "#" * 11})

    assert all(one.sound for one in sources.mappings)
    assert [finding.message for finding in sources.tests[0].findings] == [
        "Together the files of tests of mappings/payments have more than 10 bytes, so this one is not read."
    ]


@pytest.mark.requirement("MP-03", "MP-06")
def test_a_teams_files_have_their_keys_and_values_together_and_are_not_read_again_while_they_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = next(file for file in load(tmp_path).mappings if "payments" in file.file).document.nodes
    files = {f"mappings/payments/{name}.yaml": PAYMENTS for name in ("more", "most")}
    monkeypatch.setattr(allowance, "MAX_TEAM_NODES", 2 * one)

    first = load(tmp_path, files)
    parsed: list[str] = []
    monkeypatch.setattr(folder, "read_document", lambda source, *_: parsed.append(source.file))
    again = load_sources(tmp_path, previous=first)

    assert [file.sound for file in first.mappings] == [True, True, True, False]
    assert "more than" in first.mappings[-1].findings[0].message
    assert parsed == []
    assert again.fingerprint == first.fingerprint


@pytest.mark.requirement("MP-05", "MP-06")
def test_a_file_is_read_again_once_there_is_room_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(allowance, "MAX_TEAM_NODES", 60)
    other = PAYMENTS.replace("name: ", "name: x")
    first = load(tmp_path, {"mappings/payments/a.yaml": other})
    assert [file.sound for file in first.mappings] == [True, True, False]

    (tmp_path / "mappings/payments/a.yaml").unlink()
    again = load_sources(tmp_path, previous=first)

    assert [file.sound for file in again.mappings] == [True, True]


@pytest.mark.requirement("MP-06")
def test_a_team_over_its_bounds_keeps_its_last_good_rules_and_others_change(tmp_path: Path) -> None:
    good = compiled(tmp_path)
    assert good.policy is not None

    found = compiled(
        tmp_path,
        {
            "mappings/payments/evil.yaml": f"{HEAD}rules: [{'[],' * (MAX_MISTAKES + 1)}]",
            "mappings/ops.yaml": OPS.replace("why: ", "why: now "),
        },
        previous=good,
    )

    assert found.policy is not None
    assert {name: team.state for name, team in found.teams.items()} == {"ops": "current", "payments": "held"}
    assert set(found.policy.rules) == set(good.policy.rules)
    assert found.policy.digest != good.policy.digest
