"""A task logs in to a real Vault with its IAM role, by the commands that it would run: no secret is stored anywhere."""

import asyncio
import json
import stat
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from requests import Session

from gateway.admin.vault_login import IamLogin, logged_in_with_iam_role
from gateway.admin.vault_session import VaultAccess
from gateway.cli.main import main
from gateway.dev.vault import VaultServer, running_vault
from tests.support.boto import Keys, client
from tests.support.peer import LOOPBACK, closed_port
from tests.support.vault_plans import ENVIRONMENT, administrator
from tests.support.vault_tasks import TaskMount, as_task, task_keys, task_mount
from tests.support.vaults import accessors, assumable_role, hvac_client

SERVER_ID = "vault.acme.example"


@pytest.fixture(scope="module")
def role_arn(ministack: str) -> str:
    return assumable_role(ministack)


@pytest.fixture(scope="module")
def mounted(vault: VaultServer, ministack: str, role_arn: str) -> Iterator[TaskMount]:
    with (
        administrator(vault) as session,
        task_mount(session, ministack, principal=role_arn, server_id=SERVER_ID) as mount,
    ):
        yield mount


@pytest.fixture
def keys(
    monkeypatch: pytest.MonkeyPatch, vault: VaultServer, ministack: str, role_arn: str, mounted: TaskMount
) -> Keys:
    """The environment of a task: Vault's address and the role's credentials."""
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    held = task_keys(ministack, role_arn)
    as_task(monkeypatch, held)
    monkeypatch.setenv("VAULT_ADDR", vault.address)
    return held


def options(mounted: TaskMount, **changes: str | None) -> list[str]:
    given = {"--role": mounted.role, "--mount": mounted.mount, "--header-value": mounted.server_id, **changes}
    return [word for name, value in given.items() if value is not None for word in (name, value)]


def living(vault: VaultServer) -> set[str]:
    with hvac_client(vault.address, vault.root_token.reveal()) as admin:
        return accessors(admin)


def test_a_task_gets_a_token_and_nothing_else_is_printed(
    keys: Keys, mounted: TaskMount, vault: VaultServer, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["vault", "login", "--method", "aws", *options(mounted)])

    printed = capsys.readouterr()
    token = printed.out.strip()
    with hvac_client(vault.address, token) as bearer:
        seen = bearer.auth.token.lookup_self()["data"]
        bearer.auth.token.revoke_self()
    assert (code, printed.err, printed.out.count("\n")) == (0, "", 1)
    assert sorted(seen["policies"]) == ["default", mounted.role]


def test_as_json_the_token_comes_with_what_it_may_and_for_how_long(
    keys: Keys, mounted: TaskMount, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["vault", "login", "--output", "json", *options(mounted)])

    document = json.loads(capsys.readouterr().out)
    mounted.session.write("auth/token/revoke", {"token": document["token"]})
    assert code == 0
    assert document["lease_s"] == 300
    assert sorted(document["policies"]) == ["default", mounted.role]


