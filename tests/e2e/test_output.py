"""Every command whose output nobody reads any more, as of `| head`, or that has none, as of `>&-`: real processes."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from gateway.audit.journal import JsonlJournal
from gateway.audit.signing import HeadSigner, generate
from gateway.clock import SystemClock
from gateway.dev.vault import VaultServer
from gateway.metrics import Metrics
from gateway.state.switch_file import SwitchFile
from gateway.state.switches import Switch
from tests.support.admins import socketed
from tests.support.command_line import commands
from tests.support.gateways import CONFIG, ROOT, fresh
from tests.support.records import INTENT

SWITCHES_FILE: Final = "switches.json"
_LIMIT_S: Final = 60
#: More than what Python and a pipe keep between them.
_RECORDS: Final = 150

#: What each command is given; the folder is the test's own. Of all that print when they end.
LOCAL: Final = {
    "check": ["{folder}/config"],
    "check --schemas": ["{folder}/config"],
    "check --format json": ["{folder}/config"],
    "test": ["--config", "{folder}/config"],
    "decide": ["--config", "{folder}/config", "--token", "{folder}/token", "--start", "deploy-payments"],
    "switch off": ["rule", "payments.prod", "--why", "a test", "{switches}"],
    "switch on": ["rule", "payments.once", "{switches}"],
    "switch list": ["{switches}"],
    "switch init": ["--switches", "{folder}/new.json", "--config", "{folder}/config"],
    "explain": ["req-1", "--audit", "{folder}/audit"],
    "explain --format json": ["req-1", "--audit", "{folder}/audit"],
    "audit verify": ["--audit", "{folder}/audit"],
    "audit find": ["--audit", "{folder}/audit"],
    "audit find --format json": ["--audit", "{folder}/audit"],
    "audit heads": ["--audit", "{folder}/audit"],
    "audit keygen": ["{folder}/another.pem"],
}
ADMIN: Final = {
    "admin state": ["--to", "{to}"],
    "admin rules": ["--to", "{to}"],
    "admin explain": ["--to", "{to}", "--token", "{folder}/token"],
    "admin reload": ["--to", "{to}"],
}
VAULT: Final = {
    "vault plan": ["--config", "{folder}/config", "--dev"],
    "vault plan --format json": ["--config", "{folder}/config", "--dev"],
    "vault apply": ["--config", "{folder}/config", "--dev"],
    "vault read": ["sys/mounts"],
}
ALL: Final = {**LOCAL, **ADMIN, **VAULT}
#: They run until they are ended and print as they go, or need a login at AWS or an environment of their own.
ELSEWHERE: Final = {"serve", "dev", "dev demo", "dev token", "vault login"}


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    """Files, a token, and a journal with records and signed heads."""
    shutil.copytree(CONFIG, tmp_path / "config")
    (tmp_path / "token").write_text(fresh())
    generate(tmp_path / "head.pem")
    signer = HeadSigner.load(tmp_path / "head.pem")
    async with JsonlJournal(
        tmp_path / "audit", metrics=Metrics(), clock=SystemClock(), signer=signer
    ) as journal:
        for number in range(_RECORDS):
            record = replace(INTENT, request_id=f"req-{number}", user_agent="a" * 200)
            await journal.intend(record)
            await journal.conclude(replace(record, kind="outcome"))
    once = Switch(kind="rule", name="payments.once", why="a test", by="somebody", at=0)
    await SwitchFile(tmp_path / "audit" / SWITCHES_FILE, may_be_absent=True).turn_off(once)
    return tmp_path


@pytest.fixture(scope="module")
def admin_socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("admin")
    with socketed(folder):
        yield f"unix:{folder / 'run' / 'admin.sock'}"


def test_every_command_that_prints_and_ends_is_tried_here() -> None:
    assert {name.partition(" --")[0] for name in ALL} | ELSEWHERE == {
        command.removeprefix("oidc-gateway ") for command in commands()
    }


class Asked:
    """One command with its words, to be run with one output or another."""

    def __init__(self, words: Sequence[str], environment: dict[str, str]) -> None:
        self._words = [sys.executable, "-m", "gateway", *words]
        self._environment = environment

    def run(self, *, stdout: int | None, closed: bool = False, buffered: bool = True) -> tuple[int, str]:
        """Return its exit code and what it says on stderr."""
        words = ["sh", "-c", 'exec "$@" >&-', "sh", *self._words] if closed else self._words
        ended = subprocess.run(
            words,
            cwd=ROOT,
            env={
                "PATH": os.environ["PATH"],
                **({} if buffered else {"PYTHONUNBUFFERED": "1"}),
                **self._environment,
            },
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            timeout=_LIMIT_S,
            check=False,
        )
        return ended.returncode, ended.stderr


@pytest.fixture
def asked(request: pytest.FixtureRequest, name: str, folder: Path) -> Asked:
    places, environment = {"folder": str(folder)}, {}
    if name in ADMIN:
        places["to"] = request.getfixturevalue("admin_socket")
    if name in VAULT:
        vault: VaultServer = request.getfixturevalue("vault")
        environment = {"VAULT_ADDR": vault.address, "VAULT_TOKEN": vault.root_token.reveal()}
    words = name.split()
    for word in ALL[name]:
        if word == "{switches}":
            words += ["--audit", str(folder / "audit"), "--config", str(folder / "config")]
        else:
            words.append(word.format(**places))
    return Asked(words, environment)


@pytest.mark.parametrize(
    ("name", "buffered"),
    [
        *(pytest.param(name, False, id=name) for name in ALL),
        *(pytest.param(name, True, id=f"{name}, 8 kB at once") for name in ALL if "find" in name),
    ],
)
def test_a_reader_who_has_gone_is_told_by_141_and_nothing_is_said(asked: Asked, *, buffered: bool) -> None:
    read, write = os.pipe()
    os.close(read)
    with ExitStack() as stack:
        stack.callback(os.close, write)

        ended = asked.run(stdout=write, buffered=buffered)

    assert ended == (141, "")


@pytest.mark.parametrize("name", ALL)
def test_a_command_without_an_output_does_its_work_and_ends_as_it_would_have(asked: Asked, name: str) -> None:
    code, said = asked.run(stdout=subprocess.DEVNULL, closed=True)

    assert (code, said) == (1 if name.startswith(("vault plan", "vault apply")) else 0, "")
