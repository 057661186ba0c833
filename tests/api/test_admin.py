"""The admin listener of the real gateway: what it tells and turns, and what is written down about who asked."""

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast
from unittest.mock import Mock
from urllib.parse import quote

import httpx2
import pytest
from starlette.routing import Route

from gateway.admin.account import account_of
from gateway.audit.reading import read_entries
from gateway.cli import admin_client
from gateway.cli.main import main
from gateway.doors.admin.door import AdminDoor, admin_router
from tests.api.conftest import Scripted
from tests.support.admins import Admin, socketed
from tests.support.caller import problem, until
from tests.support.gateways import Gateway, edit, fresh
from tests.support.markdown import section, tables
from tests.support.scripted_aws import ScriptedAws
from tests.support.serving import read_all

README = Path(__file__).parents[2] / "README.md"
WRITE = "write unix:/PATH, https://127.0.0.1:PORT or, where `admin` has no `tls`, http://127.0.0.1:PORT."
CI_ONCE = """\
format: oidc-gateway/mapping.v1
rules:
  - name: once
    why: PAY-7, each token once
    issuer: github
    claims: { repository: acme/payments, repository_id: "4711", environment: once }
    grants: [{ obtain: payments-prod }]
    replay: once
"""


@pytest.fixture(scope="module")
def shared_admin(tmp_path_factory: pytest.TempPathFactory, scripted_aws: ScriptedAws) -> Iterator[Admin]:
    """A gateway with a unix socket for administrators."""
    with socketed(tmp_path_factory.mktemp("admin"), aws=scripted_aws.url) as admin:
        (admin.gateway.config / "mappings" / "payments" / "once.yaml").write_text(CI_ONCE)
        assert admin.ask("POST", "/admin/v1/reload").json()["accepted"]
        yield admin


@pytest.fixture
def admin(shared_admin: Admin, scripted_aws: ScriptedAws) -> Admin:
    scripted_aws.begin()
    return shared_admin


def socket_of(admin: Admin) -> Path:
    return admin.gateway.config.parent / "run" / "admin.sock"


def raw(gateway: Gateway, request: str) -> bytes:
    """Send a request to the public listener, byte for byte, and return its answer."""
    port = int(gateway.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request.replace("\n", "\r\n").encode())
        return read_all(connection)


# Who reaches it.


@pytest.mark.requirement("AD-01")
@pytest.mark.parametrize(
    "target",
    [
        "/admin/v1/state",
        "//admin/v1/state",
        "/./admin/v1/state",
        "/v1/../admin/v1/state",
        "/%61dmin/v1/state",
        "/admin%2fv1%2fstate",
        "/%2e%2e/admin/v1/state",
        "/v1/%2e%2e/admin/v1/state",
        "/livez/../admin/v1/state",
        "/admin/v1/state/",
        "/admin/v1/state;x=1",
        "/admin/v1/reload",
        "/admin/v1/switches",
        "/admin",
    ],
)
def test_no_path_of_the_public_listener_leads_to_administration(admin: Admin, target: str) -> None:
    answer = raw(admin.gateway, f"GET {target} HTTP/1.1\nHost: localhost\nConnection: close\n\n")

    assert answer.split(b" ")[1] == b"404", answer


@pytest.mark.requirement("AD-01")
@pytest.mark.parametrize(
    "fields",
    [
        "Host: admin.localhost",
        "Host: localhost\nX-Forwarded-Host: admin.sock",
        "Host: localhost\nX-Forwarded-For: 127.0.0.1\nX-Real-IP: 127.0.0.1\nForwarded: for=127.0.0.1",
        "Host: localhost\nX-Original-URL: /admin/v1/state\nX-Rewrite-URL: /admin/v1/state",
        "Host: localhost\nX-HTTP-Method-Override: GET\nX-Forwarded-Prefix: /admin",
    ],
    ids=["host", "forwarded-host", "forwarded-for", "original-url", "prefix"],
)
def test_no_header_field_of_the_public_listener_leads_there(admin: Admin, fields: str) -> None:
    answer = raw(admin.gateway, f"GET /admin/v1/state HTTP/1.1\n{fields}\nConnection: close\n\n")

    assert answer.split(b" ")[1] in {b"404", b"421"}, answer


