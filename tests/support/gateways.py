"""The real command `oidc-gateway serve` on a folder of a test's own, whose issuers' keys stand in files."""

import contextlib
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from queue import Empty, Queue

from tests.support.caller import Caller
from tests.support.canaries import RUN
from tests.support.canary_gateway import take_arguments, take_files, take_metrics
from tests.support.tokens import jwks, token

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "config"
_START_S = 60.0
_STOP_S = 20.0
_END_S = 60.0


def write_config(folder: Path, *, aws: str, account: str = "111122223333", emulator: bool = False) -> Path:
    """Write the example configuration into `folder`, every issuer with its keys in a file, and AWS at this URL."""
    for source in sorted(CONFIG.rglob("*")):
        if source.is_file():
            name = folder / source.relative_to(CONFIG)
            name.parent.mkdir(parents=True, exist_ok=True)
            replace(name, source.read_text().replace("111122223333", account).encode())
    (folder / "keys.json").write_bytes(jwks())
    gateway = folder / "gateway.yaml"
    text = re.sub(r"(?m)^    preset: .*$", r"\g<0>" + "\n    jwks_file: keys.json", gateway.read_text())
    emulated = "\n  emulator: true" if emulator else ""
    endpoints = f"\n  endpoints: {{ eu-west-1: {{ sts: {aws}, states: {aws} }} }}{emulated}"
    replace(gateway, re.sub(r"(?m)^  region: .*$", r"\g<0>" + endpoints, text).encode())
    return folder


def edit(path: Path, old: str, new: str) -> None:
    """Replace a text that must be there, renaming the new file into place as editors and deployments do."""
    text = path.read_text()
    assert old in text, f"{old!r} is not in {path.name}"
    replace(path, text.replace(old, new).encode())


def replace(path: Path, content: bytes) -> None:
    """Put a file with this content into place at once."""
    draft = path.with_name(f".{path.name}.draft")
    draft.write_bytes(content)
    draft.replace(path)


def fresh(kind: str = "github", **overrides: object) -> str:
    """Return a good token that no other test has used; see `tests.support.tokens.token`."""
    jti = uuid.uuid4().hex
    RUN.hold_claim(jti)
    return token(kind, now=time.time(), **{"jti": jti, **overrides})  # type: ignore[arg-type]


class Gateway(Caller):
    """A running gateway. config: its folder; process: its own; lines: what it has logged so far."""

    def __init__(
        self, url: str, audit: Path, config: Path, process: "subprocess.Popen[str]", reader: "_Reader"
    ) -> None:
        super().__init__(url, audit)
        self.config = config
        self.process = process
        self._reader = reader
        self.lines = reader.lines

    def log(self) -> str:
        """Return everything logged so far."""
        return "".join(list(self.lines))

    def ended(self) -> int:
        """Wait for its end, and until all that it logged has been read; return its exit code."""
        code = self.process.wait(_END_S)
        self._reader.join(_END_S)
        return code


@contextlib.contextmanager
def running_gateway(
    config: Path,
    audit: Path,
    *,
    environment: Mapping[str, str] | None = None,
    module: str = "gateway",
    mode: str = "--dev",
    log: str = "json",
    prefix: Sequence[str] = (),
) -> Iterator[Gateway]:
    """Start `serve --dev` on this folder and yield once it is ready; it ends with the block.

    environment: variables that it finds besides PATH and HOME; those of the tests are not handed down.
    module: what is run; `tests.support.steered_gateway` is the same command with clocks that can be set.
    mode: `--allow-root` serves as production does.
    log:  format of its log.
    prefix: a command that becomes it, such as one that takes rights away.
    """
    command = [*prefix, sys.executable, "-m", module, "serve", mode, "--port", "0", "--log", log]
    command += ["--config", str(config), "--audit", str(audit)]
    # Its own: what it leaves there is searched.
    scratch = tempfile.TemporaryDirectory(prefix="gateway-", ignore_cleanup_errors=True)
    # Nothing routes to it that would have to notice first that it is leaving.
    variables = {"PATH": "", "HOME": scratch.name, "TMPDIR": scratch.name, "OIDC_GATEWAY_SERVE_ON": "1s"}
    variables |= environment or {}
    folders = {Path(scratch.name), Path(variables["TMPDIR"])}
    with (
        scratch,
        subprocess.Popen(
            command,
            cwd=ROOT,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            bufsize=1,
        ) as process,
    ):
        reader = _Reader(process)
        reader.start()
        try:
            gateway = Gateway(reader.url(), audit, config, process, reader)
            take_arguments(f"{config}", process.pid)
            with gateway.client:
                try:
                    yield gateway
                finally:
                    _take_what_it_shows(gateway, folders)
        finally:
            # The second signal is the end at once; two of the same kind could become one.
            process.terminate()
            process.send_signal(signal.SIGINT)
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
            reader.join(_STOP_S)
            RUN.add("logs", f"{config}", "".join(reader.whole))
            for folder in folders:
                take_files(f"{config}, afterwards", folder)


def _take_what_it_shows(gateway: Gateway, folders: set[Path]) -> None:
    if gateway.process.poll() is None:
        take_metrics(f"{gateway.config}", gateway.client)
        take_arguments(f"{gateway.config}, at its end", gateway.process.pid)
        for folder in folders:
            take_files(f"{gateway.config}, at its end", folder)


class _Reader(threading.Thread):
    """Takes what a gateway writes. lines: so far, which a test may clear; whole: all of it."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        super().__init__(daemon=True)
        self.lines: list[str] = []
        self.whole: list[str] = []
        self._process = process
        self._urls: Queue[str] = Queue()

    def run(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(line)
            self.whole.append(line)
            if found := re.search(r"Listening on (http://\S+)", line):
                self._urls.put(found[1])
        self._urls.put("")

    def url(self) -> str:
        """Return where it listens, as soon as it says so."""
        with contextlib.suppress(Empty):
            if url := self._urls.get(timeout=_START_S):
                return url
        raise AssertionError("The gateway did not start.\n" + "".join(self.lines[-30:]))
