"""The block `admin`: what may be written, and that whatever could open the administration to others is an error."""

from pathlib import Path

import pytest

from gateway.policy.admin_rights import AdminRights, TokenRule
from gateway.policy.rule import Condition, Operator
from tests.support.config_folder import GATEWAY, codes, compiled, said
from tests.support.markdown import blocks
from tests.support.tokens import trusted

README = Path(__file__).parents[3] / "README.md"

OIDC = """\
  oidc:
    audience: https://admin.gateway.acme.example
    read: { issuer: partners, claims: { sub: { any_of: [reader@clients, writer@clients] } } }
    write: { issuer: partners, claims: { sub: writer@clients } }
"""
TLS = """\
  tls:
    certificate: /tls/admin.crt
    key: /tls/admin.key
    client_ca: /tls/clients.pem
    readers: ["CN=ops,O=Acme", "spiffe://acme.example/ops"]
    writers: ["CN=oncall,O=Acme"]
"""
SOCKET = "admin:\n  listen: unix:/run/oidc-gateway/admin.sock\n"
TCP = "admin:\n  listen: 127.0.0.1:9090\n"


def admin(folder: Path, block: str) -> AdminRights | None:
    result = compiled(folder, {"gateway.yaml": GATEWAY + block})

    assert result.policy is not None, [str(finding) for finding in result.findings]
    return result.policy.admin


@pytest.mark.requirement("AD-01")
def test_there_is_no_admin_listener_unless_the_file_has_one(tmp_path: Path) -> None:
    assert admin(tmp_path, "") is None


@pytest.mark.requirement("AD-02")
def test_a_unix_socket_needs_nothing_more(tmp_path: Path) -> None:
    assert admin(tmp_path, SOCKET) == AdminRights(tokens={})


@pytest.mark.requirement("AD-02", "AD-03")
def test_rules_for_tokens_are_written_as_those_of_mapping_files(tmp_path: Path) -> None:
    found = admin(tmp_path, TCP + OIDC)

    assert found is not None
    assert found.audience == "https://admin.gateway.acme.example"
    assert found.tokens["write"] == TokenRule(
        issuer="partners",
        conditions=(Condition(claim="sub", operator=Operator.EQUALS, wanted=("writer@clients",)),),
    )
    assert found.tokens["read"].conditions[0].operator is Operator.ANY_OF


@pytest.mark.requirement("AD-02", "AD-03")
def test_certificates_are_named_by_right(tmp_path: Path) -> None:
    found = admin(tmp_path, TCP + TLS)

    assert found is not None
    assert found.clients == {
        "read": ("CN=ops,O=Acme", "spiffe://acme.example/ops"),
        "write": ("CN=oncall,O=Acme",),
    }
    assert found.allows_client(["spiffe://acme.example/ops"], "read")
    assert not found.allows_client(["CN=ops,O=Acme"], "write")
    assert not found.allows_client(["CN=oncall,O=Acme"], "read")
    assert not found.allows_client([], "read")


