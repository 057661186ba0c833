import pytest

from gateway.files.document import read_document
from gateway.files.schema.gateway import GatewayShape
from gateway.files.schema.mapping import MappingShape
from gateway.files.schema.targets import TargetsShape
from gateway.files.shapes import Shaped, shape_document
from gateway.files.source import Source

RULE = "why: w, issuer: github, claims: {sub: x}, grants: [{obtain: t}]"


def mapping(text: str) -> Shaped[MappingShape]:
    source = Source(file="m.yaml", digest="", text=f"format: oidc-gateway/mapping.v1\n{text}", findings=())
    return shape_document(read_document(source), MappingShape)


def gateway(text: str) -> Shaped[GatewayShape]:
    source = Source(file="g.yaml", digest="", text=f"format: oidc-gateway/gateway.v1\n{text}", findings=())
    return shape_document(read_document(source), GatewayShape)


def targets(text: str) -> Shaped[TargetsShape]:
    source = Source(file="t.yaml", digest="", text=f"format: oidc-gateway/targets.v1\n{text}", findings=())
    return shape_document(read_document(source), TargetsShape)


@pytest.mark.requirement("MP-01")
@pytest.mark.parametrize(
    ("text", "place", "message", "fix"),
    [
        pytest.param(
            f"rules:\n  - {{name: a, {RULE}, clams: {{}}}}",
            "m.yaml:3:80",
            '"clams" is not known in Rule "a".',
            "Did you mean claims?",
            id="unknown-key",
        ),
        pytest.param(
            "rules:\n  - {name: a, issuer: i, claims: {sub: x}, grants: [{obtain: t}]}",
            "m.yaml:3:5",
            'Rule "a" has no why.',
            "Add why: Why it exists: a ticket and a sentence.",
            id="missing-key",
        ),
        pytest.param(
            f"rules:\n  - {{name: Deploy, {RULE}}}",
            "m.yaml:3:12",
            '"Deploy" is no name.',
            "Write deploy. Use 1 to 63 lower-case letters, digits, - and _; begin and end with a letter or digit.",
            id="name",
        ),
        pytest.param("rules: 3", "m.yaml:2:8", "rules is not a list.", "Write [3].", id="type"),
        pytest.param(
            "rules:\n  - {name: a, why: w, issuer: i, claims: {}, grants: [{obtain: t}]}",
            "m.yaml:3:42",
            "A rule without claims binds nobody.",
            "Name the claims that must hold.",
            id="no-claims",
        ),
        pytest.param(
            "rules:\n  - {name: a, why: w, issuer: i, claims: {a: {any_off: [x]}}, grants: [{obtain: t}]}",
            "m.yaml:3:47",
            '"any_off" is not known in a.',
            "Did you mean any_of?",
            id="operator",
        ),
        pytest.param(
            "rules:\n  - {name: a, why: w, issuer: i, claims: {a: {any_of: [x], scope: z}}, grants: [{obtain: t}]}",
            "m.yaml:3:46",
            "A claim has exactly one operator.",
            "Keep one of any_of, contains, contains_any, contains_all, scope, absent.",
            id="two-operators",
        ),
        pytest.param(
            "rules:\n  - {name: a, why: w, issuer: i, claims: {a: {absent: false}}, grants: [{obtain: t}]}",
            "m.yaml:3:55",
            "absent cannot be false.",
            "To demand that the claim is there, say what it must be; to leave it open, leave the claim out.",
            id="absent-false",
        ),
        pytest.param(
            "rules:\n  - {name: a, why: w, issuer: i, claims: {a: [x]}, grants: [{obtain: t}]}",
            "m.yaml:3:46",
            "a is not text, a whole number, true or false.",
            "Write one value, or one operator such as any_of: […].",
            id="list-as-value",
        ),
        pytest.param(
            "rules:\n  - {name: a, why: w, issuer: i, claims: {a: b}, grants: [{obtain: t, form: vault-tokens}]}",
            "m.yaml:3:77",
            'form cannot be "vault-tokens".',
            "Did you mean vault-token?",
            id="form",
        ),
        pytest.param(
            f"rules:\n  - {{name: a, {RULE}, last_day: soon}}",
            "m.yaml:3:90",
            '"soon" is no day.',
            'Write it as "2027-01-31", in quotes.',
            id="day",
        ),
    ],
)
def test_a_wrong_shape_is_said_in_our_words_with_its_place_and_a_fix(
    text: str, place: str, message: str, fix: str
) -> None:
    (finding,) = mapping(text).findings

    assert (str(finding.place), finding.message, finding.fix) == (place, message, fix)


