"""The embedded AWS: ministack, which enforces trust policies and role policies, on a loopback port for as long as it is needed."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from gateway.dev.children import LOOPBACK, Server, running
from gateway.dev.environments import build_environment

ROOT_KEY_ID = "test"  # ministack's root user: may do everything, seeds the roles that may do little
ROOT_SECRET = "test"
_LOCK = Path(__file__).with_name("ministack.lock")


def ministack_executable(*, log: Callable[[str], None]) -> Path:
    """Return the program, its virtual environment built first if need be (about half a minute, once).

    Raises EnvironmentNotBuilt.
    """
    return build_environment("ministack", _LOCK, log=log) / "bin" / "ministack"


@contextmanager
def running_ministack(*, account: str = "111122223333", workdir: Path | None = None) -> Iterator[str]:
    """Yield the base URL of an empty AWS with this account id; when we end, it ends, and its files with it.

    workdir: where its scratch folder is made. Raises EnvironmentNotBuilt and ChildFailed.
    """
    executable = ministack_executable(log=lambda _: None)
    server = Server(
        name="ministack",
        command=lambda _port, _scratch: [str(executable)],
        environment=lambda port: _environment(port, account),
        health="/_ministack/health",
    )
    with running(server, workdir=workdir) as port:
        yield f"http://{LOOPBACK}:{port}"


def _environment(port: int, account: str) -> Mapping[str, str]:
    return {
        "GATEWAY_PORT": str(port),
        "BIND_HOST": LOOPBACK,
        "IOT_MTLS_ENABLED": "0",  # its MQTT listener ignores BIND_HOST
        "AUTH": "true",
        "MINISTACK_ACCOUNT_ID": account,
        "LOG_LEVEL": "WARNING",
        "AWS_ACCESS_KEY_ID": ROOT_KEY_ID,
    }
