import pytest

from gateway.files.document import MAX_FINDINGS, Document, read_document
from gateway.files.source import Source, show


def read(text: str) -> Document:
    return read_document(Source(file="a.yaml", digest="", text=text, findings=()))


def said(document: Document) -> list[tuple[str, int, int]]:
    return [(finding.code, finding.place.line, finding.place.column) for finding in document.findings]


@pytest.mark.requirement("MP-02")
@pytest.mark.parametrize(
    ("written", "fix"),
    [
        pytest.param("no", 'Write "no" in quotes, or false.', id="no"),
        pytest.param("On", 'Write "On" in quotes, or true.', id="on"),
        pytest.param("y", 'Write "y" in quotes, or true.', id="y"),
        pytest.param("True", 'Write "True" in quotes, or true.', id="capital-true"),
        pytest.param("0123", 'Write "0123" in quotes.', id="octal"),
        pytest.param("0o17", 'Write "0o17" in quotes.', id="octal-of-1.2"),
        pytest.param("0x1F", 'Write "0x1F" in quotes.', id="hex"),
        pytest.param("1_000", 'Write "1_000" in quotes.', id="underscore"),
        pytest.param("12:30:45", 'Write "12:30:45" in quotes.', id="base-60"),
        pytest.param("1e3", 'Write "1e3" in quotes.', id="exponent"),
        pytest.param("2026-01-31", 'Write "2026-01-31" in quotes.', id="date"),
        pytest.param("2026-01-31T10:00:00Z", 'Write "2026-01-31T10:00:00Z" in quotes.', id="time"),
        pytest.param("~", 'Leave the key out, or write "" for an empty text.', id="tilde"),
        pytest.param("null", 'Leave the key out, or write "" for an empty text.', id="null"),
        pytest.param("", 'Leave the key out, or write "" for an empty text.', id="nothing"),
        pytest.param("1.5", 'Write "1.5" in quotes.', id="fraction"),
        pytest.param(".inf", 'Write ".inf" in quotes.', id="infinity"),
        pytest.param("+1", 'Write "+1" in quotes.', id="sign"),
        pytest.param("=", 'Write "=" in quotes.', id="equals-sign"),
        pytest.param(
            "9007199254740992", 'Write "9007199254740992" in quotes: as text it is exact.', id="beyond-2-53"
        ),
    ],
)
def test_a_value_that_parsers_read_differently_is_refused_with_what_to_write(written: str, fix: str) -> None:
    (finding,) = read(f"a: {written}\n").findings

    assert (finding.code, finding.fix) == ("yaml_type", fix)


@pytest.mark.requirement("MP-02")
@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("true", True),
        ("false", False),
        ("0", 0),
        ("-12", -12),
        ("9007199254740991", 9007199254740991),
        ('"no"', "no"),
        ("'0123'", "0123"),
        ("15m", "15m"),
        ("1.2.3", "1.2.3"),
        ("4fk2client", "4fk2client"),
        ("nonsense", "nonsense"),
        ("refs/heads/main", "refs/heads/main"),
        ('""', ""),
    ],
)
def test_a_value_with_one_meaning_keeps_its_type(written: str, value: object) -> None:
    document = read(f"a: {written}\n")

    assert document.findings == ()
    assert document.data == {"a": value}
    assert type(document.data["a"]) is type(value)