@pytest.mark.requirement("AD-01")
def test_the_absolute_form_of_a_request_leads_nowhere_either(admin: Admin) -> None:
    answer = raw(admin.gateway, "GET http://admin.sock/admin/v1/state HTTP/1.1\nHost: localhost\n\n")

    assert answer.split(b" ")[1] in {b"400", b"404"}, answer


@pytest.mark.requirement("AD-01")
def test_nothing_of_the_public_listener_is_on_the_administrators_one(admin: Admin) -> None:
    answers = [
        admin.ask("GET", "/livez"),
        admin.ask("GET", "/metrics"),
        admin.ask("GET", "/v1/whoami", token=fresh()),
        admin.ask("POST", "/v1/credentials", token=fresh(), body={"target": "payments-prod"}),
    ]

    assert [problem(answer)["code"] for answer in answers] == ["not_found"] * 4


@pytest.mark.requirement("AD-01")
def test_a_gateway_listens_for_administrators_only_where_the_file_says_so(scripted: Scripted) -> None:
    gateway = scripted.gateway

    assert "listening for administrators" not in gateway.log()
    assert gateway.get("/admin/v1/state").status_code == 404


@pytest.mark.requirement("AD-01")
def test_the_socket_is_open_to_its_user_alone(admin: Admin) -> None:
    path = socket_of(admin)

    assert stat.S_ISSOCK(path.stat().st_mode)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.requirement("AD-01", "AD-02")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_is_turned_away_by_the_kernels_word_even_where_the_mode_would_let_it_in(
    admin: Admin,
) -> None:
    path = socket_of(admin)
    # As another user reaches it whom a wrong mode, or a descriptor from elsewhere, lets through.
    program = (
        "import os, socket, sys; sock = socket.socket(socket.AF_UNIX); folder = os.open(sys.argv[1], os.O_PATH);"
        "os.fchdir(os.open(sys.argv[1], os.O_RDONLY)); os.setuid(65534); sock.connect('admin.sock');"
        "sock.sendall(b'GET /admin/v1/state HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n');"
        "print(len(sock.recv(100)))"
    )
    path.chmod(0o666)
    path.parent.chmod(0o755)

    ended = subprocess.run(
        [sys.executable, "-c", program, str(path.parent)],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    path.chmod(0o600)
    path.parent.chmod(0o700)

    assert ended.stdout.strip() in {"0", ""}, ended
    assert ended.stdout.strip() == "0" or any(
        one in ended.stderr for one in ("ConnectionResetError", "BrokenPipeError")
    ), ended
    assert admin.gateway.metric('oidc_gateway_http_connections_refused_total{reason="other_user"}') >= 1


# What it tells.


def test_the_state_says_what_the_gateway_runs_on(admin: Admin) -> None:
    state = admin.get("/state").json()

    assert state["policy"]["state"] == "current"
    assert state["policy"]["digest"] == admin.gateway.get("/readyz").json()["digest"]
    assert state["issuers"]["okta-agents"]["keys"] == 4
    assert len(state["issuers"]["okta-agents"]["thumbprints"]) == 4 - 1  # RS256 and PS256 share a key
    assert state["switches"]["readable"] is True
    assert [worker["policy"] for worker in state["workers"]] == [state["policy"]["digest"]]
    assert state["limits"]["max_concurrency"] == 4096
    assert state["audit"]["failing"] is False


def test_rules_are_listed_page_by_page_and_shown_whole(admin: Admin) -> None:
    first = admin.get("/policy/rules?limit=2").json()
    second = admin.get(f"/policy/rules?limit=1000&after={first['next']}").json()
    rule = admin.get("/policy/rules/payments.prod").json()

    ids = [one["id"] for one in (*first["rules"], *second["rules"])]
    assert ids == sorted(set(ids))
    assert "payments.prod" in ids
    assert second["next"] is None
    assert {"claim": "ref", "operator": "equals", "wanted": ["refs/heads/main"]} in rule["claims"]
    assert {"verb": "start", "workflow": "deploy-payments", "target": "payments-prod", "form": None} in rule[
        "grants"
    ]
    assert problem(admin.get("/policy/rules/payments.nothing"))["code"] == "not_found"


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=x", "limit=-1", "unknown=1", "limit=1&limit=2"]
)
def test_a_query_that_means_nothing_is_refused(admin: Admin, query: str) -> None:
    assert problem(admin.get(f"/policy/rules?{query}"))["code"] == "request_malformed"


