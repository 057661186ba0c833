"""Fixtures that every test may use: the real components, and three guards over the whole run."""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from gateway.dev.ministack import running_ministack
from gateway.dev.vault import VaultServer, running_vault
from tests.support import canary_run, components, requirements, sockets
from tests.support.envoy import JudgedIssuer, running_envoy
from tests.support.moto import running_moto
from tests.support.provider import OidcProvider, running_oidc_provider
from tests.support.redis_server import RedisServer, running_redis
from tests.support.rgw import Rgw, running_rgw
from tests.support.world import World, running_world

#: What only tests call with: at DEBUG it would bury what is to be read when one fails.
_CHATTER = (
    "httpx2", "httpcore2", "boto3", "botocore.args", "botocore.auth", "botocore.awsrequest", "botocore.client", "botocore.endpoint",
    "botocore.hooks", "botocore.httpchecksum", "botocore.loaders", "botocore.parsers", "botocore.regions", "botocore.retries",
)  # fmt: skip


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--requirements",
        action="store_true",
        help="compare the tests' requirement markers with tests/requirements.toml (use with --collect-only)",
    )
    parser.addoption(
        "--requirement",
        metavar="NUMBER",
        help="run only tests that carry this requirement's number, such as TV-22",
    )


def pytest_configure(config: pytest.Config) -> None:
    for name in _CHATTER:
        logging.getLogger(name).setLevel(logging.WARNING)
    sockets.refuse_the_outside()
    canary_run.begin(config)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--requirements") and (problems := requirements.disagreements(items)):
        raise pytest.UsageError("\n".join(problems))
    if number := config.getoption("--requirement"):
        others = [item for item in items if number not in requirements.numbers_of(item)]
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if number in requirements.numbers_of(item)]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    canary_run.take_report(report)


def pytest_sessionfinish(session: pytest.Session) -> None:
    canary_run.search(session)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    canary_run.say(terminalreporter, config)


def _need(*names: str) -> None:
    """Skip the test when a component is missing; fail it where every component has to be there."""
    reason = components.missing(*names)
    if reason is None:
        return
    if os.environ.get("REQUIRE_REAL") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def ministack() -> Iterator[str]:
    """Base URL of an AWS that enforces trust policies, role policies and expiry; account 111122223333, root `test`/`test`.

    One for all tests: give roles, state machines and pools names of your own, and never reset it.
    """
    _need("ministack")
    with running_ministack() as url:
        yield url


@pytest.fixture(scope="session")
def vault() -> Iterator[VaultServer]:
    """A real Vault, unsealed and empty but for what tests put there: give mounts, roles and policies names of your own.

    One for all tests: never seal it, and never revoke what is not yours; `running_vault` starts another in a moment.
    """
    _need("vault")
    with running_vault() as server:
        yield server


@pytest.fixture(scope="session")
def redis() -> Iterator[RedisServer]:
    """A real Redis, empty but for what tests put there: take a `prefix` of your own.

    One for all tests: never stop, fill or flush it; `running_redis` starts another in a moment.
    """
    _need("redis")
    with running_redis() as server:
        yield server


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The whole product with identity providers and AWS, on the example configuration; see `tests.support.world`."""
    _need("ministack")
    with running_world(tmp_path_factory.mktemp("world")) as running:
        yield running


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    """Base URL of an AWS that knows Step Functions' rules about names; account 123456789012. Its STS checks nothing."""
    _need("moto")
    with running_moto() as url:
        yield url


@pytest.fixture(scope="session")
def rgw() -> Iterator[Rgw]:
    """Ceph's object gateway: an STS that verifies web identity tokens. Give issuers, roles and buckets names of your own."""
    _need("rgw", "node", "oidc-provider")
    with running_rgw() as running:
        yield running


@pytest.fixture(scope="session")
def oidc_provider() -> Iterator[OidcProvider]:
    """Two issuers that we did not write, shaped as Okta and as Auth0."""
    _need("node", "oidc-provider")
    with running_oidc_provider() as provider:
        yield provider


@pytest.fixture(scope="session")
def envoy() -> Callable[[Sequence[JudgedIssuer]], AbstractContextManager[str]]:
    """A function that starts an Envoy which trusts the given issuers: `with envoy([…]) as url`."""
    _need("tools")
    return running_envoy


@pytest.fixture(scope="session")
def awscli() -> Path:
    """Path of the AWS command line's program."""
    _need("tools")
    return components.awscli()