def test_a_token_file_is_for_its_owner_and_holds_the_token_alone(
    keys: Keys, mounted: TaskMount, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "token"
    file.write_text("an older token")
    file.chmod(0o644)

    code = main(["vault", "login", *options(mounted), "--output", "file", str(file)])

    token = file.read_text()
    read = main(["vault", "read", mounted.secret, "--token-file", str(file), "--field", "port"])
    mounted.session.write("auth/token/revoke", {"token": token})
    assert (code, read) == (0, 0)
    assert capsys.readouterr().out == "5432\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert token == token.strip()
    assert list(tmp_path.iterdir()) == [file]


def test_one_secret_is_read_in_one_go_and_no_token_is_left_behind(
    keys: Keys, mounted: TaskMount, vault: VaultServer, capsys: pytest.CaptureFixture[str]
) -> None:
    before = living(vault)

    code = main(["vault", "read", mounted.secret, *options(mounted)])

    assert (code, capsys.readouterr().out) == (0, "password: s3cr3t-of-a-test\nport: 5432\n")
    assert living(vault) <= before


def test_the_library_reads_a_secret_and_leaves_no_token_behind(
    keys: Keys, mounted: TaskMount, vault: VaultServer
) -> None:
    before = living(vault)
    login = IamLogin(role=mounted.role, mount=mounted.mount, header_value=SERVER_ID)

    with logged_in_with_iam_role(VaultAccess(address=vault.address), login) as task:
        secret = task.secret(mounted.secret)

    assert secret == {"password": "s3cr3t-of-a-test", "port": 5432}
    assert living(vault) <= before


def test_what_we_send_is_what_hvac_sends(
    keys: Keys, mounted: TaskMount, vault: VaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[dict[str, object]] = []
    real = Session.request

    def spy(self: Session, method: str, url: str, **options: object) -> object:
        if url.endswith("/login"):
            sent.append(options["json"])  # type: ignore[arg-type]
        return real(self, method, url, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("gateway.admin.vault_login.aws_utils.datetime", FrozenTime)
    monkeypatch.setattr(Session, "request", spy)

    with hvac_client(vault.address) as foreign:
        foreign.auth.aws.iam_login(
            keys.key_id, keys.secret, keys.session_token, header_value=SERVER_ID, role=mounted.role,
            use_token=False, mount_point=mounted.mount,
        )  # fmt: skip
    main(["vault", "read", mounted.secret, *options(mounted)])

    theirs, ours = sent
    assert ours == theirs


class FrozenTime:
    """The second in which both sign."""

    at = time.gmtime()

    @classmethod
    def utcnow(cls) -> "FrozenTime":
        return cls()

    def strftime(self, form: str) -> str:
        return time.strftime(form, self.at)


# Refusals: one line, with what to do, and nothing left behind.


def refused(arguments: list[str], vault: VaultServer, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    before = living(vault)
    code = main(arguments)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert living(vault) <= before
    return code, printed.err


@pytest.mark.requirement("VA-07")
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        pytest.param({"--role": "nobody"}, "there is no such role on the mount.", id="unknown role"),
        pytest.param({"--mount": "elsewhere"}, "Vault refuses logins there.", id="unknown mount"),
        pytest.param(
            {"--header-value": "vault.other.example"}, "the server id is not the one", id="other server id"
        ),
        pytest.param({"--header-value": None}, "wants a server id and got none.", id="no server id"),
    ],
)
def test_a_login_that_vault_refuses_says_what_to_change(
    keys: Keys,
    mounted: TaskMount,
    vault: VaultServer,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, str | None],
    said: str,
) -> None:
    code, line = refused(["vault", "login", *options(mounted, **changes)], vault, capsys)

    assert code == 1
    assert line.startswith("oidc-gateway vault login: vault_denied: Cannot log in at auth/")
    assert said in line
    assert SERVER_ID not in line
    assert "errors" not in line


def test_a_wrong_secret_is_said_so(
    keys: Keys,
    mounted: TaskMount,
    vault: VaultServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    as_task(monkeypatch, replace(keys, secret="not-the-secret-of-this-session-00000000"))

    code, line = refused(["vault", "login", *options(mounted)], vault, capsys)

    assert code == 1
    assert "AWS does not accept the credentials that signed the request." in line
    assert "not-the-secret" not in line


def test_another_role_or_account_is_said_so(
    keys: Keys,
    mounted: TaskMount,
    vault: VaultServer,
    ministack: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    as_task(monkeypatch, task_keys(ministack, assumable_role(ministack)))

    code, line = refused(["vault", "login", *options(mounted)], vault, capsys)

    assert code == 1
    assert "this AWS identity is not one that the role is for." in line
    assert mounted.principal not in line


def test_a_role_for_another_account_refuses_ours(
    keys: Keys, vault: VaultServer, ministack: str, role_arn: str, capsys: pytest.CaptureFixture[str]
) -> None:
    other = role_arn.replace("111122223333", "444455556666")

    with administrator(vault) as session, task_mount(session, ministack, principal=other) as mount:
        code, line = refused(["vault", "login", *options(mount)], vault, capsys)

    assert code == 1
    assert "this AWS identity is not one that the role is for." in line


def test_an_expired_session_is_said_so(
    keys: Keys,
    mounted: TaskMount,
    vault: VaultServer,
    ministack: str,
    role_arn: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    as_task(monkeypatch, expired(ministack, role_arn))

    code, line = refused(["vault", "login", *options(mounted)], vault, capsys)

    assert code == 1
    assert "the AWS session has expired." in line


def expired(aws_url: str, role_arn: str) -> Keys:
    """Return credentials that AWS has just stopped to take; boto would not ask for so short a life."""
    sts = client("sts", aws_url)
    sts.meta.events.register("before-call.sts.AssumeRole", _one_second)
    held = Keys.of(
        sts.assume_role(RoleArn=role_arn, RoleSessionName="task", DurationSeconds=900)["Credentials"]
    )
    time.sleep(1.2)  # the clock of another process
    return held


def _one_second(params: dict[str, dict[str, object]], **_: object) -> None:
    params["body"]["DurationSeconds"] = 1


def test_a_task_without_credentials_is_told_where_they_come_from(
    keys: Keys,
    mounted: TaskMount,
    vault: VaultServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    as_task(monkeypatch, None)

    code, line = refused(["vault", "login", *options(mounted)], vault, capsys)

    assert code == 2
    assert "There are no usable AWS credentials in this environment." in line


@pytest.mark.parametrize(
    ("path", "said"),
    [
        pytest.param("secret/data/other", "vault_denied: Cannot read secret/data/other:", id="not allowed"),
        pytest.param("secret/../sys/seal", "That is no path of a secret.", id="dots"),
        pytest.param("secret//data", "That is no path of a secret.", id="empty segment"),
        pytest.param("secret/data/x?version=1", "That is no path of a secret.", id="query"),
    ],
)
def test_a_secret_that_cannot_be_read_is_named_and_the_token_revoked(
    keys: Keys,
    mounted: TaskMount,
    vault: VaultServer,
    capsys: pytest.CaptureFixture[str],
    path: str,
    said: str,
) -> None:
    _, line = refused(["vault", "read", path, *options(mounted)], vault, capsys)

    assert said in line


def test_a_secret_that_is_not_there_is_said_so_with_the_path_of_version_2(
    keys: Keys, vault: VaultServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VAULT_TOKEN", vault.root_token.reveal())

    code, line = refused(["vault", "read", "secret/nothing-here"], vault, capsys)

    assert code == 1
    assert "There is no secret at secret/nothing-here." in line
    assert main(["vault", "read", "secret/data/nothing-here"]) == 1
    assert "Compare it with `vault kv list`" in capsys.readouterr().err
    assert "secret/data/nothing-here" in line


def test_a_member_that_the_secret_lacks_is_named_with_those_it_has(
    keys: Keys, mounted: TaskMount, vault: VaultServer, capsys: pytest.CaptureFixture[str]
) -> None:
    code, line = refused(
        ["vault", "read", mounted.secret, "--field", "user", *options(mounted)], vault, capsys
    )

    assert code == 1
    assert "The secret has no member user. It has password, port." in line
    assert "s3cr3t" not in line


def test_a_sealed_vault_is_said_so(
    keys: Keys,
    mounted: TaskMount,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with running_vault() as other:
        with administrator(other) as session:
            session.write("sys/seal", {})
        monkeypatch.setenv("VAULT_ADDR", other.address)

        code = main(["vault", "login", *options(mounted)])

    assert code == 2
    assert "vault_sealed: Cannot log in at" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("address", "code", "said"),
    [
        pytest.param(f"http://{LOOPBACK}:{{port}}", 2, "cannot be reached.", id="nobody there"),
        pytest.param(
            "http://vault.acme.example:8200", 2, "The address of Vault is not https://", id="in the clear"
        ),
        pytest.param("", 2, "Nothing says where Vault is.", id="no address"),
    ],
)
def test_a_vault_that_cannot_be_asked_is_said_so(
    keys: Keys,
    mounted: TaskMount,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    address: str,
    code: int,
    said: str,
) -> None:
    monkeypatch.setenv("VAULT_ADDR", address.format(port=asyncio.run(closed_port())))

    ended = main(["vault", "login", *options(mounted)])

    assert ended == code
    assert said in capsys.readouterr().err
