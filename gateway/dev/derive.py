"""The configuration folder as the embedded environment needs it: the person's own files, with issuers and AWS on loopback."""

import copy
import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISREG
from typing import Any

from gateway.files.document import read_document
from gateway.files.source import read_source

_GATEWAY = "gateway.yaml"
_STATES_ARN = re.compile(r"arn:aws[a-z-]*:states:([a-z0-9-]+):[0-9]{12}:")
_ROLE_ARN = re.compile(r"arn:aws[a-z-]*:iam::([0-9]{12}):role/")
_KEY_LOCATIONS = ("jwks_uri", "jwks_file", "discovery_url", "jwks_hosts", "ca_file", "allow_addresses")
# How the gateway is reached in earnest; here one process listens on loopback without TLS.
_NOT_ON_LOOPBACK = ("tls", "behind_tls_proxy", "public_url", "workers")
# The embedded Vault has neither a certificate nor namespaces, which only Vault Enterprise knows.
_NOT_OF_EMBEDDED_VAULT = ("ca_file", "namespace")


@dataclass(frozen=True, slots=True, kw_only=True)
class StandIn:
    """What stands in for one identity provider.

    issuer:   the `iss` of its tokens.
    jwks_uri: where its keys are when discovery cannot find them, else None.
    clients:  replace the issuer's `clients` where the emulator chose them; empty: they stay.
    """

    issuer: str
    jwks_uri: str | None = None
    clients: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DerivedFolder:
    """A copy of a configuration folder that can be brought up to date.

    stand_ins: by issuer name; an issuer without one stays as it is written.
    aws_url:   where STS and Step Functions answer, for every Region.
    vault_url: where the embedded Vault answers, for every Vault of the files; None: they stay as they are written.
    """

    source: Path
    destination: Path
    stand_ins: Mapping[str, StandIn]
    aws_url: str
    vault_url: str | None = None
    _seen: dict[Path, tuple[int, int]] = field(default_factory=dict)

    def is_stale(self) -> bool:
        """Say whether a file of the source was added, removed or written since the last update."""
        return self._state() != self._seen

    def update(self) -> None:
        """Make the copy equal to the source, but for issuers, endpoints and Vaults. Writes only what differs; reads no other folder."""
        state = self._state()
        self._seen.clear()
        self._seen.update(state)
        wanted = set(state)
        present = {
            path.relative_to(self.destination) for path in self.destination.rglob("*") if path.is_file()
        }
        regions = self._regions(wanted)
        for name in wanted:
            content = (self.source / name).read_bytes()
            if name == Path(_GATEWAY):
                content = self._on_loopback(content, regions)
            _write_if_different(self.destination / name, content)
        for name in present - wanted:
            (self.destination / name).unlink()

    def _state(self) -> dict[Path, tuple[int, int]]:
        found = {}
        for path in self.source.rglob("*"):
            with suppress(FileNotFoundError):  # editors write by renaming
                status = path.stat()
                if S_ISREG(status.st_mode):
                    found[path.relative_to(self.source)] = (status.st_mtime_ns, status.st_size)
        return found

    def _regions(self, names: set[Path]) -> set[str]:
        texts = (
            (self.source / name).read_text(errors="replace")
            for name in names
            if name.name == "targets.yaml" or name.parts[0] == "targets"
        )
        return {region for text in texts for region in _STATES_ARN.findall(text)}

    def _on_loopback(self, content: bytes, regions: set[str]) -> bytes:
        try:
            document = _read_gateway(self.source)
            _replace_issuers(document["issuers"], self.stand_ins)
            aws = document["aws"]
            endpoint = {"sts": self.aws_url, "states": self.aws_url}
            aws["endpoints"] = {region: dict(endpoint) for region in sorted(regions | {aws["region"]})}
            aws["emulator"] = True
            for key in _NOT_ON_LOOPBACK:
                document.get("server", {}).pop(key, None)
            if self.vault_url is not None:
                _replace_vaults(document.get("vaults", {}), self.vault_url)
        except (ValueError, KeyError, TypeError, AttributeError):
            # Not a file we can change. The gateway gets it as it is and says what is wrong, with the right line.
            return content
        # JSON is YAML that leaves no doubt about types.
        return json.dumps(document, indent=2, ensure_ascii=False).encode()


def read_issuers(folder: Path) -> dict[str, dict[str, object]]:
    """Return the `issuers` of `gateway.yaml`, by name, as they are written. Raises ValueError."""
    try:
        issuers = _read_gateway(folder)["issuers"]
        return {str(name): dict(entry) for name, entry in issuers.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as cause:
        raise ValueError(
            f"{folder / _GATEWAY} cannot be used: `oidc-gateway check {folder}` says why."
        ) from cause


def read_account(folder: Path) -> str | None:
    """Return the AWS account of the first role in the targets files; None when there is none."""
    for path in (folder / "targets.yaml", *sorted((folder / "targets").rglob("*.yaml"))):
        if path.is_file() and (found := _ROLE_ARN.search(path.read_text(errors="replace"))):
            return found[1]
    return None


def _read_gateway(folder: Path) -> dict[str, Any]:
    document = read_document(read_source(folder.resolve(), _GATEWAY, lenient=True))
    if not isinstance(document.data, dict) or any(one.severity == "error" for one in document.findings):
        raise ValueError(_GATEWAY)
    return copy.deepcopy(document.data)


def _replace_issuers(issuers: dict[str, dict[str, object]], stand_ins: Mapping[str, StandIn]) -> None:
    for name, stand_in in stand_ins.items():
        if name not in issuers:
            continue
        entry = issuers[name]
        for key in _KEY_LOCATIONS:
            entry.pop(key, None)
        entry["issuer"] = stand_in.issuer
        if stand_in.jwks_uri:
            entry["jwks_uri"] = stand_in.jwks_uri
        if stand_in.clients:
            entry["clients"] = list(stand_in.clients)


def _replace_vaults(vaults: dict[str, dict[str, object]], url: str) -> None:
    for vault in vaults.values():
        for key in _NOT_OF_EMBEDDED_VAULT:
            vault.pop(key, None)
        vault["address"] = url


def _write_if_different(path: Path, content: bytes) -> None:
    if path.is_file() and path.read_bytes() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.new")
    # Renamed into place: the gateway watches this folder and must never read half a file.
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    draft.replace(path)
