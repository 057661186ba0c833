"""Who may ask the admin listener: certificates and tokens, rights apart from each other, and rights that are taken away."""

import contextlib
import os
import shutil
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from gateway.admin.account import account_of
from gateway.cli.main import main
from tests.support.admins import (
    AUDIENCE,
    OIDC,
    Admin,
    admin_token,
    listening_at,
    ported,
    socketed,
    with_admin,
)
from tests.support.caller import problem, until
from tests.support.certificates import Authority
from tests.support.gateways import edit, fresh, running_gateway
from tests.support.tokens import AUDIENCE as OF_EXCHANGES

READS = ("GET", "/admin/v1/state")
EXPLAINS = ("POST", "/admin/v1/explain")
WRITES = ("POST", "/admin/v1/reload")
SWITCHES = ("PUT", "/admin/v1/switches/rule?name=payments.prod")
UNSWITCHES = ("DELETE", "/admin/v1/switches/rule?name=payments.prod")


@pytest.fixture(scope="module")
def tokened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Admin]:
    """A gateway whose administrators have tokens."""
    with ported(tmp_path_factory.mktemp("tokened"), OIDC) as admin:
        yield admin


class Certified:
    """A gateway whose administrators have certificates, and clients with those."""

    def __init__(self, folder: Path, url: str, authority: Authority) -> None:
        self.folder, self.url, self.authority = folder, url, authority

    def ask(self, method: str, path: str, pem: bytes | None, token: str | None = None) -> httpx2.Response:
        """Send one request with this key and certificate."""
        context = ssl.create_default_context(cadata=self.authority.pem)
        if pem is not None:
            file = self.folder / "client.pem"
            file.write_bytes(pem)
            context.load_cert_chain(file)
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        with httpx2.Client(base_url=self.url, verify=context, trust_env=False, timeout=20) as client:
            return client.request(method, path, headers=headers)


def certified(folder: Path, more: str = "") -> Iterator[Certified]:
    authority = Authority()
    (folder / "admin.pem").write_bytes(authority.server_pem("127.0.0.1"))
    (folder / "admin.pem").chmod(0o600)
    (folder / "clients.pem").write_text(authority.pem)
    block = f"""\
admin:
  listen: 127.0.0.1:0
  tls:
    certificate: {folder}/admin.pem
    key: {folder}/admin.pem
    client_ca: {folder}/clients.pem
    readers: ["CN=reader,O=Acme", "spiffe://acme.example/both"]
    writers: ["CN=writer,O=Acme", "spiffe://acme.example/both"]
{more}"""
    with running_gateway(with_admin(folder / "config", block), folder / "audit") as gateway:
        yield Certified(folder, listening_at(gateway), authority)


@pytest.fixture(scope="module")
def by_certificate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Certified]:
    yield from certified(tmp_path_factory.mktemp("certified"))


# Tokens.


@pytest.mark.requirement("AD-02")
@pytest.mark.parametrize(
    ("token", "code"),
    [
        pytest.param(lambda: None, "token_missing", id="none"),
        pytest.param(lambda: "not.a.token", "token_encoding_invalid", id="no-token"),
        pytest.param(
            lambda: admin_token("both", aud=OF_EXCHANGES), "token_audience_mismatch", id="exchanges"
        ),
        pytest.param(
            lambda: admin_token("both", aud=[AUDIENCE, OF_EXCHANGES]),
            "token_audience_mismatch",
            id="both-audiences",
        ),
        pytest.param(lambda: admin_token("both", aud=f"{AUDIENCE}/"), "token_audience_mismatch", id="slash"),
        pytest.param(lambda: admin_token("both", aud=None), "token_audience_missing", id="no-audience"),
        pytest.param(
            lambda: admin_token("both", iat=1_795_000_000, nbf=1_795_000_000, exp=1_795_000_300),
            "token_expired",
            id="expired",
        ),
        pytest.param(
            lambda: fresh("okta", aud=AUDIENCE, cid="both", which="second"), "token_key_unknown", id="key"
        ),
        pytest.param(lambda: fresh("github", aud=AUDIENCE), "token_issuer_unknown", id="another-issuer"),
    ],
)
def test_whoever_is_not_known_is_refused_and_nothing_is_said(
    tokened: Admin, token: Callable[[], str | None], code: str
) -> None:
    answer = tokened.ask(*READS, token=token())

    assert answer.status_code == 401
    assert problem(answer)["code"] == code
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.requirement("AD-02", "AD-03")
@pytest.mark.parametrize(
    ("client", "reads", "writes"),
    [("reader", 200, 403), ("writer", 403, 200), ("both", 200, 200), ("nobody", 403, 403)],
)
def test_reading_and_writing_are_separate_rights(
    tokened: Admin, client: str, reads: int, writes: int
) -> None:
    token = admin_token(client)

    answers = [tokened.ask(*READS, token=token), tokened.ask(*WRITES, token=token)]

    assert [answer.status_code for answer in answers] == [reads, writes]


