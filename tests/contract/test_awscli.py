"""AWS clients that nobody here wrote use what the gateway hands out, through `credential_process` and three lines of shell."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, CredentialRetrievalError

from tests.support.boto import ACCOUNT, REGION
from tests.support.installed import Installed, installed_gateway
from tests.support.provider import OidcProvider

# As a user would write it; -f makes curl fail, and say so on stderr, when the gateway refuses.
WRAPPER = """\
#!/bin/sh
exec curl -sSf {gateway}/v1/credentials -H "Authorization: Bearer $(cat {token})" \\
  -H 'Content-Type: application/json' -d '{{"target": "{target}"}}'
"""


@pytest.fixture(scope="module")
def installed(
    ministack: str, oidc_provider: OidcProvider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installed]:
    folder = tmp_path_factory.mktemp("installed")
    with installed_gateway(folder, aws=ministack, okta=oidc_provider.okta) as running:
        yield running


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A home folder with an AWS configuration that asks the gateway for credentials."""

    home: Path

    @property
    def environment(self) -> Mapping[str, str]:
        return {
            "PATH": "/usr/bin:/bin",
            "HOME": str(self.home),
            "AWS_CONFIG_FILE": str(self.home / "config"),
            "AWS_SHARED_CREDENTIALS_FILE": str(self.home / "credentials"),
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_PROFILE": "gateway",
        }

    def aws(self, awscli: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [awscli, *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


def person(home: Path, installed: Installed, *, client: str = "agent", target: str = "agent") -> Person:
    """Write what a user of the gateway has: a token in a file, three lines of shell, a profile."""
    token, wrapper = home / "token", home / "from-gateway"
    token.write_text(installed.okta.token(client))
    wrapper.write_text(WRAPPER.format(gateway=installed.gateway.url, token=token, target=target))
    wrapper.chmod(0o700)
    (home / "config").write_text(
        f"[profile gateway]\nregion = {REGION}\nendpoint_url = {installed.aws}\ncredential_process = {wrapper}\n"
    )
    return Person(home=home)


def test_the_aws_command_line_describes_the_execution_that_the_gateway_started(
    awscli: Path, installed: Installed, tmp_path: Path
) -> None:
    execution = installed.start("awscli-1")

    told = person(tmp_path, installed).aws(
        awscli, "stepfunctions", "describe-execution", "--execution-arn", execution
    )

    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)["executionArn"] == execution
    assert json.loads(told.stdout)["status"] == "RUNNING"


def test_the_aws_command_line_is_the_session_that_the_audit_record_names(
    awscli: Path, installed: Installed, tmp_path: Path
) -> None:
    told = person(tmp_path, installed).aws(awscli, "sts", "get-caller-identity")

    identity = json.loads(told.stdout)
    session = identity["Arn"].rsplit("/", 1)[1]
    records = (installed.gateway.audit / "audit-000001.jsonl").read_text()
    assert identity["Account"] == ACCOUNT
    assert session.startswith("agent.")
    assert identity["Arn"] in records


def test_what_the_role_may_not_do_stays_denied_by_aws(
    awscli: Path, installed: Installed, tmp_path: Path
) -> None:
    execution = installed.start("awscli-2")

    told = person(tmp_path, installed).aws(
        awscli, "stepfunctions", "stop-execution", "--execution-arn", execution
    )

    assert told.returncode != 0
    assert "AccessDenied" in told.stderr


@pytest.mark.requirement("ST-07")
@pytest.mark.parametrize(
    ("client", "target", "status"),
    [
        pytest.param("reporter", "agent", 403, id="a caller without a rule"),
        pytest.param("agent", "sealed", 404, id="a target that is for starts only"),
    ],
)
def test_whoever_may_not_obtain_credentials_gets_none_and_is_told_so(
    awscli: Path, installed: Installed, tmp_path: Path, client: str, target: str, status: int
) -> None:
    told = person(tmp_path, installed, client=client, target=target).aws(awscli, "sts", "get-caller-identity")

    assert told.returncode != 0
    assert told.stdout == ""
    assert f"The requested URL returned error: {status}" in told.stderr


@pytest.fixture
def boto(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The environment without any AWS setting of the person who runs the tests."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_boto3_describes_it_through_the_same_profile(
    installed: Installed, tmp_path: Path, boto: pytest.MonkeyPatch
) -> None:
    for name, value in person(tmp_path, installed).environment.items():
        boto.setenv(name, value)
    execution = installed.start("boto3-1")

    states = boto3.session.Session().client("stepfunctions")
    told = states.describe_execution(executionArn=execution)

    assert (told["executionArn"], told["status"]) == (execution, "RUNNING")


def test_boto3_cannot_do_under_them_what_the_role_may_not(
    installed: Installed, tmp_path: Path, boto: pytest.MonkeyPatch
) -> None:
    for name, value in person(tmp_path, installed).environment.items():
        boto.setenv(name, value)
    execution = installed.start("boto3-2")
    states = boto3.session.Session().client("stepfunctions", config=Config(retries={"total_max_attempts": 1}))

    with pytest.raises(ClientError) as refused:
        states.stop_execution(executionArn=execution)

    assert refused.value.response["Error"]["Code"] == "AccessDeniedException"


def test_boto3_says_why_there_are_no_credentials(
    installed: Installed, tmp_path: Path, boto: pytest.MonkeyPatch
) -> None:
    for name, value in person(tmp_path, installed, client="reporter").environment.items():
        boto.setenv(name, value)

    with pytest.raises(CredentialRetrievalError) as refused:
        boto3.session.Session().client("sts")

    assert "The requested URL returned error: 403" in str(refused.value)


def test_boto3_runs_the_process_once_for_many_calls_as_long_as_the_credentials_last(
    installed: Installed, tmp_path: Path, boto: pytest.MonkeyPatch
) -> None:
    for name, value in person(tmp_path, installed).environment.items():
        boto.setenv(name, value)
    execution = installed.start("boto3-3")
    wrapper = tmp_path / "from-gateway"
    wrapper.write_text(wrapper.read_text().replace("exec ", f"echo run >> {tmp_path}/runs\nexec "))
    states = boto3.session.Session().client("stepfunctions")

    for _ in range(3):
        states.describe_execution(executionArn=execution)

    assert (tmp_path / "runs").read_text() == "run\n"