@pytest.mark.requirement("AD-01", "AD-02")
@pytest.mark.parametrize(
    ("block", "expected"),
    [
        pytest.param("admin:\n  listen: 0.0.0.0:9090\n" + OIDC, "value_invalid", id="every-address"),
        pytest.param("admin:\n  listen: 192.0.2.1:9090\n" + OIDC, "value_invalid", id="an-address"),
        pytest.param("admin:\n  listen: localhost:9090\n" + OIDC, "value_invalid", id="a-name"),
        pytest.param("admin:\n  listen: unix:admin.sock\n", "value_invalid", id="relative-path"),
        pytest.param("admin:\n  listen: 127.0.0.1\n" + OIDC, "value_invalid", id="no-port"),
        pytest.param("admin:\n  listen: 127.0.0.1:99999\n" + OIDC, "value_invalid", id="port-too-great"),
        pytest.param("admin:\n  listen: /run/admin.sock\n", "value_invalid", id="no-scheme"),
        pytest.param(TCP, "field_missing", id="port-without-authentication"),
        pytest.param(TCP + "  password: secret\n" + OIDC, "field_unknown", id="password"),
        pytest.param(
            TCP + "  tls: { certificate: /c, key: /k }\n", "field_missing", id="tls-without-clients"
        ),
        pytest.param(
            TCP + "  tls: { certificate: /c, key: /k, client_ca: /a }\n", "field_missing", id="any-client"
        ),
        pytest.param(TCP + TLS.replace("    client_ca: /tls/clients.pem\n", ""), "field_missing", id="no-ca"),
        pytest.param(SOCKET + TLS, "value_invalid", id="tls-on-a-socket"),
        pytest.param(TCP + TLS.replace("CN=oncall,O=Acme", "CN=*"), "value_invalid", id="pattern-of-clients"),
        pytest.param(TCP + TLS.replace("CN=oncall,O=Acme", "oncall"), "value_invalid", id="no-subject"),
        pytest.param(TCP + "  oidc: { audience: https://a }\n", "field_missing", id="no-right"),
        pytest.param(
            TCP + OIDC.replace("https://admin.gateway.acme.example", "https://gateway.acme.example"),
            "value_invalid",
            id="audience-of-exchanges",
        ),
        pytest.param(
            TCP + OIDC.replace("https://admin.gateway.acme.example", "nw7"),
            "value_invalid",
            id="client-of-exchanges",
        ),
        pytest.param(
            TCP + OIDC.replace("write: { issuer: partners", "write: { issuer: parters"),
            "reference_unknown",
            id="no-such-issuer",
        ),
        pytest.param(
            TCP + OIDC.replace("claims: { sub: writer@clients }", "claims: { scope: { scope: admin } }"),
            "rule_unbound",
            id="every-token-of-the-issuer",
        ),
        pytest.param(
            TCP + OIDC.replace("sub: writer@clients", "sub: writer*"), "value_invalid", id="pattern"
        ),
        pytest.param(
            TCP + OIDC.replace("claims: { sub: writer@clients }", "claims: {}"),
            "rule_unbound",
            id="no-claims",
        ),
        pytest.param(
            TCP + OIDC.replace("sub: writer@clients", "aud: https://x"), "claim_forbidden", id="aud-as-claim"
        ),
    ],
)
def test_whatever_could_let_others_administer_is_an_error_with_its_place(
    tmp_path: Path, block: str, expected: str
) -> None:
    result = compiled(tmp_path, {"gateway.yaml": GATEWAY + block})

    assert result.policy is None
    assert expected in codes(result)
    assert all(place.startswith("gateway.yaml:") for _, place in said(result))


@pytest.mark.requirement("AD-02")
def test_the_issuer_is_believed_for_the_audience_of_administrators_alone() -> None:
    github = trusted("github")
    rights = AdminRights(
        audience="https://admin.example", tokens={"read": TokenRule(issuer="github", conditions=())}
    )

    believed = rights.issuers({github.issuer: github, "https://other": trusted("auth0")})

    assert list(believed) == [github.issuer]
    assert believed[github.issuer].audiences == ("https://admin.example",)
    assert believed[github.issuer].keys == github.keys


@pytest.mark.requirement("AD-02")
def test_a_cognito_access_token_which_names_no_audience_is_nobodys_here() -> None:
    pool = trusted("cognito-access")
    rights = AdminRights(
        audience="https://admin.example", tokens={"read": TokenRule(issuer=pool.name, conditions=())}
    )

    assert rights.issuers({pool.issuer: pool})[pool.issuer].token_kinds == ("id",)
    assert rights.issuers({pool.issuer: pool})[pool.issuer].clients == ()


def test_the_blocks_that_the_readme_shows_are_taken(tmp_path: Path) -> None:
    shown = [text for text in blocks(README.read_text("utf-8"), "yaml") if text.startswith("admin:")]
    admins = (
        "  okta-admins: { preset: okta, issuer: https://acme.okta.example/oauth2/admins, audiences: [x] }\n"
    )

    for text in shown:
        result = compiled(tmp_path, {"gateway.yaml": GATEWAY.replace("teams:\n", f"{admins}teams:\n") + text})

        assert result.policy is not None, [str(finding) for finding in result.findings]
        assert result.policy.admin is not None
    assert len(shown) == 2
