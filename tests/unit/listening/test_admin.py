"""Where administrators are listened to: a socket that nobody else can open, replace or pose as; and clients' names."""

import os
import socket
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_certificate

from gateway.identity.certificates import names_of
from gateway.listening.admin import AdminListen, admin_tls, bind_unix
from gateway.listening.server import CannotServe, TlsFiles
from tests.support.certificates import Authority


@pytest.mark.requirement("AD-01")
def test_a_socket_is_made_with_its_mode_in_a_folder_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "run" / "admin.sock"
    mask = os.umask(0)
    try:
        with bind_unix(path):
            modes = [stat.S_IMODE(one.stat().st_mode) for one in (path.parent, path)]
    finally:
        os.umask(mask)

    assert modes == [0o700, 0o600]


@pytest.mark.requirement("AD-01")
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702], ids=oct)
def test_a_folder_in_which_others_could_replace_the_socket_is_refused(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    folder.chmod(mode)

    with pytest.raises(CannotServe, match="Others could replace the socket"):
        bind_unix(folder / "admin.sock")


@pytest.mark.parametrize("what", ["file", "folder", "link"])
def test_what_stands_at_the_path_and_is_no_socket_of_ours_stays(tmp_path: Path, what: str) -> None:
    path = tmp_path / "admin.sock"
    match what:
        case "file":
            path.write_text("precious")
        case "folder":
            path.mkdir()
        case _:
            path.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(CannotServe, match="exists and is no socket of ours"):
        bind_unix(path)

    assert os.path.lexists(path)


def test_a_socket_that_somebody_listens_on_is_not_taken_away(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"

    with bind_unix(path), pytest.raises(CannotServe, match="is in use"):
        bind_unix(path)

    assert path.exists()


def test_a_socket_that_nobody_listens_on_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))

    with bind_unix(path), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_a_client_ca_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    pem = tmp_path / "admin.pem"
    pem.write_bytes(Authority().server_pem("127.0.0.1"))
    pem.chmod(0o600)
    files = TlsFiles(certificate=pem, key=pem)

    with pytest.raises(CannotServe, match=r"The client CA .* cannot be used"):
        admin_tls(AdminListen(address="127.0.0.1:0", tls=files, client_ca=tmp_path / "missing.pem"))


@pytest.mark.requirement("AD-02")
@pytest.mark.parametrize(
    ("name", "uri", "expected"),
    [
        ("ops", None, ("CN=ops,O=Acme",)),
        ("ops", "spiffe://acme.example/ops", ("CN=ops,O=Acme", "spiffe://acme.example/ops")),
        # A URI that poses as a subject is no name, and a comma in a name is not the next attribute.
        ("ops", "CN=root,O=Acme", ("CN=ops,O=Acme",)),
        ("ops,OU=root", None, ("CN=ops\\,OU=root,O=Acme",)),
    ],
)
def test_a_certificate_bears_its_subject_and_its_uris_and_one_cannot_pose_as_the_other(
    name: str, uri: str | None, expected: tuple[str, ...]
) -> None:
    pem = Authority().client_pem(name, uri=uri)
    certificate = load_pem_x509_certificate(pem[pem.index(b"-----BEGIN CERTIFICATE") :])

    assert names_of(certificate.public_bytes(Encoding.DER)) == expected


def test_what_is_no_certificate_bears_no_name() -> None:
    assert names_of(b"no certificate") == ()
