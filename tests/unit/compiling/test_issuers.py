import json
from pathlib import Path

import pytest

from gateway.policy.snapshot import Policy
from tests.support.config_folder import GATEWAY, codes, compiled, said

AWS = "aws: { region: eu-west-1 }\n"


def gateway(issuer: str, *, name: str = "github") -> dict[str, str | bytes | None]:
    """Return a change: an installation without teams and with one issuer, whose members are given."""
    members = "\n".join(f"    {line}" for line in issuer.strip().splitlines())
    targets = (
        "format: oidc-gateway/targets.v1\nroles:\n  prod: { arn: 'arn:aws:iam::111122223333:role/prod' }\n"
    )
    rules = (
        "format: oidc-gateway/mapping.v1\nrules:\n  - name: one\n    why: test\n"
        f"    issuer: {name}\n    claims: {{ sub: x }}\n    grants: [{{ obtain: prod }}]\n"
    )
    return {
        "gateway.yaml": f"format: oidc-gateway/gateway.v1\nissuers:\n  {name}:\n{members}\n{AWS}",
        "targets.yaml": targets,
        "mappings/payments/deploy.yaml": rules,
        "mappings/ops.yaml": None,
    }


def policy(folder: Path, issuer: str, *, dev: bool = False) -> Policy:
    result = compiled(folder, gateway(issuer), dev=dev)
    assert result.policy is not None, result.findings
    return result.policy


GENERIC = "preset: generic\naudiences: [https://gateway.acme.example]\n"


@pytest.mark.requirement("KS-02")
@pytest.mark.parametrize(
    ("issuer", "url"),
    [
        ("https://idp.example", "https://idp.example/.well-known/openid-configuration"),
        ("https://idp.example/", "https://idp.example/.well-known/openid-configuration"),
        ("https://idp.example/realms/a", "https://idp.example/realms/a/.well-known/openid-configuration"),
        ("https://idp.example/realms/a/", "https://idp.example/realms/a/.well-known/openid-configuration"),
        ("https://idp.example//", "https://idp.example//.well-known/openid-configuration"),
    ],
)
def test_discovery_stands_below_the_issuer_without_one_slash_at_its_end(
    tmp_path: Path, issuer: str, url: str
) -> None:
    found = policy(tmp_path, f"{GENERIC}issuer: {issuer}\n").issuers[issuer]

    assert found.keys.discovery_url == url
    assert found.keys.jwks_uri is None


@pytest.mark.requirement("KS-02")
@pytest.mark.parametrize("field", ["discovery_url", "jwks_uri"])
def test_an_explicit_address_of_keys_differs_from_the_issuer(tmp_path: Path, field: str) -> None:
    wrong = compiled(
        tmp_path, gateway(f"{GENERIC}issuer: https://idp.example/x\n{field}: https://idp.example/x\n")
    )

    assert said(wrong) == [("value_invalid", f"gateway.yaml:7:{len(field) + 7}")]
    assert wrong.policy is None


def test_an_explicit_key_set_needs_no_discovery(tmp_path: Path) -> None:
    made = policy(tmp_path, f"{GENERIC}issuer: https://idp.example\njwks_uri: https://idp.example/keys\n")

    keys = made.issuers["https://idp.example"].keys
    assert (keys.discovery_url, keys.jwks_uri) == (None, "https://idp.example/keys")


@pytest.mark.requirement("TV-22", "KS-06")
@pytest.mark.parametrize(
    "issuer",
    [
        "http://idp.example",
        "ftp://idp.example",
        "file:///etc/passwd",
        "accounts.google.com",
        "https://user:word@idp.example",
        "https://idp.example?a=b",
        "https://idp.example/#x",
        "https://idp.example/a/../b",
        "https://idp.example/%2e%2e/b",
        "https://idp.example:port",
        "https://bücher.example",
        "https:///path",
        f"https://idp.example/{'x' * 240}",
        "http://127.0.0.1.nip.io",
        "http://localhost:8080",
    ],
)
@pytest.mark.parametrize("dev", [False, True], ids=["serve", "dev"])
def test_an_issuer_that_is_no_plain_https_url_is_refused(tmp_path: Path, issuer: str, dev: bool) -> None:
    result = compiled(tmp_path, gateway(f'{GENERIC}issuer: "{issuer}"\n'), dev=dev)

    assert result.policy is None
    assert set(codes(result)) & {"issuer_insecure", "limit_exceeded", "value_invalid"}


