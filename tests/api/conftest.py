"""Gateways whose AWS is scripted: one that all tests of faults share, and as many more as a test needs."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.gateways import Gateway, running_gateway, write_config
from tests.support.scripted_aws import ScriptedAws, running_scripted_aws


@dataclass(frozen=True, slots=True, kw_only=True)
class Scripted:
    """A gateway and the AWS that it asks."""

    gateway: Gateway
    aws: ScriptedAws


@pytest.fixture(scope="session")
def scripted_aws() -> Iterator[ScriptedAws]:
    """An AWS that does what a test says; see `scripted`."""
    with running_scripted_aws() as aws:
        yield aws


@pytest.fixture(scope="session")
def shared_gateway(tmp_path_factory: pytest.TempPathFactory, scripted_aws: ScriptedAws) -> Iterator[Gateway]:
    """A gateway in front of it; see `scripted`."""
    folder = tmp_path_factory.mktemp("scripted")
    with running_gateway(write_config(folder / "config", aws=scripted_aws.url), folder / "audit") as gateway:
        yield gateway


@pytest.fixture
def scripted(shared_gateway: Gateway, scripted_aws: ScriptedAws) -> Scripted:
    """A running gateway on the example rules, its AWS well again and with an empty list of calls."""
    scripted_aws.begin()
    return Scripted(gateway=shared_gateway, aws=scripted_aws)


@pytest.fixture
def own_gateway(tmp_path: Path, scripted_aws: ScriptedAws) -> Iterator[Gateway]:
    """A gateway that this test alone has, so that it may break its files and its disk."""
    scripted_aws.begin()
    with running_gateway(
        write_config(tmp_path / "config", aws=scripted_aws.url), tmp_path / "audit"
    ) as gateway:
        yield gateway