@pytest.mark.requirement("MP-01")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(
            'issuers: { a: { preset: generic, leeway_s: "30" } }\naws: { region: eu-west-1 }',
            "leeway_s is not a whole number.",
            id="text-for-a-number",
        ),
        pytest.param(
            'issuers: { a: { preset: generic } }\naws: { region: eu-west-1, emulator: "true" }',
            "emulator is not true or false.",
            id="text-for-true",
        ),
        pytest.param(
            "issuers: { a: { preset: generic } }\naws: { region: eu-west-1, emulator: 1 }",
            "emulator is not true or false.",
            id="number-for-true",
        ),
    ],
)
def test_a_value_of_another_type_is_never_converted(text: str, message: str) -> None:
    assert [finding.message for finding in gateway(text).findings] == [message]


@pytest.mark.requirement("MP-01")
@pytest.mark.parametrize(
    ("text", "code"),
    [
        pytest.param("rules: []\n", "format_unknown", id="none"),
        pytest.param("rules: []\nformat: oidc-gateway/mapping.v1\n", "format_unknown", id="not-first"),
        pytest.param("format: oidc-gateway/mapping.v2\nrules: []\n", "format_unknown", id="later-version"),
        pytest.param("format: oidc-gateway/targets.v1\nroles: {}\n", "format_unknown", id="other-format"),
        pytest.param("- a\n", "value_type", id="list"),
    ],
)
def test_format_is_the_first_key_of_every_file(text: str, code: str) -> None:
    document = read_document(Source(file="m.yaml", digest="", text=text, findings=()))

    assert [finding.code for finding in shape_document(document, MappingShape).findings] == [code]


def test_a_wrong_entry_is_judged_on_without_what_is_wrong_and_all_places_stay_true() -> None:
    shaped = mapping(
        f"rules:\n  - {{name: A, {RULE}}}\n  - {{name: b, {RULE}}}\n  - 3\n  - {{name: c, {RULE}}}"
    )

    assert shaped.shape is not None
    assert [rule.name for rule in shaped.shape.rules][1:] == ["b", "c"]
    assert shaped.indices == (0, 1, 3)
    assert shaped.document.holes == {("rules", 0, "name")}
    assert not shaped.sound


def test_a_wrong_default_of_an_entry_does_not_hide_its_other_mistakes() -> None:
    shaped = targets("roles:\n  r: {arn: x, duration: 900}\n")

    assert shaped.shape is not None
    assert shaped.shape.roles["r"].arn == "x"
    assert [finding.message for finding in shaped.findings] == ["duration is not a duration."]


def test_what_a_later_version_will_know_is_refused_by_name() -> None:
    shaped = gateway("issuers: {a: {preset: generic}}\naws: {region: eu-west-1}\nfuture: {redis: x}\n")

    (finding,) = shaped.findings

    assert (finding.code, finding.message) == ("field_unknown", '"future" is not known in this file.')