@pytest.mark.requirement("AD-02")
def test_an_administrator_whose_identity_is_switched_off_may_do_nothing(tokened: Admin) -> None:
    writer, leaver = admin_token("writer"), admin_token("reader", sub="leaver")
    switch = "/admin/v1/switches/subject?name=okta-agents%20leaver"

    before = tokened.ask(*READS, token=leaver)
    off = tokened.ask("PUT", switch, body={"why": "has left"}, token=writer)
    until(lambda: tokened.ask(*READS, token=leaver).status_code == 403)
    refused = tokened.ask(*READS, token=leaver)
    on = tokened.ask("DELETE", switch, body={"why": "is back"}, token=writer)

    assert [before.status_code, off.status_code, on.status_code] == [200, 200, 200], off.text
    assert (refused.status_code, problem(refused)["code"]) == (403, "subject_disabled")


@pytest.mark.requirement("AD-03")
@pytest.mark.parametrize(
    ("client", "requests"),
    [
        ("reader", [WRITES, SWITCHES, UNSWITCHES]),
        (
            "writer",
            [
                READS,
                EXPLAINS,
                ("GET", "/admin/v1/policy/rules"),
                ("GET", "/admin/v1/policy/rules/payments.prod"),
                ("GET", "/admin/v1/explain/x"),
                ("GET", "/admin/v1/switches"),
                ("GET", "/admin/v1/switches/rule?name=payments.prod"),
            ],
        ),
    ],
)
def test_every_request_needs_the_right_for_it(
    tokened: Admin, client: str, requests: list[tuple[str, str]]
) -> None:
    body = {"why": "x"}

    answers = [
        tokened.ask(method, path, token=admin_token(client), body=None if method == "GET" else body)
        for method, path in requests
    ]

    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(403, "admin_forbidden")}


@pytest.mark.requirement("AD-02", "AD-07", "AU-07")
def test_a_refusal_names_the_claim_and_never_what_was_wanted_and_is_recorded(tokened: Admin) -> None:
    answer = tokened.ask(*READS, token=admin_token("nobody"))

    document = problem(answer)
    assert document["claims"] == [{"name": "cid", "problem": "value", "value": "nobody"}]
    assert "reader" not in answer.text
    record = tokened.gateway.records(answer)[0]
    assert (record.kind, record.act, record.code, record.actor) == (
        "admin",
        "view",
        "admin_forbidden",
        "okta-agents nobody",
    )


@pytest.mark.requirement("AD-02")
def test_a_token_of_administrators_is_none_for_exchanges(tokened: Admin) -> None:
    answer = tokened.gateway.get("/v1/whoami", admin_token("both"))

    assert problem(answer)["code"] == "token_audience_mismatch"


@pytest.mark.requirement("AD-02")
@pytest.mark.parametrize("scheme", ["Basic YTpi", "Bearer", "Token x"])
def test_there_is_no_other_way_in(tokened: Admin, scheme: str) -> None:
    answer = tokened.ask(*READS, headers={"Authorization": scheme})

    assert answer.status_code in {400, 401}