@pytest.mark.requirement("KS-06")
@pytest.mark.parametrize("issuer", ["http://127.0.0.1:8080", "http://[::1]:8080", "http://127.9.9.9"])
def test_plain_http_is_for_literal_loopback_addresses_and_dev_alone(tmp_path: Path, issuer: str) -> None:
    served = compiled(tmp_path, gateway(f'{GENERIC}issuer: "{issuer}"\n'))
    developed = policy(tmp_path, f'{GENERIC}issuer: "{issuer}"\n', dev=True)

    assert codes(served) == ["dev_only"]
    assert developed.issuers[issuer].keys.allow_http


@pytest.mark.requirement("KS-06", "TV-47")
@pytest.mark.parametrize(
    "switch",
    ["verify: false", "insecure: true", "skip_signature: true", "algorithms: [none]", "audiences: []"],
)
def test_no_switch_turns_a_check_off(tmp_path: Path, switch: str) -> None:
    members = f"{GENERIC}issuer: https://idp.example\n"
    if switch.startswith("audiences"):
        members = members.replace("audiences: [https://gateway.acme.example]", switch)
    else:
        members += switch

    assert compiled(tmp_path, gateway(members)).policy is None


@pytest.mark.requirement("TV-12")
@pytest.mark.parametrize(
    "algorithm", ["none", "None", "noNE", "HS256", "HS512", "ES256K", "ES521", "rs256", "RS1", "Ed25519", ""]
)
def test_an_algorithm_that_is_not_known_to_be_safe_is_refused(tmp_path: Path, algorithm: str) -> None:
    result = compiled(
        tmp_path, gateway(f'{GENERIC}issuer: https://idp.example\nalgorithms: [RS256, "{algorithm}"]\n')
    )

    assert codes(result) == ["algorithm_forbidden"]
    assert result.policy is None


@pytest.mark.requirement("TV-12")
def test_an_empty_list_of_algorithms_is_refused_and_the_default_is_short(tmp_path: Path) -> None:
    empty = compiled(tmp_path, gateway(f"{GENERIC}issuer: https://idp.example\nalgorithms: []\n"))
    default = policy(tmp_path, f"{GENERIC}issuer: https://idp.example\n")

    assert codes(empty) == ["algorithm_forbidden"]
    assert default.issuers["https://idp.example"].algorithms == ("RS256", "ES256")


@pytest.mark.parametrize(
    ("algorithms", "severity"),
    [("[EdDSA, PS256]", "error"), ("[RS256, EdDSA]", "warning")],
    ids=["none", "some"],
)
def test_signatures_that_aws_refuses_are_said_before_anybody_tries(
    tmp_path: Path, algorithms: str, severity: str
) -> None:
    result = compiled(tmp_path, gateway(f"{GENERIC}issuer: https://idp.example\nalgorithms: {algorithms}\n"))

    assert [(finding.code, finding.severity) for finding in result.findings] == [
        ("aws_token_unusable", severity)
    ]


@pytest.mark.requirement("TV-23")
@pytest.mark.parametrize("audiences", ["", "audiences: []", 'audiences: [""]', "audiences: ['*']"])
def test_every_issuer_names_its_audiences(tmp_path: Path, audiences: str) -> None:
    result = compiled(tmp_path, gateway(f"preset: generic\nissuer: https://idp.example\n{audiences}\n"))

    assert result.policy is None
    assert set(codes(result)) <= {"audience_missing", "value_invalid"}


@pytest.mark.requirement("TV-23", "TV-26")
@pytest.mark.parametrize(
    ("members", "expected"),
    [
        pytest.param("clients: [c1]", [], id="id-tokens-of-known-clients"),
        pytest.param("audiences: [x]", [], id="id-tokens-of-audiences"),
        pytest.param("", ["audience_missing"], id="neither"),
        pytest.param("tokens: [id, access]\nclients: [c1]", [], id="both-kinds"),
        pytest.param("tokens: [access]\nclients: [c1]", ["aws_token_unusable"], id="access-alone"),
        pytest.param(
            "tokens: [access]\naudiences: [x]", ["audience_missing", "aws_token_unusable"], id="any-client"
        ),
    ],
)
def test_for_cognito_clients_may_stand_in_for_audiences(
    tmp_path: Path, members: str, expected: list[str]
) -> None:
    issuer = (
        f"preset: cognito\nissuer: https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_AbC\n{members}\n"
    )

    assert codes(compiled(tmp_path, gateway(issuer))) == expected


