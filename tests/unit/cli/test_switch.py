"""`oidc-gateway switch`: what it says, whom it names, and what it refuses."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.cli.main import main
from gateway.files.schema.keeping import AuditShape, StateShape
from gateway.files.schema.serving import ServerShape
from gateway.settings.loading import load_settings
from gateway.settings.settings import Settings
from gateway.sharing import note_where_switches_are
from gateway.state.redis_faults import Reason, RedisFault
from gateway.state.redis_switches import as_sentence
from gateway.state.switch_document import decode
from tests.support.config_folder import write_folder
from tests.support.gateways import CONFIG

Run = Callable[..., int]
SUBJECT = ("subject", "github", "repo:acme/payments:environment:prod")
NAMES = [
    pytest.param(("issuer", "github"), id="issuer"),
    pytest.param(("rule", "payments.prod"), id="rule"),
    pytest.param(("workflow", "deploy-payments"), id="workflow"),
    pytest.param(SUBJECT, id="subject"),
]


@pytest.fixture
def audit(tmp_path: Path) -> Path:
    folder = tmp_path / "audit"
    folder.mkdir()
    return folder


@pytest.fixture
def switch(audit: Path) -> Run:
    def run(*words: str) -> int:
        return main(["switch", *words, "--config", str(CONFIG), "--audit", str(audit)])

    return run


def off_in(audit: Path) -> dict[tuple[str, str], tuple[str, str]]:
    board = decode((audit / "switches.json").read_bytes())
    return {key: (one.why, one.by) for key, one in board.off.items()}


@pytest.mark.requirement("MP-15")
@pytest.mark.parametrize("words", NAMES)
def test_switching_off_and_on_again(switch: Run, audit: Path, words: tuple[str, ...]) -> None:
    off = switch("off", *words, "--why", "PAY-9", "--by", "alice")
    was = off_in(audit)
    on = switch("on", *words)

    assert (off, on) == (0, 0)
    assert was == {(words[0], " ".join(words[1:])): ("PAY-9", "alice")}
    assert off_in(audit) == {}


def test_switching_off_twice_says_who_did_it_first(switch: Run, capsys: pytest.CaptureFixture[str]) -> None:
    switch("off", "issuer", "github", "--why", "SEC-1", "--by", "alice")
    capsys.readouterr()

    code = switch("off", "issuer", "github", "--why", "SEC-2", "--by", "bob")

    assert code == 0
    said = capsys.readouterr().out
    assert said.startswith("issuer github was off already since ")
    assert said.endswith(" by alice: SEC-1.\n")


@pytest.mark.requirement("MP-15")
def test_what_was_handed_out_before_is_named_with_the_step_that_ends_it(
    switch: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    switch("off", "rule", "payments.prod", "--why", "PAY-9")

    said = capsys.readouterr().out

    assert "refuses it within 5 seconds" in said
    assert "aws iam put-role-policy --role-name payments-deployer " in said
    document = json.loads(said.split("--policy-document '")[1].split("'")[0])
    (statement,) = document["Statement"]
    assert (statement["Effect"], statement["Action"], statement["Resource"]) == ("Deny", "*", "*")
    assert list(statement["Condition"]) == ["DateLessThan"]


@pytest.mark.requirement("MP-15")
def test_the_sessions_of_one_identity_can_be_ended_without_those_of_others(
    switch: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    switch("off", *SUBJECT, "--why", "SEC-32")

    said = capsys.readouterr().out

    document = json.loads(said.split("--policy-document '")[1].split("'")[0])
    assert document["Statement"][0]["Condition"]["StringLike"] == {"aws:userid": "*:*.831a29c8.*"}


@pytest.mark.parametrize(
    ("words", "near"),
    [
        pytest.param(("issuer", "gihtub"), "github", id="issuer"),
        pytest.param(("rule", "payments.prdo"), "payments.prod", id="rule"),
        pytest.param(("workflow", "deploy-payment"), "deploy-payments", id="workflow"),
        pytest.param(("subject", "gihtub", "x"), "github", id="subject"),
    ],
)
def test_a_misspelt_name_switches_nothing_off_and_the_nearest_is_named(
    switch: Run, audit: Path, words: tuple[str, ...], near: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = switch("off", *words, "--why", "PAY-9")

    assert code == 1
    assert f"Did you mean {near}?" in capsys.readouterr().err
    assert not (audit / "switches.json").exists()


def test_a_name_that_the_files_do_not_have_can_be_forced(switch: Run, audit: Path) -> None:
    assert switch("off", "rule", "payments.old", "--why", "PAY-9", "--force") == 0
    assert ("rule", "payments.old") in off_in(audit)


def test_switching_on_what_is_not_off_by_a_misspelt_name_is_refused(
    switch: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    switch("off", "rule", "payments.prod", "--why", "PAY-9")

    code = switch("on", "rule", "payments.prdo")

    assert code == 1
    assert "Did you mean payments.prod?" in capsys.readouterr().err


def test_switching_on_what_is_not_off_is_no_fault(switch: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert switch("on", "rule", "payments.prod") == 0
    assert capsys.readouterr().out == "rule payments.prod was not off.\n"


def test_the_list_says_since_when_by_whom_and_why(switch: Run, capsys: pytest.CaptureFixture[str]) -> None:
    empty = switch("list")
    nothing = capsys.readouterr().out
    switch("off", "workflow", "deploy-payments", "--why", "a freeze", "--by", "alice")
    capsys.readouterr()

    switch("list")

    assert empty == 0
    assert nothing.startswith("Nothing is off, and nothing ever was: ")
    said = capsys.readouterr().out
    assert said.startswith("workflow deploy-payments: off since ")
    assert said.endswith("Z by alice: a freeze\n")


def test_the_list_can_be_read_by_programs(switch: Run, capsys: pytest.CaptureFixture[str]) -> None:
    switch("off", "issuer", "github", "--why", "SEC-1", "--by", "alice")
    capsys.readouterr()

    switch("list", "--json")

    (one,) = json.loads(capsys.readouterr().out)["off"]
    assert (one["kind"], one["name"], one["why"], one["by"]) == ("issuer", "github", "SEC-1", "alice")


@pytest.mark.requirement("AD-06", "F-38")
@pytest.mark.parametrize("words", [("list",), ("off", "issuer", "github", "--why", "x")], ids=["list", "off"])
def test_switches_that_cannot_be_read_are_left_alone_and_said(
    switch: Run, audit: Path, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    file = audit / "switches.json"
    file.write_bytes(b"garbage")
    file.chmod(0o600)

    code = switch(*words)

    assert code == 2
    assert "is no file of switches" in capsys.readouterr().err
    assert file.read_bytes() == b"garbage"


def test_a_named_file_begins_with_init(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--config", str(CONFIG), "--switches", str(tmp_path / "s.json")]

    before = main(["switch", "list", *options])
    codes = [main(["switch", "init", *options]), main(["switch", "init", *options])]
    after = main(["switch", "list", *options])

    said = capsys.readouterr()
    assert (before, codes, after) == (2, [0, 0], 0)
    assert f"write a new one: oidc-gateway switch init --switches {tmp_path}/s.json" in said.err
    assert "nothing is off" in said.out
    assert "exists and stays as it is" in said.out


def test_broken_files_keep_nobody_from_switching_off(
    tmp_path: Path, audit: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_folder(tmp_path / "broken", {"gateway.yaml": "format: [", "targets.yaml": "x"})
    words = ["switch", "off", "issuer", "github", "--why", "SEC-1", "--config", str(tmp_path / "broken")]

    unsure = main([*words, "--audit", str(audit)])
    told = capsys.readouterr().err
    forced = main([*words, "--audit", str(audit), "--force"])

    assert (unsure, forced) == (2, 0)
    assert "--force" in told
    assert ("issuer", "github") in off_in(audit)


def test_without_a_place_for_switches_the_place_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["switch", "list", "--config", str(CONFIG), "--audit", str(tmp_path / "no")])

    assert code == 2
    assert "--audit DIR" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("rule", "a", "b"), id="two-words-for-a-rule"),
        pytest.param(("subject", "github"), id="a-subject-without-sub"),
        pytest.param(("team", "payments"), id="unknown-kind"),
    ],
)
def test_words_that_name_nothing_are_wrong_arguments(switch: Run, words: tuple[str, ...]) -> None:
    assert switch("off", *words, "--why", "x") == 2


def test_a_reason_is_asked_for(switch: Run) -> None:
    assert switch("off", "issuer", "github") == 2


@pytest.mark.parametrize("why", ["", "two\nlines", "x" * 501], ids=["empty", "lines", "long"])
def test_a_reason_that_is_not_one_line_is_refused(
    switch: Run, audit: Path, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = switch("off", "issuer", "github", "--why", why)

    assert code == 2
    assert "`why`" in capsys.readouterr().err
    assert not (audit / "switches.json").exists()


@pytest.mark.requirement("AD-06")
def test_the_list_of_a_vanished_file_says_what_the_gateways_do(
    switch: Run, audit: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = switch("list")
    fresh = capsys.readouterr().out
    switch("off", "issuer", "github", "--why", "SEC-1")
    (audit / "switches.json").unlink()
    capsys.readouterr()

    code = switch("list")

    assert before == 0
    assert fresh == f"Nothing is off, and nothing ever was: there was no {audit / 'switches.json'} yet.\n"
    assert code == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "does not exist, and did before. Every gateway refuses everything meanwhile." in said.err


def test_a_file_that_cannot_be_read_is_no_beginning(
    switch: Run, audit: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (audit / "switches.json").write_text("garbage")
    (audit / "switches.json").chmod(0o600)

    code = switch("init")

    said = capsys.readouterr().err
    assert code == 2
    assert "is no file of switches" in said
    assert (audit / "switches.json").read_text() == "garbage"
    assert f"mv {audit}/switches.json {audit}/switches.json.broken && oidc-gateway switch init" in said


def test_what_is_said_of_a_damaged_file_leads_to_a_good_one(
    switch: Run, audit: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = audit / "switches.json"
    file.write_text("garbage")
    file.chmod(0o600)
    switch("list")
    move, _, begin = capsys.readouterr().err.strip().rpartition(": ")[2].partition(" && ")
    _, old, new = move.split()

    Path(old).rename(new)
    code = main([*begin.removeprefix("oidc-gateway ").split(), "--config", str(CONFIG)])

    assert (code, switch("list")) == (0, 0)
    assert Path(f"{file}.broken").read_text() == "garbage"


def test_a_redis_that_is_away_is_told_in_one_line_with_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--switches", "redis", "--state", "redis://127.0.0.1:1/0", "--config", str(CONFIG)]

    code = main(["switch", "list", *words])

    assert code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "oidc-gateway switch: The switches in redis://127.0.0.1:1/0 cannot be read: Redis cannot be reached: "
    )
    assert line.endswith("Check state.url, that Redis runs, and the network between.")


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        pytest.param("password", "state.username and state.password_file must", id="a-setting"),
        pytest.param("unreachable", "Check state.url, ", id="a-word"),
    ],
)
def test_a_hint_that_begins_with_a_setting_writes_it_as_the_files_do(reason: Reason, said: str) -> None:
    hint = as_sentence(RedisFault(reason=reason, what="x").advice)

    assert hint.startswith(said)
    assert hint.endswith(".")


def settings_of(audit: Path, **state: str) -> Settings:
    return load_settings(
        config=CONFIG,
        server=ServerShape(),
        audit=AuditShape(directory=str(audit)),
        state=StateShape(**state),  # type: ignore[arg-type]
        environment={},
        flags={},
    )


OFF = ("off", "workflow", "deploy-payments", "--why", "x")
REDIS = {"url": "redis://127.0.0.1:6390/0", "switches": "redis"}


@pytest.mark.requirement("MP-15")
@pytest.mark.parametrize("words", [OFF, ("list",), ("init",)], ids=["off", "list", "init"])
@pytest.mark.parametrize(
    ("state", "advice"),
    [
        pytest.param(REDIS, "Add --switches redis --state redis://127.0.0.1:6390/0. ", id="redis"),
        pytest.param(
            {**REDIS, "prefix": "b:"},
            "Add --switches redis --state redis://127.0.0.1:6390/0, with OIDC_GATEWAY_STATE_PREFIX=b:. ",
            id="prefix",
        ),
        pytest.param({"switches": "/etc/off.json"}, "has its switches in /etc/off.json and", id="file"),
    ],
)
def test_nothing_is_turned_or_listed_in_a_folder_whose_gateway_has_its_switches_elsewhere(
    switch: Run,
    audit: Path,
    words: tuple[str, ...],
    state: dict[str, str],
    advice: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    note_where_switches_are(settings_of(audit, **state))

    code = switch(*words)

    said = capsys.readouterr()
    assert (code, said.out) == (2, "")
    assert advice in said.err
    assert not (audit / "switches.json").exists()


def test_a_gateway_that_has_its_switches_in_the_folder_again_is_heeded(switch: Run, audit: Path) -> None:
    note_where_switches_are(settings_of(audit, **REDIS))
    note_where_switches_are(settings_of(audit))

    assert switch(*OFF) == 0
    assert ("workflow", "deploy-payments") in off_in(audit)


def test_a_file_that_is_named_is_turned_whatever_a_gateway_once_noted(switch: Run, audit: Path) -> None:
    note_where_switches_are(settings_of(audit, **REDIS))

    assert switch("init", "--switches", str(audit / "switches.json")) == 0


def test_a_note_that_nobody_can_read_lets_nothing_be_turned(
    switch: Run, audit: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (audit / ".switches.json.elsewhere").write_text("[]")

    code = switch(*OFF)

    assert code == 2
    assert "the note cannot be read: it is damaged" in capsys.readouterr().err