@pytest.mark.requirement("AD-01")
def test_a_web_page_that_leads_to_loopback_by_another_name_is_refused(tokened: Admin) -> None:
    answer = tokened.ask(*READS, token=admin_token("both"), headers={"Host": "rebound.example"})

    assert problem(answer)["code"] == "host_not_allowed"


@pytest.mark.requirement("AD-02")
def test_a_right_that_is_taken_out_of_the_file_is_gone_without_a_restart(tmp_path: Path) -> None:
    with ported(tmp_path, OIDC) as admin:
        token = admin_token("both")
        before = admin.ask(*READS, token=token)
        edit(admin.gateway.config / "gateway.yaml", "any_of: [reader, both]", "any_of: [reader]")

        until(lambda: admin.ask(*READS, token=token).status_code == 403)

        assert before.status_code == 200
        assert admin.ask(*WRITES, token=token).status_code == 200


@pytest.mark.requirement("AD-02")
def test_when_the_block_is_taken_out_of_the_file_nobody_may_do_anything(tmp_path: Path) -> None:
    with socketed(tmp_path) as admin:
        assert admin.ask(*READS).status_code == 200
        gateway = admin.gateway.config / "gateway.yaml"
        edit(gateway, gateway.read_text()[gateway.read_text().index("\nadmin:\n") :], "\n")

        until(lambda: admin.ask(*READS).status_code == 403)

        assert admin.ask(*WRITES).status_code == 403


@pytest.mark.requirement("AD-02")
def test_where_tokens_are_asked_for_the_socket_alone_is_not_enough(tmp_path: Path) -> None:
    with socketed(tmp_path, more=OIDC) as admin:
        answers = [admin.ask(*READS), admin.ask(*READS, token=admin_token("reader"))]

        assert [answer.status_code for answer in answers] == [401, 200]
        assert admin.gateway.records(answers[1])[0].actor == f"{account_of(os.geteuid())}, okta-agents reader"


# Certificates.


@pytest.mark.requirement("AD-02", "AD-03")
@pytest.mark.parametrize(
    ("name", "uri", "reads", "writes"),
    [
        ("reader", None, 200, 403),
        ("writer", None, 403, 200),
        ("anybody", "spiffe://acme.example/both", 200, 200),
        ("anybody", "spiffe://acme.example/bot", 403, 403),
        ("anybody", None, 403, 403),
        ("reader,O=Acme", None, 403, 403),
        ("Reader", None, 403, 403),
    ],
)
def test_a_client_has_the_rights_that_its_exact_names_have(
    by_certificate: Certified, name: str, uri: str | None, reads: int, writes: int
) -> None:
    pem = by_certificate.authority.client_pem(name, uri=uri)

    answers = [by_certificate.ask(*READS, pem), by_certificate.ask(*WRITES, pem)]

    assert [answer.status_code for answer in answers] == [reads, writes]


@pytest.mark.requirement("AD-02")
@pytest.mark.parametrize("who", ["nobody", "another-ca"])
def test_without_a_certificate_of_the_named_ca_there_is_no_connection(
    by_certificate: Certified, who: str
) -> None:
    pem = None if who == "nobody" else Authority().client_pem("reader")

    with pytest.raises((httpx2.TransportError, ssl.SSLError)):
        by_certificate.ask(*READS, pem)


@pytest.mark.requirement("AD-02")
def test_certificate_and_token_must_both_have_the_right(tmp_path: Path) -> None:
    for running in certified(tmp_path, OIDC):
        reader = running.authority.client_pem("reader")

        statuses = [
            running.ask(*READS, reader).status_code,
            running.ask(*READS, reader, admin_token("writer")).status_code,
            running.ask(*READS, running.authority.client_pem("writer"), admin_token("reader")).status_code,
            running.ask(*READS, reader, admin_token("reader")).status_code,
        ]

        assert statuses == [401, 403, 403, 200]