def test_tokens_is_for_cognito_alone(tmp_path: Path) -> None:
    result = compiled(tmp_path, gateway(f"{GENERIC}issuer: https://idp.example\ntokens: [id]\n"))

    assert said(result) == [("value_invalid", "gateway.yaml:7:5")]


@pytest.mark.requirement("TV-26")
def test_tokens_for_several_audiences_need_known_clients(tmp_path: Path) -> None:
    members = f"{GENERIC}issuer: https://idp.example\nalso_allowed: [https://idp.example/userinfo]\n"

    refused = compiled(tmp_path, gateway(members))
    allowed = compiled(tmp_path, gateway(f"{members}clients: [c1]\n"))

    assert (codes(refused), codes(allowed)) == (["field_missing"], [])


@pytest.mark.requirement("MP-08")
@pytest.mark.parametrize(
    ("members", "good"),
    [
        pytest.param("preset: github-actions", False, id="github"),
        pytest.param(
            "preset: github-actions\nrequire: { repository_owner: acme }", False, id="a-name-is-no-pin"
        ),
        pytest.param(
            'preset: github-actions\nrequire: { repository_owner_id: "12" }', True, id="github-pinned"
        ),
        pytest.param(
            "preset: generic\nissuer: https://token.actions.githubusercontent.com",
            False,
            id="generic-is-no-way-around",
        ),
        pytest.param("preset: gitlab", False, id="gitlab"),
        pytest.param("preset: gitlab\nissuer: https://gitlab.acme.example", True, id="own-gitlab"),
        pytest.param(
            'preset: gitlab\nrequire: { namespace_id: { any_of: ["1", "2"] } }', True, id="gitlab-pinned"
        ),
        pytest.param(
            "preset: gitlab\nrequire: { namespace_id: { absent: true } }", False, id="absence-is-no-pin"
        ),
        pytest.param("preset: generic\nissuer: https://accounts.google.com", False, id="google"),
    ],
)
def test_an_issuer_that_signs_for_everybody_pins_its_owner(tmp_path: Path, members: str, good: bool) -> None:
    result = compiled(tmp_path, gateway(f"{members}\naudiences: [https://gateway.acme.example]\n"))

    assert codes(result) == ([] if good else ["issuer_unpinned"])


def test_each_issuer_string_stands_once(tmp_path: Path) -> None:
    twice = GATEWAY.replace(
        "teams:",
        '  again:\n    preset: github-actions\n    audiences: [x]\n    require: { repository_owner_id: "13" }\nteams:',
    )

    assert said(compiled(tmp_path, {"gateway.yaml": twice})) == [("name_taken", "gateway.yaml:13:5")]


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ("allow_addresses: [10.1.2.3/8]", "value_invalid"),
        ("allow_addresses: [everything]", "value_invalid"),
        ("jwks_hosts: ['https://keys.example']", "value_invalid"),
        ("jwks_uri: http://idp.example/keys", "issuer_insecure"),
        ("jwks_uri: https://idp.example/k\ndiscovery_url: https://idp.example/d", "value_invalid"),
        ("leeway_s: 61", "value_invalid"),
        ("max_age: 1d", "value_invalid"),
        ("ca_file: ca.pem", "file_missing"),
    ],
)
def test_what_cannot_hold_on_the_way_to_the_keys_is_refused(tmp_path: Path, members: str, code: str) -> None:
    assert codes(compiled(tmp_path, gateway(f"{GENERIC}issuer: https://idp.example\n{members}\n"))) == [code]


@pytest.mark.requirement("TV-29")
@pytest.mark.parametrize(("written", "leeway_s"), [("", 30), ("leeway_s: 0", 0), ("leeway_s: 60", 60)])
def test_the_leeway_is_thirty_seconds_unless_the_file_says_another_number(
    tmp_path: Path, written: str, leeway_s: int
) -> None:
    found = policy(tmp_path, f"{GENERIC}issuer: https://idp.example\n{written}\n")

    assert found.issuers["https://idp.example"].leeway_s == leeway_s


