"""Keeps an environment running for a person: says what is where, follows the files, and ends cleanly."""

import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit

from gateway.dev.aws import AwsNotSeeded
from gateway.dev.children import ChildFailed
from gateway.dev.environment import Environment
from gateway.dev.vault import HOW_TO_GET_ONE

_TICK_S = 0.5
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Ended(BaseException):
    """Somebody asked us to end, by Ctrl-C or a signal.

    Not an Exception: like KeyboardInterrupt it may come anywhere, also inside botocore, which catches and repeats.
    """


@contextmanager
def ended_by_signals() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C, SIGTERM or SIGHUP into `Ended` in the main thread; later ones cannot disturb the cleaning up.

    The event is set with it, for whoever waits.
    """
    asked = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        if not asked.is_set():
            asked.set()
            raise Ended

    # SIGHUP stays ignored where it was: somebody said `nohup`.
    wanted = [
        one for one in _SIGNALS if one is not signal.SIGHUP or signal.getsignal(one) is not signal.SIG_IGN
    ]
    before = {number: signal.signal(number, end) for number in wanted}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def command_name() -> str:
    """Return what to type for our command here: its name, or its path when the virtual environment is not active."""
    path = Path(sys.executable).with_name("oidc-gateway")
    if shutil.which("oidc-gateway") or not path.exists():
        return "oidc-gateway"
    return min(os.path.relpath(path), str(path), key=len)


def welcome(environment: Environment) -> list[str]:
    """Return what a person wants to know first, as lines."""
    url, issuers = environment.url, environment.issuers
    command = command_name()
    # With the port: another environment may run on this machine.
    token = f"{command} dev token --port {urlsplit(url).port}"
    names = sorted([*issuers.by_name, *issuers.elsewhere])
    return [
        "",
        f"Gateway    {url}",
        f"Issuers    {issuers.url} ({', '.join(names)})",
        f"AWS        {environment.aws.url} (ministack, account {environment.account})",
        f"Vault      {_vault(environment)}",
        f"Files      {environment.derived.source}: edit them, they are live; issuers and endpoints are replaced",
        f"Audit      {environment.audit}",
        "",
        "In another terminal:",
        f"  TOKEN=$({token} --issuer github)",
        f'  curl -s {url}/v1/whoami -H "Authorization: Bearer $TOKEN"',
        f'  curl -s {url}/v1/executions -H "Authorization: Bearer $TOKEN" \\',
        "      -H 'Idempotency-Key: 1' -H 'Content-Type: application/json' \\",
        """      -d '{"workflow": "deploy-payments", "input": {"version": "1.4.2"}}'""",
        "",
        f"  {token} --issuer github --claim ref=refs/heads/x    # another branch: 403, and why",
        f"  {token} --issuer github --expires-in=-5m            # expired: 401",
        "",
        f'  printf %s "$TOKEN" | {command} decide --token - --start deploy-payments \\',
        f"      --dev --config {environment.derived.destination}",
        f"  {command} explain REQUEST_ID --audit {environment.audit}",
        *_vault_plan(environment, command),
        "",
        "Ctrl-C ends everything and leaves nothing behind.",
        "",
    ]


def _vault(environment: Environment) -> str:
    if environment.vault is None:
        return f"not here. {HOW_TO_GET_ONE}"
    return f"{environment.vault.address} (root token: {environment.vault_token_file})"


def _vault_plan(environment: Environment, command: str) -> list[str]:
    if environment.vault is None:
        return []
    # A VAULT_ADDR of the terminal would lead to another Vault than this one.
    return [
        "",
        f"  env -u VAULT_ADDR -u BAO_ADDR {command} vault plan --dev --config {environment.derived.destination} \\",
        f"      --token-file {environment.vault_token_file}",
    ]


def keep_running(environment: Environment, asked: threading.Event, *, say: Callable[[str], None]) -> None:
    """Follow the files and show what the gateway logs from now on, until we are asked to end. Raises Ended and ChildFailed."""
    with environment.log().open() as log:
        log.seek(0, os.SEEK_END)
        while not asked.wait(_TICK_S):
            for line in log:
                say(line.rstrip("\n"))
            if not _runs(Path(log.name)):
                raise ChildFailed("The gateway has ended by itself; its last lines are above.")
            try:
                environment.follow_files()
            except (AwsNotSeeded, OSError) as fault:
                say(str(fault))


def _runs(log: Path) -> bool:
    # The tether removes the log with its folder as soon as the gateway has ended.
    return log.exists()