@pytest.mark.requirement("AD-07")
def test_administrators_see_what_was_wanted_and_callers_do_not(admin: Admin) -> None:
    token = fresh(ref="refs/heads/x")

    said = admin.gateway.start(token, "deploy-payments", key="k1", input={"version": "1.4.2"})
    told = admin.ask(
        "POST", "/admin/v1/explain", body={"token": token, "wish": {"start": "deploy-payments"}}
    ).json()
    admin.gateway.records(said)
    explained = admin.get(f"/explain/{said.headers['x-request-id']}").json()

    assert problem(said)["code"] == "claim_mismatch"
    assert "refs/heads/main" not in said.text
    assert "payments.prod" not in said.text
    assert told["allowed"] is False
    assert told["nearest_rule"] == "payments.prod"
    check = next(one for one in told["checks"] if one["outcome"] != "matched")
    assert (check["claim"], check["presented"], check["wanted"]) == (
        "ref",
        "refs/heads/x",
        ["refs/heads/main"],
    )
    assert "refs/heads/main" in json.dumps(explained["requests"][0]["checks"])


def test_claims_can_be_explained_without_a_token(admin: Admin) -> None:
    claims = {
        "sub": "repo:acme/payments:environment:prod",
        "repository": "acme/payments",
        "repository_id": "4711",
        "repository_owner_id": "12",
        "ref": "refs/heads/main",
        "environment": "prod",
    }
    body = {"issuer": "github", "claims": claims, "wish": {"obtain": "payments-prod"}}

    told = admin.ask("POST", "/admin/v1/explain", body=body).json()

    assert (told["allowed"], told["target"], told["rules"]) == (True, "payments-prod", ["payments.prod"])
    assert told["token"] is None


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"token": "x", "claims": {}},
        {"issuer": "github"},
        {"issuer": "nobody", "claims": {}},
        {"token": "x", "wish": {}},
        {"token": "x", "wish": {"start": "a", "obtain": "b"}},
        {"token": "x", "wish": {"start": "a", "form": "vault-token"}},
        {"token": "x", "wish": {"obtain": "a", "form": "password"}},
        {"token": "x", "unknown": 1},
        {"token": 1},
    ],
    ids=lambda body: ",".join(body) or "nothing",
)
def test_a_question_that_means_nothing_is_refused(admin: Admin, body: dict[str, object]) -> None:
    assert problem(admin.ask("POST", "/admin/v1/explain", body=body))["code"] == "request_malformed"


@pytest.mark.requirement("AD-04")
def test_an_explanation_calls_nobody_and_leaves_a_token_that_counts_once_unused(
    admin: Admin, scripted_aws: ScriptedAws
) -> None:
    token = fresh(environment="once")
    question = {"token": token, "wish": {"obtain": "payments-prod"}}

    told = [admin.ask("POST", "/admin/v1/explain", body=question).json() for _ in range(3)]
    calls_then = len(scripted_aws.sts_calls())
    used = admin.gateway.ask("POST", "/v1/credentials", token, body={"target": "payments-prod"})

    assert [one["allowed"] for one in told] == [True] * 3
    assert calls_then == 0
    assert used.status_code == 200, used.text


@pytest.mark.requirement("AD-04", "AU-07")
def test_of_an_explained_token_its_digest_alone_is_kept(admin: Admin) -> None:
    token = fresh(ref="refs/heads/secret")

    answer = admin.ask("POST", "/admin/v1/explain", body={"token": token})

    record = admin.gateway.records(answer)[0]
    kept = "".join(file.read_text() for file in admin.gateway.audit.glob("*.jsonl")) + admin.gateway.log()
    assert record.object == f"token {answer.json()['token']}"
    assert all(part not in kept for part in token.split("."))


# What it turns.


