"""Receivers of syslog: a scripted one for faults, and the real rsyslogd."""

import os
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import pytest

from tests.support.caller import until
from tests.support.canaries import RUN

_RSYSLOGD: Final = shutil.which("rsyslogd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
NEEDS_RSYSLOG: Final = pytest.mark.skipif(
    _RSYSLOGD is None and os.environ.get("REQUIRE_REAL") != "1",
    reason="rsyslogd is not installed; run: apt-get install rsyslog rsyslog-openssl",
)


class Receiver:
    """Takes octet-counted messages from one connection after another, in a thread of its own.

    messages: all that were read whole. cut_after: close a connection after so many messages, without reading on.
    reading:  cleared, it reads nothing more.
    """

    def __init__(
        self, *, port: int = 0, tls: ssl.SSLContext | None = None, family: int = socket.AF_INET
    ) -> None:
        self._tls = tls
        self._server = socket.socket(family, socket.SOCK_STREAM)
        self._server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Small, so that a receiver that does not read is noticed soon.
        self._server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._server.bind(("127.0.0.1", port))
        self._server.listen()
        self.port: int = self._server.getsockname()[1]
        self.messages: list[bytes] = []
        self.connections = 0
        self.cut_after: int | None = None
        self.reading = threading.Event()
        self.reading.set()
        self._open = True
        self._current: socket.socket | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening and cut the connection."""
        self._open = False
        self.reading.set()
        with_current = self._current
        if with_current is not None:
            _shut(with_current)
        _shut(self._server)
        self._thread.join(10)

    def _run(self) -> None:
        while self._open:
            try:
                connection, _ = self._server.accept()
                if self._tls is not None:
                    connection = self._tls.wrap_socket(connection, server_side=True)
            except OSError:
                continue
            self.connections += 1
            self._current = connection
            with connection:
                try:
                    self._read(connection)
                except (OSError, ValueError):
                    continue
        self._server.close()

    def _read(self, connection: socket.socket) -> None:
        data, taken = b"", 0
        while self._open:
            self.reading.wait(20)
            more = connection.recv(4096)
            if not more:
                return
            data += more
            while (message := _whole(data)) is not None:
                self.messages.append(message)
                RUN.add("copies of records", f"port {self.port}", message, records=True)
                data = data[len(str(len(message))) + 1 + len(message) :]
                taken += 1
                if self.cut_after is not None and taken >= self.cut_after:
                    return


def _whole(data: bytes) -> bytes | None:
    size, blank, rest = data.partition(b" ")
    if not blank or len(rest) < int(size):
        return None
    return rest[: int(size)]


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


_CONFIG: Final = """\
global(maxMessageSize="300k" workDirectory="{folder}" net.permitACLWarning="off"{tls})
module(load="imtcp" maxSessions="10"{driver})
input(type="imtcp" port="{port}" address="127.0.0.1" maxFrameSize="300000")
module(load="imuxsock" sysSock.use="off")
input(type="imuxsock" socket="{folder}/log" ruleset="main" parseTrusted="off" useSysTimeStamp="off" useSpecialParser="off")
template(name="whole" type="string" string="%APP-NAME% %MSGID% %PROCID% %syslogfacility-text%.%syslogseverity-text% %msg%\\n")
ruleset(name="main") {{ action(type="omfile" file="{folder}/received.log" template="whole") }}
action(type="omfile" file="{folder}/received.log" template="whole")
"""


@contextmanager
def running_rsyslog(
    folder: Path,
    *,
    port: int,
    ca: Path | None = None,
    certificate: Path | None = None,
    key: Path | None = None,
) -> Iterator[Path]:
    """Run rsyslogd on a port (TLS when it gets a certificate) and `folder/log`; yields the file of what it received."""
    assert _RSYSLOGD is not None
    tls = driver = ""
    if certificate is not None:
        tls = (
            f' defaultNetstreamDriver="ossl" defaultNetstreamDriverCAFile="{ca}"'
            f' defaultNetstreamDriverCertFile="{certificate}" defaultNetstreamDriverKeyFile="{key}"'
        )
        driver = ' streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="anon"'
    config = folder / "rsyslog.conf"
    config.write_text(_CONFIG.format(folder=folder, port=port, tls=tls, driver=driver))
    command = [_RSYSLOGD, "-n", "-f", str(config), "-i", str(folder / "pid")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            until(lambda: process.poll() is not None or _listens(port))
            assert process.poll() is None, process.stdout and process.stdout.read()
            yield folder / "received.log"
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number
