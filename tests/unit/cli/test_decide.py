"""`oidc-gateway decide`: what would happen to a token, offline, said to an administrator check by check."""

import io
import json
import shutil
import sys
from pathlib import Path

import pytest

from gateway.cli.main import main
from tests.support.clocks import START_S
from tests.support.gateways import CONFIG, edit, write_config
from tests.support.tokens import key_id, token

AT = str(int(START_S) + 1)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example configuration, every issuer with its keys in a file."""
    return write_config(tmp_path_factory.mktemp("config"), aws="http://127.0.0.1:9")


def decide(config: Path, file: Path, compact: str, *arguments: str) -> int:
    file.write_text(f"{compact}\n")  # as an editor leaves it
    return main(["decide", "--dev", "--config", str(config), "--token", str(file), "--at", AT, *arguments])


def test_an_allowed_start_says_as_what_and_by_which_rule_after_every_check(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = decide(config, tmp_path / "token", token(), "--start", "deploy-payments")

    said = capsys.readouterr().out.splitlines()
    assert code == 0
    assert said[-1] == "ALLOWED as payments-prod, by payments.prod."
    assert "✓ The issuer is `github` (github-actions)." in said
    assert "✓ Its signature is valid." in said
    assert "✓ ref: 'refs/heads/main'" in said
    assert [line for line in said if line.startswith("✗")] == []


@pytest.mark.parametrize(
    ("claim", "presented", "said"),
    [
        pytest.param(
            "ref", "refs/heads/x", "✗ ref: 'refs/heads/x', wanted 'refs/heads/main'", id="other value"
        ),
        pytest.param(
            "environment", "dev", "✗ environment: 'dev', wanted one of 'prod' or 'prod-eu'", id="none of"
        ),
        pytest.param("environment", None, "✗ environment: missing, wanted one of", id="missing"),
    ],
)
def test_a_refusal_says_of_each_claim_what_was_presented_and_what_was_wanted(
    config: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    claim: str,
    presented: object,
    said: str,
) -> None:
    code = decide(config, tmp_path / "token", token(claims={claim: presented}), "--start", "deploy-payments")

    printed = capsys.readouterr().out
    assert code == 1
    assert [line for line in printed.splitlines() if line.startswith(said)] != []
    assert "✓ repository_id: '4711'" in printed
    assert "REFUSED with claim_mismatch: " in printed.splitlines()[-1]
    assert printed.rstrip().endswith("The nearest rule is payments.prod.")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        pytest.param(
            {"exp": int(START_S) - 60, "iat": int(START_S) - 300, "nbf": None}, "token_expired", id="expired"
        ),
        pytest.param({"aud": "https://elsewhere.example"}, "token_audience_mismatch", id="audience"),
        pytest.param(
            {"which": "second", "header": {"kid": key_id("RS256")}}, "token_signature_invalid", id="signature"
        ),
    ],
)
def test_a_fault_of_the_token_refuses_although_the_rules_would_allow_it(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, object], said: str
) -> None:
    code = decide(config, tmp_path / "token", token(**changes), "--start", "deploy-payments")  # type: ignore[arg-type]

    printed = capsys.readouterr().out
    assert code == 1
    assert f"✗ {said}: " in printed
    assert printed.splitlines()[-1] == (
        "REFUSED because of the token; the rules (payments.prod) would allow it as payments-prod."
    )


def test_an_issuer_that_is_almost_one_of_ours_is_held_against_it(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compact = token("auth0", iss="https://acme.eu.auth0.example")

    code = decide(config, tmp_path / "token", compact, "--start", "quote-payout")

    assert code == 1
    assert capsys.readouterr().out == (
        "✗ token_issuer_unknown: the issuer 'https://acme.eu.auth0.example' is not in gateway.yaml.\n"
        "    Close to it is https://acme.eu.auth0.example/: compare them byte for byte.\n"
        "\nREFUSED because of the token.\n"
    )


def test_an_issuer_like_none_of_ours_would_have_to_be_added(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = decide(config, tmp_path / "token", token(iss="https://idp.example"))

    assert code == 1
    assert "    Add it to gateway.yaml.\n" in capsys.readouterr().out


def test_without_a_wish_every_grant_of_the_token_is_listed(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = decide(config, tmp_path / "token", token())

    assert code == 0
    assert capsys.readouterr().out.split("\n\n")[1].splitlines() == [
        "This token would hold 3 grants:",
        "  start deploy-payments as payments-prod",
        "  obtain payments-prod",
        "  start migrate-ledger as payments-migrator",
    ]


@pytest.mark.parametrize(
    ("wish", "code"),
    [
        pytest.param(["--obtain", "payments-prod"], 0, id="granted"),
        pytest.param(["--obtain", "payments-migrator"], 1, id="for starts only"),
        pytest.param(["--start", "deploy-payments", "--target", "payments-prod"], 0, id="as a target"),
        pytest.param(["--start", "deploy-payments", "--target", "partner-northwind"], 1, id="as another"),
        pytest.param(["--start", "nothing"], 1, id="unknown workflow"),
    ],
)
def test_the_exit_code_says_whether_the_wish_would_be_granted(
    config: Path, tmp_path: Path, wish: list[str], code: int
) -> None:
    assert decide(config, tmp_path / "token", token(), *wish) == code


def test_as_json_it_is_one_object_with_every_step(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compact = token(ref="refs/heads/x")

    code = decide(config, tmp_path / "token", compact, "--start", "deploy-payments", "--format", "json")

    document = json.loads(capsys.readouterr().out)
    assert code == 1
    assert (document["allowed"], document["code"]) == (False, "claim_mismatch")
    assert document["nearest_rule"] == "payments.prod"
    assert {"mark": "no", "text": "ref: 'refs/heads/x', wanted 'refs/heads/main'", "hint": None} in document[
        "steps"
    ]


def test_the_token_may_come_from_standard_input(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(f"{token()}\n".encode())))

    code = main(
        ["decide", "--dev", "--config", str(config), "--token", "-", "--at", AT, "--start", "deploy-payments"]
    )

    assert code == 0
    assert capsys.readouterr().out.endswith("ALLOWED as payments-prod, by payments.prod.\n")


@pytest.mark.requirement("TV-06", "TV-07")
@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        pytest.param("", "token_missing", id="empty"),
        pytest.param("hello", "token_opaque", id="no token"),
        pytest.param("a.b.c", "token_encoding_invalid", id="three segments"),
        pytest.param("a.b.c.d.e", "token_encrypted", id="encrypted"),
        pytest.param("Bearer x.y.z", "token_malformed", id="with its scheme"),
        pytest.param("eyJ9.e\n.x", "token_malformed", id="with a line end"),
    ],
)
def test_what_is_no_token_is_refused_with_its_code_and_never_a_traceback(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, refusal: str
) -> None:
    code = decide(config, tmp_path / "token", text)

    printed = capsys.readouterr()
    assert (code, printed.err) == (1, "")
    assert printed.out.startswith(f"✗ {refusal}")
    assert printed.out.endswith("REFUSED because of the token.\n") or "would hold no grant" in printed.out


def test_no_part_of_the_token_but_its_claims_is_printed(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compact = token()

    decide(config, tmp_path / "token", compact)

    printed = capsys.readouterr().out
    assert [part for part in compact.split(".") if part in printed] == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(None, "No such file or directory.", id="missing"),
        pytest.param(b"\xff\xfe", "it is no text.", id="binary"),
        pytest.param(b"a" * 70_000, "it is larger than any token.", id="too large"),
    ],
)
def test_a_token_that_cannot_be_read_ends_with_2_and_names_the_file(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, said: str
) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)

    code = main(["decide", "--dev", "--config", str(config), "--token", str(file)])

    assert code == 2
    assert capsys.readouterr() == ("", f"oidc-gateway decide: cannot read the token from {file}: {said}\n")


def test_a_folder_with_errors_ends_with_2_and_its_findings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(tmp_path / "config", aws="http://127.0.0.1:9")
    edit(config / "gateway.yaml", "preset: okta\n", "preset: octa\n")

    code = decide(config, tmp_path / "token", token())

    printed = capsys.readouterr()
    assert (code, printed.out) == (2, "")
    assert "gateway.yaml:" in printed.err
    assert "octa" in printed.err
    assert printed.err.endswith(
        f"oidc-gateway decide: the files of {config} cannot be used; their errors are above.\n"
    )


def test_a_folder_that_is_not_there_ends_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = decide(tmp_path / "none", tmp_path / "token", token())

    assert code == 2
    assert capsys.readouterr().err == (
        f"oidc-gateway decide: there is no folder {tmp_path / 'none'}. Name the one with gateway.yaml: --config DIR.\n"
    )


def test_the_folder_may_be_named_by_the_variable(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OIDC_GATEWAY_CONFIG", str(config))
    (tmp_path / "token").write_text(token())

    code = main(["decide", "--dev", "--token", str(tmp_path / "token"), "--at", AT])

    assert code == 0
    assert "This token would hold 3 grants:" in capsys.readouterr().out


def test_modes_of_files_are_no_obstacle_to_an_offline_answer(tmp_path: Path) -> None:
    config = tmp_path / "config"
    shutil.copytree(CONFIG, config)
    (config / "gateway.yaml").chmod(0o666)
    (tmp_path / "token").write_text(token())

    code = main(["decide", "--config", str(config), "--token", str(tmp_path / "token"), "--at", AT])

    assert code == 0


# Vault: one target, two forms.


def ci_job(**claims: object) -> str:
    job = {"repository": "acme/payments-tests", "repository_id": "4712", "environment": "ci"}
    return token(claims={**job, "sub": "repo:acme/payments-tests:environment:ci", **claims})


@pytest.mark.parametrize(
    ("form", "environment", "code"),
    [
        pytest.param(["--form", "vault-token"], "ci", 0, id="a-token-of-vault"),
        pytest.param(["--form", "aws-credentials"], "ci", 0, id="credentials-behind-vault"),
        pytest.param([], "ci", 0, id="credentials-when-nothing-is-said"),
        pytest.param(["--form", "vault-token"], "staging", 1, id="another-environment"),
    ],
)
def test_both_forms_of_a_target_behind_vault_can_be_asked_for(
    config: Path, tmp_path: Path, form: list[str], environment: str, code: int
) -> None:
    job = ci_job(environment=environment)

    assert decide(config, tmp_path / "token", job, "--obtain", "payments-ci", *form) == code


def test_the_list_of_grants_tells_the_forms_apart(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    decide(config, tmp_path / "token", ci_job())

    assert capsys.readouterr().out.splitlines()[-2:] == [
        "  obtain payments-ci as a token of Vault",
        "  obtain payments-ci",
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(
            ["--obtain", "payments-prod", "--form", "vault-token"],
            "payments-prod is an IAM role, and only roles of Vault hand out tokens of Vault: leave --form out.",
            id="an-iam-role",
        ),
        pytest.param(
            ["--start", "deploy-payments", "--form", "vault-token"],
            "--form goes with --obtain TARGET; a start hands nothing out",
            id="a-start",
        ),
        pytest.param(["--form", "vault-token"], "--form goes with --obtain TARGET", id="no-wish"),
        pytest.param(["--obtain", "payments-ci", "--form", "token"], "invalid choice: 'token'", id="unknown"),
    ],
)
def test_a_form_that_cannot_be_is_a_mistake_in_the_question(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    code = decide(config, tmp_path / "token", token(), *arguments)

    printed = capsys.readouterr()
    assert (code, printed.out) == (2, "")
    assert said in printed.err


def test_a_role_of_vault_without_an_engine_has_no_aws_credentials_to_ask_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = write_config(tmp_path / "config", aws="http://127.0.0.1:9")
    edit(
        files / "targets.yaml",
        "vault_roles:\n",
        "vault_roles:\n  secrets-only: { vault: main, mount: jwt-github, role: secrets-only, user_claim: repository_id,"
        " policies: [secrets-only], ttl: 15m, teams: [payments] }\n",
    )

    code = decide(files, tmp_path / "token", ci_job(), "--obtain", "secrets-only")

    assert code == 2
    assert "secrets-only has no AWS engine behind it" in capsys.readouterr().err