@pytest.mark.requirement("AD-05", "AU-07")
def test_a_reload_says_what_changed_and_is_recorded_with_who_asked(
    tmp_path: Path, scripted_aws: ScriptedAws
) -> None:
    with socketed(tmp_path, aws=scripted_aws.url) as admin:
        edit(admin.gateway.config / "mappings/payments/deploy.yaml", "- name: prod", "- name: production")

        answer = admin.ask("POST", "/admin/v1/reload")

        told = answer.json()
        # Whoever comes first, the watch or we: what is in force is what the files say.
        assert told["accepted"] is True
        rules = {one["id"] for one in admin.get("/policy/rules").json()["rules"]}
        assert "payments.production" in rules
        intent, record = admin.gateway.records(answer, at_least=2)
        assert intent.changes == ("? the files are read again",)
        assert (record.kind, record.act, record.actor) == ("admin", "reload", account_of(os.geteuid()))
        assert list(record.changes) == told["changes"]


@pytest.mark.requirement("AD-05")
def test_a_reload_of_broken_files_changes_nothing_and_names_the_places(
    tmp_path: Path, scripted_aws: ScriptedAws
) -> None:
    with socketed(tmp_path, aws=scripted_aws.url) as admin:
        before = admin.get("/state").json()["policy"]["digest"]
        edit(admin.gateway.config / "targets.yaml", "roles:", "rolls:")

        told = admin.ask("POST", "/admin/v1/reload").json()

        assert told["accepted"] is False
        assert told["policy"]["digest"] == before
        assert told["policy"]["state"] == "stale"
        assert any(one["file"] == "targets.yaml" and one["line"] > 0 for one in told["policy"]["findings"])
        assert any(line.startswith("= not in force") for line in told["changes"])


@pytest.mark.requirement("AD-05")
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "GET"])
def test_rules_cannot_be_sent_over_http(admin: Admin, method: str) -> None:
    answers = [
        admin.ask(method, "/admin/v1/reload", body={"rules": []} if method != "GET" else None),
        admin.ask("POST", "/admin/v1/policy/rules", body={"rules": []}),
        admin.ask("PUT", "/admin/v1/policy/rules/payments.prod", body={"claims": {}}),
    ]

    assert [answer.status_code for answer in answers] == [405, 405, 405]


@pytest.mark.requirement("AD-05")
def test_a_reload_takes_no_body(admin: Admin) -> None:
    answer = admin.ask("POST", "/admin/v1/reload", body={"path": "/etc"})

    assert problem(answer)["code"] == "request_malformed"


@pytest.mark.requirement("AD-06", "AU-07")
def test_a_switch_is_turned_by_whoever_was_authenticated_and_holds_for_callers(
    admin: Admin, scripted_aws: ScriptedAws
) -> None:
    subject = "repo:acme/payments:environment:prod"
    path = f"/admin/v1/switches/subject?name={quote(f'github {subject}', safe='')}"

    off = admin.ask("PUT", path, body={"why": "SEC-1"})
    again = admin.ask("PUT", path, body={"why": "SEC-2"})
    until(lambda: admin.gateway.get("/v1/whoami", fresh()).status_code == 403)
    shown = admin.ask("GET", path).json()
    on = admin.ask("DELETE", path, body={"why": "SEC-1 is over"})
    until(lambda: admin.gateway.get("/v1/whoami", fresh()).status_code == 200)

    assert (off.json()["off"], off.json()["changed"], again.json()["changed"]) == (True, True, False)
    assert shown["switch"]["by"] == account_of(os.geteuid())
    assert shown["switch"]["why"] == "SEC-1"
    assert (on.json()["off"], on.json()["was"]["why"]) == (False, "SEC-1")
    intent, record = admin.gateway.records(off, at_least=2)
    for one in (intent, record):
        assert (one.act, one.actor, one.why) == ("switch", account_of(os.geteuid()), "SEC-1")
    assert intent.changes == (f"? off subject github {subject}",)
    assert record.changes == (f"+ off subject github {subject}",)
    noticed = [one.record for one in read_entries(admin.gateway.audit) if one.record.why == "SEC-1"]
    assert noticed == [intent, record], "who turned it here has recorded it, and nobody notices it once more"


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        pytest.param("rule?name=payments.prod", {}, "request_malformed", id="without-why"),
        pytest.param("rule?name=payments.prod", {"why": ""}, "request_malformed", id="empty-why"),
        pytest.param("rule?name=payments.prod", {"why": "a\nb"}, "request_malformed", id="two-lines"),
        pytest.param(
            "rule?name=payments.prod", {"why": "x", "by": "me"}, "request_malformed", id="by-oneself"
        ),
        pytest.param("rule?name=payments.prdo", {"why": "x"}, "not_found", id="misspelt-rule"),
        pytest.param("issuer?name=nobody", {"why": "x"}, "not_found", id="no-issuer"),
        pytest.param("subject?name=github", {"why": "x"}, "not_found", id="no-subject"),
        pytest.param("workflow?name=x%00y", {"why": "x"}, "request_malformed", id="nul"),
        pytest.param("gateway?name=all", {"why": "x"}, "not_found", id="no-kind"),
    ],
)
def test_what_cannot_be_switched_off_is_refused_by_name(
    admin: Admin, path: str, body: dict[str, object], code: str
) -> None:
    answer = admin.ask("PUT", f"/admin/v1/switches/{path}", body=body)

    assert problem(answer)["code"] == code
    assert admin.get("/switches").json()["off"] == []