@pytest.mark.requirement("MP-01")
@pytest.mark.parametrize(
    ("text", "message", "fix"),
    [
        pytest.param(
            "{}", "main has no address.", "Add address: https://HOST:PORT, without a path.", id="address"
        ),
        pytest.param(
            "{address: https://v.example, token: x}",
            '"token" is not known in main.',
            "Known here: address, namespace, ca_file.",
            id="token",
        ),
    ],
)
def test_a_vault_server_has_an_address_and_never_a_token(text: str, message: str, fix: str) -> None:
    shaped = gateway(
        f"issuers: {{a: {{preset: generic}}}}\naws: {{region: eu-west-1}}\nvaults: {{main: {text}}}\n"
    )

    (finding,) = shaped.findings

    assert (finding.message, finding.fix) == (message, fix)


VAULT_ROLE = "vault: main, mount: jwt, role: ci, user_claim: sub, policies: [ci], ttl: 10m"


@pytest.mark.requirement("MP-01")
@pytest.mark.parametrize(
    ("members", "message"),
    [
        pytest.param(VAULT_ROLE.replace(", ttl: 10m", ""), "v has no ttl.", id="no-ttl"),
        pytest.param(VAULT_ROLE.replace("10m", "600"), "ttl is not a duration.", id="ttl"),
        pytest.param(VAULT_ROLE.replace("[ci]", "[]"), "policies is empty.", id="no-policy"),
        pytest.param(f"{VAULT_ROLE}, wrap: soon", '"soon" is no duration.', id="wrap"),
        pytest.param(f"{VAULT_ROLE}, aws: {{mount: aws, role: ci}}", "aws has no role_arn.", id="no-arn"),
        pytest.param(f"{VAULT_ROLE}, token: x", '"token" is not known in v.', id="unknown-key"),
    ],
)
def test_a_vault_role_says_all_that_limits_it(members: str, message: str) -> None:
    shaped = targets(f"vault_roles: {{v: {{{members}}}}}\n")

    assert [finding.message for finding in shaped.findings] == [message]


def test_a_value_that_was_refused_as_yaml_is_not_refused_again_as_a_type() -> None:
    shaped = mapping(f"rules:\n  - {{name: a, {RULE.replace('why: w', 'why: ~')}}}")

    assert [finding.code for finding in shaped.findings] == ["yaml_type"]


@pytest.mark.requirement("MP-03")
@pytest.mark.parametrize(("count", "good"), [(32, True), (33, False)], ids=["limit", "more"])
def test_a_rule_has_at_most_32_conditions(count: int, good: bool) -> None:
    claims = ", ".join(f"c{number}: x" for number in range(count))

    shaped = mapping(f"rules:\n  - {{name: a, {RULE.replace('sub: x', claims)}}}")

    assert [finding.code for finding in shaped.findings] == ([] if good else ["limit_exceeded"])


@pytest.mark.requirement("MP-03")
@pytest.mark.parametrize(("count", "good"), [(64, True), (65, False)], ids=["limit", "more"])
def test_there_are_at_most_64_issuers(count: int, good: bool) -> None:
    issuers = ", ".join(f"i{number}: {{preset: generic}}" for number in range(count))

    shaped = gateway(f"issuers: {{{issuers}}}\naws: {{region: eu-west-1}}\n")

    assert [finding.code for finding in shaped.findings] == ([] if good else ["limit_exceeded"])


def test_a_file_of_another_kind_is_not_refused_word_by_word() -> None:
    shaped = mapping("rules: [" + "{a: 1}, " * 3_000 + "]")

    assert [finding.code for finding in shaped.findings] == ["limit_exceeded"]


@pytest.mark.requirement("MP-01")
def test_what_stands_under_a_misspelt_section_is_judged_too() -> None:
    shaped = mapping(f"rule:\n  - {{name: a, {RULE}}}\n  - {{name: b, {RULE}, last_day: soon}}")

    assert shaped.shape is not None
    assert [(finding.code.value, str(finding.place)) for finding in shaped.findings] == [
        ("field_unknown", "m.yaml:2:1"),
        ("value_invalid", "m.yaml:4:90"),
    ]
    assert shaped.indices == (0, 1)
