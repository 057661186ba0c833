"""The documentation says what the code does: every name, status, default and limit, and none that does not exist."""

import inspect
import json
import re
import tomllib
from pathlib import Path

import pytest

from gateway.audit import journal, writer
from gateway.audit.chain import START, seal
from gateway.audit.document import USUAL, to_document
from gateway.cli.main import build_parser
from gateway.compiling.compile import MAX_RULES
from gateway.credentials.cache import CredentialCache
from gateway.credentials.session import SHORTEST_S
from gateway.credentials.sts import STEP_S
from gateway.doors.inbound import EXCHANGE_S, START_S
from gateway.doors.problems import TABLE
from gateway.doors.reception import STYLES, Style
from gateway.doors.rest import LONGEST_WAIT_S
from gateway.errors import ErrorCode
from gateway.executions.execution import MAX_INPUT_BYTES
from gateway.files import listing, source, tree
from gateway.files.document import read_document
from gateway.files.schema.cases import CASES_FORMAT, CasesShape
from gateway.files.schema.claims import MAX_CONDITIONS
from gateway.files.schema.gateway import GATEWAY_FORMAT, GatewayShape
from gateway.files.schema.keeping import AuditShape, StateShape
from gateway.files.schema.mapping import MappingShape, RuleShape
from gateway.files.schema.serving import LimitsShape, ServerShape
from gateway.files.schema.targets import TARGETS_FORMAT, TargetsShape
from gateway.files.schema.values import MAX_ISSUERS
from gateway.files.shapes import shape_document
from gateway.files.source import Finding, FindingCode, Source
from gateway.identity.identify import CachingIdentify
from gateway.identity.issuer import TrustedIssuer
from gateway.identity.keys import MAX_KEYS
from gateway.identity.reading import MAX_TOKEN_CHARS
from gateway.listening.protocol import ProtocolLimits
from gateway.metrics import Metrics
from gateway.policy import input_schema, input_walk
from gateway.policy.input_keywords import MAX_STEPS
from gateway.settings.setting import OTHER_VARIABLES, PREFIX, SETTINGS
from gateway.strict_json import TOKEN_LIMITS
from tests.support.command_line import calls, commands, flags, subcommands, unknown_words
from tests.support.markdown import Table, blocks, code, headings, links, section, tables
from tests.support.records import INTENT

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(ROOT.glob("deploy/**/*.md"))]
DOCUMENT = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))

# A request that names no execution has no such trouble; and what breaks HTTP itself is answered before the door.
NOT_AT_TOKEN = {code for code, said in TABLE.items() if said.stage in {"workflow", "admin"}} | {
    ErrorCode.WORKFLOW_UNKNOWN,
    ErrorCode.NOT_FOUND,
    ErrorCode.REQUEST_TIMEOUT,
    ErrorCode.URI_TOO_LONG,
    ErrorCode.HEADERS_TOO_LARGE,
}


def table(title: str) -> Table:
    return tables(section(README, title))[0]


def bare(cells: tuple[str, ...]) -> list[str]:
    return [cell.strip("`") for cell in cells]


# Commands.


def test_every_command_is_documented_and_every_documented_one_exists() -> None:
    assert sorted(bare(table("Commands").column("command"))) == sorted(commands())


@DOCUMENT
def test_only_commands_and_options_that_exist_are_shown(path: Path) -> None:
    text = path.read_text("utf-8")
    shown = "\n".join([*blocks(text, "sh"), *code(text)])

    unknown = {word: " ".join(call) for call in calls(shown) for word in unknown_words(call)}

    assert unknown == {}


@pytest.mark.parametrize(
    ("call", "unknown"),
    [
        (["frobnicate"], ["frobnicate"]),
        (["dev", "tokens"], ["tokens"]),
        (["serve", "--prot", "1"], ["--prot", "1"]),
        (["decide", "--token", "FILE", "--start", "w"], []),
        (["audit", "verify", "--head=1:2"], []),
    ],
    ids=" ".join,
)
def test_the_reader_of_commands_notices_what_does_not_exist(call: list[str], unknown: list[str]) -> None:
    assert unknown_words(call) == unknown


