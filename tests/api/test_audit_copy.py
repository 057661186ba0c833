"""A gateway with a signing key and a second copy: heads in journal, log and copy; nothing granted while the copy lags."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.audit.files import journal_files
from gateway.audit.heads import heads_in
from gateway.audit.signing import HeadKeys, generate
from gateway.audit.vouching import Exported, verify_signed
from tests.support.caller import problem, until
from tests.support.gateways import Gateway, fresh, running_gateway, write_config
from tests.support.scripted_aws import ScriptedAws
from tests.support.syslog import Receiver


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with contextlib.closing(Receiver()) as one:
        yield one


def start(gateway: Gateway, key: str) -> int:
    answer = gateway.start(fresh(), "deploy-payments", key=key, input={"version": "1.2.3"})
    if answer.status_code == 503:
        assert problem(answer)["code"] == "audit_unavailable"
    return answer.status_code


@pytest.mark.requirement("AU-03")
def test_heads_are_in_the_journal_in_the_log_and_in_the_copy(
    tmp_path: Path, scripted_aws: ScriptedAws, receiver: Receiver
) -> None:
    scripted_aws.begin()
    public, _ = generate(tmp_path / "head.pem")
    config = write_config(tmp_path / "config", aws=scripted_aws.url)
    environment = {
        "OIDC_GATEWAY_AUDIT_SIGNING_KEY": str(tmp_path / "head.pem"),
        "OIDC_GATEWAY_AUDIT_HEAD_RECORDS": "1",
        "OIDC_GATEWAY_AUDIT_SYSLOG_TO": f"tcp://127.0.0.1:{receiver.port}",
        "OIDC_GATEWAY_AUDIT_SYSLOG_MAX_MESSAGE_BYTES": "300000",
    }

    with running_gateway(config, tmp_path / "audit", environment=environment) as gateway:
        assert start(gateway, "one") == 201
        until(lambda: gateway.metric("oidc_gateway_audit_head_timestamp_seconds"))
        gateway.process.terminate()  # the orderly end, which signs the last head and sends it
        gateway.ended()
    logged = [json.loads(line)["head"] for line in gateway.lines if '"audit head"' in line]

    files = journal_files(tmp_path / "audit")
    written = [line for file in files for line in file.lines()]
    heads = [head for file in files for _, head in heads_in(file.lines())]
    exported = [Exported(head=head, source="log") for head in heads if not isinstance(head, ValueError)]
    verdict = verify_signed(files, check=HeadKeys([public]).check, exported=exported)
    assert (verdict.findings, verdict.bare.records) == ((), 0)
    assert [head.document() for head in heads if not isinstance(head, ValueError)] == logged
    assert [b"{" + one.partition(b" - {")[2] + b"\n" for one in receiver.messages] == written


def test_nothing_is_granted_while_the_copy_is_too_far_behind_and_the_log_says_why(
    tmp_path: Path, scripted_aws: ScriptedAws, receiver: Receiver
) -> None:
    scripted_aws.begin()
    config = write_config(tmp_path / "config", aws=scripted_aws.url)
    port = receiver.port
    environment = {
        "OIDC_GATEWAY_AUDIT_SYSLOG_TO": f"tcp://127.0.0.1:{port}",
        "OIDC_GATEWAY_AUDIT_SYSLOG_MAX_LAG": "1s",
    }

    with running_gateway(config, tmp_path / "audit", environment=environment) as gateway:
        assert start(gateway, "one") == 201
        receiver.close()
        until(lambda: start(gateway, "two") == 503)
        calls = len(scripted_aws.states_calls())
        assert start(gateway, "three") == 503
        assert len(scripted_aws.states_calls()) == calls
        until(lambda: gateway.metric("oidc_gateway_audit_copy_lag_seconds") > 1)
        with contextlib.closing(Receiver(port=port)):
            until(lambda: start(gateway, "three") in (200, 201), patience_s=40)
        until(lambda: "the second copy of the audit record has caught up" in gateway.log())

    until(lambda: "the second copy of the audit record is too far behind" in gateway.log())


@pytest.mark.parametrize(
    ("environment", "complaint"),
    [
        ({"OIDC_GATEWAY_AUDIT_SIGNING_KEY": "none.pem"}, "none.pem cannot be read: No such file"),
        (
            {"OIDC_GATEWAY_AUDIT_SYSLOG_TO": "udp://h:514"},
            "must be tls://HOST:PORT, tcp://HOST:PORT or unix:/PATH",
        ),
        ({"OIDC_GATEWAY_AUDIT_SYSLOG_MAX_LAG": "5m"}, "audit.syslog.to is missing; it says where"),
        (
            {
                "OIDC_GATEWAY_AUDIT_SYSLOG_TO": "tls://127.0.0.1:1",
                "OIDC_GATEWAY_AUDIT_SYSLOG_CA_FILE": "none.pem",
            },
            "none.pem cannot be used: No such file",
        ),
    ],
    ids=["key", "address", "half", "ca"],
)
def test_a_setting_of_the_audit_that_cannot_be_used_stops_the_start_by_name(
    tmp_path: Path, environment: dict[str, str], complaint: str
) -> None:
    config = write_config(tmp_path / "config", aws="http://127.0.0.1:1")

    with (
        pytest.raises(AssertionError, match="did not start") as failed,
        running_gateway(config, tmp_path / "audit", environment=environment),
    ):
        pass

    assert complaint in str(failed.value)
