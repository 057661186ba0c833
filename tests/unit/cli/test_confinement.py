"""What a serving process gives up before it reads anything."""

import os
import subprocess
import sys
from collections.abc import Mapping

import pytest

from gateway.cli.confinement import shed_aws_identity

_LIMITS = (
    "import os, resource, sys, ctypes\n"
    "from gateway.cli.confinement import confine\n"
    "confine(debuggable={debuggable})\n"
    "print(resource.getrlimit(resource.RLIMIT_CORE), oct(os.umask(0)), sys.get_int_max_str_digits(),"
    " ctypes.CDLL(None).prctl(3, 0, 0, 0, 0) if sys.platform == 'linux' else 0)\n"
)


def confined(*, debuggable: bool, environment: Mapping[str, str] | None = None) -> str:
    """Return what a process of its own says of itself afterwards: these limits never grow again."""
    command = [sys.executable, "-c", _LIMITS.format(debuggable=debuggable)]
    env = {**os.environ, **(environment or {})}
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=env)
    return answer.stdout.strip()


@pytest.mark.requirement("SE-07", "CO-07")
def test_no_memory_image_is_written_and_nobody_else_reads_what_is_made() -> None:
    assert confined(debuggable=False).startswith("(0, 0) 0o77 ")
    assert confined(debuggable=False).endswith(" 0")


@pytest.mark.requirement("SE-07")
@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux")
def test_for_developers_the_memory_stays_open_to_their_own_tools() -> None:
    assert confined(debuggable=True) == "(0, 0) 0o77 4300 1"


@pytest.mark.parametrize("limit", ["0", "1000000", "640"])
@pytest.mark.requirement("DE-06")
def test_no_variable_lifts_the_limit_on_the_digits_of_a_number(limit: str) -> None:
    said = confined(debuggable=False, environment={"PYTHONINTMAXSTRDIGITS": limit}).split()[-2]

    assert said == ("640" if limit == "640" else "4300")


@pytest.mark.parametrize(
    "name",
    [
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_PROFILE",
        "AWS_ROLE_ARN",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN",
        "AWS_BEARER_TOKEN_BEDROCK",
        "AWS_ENDPOINT_URL_STS",
        "AWS_CA_BUNDLE",
        "AWS_CONFIG_FILE",
        "AWS_SOMETHING_NEW",
    ],
)
@pytest.mark.requirement("CO-04")
def test_an_aws_identity_in_the_environment_is_removed_and_named(name: str) -> None:
    environment = {name: "anything", "HOME": "/home/somebody"}

    assert shed_aws_identity(environment) == (name,)
    assert "anything" not in environment.values()
    assert environment["HOME"] == "/home/somebody"


@pytest.mark.requirement("CO-04")
def test_what_platforms_set_everywhere_is_removed_without_a_word() -> None:
    environment = {"AWS_REGION": "eu-west-1", "AWS_EC2_METADATA_DISABLED": "false"}

    assert shed_aws_identity(environment) == ()
    assert environment == {
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_CONFIG_FILE": os.devnull,
    }


@pytest.mark.requirement("CO-04")
def test_a_second_look_finds_nothing_that_the_first_left() -> None:
    environment = {"AWS_PROFILE": "admin"}
    shed_aws_identity(environment)

    assert shed_aws_identity(environment) == ()


@pytest.mark.requirement("CO-04")
def test_afterwards_botocore_finds_no_credentials_anywhere() -> None:
    code = (
        "import os, sys\n"
        "from gateway.cli.confinement import shed_aws_identity\n"
        "shed_aws_identity(os.environ)\n"
        "from botocore.session import Session\n"
        "print(Session().get_credentials())\n"
    )
    ambient = {"AWS_ACCESS_KEY_ID": "not-a-key-id", "AWS_SECRET_ACCESS_KEY": "not-a-secret"}

    answer = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, **ambient},
    )

    assert answer.stdout == "None\n"