@pytest.mark.requirement("MP-01")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("a: 1\nb: {c: 1, c: 2}\n", [("field_duplicate", 2, 11)], id="duplicate"),
        pytest.param('a: 1\n"a": 2\n', [("field_duplicate", 2, 1)], id="duplicate-in-quotes"),
        pytest.param("a: &x 1\n", [("yaml_feature", 1, 4)], id="anchor"),
        pytest.param("a: &x 1\nb: *x\n", [("yaml_feature", 1, 4), ("yaml_feature", 2, 4)], id="alias"),
        pytest.param("a: !!str 1\n", [("yaml_feature", 1, 4)], id="tag"),
        pytest.param("a: !python/object:x {}\n", [("yaml_feature", 1, 4)], id="own-tag"),
        pytest.param("a: 1\n---\nb: 2\n", [("yaml_feature", 2, 1)], id="second-document"),
        pytest.param("%YAML 1.1\n---\na: 1\n", [("yaml_feature", 1, 1)], id="directive"),
        pytest.param("a: 1\n<<: {b: 2}\n", [("yaml_feature", 2, 1)], id="merge"),
        pytest.param("[a, b]: 1\nc: 2\n", [("yaml_feature", 1, 1)], id="list-as-key"),
        pytest.param("a:\n\tb: 1\n", [("yaml_feature", 2, 1)], id="tab"),
        pytest.param("a: b # x\ty\n", [("yaml_feature", 1, 9)], id="tab-in-comment"),
        pytest.param("1: a\n", [("yaml_type", 1, 1)], id="number-as-key"),
        pytest.param("on: a\n", [("yaml_type", 1, 1)], id="truth-as-key"),
        pytest.param('a: "open\nb: c\n', [("file_syntax", 3, 1)], id="open-quote"),
        pytest.param("a: b: c\n", [("file_syntax", 1, 5)], id="two-colons"),
        pytest.param("a: @x\n", [("file_syntax", 1, 4)], id="reserved-character"),
        pytest.param("# only a comment\n", [("file_empty", 1, 1)], id="no-value"),
    ],
)
def test_what_parsers_disagree_about_is_refused_at_its_place(
    text: str, expected: list[tuple[str, int, int]]
) -> None:
    assert said(read(text)) == expected


def test_one_mistake_does_not_hide_the_next() -> None:
    document = read("a: no\nb: &x 0123\nb: 1\nc: *x\nd: !t e\nf: [~\n")

    assert [code for code, _, _ in said(document)] == [
        "yaml_type",
        "yaml_feature",
        "yaml_type",
        "field_duplicate",
        "yaml_feature",
        "yaml_feature",
        "yaml_type",
        "file_syntax",
    ]


def test_the_first_of_two_equal_keys_counts_for_what_follows() -> None:
    assert read("a: 1\na: {b: 2}\nc: 3\n").data == {"a": 1, "c": 3}


@pytest.mark.requirement("MP-03")
def test_an_alias_bomb_expands_to_nothing() -> None:
    lines = ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10))]

    document = read("\n".join(lines))

    assert len(document.findings) == 91
    assert len(str(document.data)) < 2_000


@pytest.mark.requirement("MP-03")
@pytest.mark.parametrize(("depth", "good"), [(8, True), (9, False)], ids=["limit", "more"])
def test_values_are_nested_at_most_eight_deep(depth: int, good: bool) -> None:
    document = read("a: " + "[" * (depth - 1) + "x" + "]" * (depth - 1))

    assert [finding.code for finding in document.findings] == ([] if good else ["limit_exceeded"])


@pytest.mark.requirement("MP-03")
def test_nesting_without_end_is_not_read_to_its_end() -> None:
    assert read("[" * 1_000_000).findings[-1].code == "file_syntax"


@pytest.mark.requirement("MP-03")
@pytest.mark.parametrize(("length", "good"), [(1_024, True), (1_025, False)], ids=["limit", "more"])
def test_a_text_has_at_most_1024_characters(length: int, good: bool) -> None:
    document = read(f"a: {'x' * length}\n")

    assert [finding.code for finding in document.findings] == ([] if good else ["limit_exceeded"])


def test_the_findings_of_one_file_are_bounded() -> None:
    document = read("".join(f"a{number}: no\n" for number in range(10_000)))

    assert len(document.findings) == MAX_FINDINGS + 1
    assert document.findings[-1].code == "limit_exceeded"