# Settings.


def documented_settings(column: str) -> list[str]:
    """The cells of a column, empty where there is nothing to name."""
    return [cell.replace("–", "") for cell in bare(table("Settings").column(column))]


def test_every_setting_is_documented_with_its_variable_and_its_flag() -> None:
    columns = (documented_settings(name) for name in ("in `gateway.yaml`", "variable", "flag of `serve`"))

    documented = {row for row in zip(*columns, strict=True) if row[0]}

    assert documented == {(one.path, one.variable, one.flag or "") for one in SETTINGS}


def test_every_variable_is_documented() -> None:
    documented = set(documented_settings("variable")) - {""}

    assert documented == {one.variable for one in SETTINGS} | set(OTHER_VARIABLES)


def test_every_flag_of_serve_is_documented() -> None:
    documented = set(documented_settings("flag of `serve`")) - {""}

    assert documented == flags(subcommands(build_parser())["serve"])


def test_every_default_is_the_one_that_holds() -> None:
    server, audit = ServerShape().model_dump(mode="json"), AuditShape().model_dump(mode="json")
    defaults = {f"server.{name}": value for name, value in server.items()}
    defaults |= {f"audit.{name}": value for name, value in audit.items()}
    limits = LimitsShape().model_dump(mode="json")
    defaults |= {f"limits.{name}": value for name, value in limits.items()}
    state = StateShape().model_dump(mode="json")
    defaults |= {f"state.{name}": value for name, value in state.items()}
    held = {path: str(value).lower() for path, value in defaults.items() if value is not None}

    documented = dict(
        zip(documented_settings("in `gateway.yaml`"), documented_settings("default"), strict=True)
    )

    assert {path: documented.get(path) for path in held} == held


@DOCUMENT
def test_only_variables_that_exist_are_named(path: Path) -> None:
    known = {one.variable for one in SETTINGS} | set(OTHER_VARIABLES)

    named = set(re.findall(rf"{PREFIX}[A-Z_]+", path.read_text("utf-8")))

    assert named - known == set()