@pytest.mark.requirement("AU-07")
@pytest.mark.parametrize(
    ("path", "act", "about"),
    [
        ("/state", "view", "state"),
        ("/policy/rules", "view", "rules"),
        ("/policy/rules/payments.prod", "view", "rule payments.prod"),
        ("/switches", "view", "switches"),
        ("/explain/nothing", "explain", "nothing"),
    ],
)
def test_looking_is_recorded_with_who_looked(admin: Admin, path: str, act: str, about: str) -> None:
    answer = admin.get(path)

    record = admin.gateway.records(answer)[0]
    assert (record.kind, record.act, record.object) == ("admin", act, about)
    assert record.actor == account_of(os.geteuid())


def test_requests_of_administrators_are_marked_in_the_log(admin: Admin) -> None:
    answer = admin.get("/state")

    line = until(
        lambda: next(
            (one for one in admin.gateway.log().splitlines() if answer.headers["x-request-id"] in one), None
        )
    )
    assert json.loads(line)["listener"] == "admin"
    assert answer.headers["cache-control"] == "no-store"
    assert "date" in answer.headers


def test_the_listener_has_the_limits_of_the_public_one(admin: Admin) -> None:
    answer = admin.ask("POST", "/admin/v1/explain", body={"token": "x" * 70_000})

    assert problem(answer)["code"] == "body_too_large"


def test_the_socket_goes_with_the_gateway_and_one_that_a_crash_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "run" / "admin.sock"
    path.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))

    with socketed(tmp_path) as admin:
        state = admin.get("/state")
        admin.gateway.process.terminate()
        admin.gateway.process.wait(20)

    assert state.status_code == 200
    assert not path.exists()


# With several workers.


@pytest.mark.requirement("AD-06", "AU-07")
def test_one_worker_answers_administrators_for_all_and_is_followed_by_its_replacement(tmp_path: Path) -> None:
    with socketed(tmp_path, workers=3) as admin:
        until(lambda: len(admin.get("/state").json()["workers"]) == 3)
        state = admin.get("/state").json()
        refused = [admin.gateway.get("/v1/whoami", "not.a.token") for _ in range(6)]
        until(lambda: all(admin.get(f"/explain/{_id(answer)}").status_code == 200 for answer in refused))

        admin.ask("PUT", "/admin/v1/switches/issuer?name=github", body={"why": "SEC-1"})
        until(lambda: {admin.gateway.get("/v1/whoami", fresh()).status_code for _ in range(12)} == {403})
        first = next(one for one in state["workers"] if one["worker"].endswith("/" + state["worker"]))
        os.kill(first["pid"], signal.SIGKILL)
        admin.client.close()
        after = until(lambda: _state_of(socket_of(admin)))

        assert {one["policy"] for one in state["workers"]} == {state["policy"]["digest"]}
        assert after["worker"] == state["worker"]
        assert first["pid"] not in {
            one["pid"] for one in after["workers"] if one["worker"] == first["worker"]
        }
        assert [one["why"] for one in after["switches"]["off"]] == ["SEC-1"]


def _id(answer: httpx2.Response) -> str:
    return str(answer.headers["x-request-id"])