@pytest.mark.requirement("MP-12")
@pytest.mark.parametrize(
    ("text", "code", "part"),
    [
        pytest.param('a: " x"', "value_unsafe_text", "white space", id="leading-blank"),
        pytest.param('a: "x "', "value_unsafe_text", "white space", id="blank-at-the-end"),
        pytest.param('a: "x\\u00a0"', "value_unsafe_text", "white space", id="no-break-blank"),
        pytest.param("a: |\n  x\n", "value_unsafe_text", "white space", id="block-text-ends-in-a-line-end"),
        pytest.param('a: "x\\ny"', "value_unsafe_text", "U+000A (control character)", id="line-end"),
        pytest.param('a: "x\\0y"', "value_unsafe_text", "U+0000 (control character)", id="nul"),
        pytest.param(
            'a: "x\\u200by"', "value_unsafe_text", "U+200B (zero width space)", id="zero-width-escaped"
        ),
        pytest.param("a: x\u200by", "value_unsafe_text", "U+200B (zero width space)", id="zero-width"),
        pytest.param("a: x\u202ey", "value_unsafe_text", "U+202E (right-to-left override)", id="bidi"),
        pytest.param(
            "a: b # \u2066", "value_unsafe_text", "U+2066 (left-to-right isolate)", id="bidi-in-comment"
        ),
        pytest.param('a: "x\\u3164y"', "value_unsafe_text", "U+3164 (hangul filler)", id="filler"),
        pytest.param('a: "cafe\\u0301"', "value_unsafe_text", "normal form C", id="not-nfc"),
        pytest.param(
            "a: b\rc: d", "value_unsafe_text", "U+000D (control character)", id="lone-carriage-return"
        ),
        pytest.param("a: p\u0430ypal", "value_lookalike", "p\\u0430ypal", id="cyrillic-a"),
        pytest.param("a: \uff41bc", "value_lookalike", "\\uff41bc", id="fullwidth"),
    ],
)
def test_text_that_deceives_a_reviewer_is_found(text: str, code: str, part: str) -> None:
    finding = read(text).findings[0]

    assert finding.code == code
    assert part in finding.message


@pytest.mark.parametrize(
    "text", ["a: café", "a: Zahlungsverkehr über Nacht", "a: привет мир", "a: 日本語", "a: b\r\nc: d\r\n"]
)
def test_honest_text_of_any_language_is_accepted(text: str) -> None:
    assert read(text).findings == ()


SECRETS = {
    "aws": "AKIA" + "A" * 16,
    "aws-session": "ASIA" + "B" * 16,
    "vault": "hvs." + "c" * 24,
    "vault-batch": "hvb." + "c" * 24,
    "vault-recovery": "hvr." + "c" * 24,
    "key": "-----BEGIN RSA PRIVATE " + "KEY-----",
    "pkcs8": "-----BEGIN PRIVATE " + "KEY-----",
    "encrypted": "-----BEGIN ENCRYPTED PRIVATE " + "KEY-----",
    "elliptic": "-----BEGIN EC PRIVATE " + "KEY-----",
    "token": "eyJ" + "hbGciOiJub25lIn0" + ".eyJ" + "zdWIiOiJtZSJ9" + ".x",
    **{f"github-{kind}": f"gh{kind}_" + "d" * 36 for kind in "pousr"},
    "github-fine": "github_pat_" + "d" * 40,
}


@pytest.mark.requirement("MP-14")
@pytest.mark.parametrize("kind", SECRETS)
@pytest.mark.parametrize(
    "where", ["a: {}", "# {}", "no: {}", "{}: b"], ids=["value", "comment", "faulty", "key"]
)
def test_a_secret_is_refused_and_never_shown(kind: str, where: str) -> None:
    document = read(where.format(f'"{SECRETS[kind]}"' if not where.startswith("#") else SECRETS[kind]) + "\n")

    assert "secret_in_file" in [finding.code for finding in document.findings]
    assert all(SECRETS[kind] not in repr(finding) for finding in document.findings)
    assert show(f"before {SECRETS[kind]}") == "(a secret)"


@pytest.mark.requirement("MP-14")
def test_no_line_of_a_private_key_is_shown() -> None:
    body = "MIIEpAIBAAKCAQEA"
    document = read(
        f"a: |\n  {SECRETS['key']}\n  {body}\n  no: tabs\t\n  -----END RSA PRIVATE KEY-----\nb: no\n"
    )

    assert all(body not in finding.excerpt for finding in document.findings)
    assert [finding.excerpt for finding in document.findings if finding.place.line == 4] == [""]


def test_places_are_found_by_path_also_where_the_path_ends_early() -> None:
    document = read("a:\n  - {b: 1, c: [2, 3]}\n")

    assert str(document.place(("a", 0, "c", 1))) == "a.yaml:2:19"
    assert str(document.place(("a", 0, "c"), key=True)) == "a.yaml:2:12"
    assert str(document.place(("a", 0, "missing"))) == "a.yaml:2:5"