@pytest.mark.requirement("TV-29")
@pytest.mark.parametrize("leeway_s", [-1, 61])
def test_a_leeway_is_no_more_than_a_minute(tmp_path: Path, leeway_s: int) -> None:
    result = compiled(tmp_path, gateway(f"{GENERIC}issuer: https://idp.example\nleeway_s: {leeway_s}\n"))

    assert (codes(result), result.policy) == (["value_invalid"], None)


def test_a_ca_file_holds_certificates(tmp_path: Path) -> None:
    changes = gateway(f"{GENERIC}issuer: https://idp.example\nca_file: ca.pem\n")

    assert codes(compiled(tmp_path, {**changes, "ca.pem": "nothing\n"})) == ["value_invalid"]


EC_KEY = {
    "kty": "EC",
    "crv": "P-256",
    "kid": "k1",
    "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
    "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
}


@pytest.mark.requirement("KS-18")
def test_a_key_file_is_taken_as_it_is_and_nothing_is_fetched(tmp_path: Path) -> None:
    changes = gateway(f"{GENERIC}issuer: https://idp.example\njwks_file: keys.json\n")

    result = compiled(tmp_path, {**changes, "keys.json": json.dumps({"keys": [EC_KEY]})})

    assert result.policy is not None
    issuer = result.policy.issuers["https://idp.example"]
    assert json.loads(issuer.keys.static_jwks or "") == {"keys": [EC_KEY]}
    assert (issuer.keys.discovery_url, issuer.keys.jwks_uri, issuer.kid_required) == (None, None, False)


@pytest.mark.requirement("KS-18")
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param({"keys": []}, ["keys_unusable"], id="empty"),
        pytest.param({}, ["keys_unusable"], id="no-keys"),
        pytest.param("[]", ["keys_unusable"], id="no-object"),
        pytest.param('{"keys": [], "keys": [' + json.dumps(EC_KEY) + "]}", ["keys_unusable"], id="duplicate"),
        pytest.param(
            {"keys": [EC_KEY | {"use": "enc"}]}, ["keys_unusable", "keys_unusable"], id="for-encryption"
        ),
        pytest.param(
            {"keys": [EC_KEY, EC_KEY | {"kid": "k2", "crv": "P-999"}]}, ["keys_unusable"], id="one-bad"
        ),
        pytest.param({"keys": [EC_KEY | {"d": "x"}]}, ["keys_unusable", "secret_in_file"], id="private"),
        pytest.param(
            {"keys": [{"kty": "oct", "kid": "s", "k": "c2VjcmV0"}]},
            ["keys_unusable", "secret_in_file"],
            id="symmetric",
        ),
    ],
)
def test_each_key_of_a_file_is_judged_by_itself(tmp_path: Path, content: object, expected: list[str]) -> None:
    changes = gateway(f"{GENERIC}issuer: https://idp.example\njwks_file: keys.json\n")
    text = content if isinstance(content, str) else json.dumps(content)

    result = compiled(tmp_path, {**changes, "keys.json": text})

    assert sorted(codes(result)) == expected
    assert (result.policy is not None) is (expected == ["keys_unusable"] and "P-999" in text)


@pytest.mark.requirement("TV-26a")
def test_an_okta_org_server_is_said_to_be_of_little_use_and_known_as_one(tmp_path: Path) -> None:
    members = "preset: okta\nissuer: https://acme.okta.example\naudiences: [x]\n"

    result = compiled(tmp_path, gateway(members))

    assert result.policy is not None
    assert result.policy.issuers["https://acme.okta.example"].okta_org

    assert [(finding.code, finding.severity) for finding in result.findings] == [
        ("issuer_insecure", "warning")
    ]


def test_requirements_that_no_token_can_meet_are_refused(tmp_path: Path) -> None:
    members = f"{GENERIC}issuer: https://idp.example\nrequire: {{ /a: x, a: z }}\n"

    assert codes(compiled(tmp_path, gateway(members)))[0] == "rule_unsatisfiable"