def test_every_limit_is_the_one_that_holds() -> None:
    wire, framing = ProtocolLimits(), ProtocolLimits().framing
    grants = RuleShape.model_json_schema()["properties"]["grants"]["maxItems"]
    held = {
        "body": f"{Style().max_body_bytes // 1024} KiB; `POST /v1/executions` {STYLES['/v1/executions'].max_body_bytes // 1024} KiB",
        "request line; all header fields; their number": (
            f"{framing.max_request_line_bytes // 1024} KiB; {framing.max_header_bytes // 1024} KiB; {framing.max_fields}"
        ),
        "chunks of a chunked body": f"{framing.max_chunks:,}, without extensions and trailers",
        "time to the first byte; for the header; for the body": (
            f"{wire.first_byte_s:.0f} s; {wire.headers_s:.0f} s; {wire.body_s:.0f} s, "
            f"and {wire.min_body_rate:,} bytes a second after {wire.rate_grace_s:.0f} s"
        ),
        "connection": (
            f"{wire.max_requests} requests, {wire.idle_s:.0f} s idle between two, "
            f"{wire.write_stall_s:.0f} s without reading an answer"
        ),
        "time to answer": f"{EXCHANGE_S:.0f} s; a start {START_S:.0f} s; `express-sync` its `timeout` (300 s at most)",
        "`wait_s`": f"{LONGEST_WAIT_S} s",
        "JSON of a token": (
            f"{TOKEN_LIMITS.depth} deep, {TOKEN_LIMITS.members} members, {TOKEN_LIMITS.array_length:,} items a list, "
            f"{TOKEN_LIMITS.name_length} characters a name, {TOKEN_LIMITS.string_length:,} a text"
        ),
        "token": f"{MAX_TOKEN_CHARS:,} characters; header 4,096, payload 12,288, signature 1,024 bytes",
        "life of a token, `exp` minus `iat`": f"{_default(TrustedIssuer, 'max_lifetime_s') // 3600} h",
        "discovery document; key set": f"64 KiB; 256 KiB and {MAX_KEYS} keys; 5 s for both",
        "workflow input, with `_caller`": f"{MAX_INPUT_BYTES:,} bytes; {input_schema.MAX_FAULTS} errors listed",
        "STS": f"{STEP_S:.0f} s for all attempts, {_default(CredentialCache, 'flights')} exchanges at once",
        "sessions that start, see or stop": f"{SHORTEST_S} s",
        "audit": (
            f"an intent waits {_default(journal.JsonlJournal, 'patience_s'):.0f} s for the disk; "
            f"{writer.MAX_WAITING:,} records or {writer.MAX_WAITING_BYTES // 2**20} MiB wait in memory"
        ),
        "files": (
            f"{source.MAX_BYTES // 2**20} MiB each, {listing.MAX_FILES:,} files, {MAX_RULES:,} rules, {MAX_ISSUERS} issuers, "
            f"{MAX_CONDITIONS} claims a rule, {grants} grants a rule, {tree.MAX_STRING:,} characters a text"
        ),
        "input schema": (
            f"{input_walk.MAX_SCHEMAS:,} parts, {input_walk.MAX_DEPTH} deep; {MAX_STEPS:,} steps to judge an input"
        ),
    }
    limits = tables(section(README, "Settings"))[1]
    documented = dict(zip(limits.column("limit"), limits.column("value"), strict=True))

    assert {name: documented.get(name) for name in held} == held


def test_every_cache_is_as_large_as_it_says() -> None:
    caches = table("Caches")
    bounds = dict(zip(caches.column("cache"), caches.column("bound"), strict=True))

    assert bounds["verified tokens"] == f"{_default(CachingIdentify, 'max_entries'):,}"
    assert bounds["credentials used here"].startswith(f"{_default(CredentialCache, 'entries'):,} ")
    assert bounds["calls to STS under way"] == str(_default(CredentialCache, "flights"))
    assert bounds["key sets"].endswith(f"{MAX_KEYS} keys")


def _default(kind: type, name: str) -> int:
    value = inspect.signature(kind).parameters[name].default
    assert isinstance(value, int | float)
    return value  # type: ignore[return-value]


# Codes, findings, metrics, records.


def code_tables() -> list[tuple[str, Table]]:
    text = section(README, "Answers and codes")
    stages = [title for title in headings(text) if title.startswith("`")]
    return [(title, tables(section(text, title))[0]) for title in stages]


def test_every_code_is_documented_once_and_below_its_stage() -> None:
    documented = [
        (code, stage)
        for title, rows in code_tables()
        for code in bare(rows.column("code"))
        for stage in re.findall(r"`(\w+)`", title)
        if code not in TABLE or TABLE[ErrorCode(code)].stage == stage
    ]

    assert sorted(documented) == sorted((str(code), said.stage) for code, said in TABLE.items())


@pytest.mark.parametrize("code", list(ErrorCode), ids=str)
def test_every_code_is_documented_with_its_statuses(code: ErrorCode) -> None:
    said = TABLE[code]
    at_token = "–" if code in NOT_AT_TOKEN else f"{said.token_status} `{said.oauth}`"

    rows = [row for _, found in code_tables() for row in found.rows if row[0] == f"`{code}`"]

    assert [row[1:3] for row in rows] == [(str(said.status), at_token)]


def test_every_code_says_what_it_means_and_what_to_do() -> None:
    empty = [row[0] for _, rows in code_tables() for row in rows.rows if not all(row)]

    assert empty == []