def _state_of(path: Path) -> dict[str, Any] | None:
    try:
        return admin_client.ask(admin_client.Access(to=f"unix:{path}"), "GET", "/admin/v1/state")
    except admin_client.NotAsked:
        return None


# The command.


def ask(admin: Admin, *words: str) -> int:
    return main(["admin", *words, "--to", f"unix:{socket_of(admin)}"])


def test_the_command_shows_the_state_and_the_rules(admin: Admin, capsys: pytest.CaptureFixture[str]) -> None:
    codes = [ask(admin, "state"), ask(admin, "rules"), ask(admin, "rules", "payments.prod")]

    shown = capsys.readouterr().out
    assert codes == [0, 0, 0]
    assert "issuer okta-agents: 4 keys" in shown
    assert "payments.prod (mappings/payments/deploy.yaml:" in shown
    assert '  ref equals ["refs/heads/main"]' in shown
    assert "  start deploy-payments as payments-prod" in shown


def test_the_command_says_what_would_happen_to_a_token(
    admin: Admin, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_text(fresh() + "\n")
    bad.write_text(fresh(ref="refs/heads/x"))

    codes = [
        ask(admin, "explain", "--token", str(good), "--start", "deploy-payments"),
        ask(admin, "explain", "--token", str(bad), "--obtain", "payments-prod"),
        ask(admin, "explain", "--token", str(good)),
    ]

    shown = capsys.readouterr().out
    assert codes == [0, 1, 0]
    assert "ALLOWED as payments-prod, by payments.prod." in shown
    assert "✗ ref: 'refs/heads/x', wanted 'refs/heads/main'" in shown
    assert "REFUSED with claim_mismatch. The nearest rule is payments.prod." in shown


def test_the_command_tells_what_happened_and_reloads(
    admin: Admin, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = admin.gateway.start(fresh(ref="refs/heads/x"), "deploy-payments", key="k", input={})
    admin.gateway.records(answer)

    codes = [
        ask(admin, "explain", _id(answer)),
        ask(admin, "explain", "nothing"),
        ask(admin, "reload", "--json"),
    ]

    shown = capsys.readouterr()
    assert codes == [0, 1, 0]
    assert "code: claim_mismatch" in shown.out
    assert "not_found: No record speaks of it." in shown.err
    assert '"accepted": true' in shown.out


@pytest.mark.parametrize(
    ("to", "said"),
    [
        (
            "unix:/nowhere/admin.sock",
            (
                "unix:/nowhere/admin.sock was not reached: No such file or directory. Does the gateway run, with "
                "`admin.listen` there? One whose first worker is being replaced listens again within seconds: try again."
            ),
        ),
        (
            "http://localhost:9090",
            (
                "http://localhost:9090 would send a token in the clear to wherever the name leads; "
                "write http://127.0.0.1:9090 or http://[::1]:9090, as `admin.listen` does."
            ),
        ),
        ("http://192.0.2.1:9090", "http://192.0.2.1:9090 is not on this machine; use https."),
        ("127.0.0.1:9090", f"127.0.0.1:9090 is no address: {WRITE}"),
        ("https://127.0.0.1", f"https://127.0.0.1 is no address: {WRITE}"),
    ],
)
def test_the_command_says_why_it_reached_nobody(
    to: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["admin", "state", "--to", to])

    assert code == 2
    assert capsys.readouterr().err == f"oidc-gateway admin: {said}\n"


def test_the_command_says_that_the_public_address_is_the_wrong_one(
    admin: Admin, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["admin", "state", "--to", admin.gateway.url])

    assert code == 2
    assert capsys.readouterr().err == (
        f"oidc-gateway admin: What answers at {admin.gateway.url} is not the admin listener; the public address "
        "answers no administrator. `admin.listen` in gateway.yaml says where it is.\n"
    )


def test_every_request_of_the_listener_is_documented() -> None:
    rows = tables(section(README.read_text("utf-8"), "Admin listener"))[0].column("request")
    documented = {re.sub(r"[`]|\?.*", "", row).strip() for row in rows}

    served = {
        f"{method} {re.sub(r':path', '', route.path)}"
        for route in admin_router(cast(AdminDoor, Mock())).routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }

    assert documented == served