@pytest.mark.requirement("AD-02")
def test_the_command_presents_certificate_and_token(
    by_certificate: Certified, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ca, own, other = tmp_path / "ca.pem", tmp_path / "own.pem", tmp_path / "other.pem"
    ca.write_text(by_certificate.authority.pem)
    own.write_bytes(by_certificate.authority.client_pem("reader"))
    other.write_bytes(Authority().client_pem("reader"))
    to = ["--to", by_certificate.url, "--ca", str(ca)]

    codes = [
        main(["admin", "state", *to, "--cert", str(own)]),
        main(["admin", "reload", *to, "--cert", str(own)]),
        main(["admin", "state", *to, "--cert", str(other)]),
        main(["admin", "state", *to]),
        main(["admin", "state", "--to", by_certificate.url, "--cert", str(own)]),
    ]

    said = capsys.readouterr()
    assert codes == [0, 1, 2, 2, 2]
    assert "admin_forbidden: This identity may not change anything here." in said.err


@pytest.mark.parametrize(
    ("scheme", "with_ca", "advice"),
    [
        pytest.param("https", False, "Name the CA of its certificate with --ca FILE", id="no-ca"),
        pytest.param(
            "https", True, "it asks for a certificate of yours: --cert FILE, and --key FILE", id="no-cert"
        ),
        pytest.param("http", False, "write https:// and name its CA with --ca FILE", id="http"),
    ],
)
def test_a_listener_with_tls_that_is_not_reached_is_said_with_the_option_to_add(
    by_certificate: Certified,
    tmp_path: Path,
    scheme: str,
    with_ca: bool,
    advice: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_text(by_certificate.authority.pem)
    to = by_certificate.url.replace("https:", f"{scheme}:")

    code = main(["admin", "state", "--to", to, *(["--ca", str(ca)] if with_ca else [])])

    assert code == 2
    assert advice in capsys.readouterr().err


@pytest.mark.requirement("AD-02")
def test_the_command_takes_a_token_from_a_file_or_a_variable(
    tokened: Admin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "token"
    file.write_text(admin_token("reader") + "\n")
    state = ["admin", "state", "--to", listening_at(tokened.gateway)]

    codes = [main(state), main([*state, "--token-file", str(file)])]
    monkeypatch.setenv("OIDC_GATEWAY_ADMIN_TOKEN", admin_token("writer"))
    codes += [main(state), main([*state, "--token-file", str(file)])]

    assert codes == [1, 0, 1, 0]
    assert "token_missing" in capsys.readouterr().err


@pytest.mark.requirement("AD-08")
def test_connections_that_say_nothing_make_way_for_who_asks(tokened: Admin) -> None:
    port = int(listening_at(tokened.gateway).rpartition(":")[2])
    with contextlib.ExitStack() as silent:
        for _ in range(200):
            silent.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
        with httpx2.Client(base_url=listening_at(tokened.gateway), trust_env=False, timeout=20) as client:
            answers = [
                client.get("/admin/v1/state", headers={"Authorization": f"Bearer {admin_token('reader')}"})
                for _ in range(3)
            ]

    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert tokened.gateway.metric('oidc_gateway_http_connections_refused_total{reason="made_way"}') > 0


@pytest.mark.requirement("AD-08")
def test_a_reader_who_asks_and_leaves_keeps_nobody_from_switching_off(tokened: Admin) -> None:
    port = int(listening_at(tokened.gateway).rpartition(":")[2])
    question = (
        "GET /admin/v1/explain/zzz HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Bearer {admin_token('reader')}\r\n\r\n"
    ).encode()
    source = next(tokened.gateway.audit.glob("audit-*.jsonl"))
    for number in range(200):
        shutil.copy(source, source.with_name(f"audit-9{number:05}.jsonl"))

    codes = []
    for _ in range(5):
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
                connection.sendall(question)
        answer = tokened.ask(*SWITCHES, body={"why": "SEC-1"}, token=admin_token("writer"))
        codes.append(answer.status_code)
    tokened.ask(*UNSWITCHES, body={"why": "over"}, token=admin_token("writer"))

    assert codes == [200] * 5