def test_every_finding_is_documented_and_every_documented_one_exists() -> None:
    assert sorted(bare(table("Findings").column("finding"))) == sorted(FindingCode)


def test_every_metric_is_documented_with_its_type_and_labels() -> None:
    documented = {
        name.strip("`"): (kind, tuple(code(labels))) for name, kind, labels, _ in table("Metrics").rows
    }

    assert documented == Metrics().shapes


@DOCUMENT
def test_only_metrics_that_exist_are_named(path: Path) -> None:
    documented = set(bare(table("Metrics").column("metric")))

    named = set(re.findall(r"oidc_gateway_[a-z_]+", path.read_text("utf-8")))

    assert named - documented == set()


def test_every_member_of_an_audit_record_is_documented() -> None:
    chain, _ = seal('{"v":1}', START, boot="0" * 16, written_at="")
    written = set(json.loads(chain)) | set(to_document(INTENT))

    documented = [name for cell in table("Audit record").column("member") for name in code(cell)]

    assert sorted(documented) == sorted(written)


def test_texts_of_an_audit_record_are_cut_where_the_documentation_says() -> None:
    assert f"cut at {USUAL.text} characters" in section(README, "Audit record")


# What is shown.

SHOWN = [text for text in blocks(README, "yaml") if re.search(r"^format: ", text, re.MULTILINE)]


def read(text: str) -> tuple[object, tuple[Finding, ...]]:
    """Return the data of one of our files and what is wrong in it, as the gateway's own reader says."""
    document = read_document(Source(file="shown.yaml", digest="", text=text, findings=()))
    match re.findall(r"^format: (\S+)$", text, re.MULTILINE):
        case [format_] if format_ == GATEWAY_FORMAT:
            return document.data, shape_document(document, GatewayShape).findings
        case [format_] if format_ == TARGETS_FORMAT:
            return document.data, shape_document(document, TargetsShape).findings
        case [format_] if format_ == CASES_FORMAT:
            return document.data, shape_document(document, CasesShape).findings
        case _:
            return document.data, shape_document(document, MappingShape).findings


def test_a_mapping_file_is_shown() -> None:
    assert SHOWN != []


@pytest.mark.parametrize("text", SHOWN, ids=range(len(SHOWN)))
def test_every_file_that_is_shown_is_one_that_the_gateway_reads(text: str) -> None:
    _, findings = read(text)

    assert findings == ()


@pytest.mark.parametrize("text", SHOWN, ids=range(len(SHOWN)))
def test_every_file_that_is_shown_is_the_one_that_is_shipped(text: str) -> None:
    name = re.match(r"# (config/\S+)\n", text)
    assert name is not None

    shipped = (ROOT / name[1]).read_text("utf-8")

    assert read(text) == read(shipped)


def test_every_answer_that_is_shown_is_said_so_by_the_gateway() -> None:
    answers = [answer for text in blocks(README, "json") if "code" in (answer := json.loads(text))]

    shown = [(answer["title"], answer["status"], answer["stage"], answer["retryable"]) for answer in answers]

    said = [TABLE[ErrorCode(answer["code"])] for answer in answers]
    assert shown == [(one.title, one.status, one.stage, one.retryable) for one in said]
    assert shown != []


@DOCUMENT
def test_every_link_leads_somewhere(path: Path) -> None:
    text = path.read_text("utf-8")
    anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in headings(text)}

    broken = [
        link
        for link in links(text)
        if not link.startswith("https://")
        and not (link[1:] in anchors if link.startswith("#") else (path.parent / link.split("#")[0]).exists())
    ]

    assert broken == []


def test_the_changelog_tells_of_this_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]

    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")

    assert [
        title for title in headings(changelog) if re.fullmatch(rf"\[{version}\] - \d{{4}}-\d\d-\d\d", title)
    ] != []
    assert f"\n[{version}]: https://" in changelog
