"""Where a running environment keeps its files, and how another terminal finds it."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from gateway.dev.environments import cache_folder

_KEEPER = Path(__file__).with_name("keeper.py")
_NOTE = "environment.json"
_PREFIX = "dev-"
_PATIENCE_S = 20.0


class NotRunning(Exception):
    """There is no environment, or more than one, where exactly one is needed; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What another terminal needs to know of a running environment. Written with mode 0600, removed at its end.

    gateway, issuers, aws: base URLs. mint_key: bearer secret of the issuers' mint endpoint.
    """

    gateway: str
    issuers: str
    aws: str
    mint_key: str = field(repr=False)


@contextmanager
def kept_folder() -> Iterator[Path]:
    """Yield a new folder, readable by us alone, which is gone afterwards even if we are killed."""
    runs = _runs()
    runs.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=runs))
    keeper = subprocess.Popen(
        [sys.executable, "-I", "-S", str(_KEEPER), str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C in the terminal is for us
    )
    try:
        yield folder
    finally:
        keeper.communicate(timeout=_PATIENCE_S)


def leave_note(folder: Path, note: Note) -> None:
    """Let other terminals of the same user find this environment."""
    write_private(folder / _NOTE, json.dumps(asdict(note)))


def find_running(gateway: str | None = None) -> Note:
    """Return the note of the environment that runs, or of the one whose gateway has this URL. Raises NotRunning."""
    notes = [note for note in map(_read_note, sorted(_runs().glob(f"{_PREFIX}*/{_NOTE}"))) if note]
    meant = [note for note in notes if gateway in (None, note.gateway)]
    ports = ", ".join(_port(note.gateway) for note in notes)
    match meant:
        case [one]:
            return one
        case [] if notes and gateway is not None:
            raise NotRunning(f"No environment is running at port {_port(gateway)}, but at: {ports}.")
        case []:
            raise NotRunning("No environment is running. Start one in another terminal: oidc-gateway dev")
        case _:
            raise NotRunning(f"Several environments are running; name one with --port ({ports}).")


def _port(url: str) -> str:
    return url.rpartition(":")[2]


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    draft = path.with_name(f".{path.name}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    draft.replace(path)


def _read_note(path: Path) -> Note | None:
    try:
        return Note(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None  # it is just ending, or of another version


def _runs() -> Path:
    # Not XDG_RUNTIME_DIR: a terminal opened another way (su, docker exec) does not have it.
    return cache_folder() / "run"
