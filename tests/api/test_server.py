"""Starting to listen: where, under which user, with which key, and what is said when it cannot be."""

import errno
import logging
import os
import socket
import ssl
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from starlette.types import Receive, Scope, Send

from gateway.doors.draining import Draining
from gateway.listening.protocol import ProtocolLimits
from gateway.listening.server import (
    CannotServe,
    GatewayServer,
    Listen,
    ShutdownTimes,
    TlsFiles,
    _bind_fault,
    bind,
    refuse_clear_text,
    refuse_root,
    tls_context,
)
from tests.api.test_protocol import app
from tests.support.serving import read_all, read_answer, serving


@pytest.fixture
def tls(tmp_path: Path) -> TlsFiles:
    """Return a self-signed certificate for 127.0.0.1 and its key, closed to others."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    files = TlsFiles(certificate=tmp_path / "tls.crt", key=tmp_path / "tls.key")
    files.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    files.key.chmod(0o600)
    return files


def client_context(version: ssl.TLSVersion) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = version
    context.maximum_version = version
    return context


@pytest.mark.requirement("HT-16")
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "gateway.example"])
def test_listening_beyond_loopback_without_tls_is_refused(host: str) -> None:
    with pytest.raises(CannotServe, match="would send tokens in the clear"):
        bind(Listen(host=host, port=0))


@pytest.mark.requirement("HT-16")
@pytest.mark.parametrize(
    "listen",
    [
        pytest.param(Listen(host="0.0.0.0", behind_tls_proxy=True), id="behind-a-proxy"),
        pytest.param(
            Listen(host="0.0.0.0", tls=TlsFiles(certificate=Path("c"), key=Path("k"))), id="with-tls"
        ),
        pytest.param(Listen(host="127.0.0.1"), id="loopback"),
        pytest.param(Listen(host="::1"), id="loopback-v6"),
        pytest.param(Listen(host="localhost"), id="localhost"),
    ],
)
def test_listening_where_nobody_can_overhear_is_allowed(listen: Listen) -> None:
    refuse_clear_text(listen)


def test_a_port_in_use_is_said_in_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        with pytest.raises(CannotServe) as caught:
            bind(Listen(port=port))

    assert caught.value.exit_code == 2
    assert (
        caught.value.message
        == f"127.0.0.1 port {port} is in use. Stop what listens there, or choose another port."
    )


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.EADDRNOTAVAIL, "192.0.2.1 is not an address of this machine."),
        (errno.EACCES, "192.0.2.1 port 80 needs a privilege. Choose a port from 1024 on."),
        (errno.EPERM, "Cannot listen on 192.0.2.1 port 80: Operation not permitted."),
    ],
)
def test_every_reason_not_to_listen_is_said_in_one_sentence(number: int, said: str) -> None:
    fault = OSError(number, os.strerror(number))

    assert _bind_fault(fault, Listen(host="192.0.2.1", port=80)).message == said


def test_root_is_refused_unless_it_was_asked_for() -> None:
    with pytest.raises(CannotServe) as caught:
        refuse_root(0, allow_root=False)

    assert caught.value.exit_code == 78
    refuse_root(0, allow_root=True)
    refuse_root(1000, allow_root=False)


@pytest.mark.requirement("HT-08")
def test_the_process_may_open_as_many_connections_as_the_system_allows() -> None:
    program = (
        "import resource; from gateway.listening.server import allow_descriptors\n"
        "_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (min(64, hard), hard)); allow_descriptors()\n"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard))\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert done.stdout == "True\n"


@pytest.mark.requirement("HT-16")
@pytest.mark.parametrize("mode", [0o644, 0o604, 0o620, 0o666], ids=oct)
def test_a_key_that_others_can_touch_is_refused(tls: TlsFiles, mode: int) -> None:
    tls.key.chmod(mode)

    with pytest.raises(CannotServe, match="is open to others"):
        tls_context(tls)


@pytest.mark.requirement("HT-16")
@pytest.mark.parametrize("mode", [0o400, 0o600, 0o640], ids=oct)
def test_a_key_of_the_user_or_its_group_is_taken(tls: TlsFiles, mode: int) -> None:
    tls.key.chmod(mode)

    assert tls_context(tls).minimum_version is ssl.TLSVersion.TLSv1_2


def test_a_key_that_does_not_fit_is_said_in_one_sentence(tls: TlsFiles) -> None:
    tls.certificate.write_text("nothing")

    with pytest.raises(CannotServe, match="cannot be used together"):
        tls_context(tls)


@pytest.mark.requirement("HT-16")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda v: v.name)
def test_tls_is_served_from_1_2_on(tls: TlsFiles, version: ssl.TLSVersion) -> None:
    with serving(app, ProtocolLimits(), tls=tls) as server:
        sock = server.connect(client_context(version))
        sock.sendall(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")

        answer = read_answer(sock)

    assert server.url.startswith("https://127.0.0.1:")
    assert answer == (200, b"5")


@pytest.mark.requirement("HT-16")
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
def test_tls_before_1_2_is_refused(tls: TlsFiles) -> None:
    context = client_context(ssl.TLSVersion.TLSv1_1)
    context.set_ciphers("ALL:@SECLEVEL=0")

    with serving(app, ProtocolLimits(), tls=tls) as server, pytest.raises(ssl.SSLError):
        server.connect(context)


@pytest.mark.requirement("HT-02", "HT-04")
def test_limits_hold_under_tls_too(tls: TlsFiles) -> None:
    limits = ProtocolLimits(first_byte_s=0.3, headers_s=0.3, linger_s=0.3)
    context = client_context(ssl.TLSVersion.TLSv1_3)
    context.options |= ssl.OP_IGNORE_UNEXPECTED_EOF
    with serving(app, limits, tls=tls) as server:
        slow = server.connect(context)
        slow.sendall(b"GET /echo HTTP/1.1\r\n")
        smuggler = server.connect(context)
        smuggler.sendall(b"GET /echo HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")

        answers = [read_all(slow), read_all(smuggler), read_all(server.connect())]

    assert [answer[:12] for answer in answers] == [b"HTTP/1.1 408", b"HTTP/1.1 400", b""]


def test_a_server_knows_its_port_before_it_starts() -> None:
    server = GatewayServer(
        app,
        listen=Listen(port=0),
        draining=Draining(),
        count_refused=lambda _: None,
        announce=lambda _: None,
        limits=ProtocolLimits(),
        times=ShutdownTimes(),
    )

    url = server.url
    server.close()

    assert url.startswith("http://127.0.0.1:")
    assert not url.endswith(":0")


def test_a_start_as_root_ends_with_78_and_no_traceback() -> None:
    program = (
        "import sys; from gateway.listening.server import *; from gateway.doors.draining import Draining\n"
        "from gateway.listening import server; server.os.geteuid = lambda: 0\n"
        "try:\n"
        "    run_server(None, listen=Listen(port=0), draining=Draining(), count_refused=print, announce=print)\n"
        "except CannotServe as fault:\n"
        "    print(fault.message); sys.exit(fault.exit_code)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONWARNINGS": "error"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert done.returncode == 78
    assert done.stdout == "Refusing to run as root. Start as another user, or pass --allow-root.\n"
    assert done.stderr == ""


async def test_an_application_that_cannot_start_gives_the_port_back() -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "lifespan.startup.failed"})

    server = GatewayServer(
        broken,
        listen=Listen(port=0),
        draining=Draining(),
        count_refused=lambda _: None,
        announce=lambda _: None,
        limits=ProtocolLimits(),
        times=ShutdownTimes(),
    )
    port = int(server.url.rsplit(":", 1)[1])

    with pytest.raises(CannotServe, match="could not start"):
        await server.serve()

    bind(Listen(port=port)).close()


@pytest.mark.requirement("HT-14")
def test_the_log_tells_each_step_of_the_end_and_how_long_it_may_take(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "gateway.listening.server")

    with serving(app, ProtocolLimits()):
        pass

    told = [vars(record) for record in caplog.records if record.name == "gateway.listening.server"]
    assert [(one["levelname"], one["message"]) for one in told] == [
        ("INFO", "draining"),
        ("INFO", "refusing"),
        ("INFO", "stopped"),
    ]
    assert (told[0]["serve_on_s"], told[0]["finish_s"]) == (0, 5)
    assert (told[1]["finish_s"], told[1]["requests"]) == (5, 0)
