"""Calls to Vault for commands: one server, one token or none, nothing from the environment but what the caller passes in."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import hvac
import requests

from gateway.errors import ConfigurationInvalid, ErrorCode, Unavailable, UpstreamFailed
from gateway.outbound.vault_answers import VaultFault
from gateway.secret import Secret

_CONNECT_S: Final = 3.0
_ANSWER_S: Final = 20.0
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_TEXT_CHARS: Final = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultAccess:
    """How a Vault is reached.

    address: base URL; https, or http on loopback.
    ca_pem:  PEM text of the only CAs that may have signed its certificate; None: the usual public ones.
    token:   None for logins.
    """

    address: str
    namespace: str | None = None
    ca_pem: str | None = None
    token: Secret | None = field(default=None, repr=False)


class VaultSession:
    """Calls to one Vault. Made by `opened`. Every method raises VaultFault for an error answer, and GatewayError when
    none came that can be believed.
    """

    def __init__(self, client: Any, address: str) -> None:
        self._client = client
        self._address = address

    def read(self, path: str) -> Mapping[str, Any] | None:
        """Return the whole answer to a read; None where nothing is."""
        try:
            return self._call("get", path)
        except VaultFault as fault:
            if fault.status == 404:
                return None
            raise

    def names(self, path: str) -> tuple[str, ...]:
        """Return the names below a path, sorted; none where there is no such path."""
        try:
            answer = self._call("list", path)
        except VaultFault as fault:
            if fault.status == 404:
                return ()
            raise
        keys = (answer.get("data") or {}).get("keys")
        if not isinstance(keys, list) or not all(isinstance(key, str) and key.isprintable() for key in keys):
            raise self._unlike_vault(200)
        return tuple(sorted(keys))

    def write(self, path: str, fields: Mapping[str, object]) -> Mapping[str, Any]:
        """Write and return the whole answer, empty for none."""
        return self._call("post", path, json=dict(fields))

    def delete(self, path: str) -> None:
        """Delete; what is not there is no error."""
        self._call("delete", path)

    def aws_login(self, mount: str, request: Mapping[str, object]) -> Mapping[str, Any]:
        """Log in with a signed request. The token is in the answer alone: this session does not take it on."""
        return self._call("post", f"auth/{mount}/login", json=dict(request))

    def _call(self, method: str, path: str, **body: object) -> Mapping[str, Any]:
        try:
            # Without exceptions of hvac: their text repeats Vault's body and the URL.
            answer = self._client.adapter.request(method, f"/v1/{path}", raise_exception=False, **body)
        except requests.exceptions.SSLError:
            raise self._fault(
                "TLS to {} failed: its certificate is not signed by a CA that is trusted here, or is for another name.",
                "Give the CA with VAULT_CACERT, or with ca_file of the vault in gateway.yaml.",
            ) from None
        except requests.exceptions.Timeout:
            raise self._fault(
                "{} did not answer in time.", "Is it the right address, and is Vault up?"
            ) from None
        except (RecursionError, UnicodeError):
            raise self._unlike_vault(200) from None
        except (requests.exceptions.RequestException, ValueError):
            raise self._fault("{} cannot be reached.", "Is it the right address, and is Vault up?") from None
        if isinstance(answer, dict) and _is_shaped(answer):
            return answer
        status = answer.status_code if isinstance(answer, requests.Response) else 200
        if status == 204:
            return {}
        if status >= 400:
            raise VaultFault(status, text=_sentences(answer))
        # Redirects are not followed: they would carry token and identity to another host.
        raise self._unlike_vault(status)

    def _unlike_vault(self, status: int) -> UpstreamFailed:
        return UpstreamFailed(
            ErrorCode.VAULT_ERROR,
            f"{self._address} answers as no Vault does (status {status}).",
            hint="Use the address of Vault itself, of its active node.",
        )

    def _fault(self, message: str, hint: str) -> Unavailable:
        return Unavailable(ErrorCode.VAULT_NOT_READY, message.format(self._address), hint=hint)


@contextmanager
def opened(access: VaultAccess) -> Iterator[VaultSession]:
    """Yield a session. Raises ConfigurationInvalid for an address that would carry tokens in the clear."""
    try:
        url = urlsplit(access.address)
        _ = url.port
    except ValueError:
        raise ConfigurationInvalid(
            ErrorCode.MAPPING_INVALID_FOR_VAULT,
            "The address of Vault cannot be read.",
            hint="Write https://HOST:PORT; an IPv6 address stands in brackets.",
        ) from None
    if url.scheme != "https" and not (url.scheme == "http" and url.hostname in _LOOPBACK):
        raise ConfigurationInvalid(
            ErrorCode.MAPPING_INVALID_FOR_VAULT,
            "The address of Vault is not https://HOST:PORT.",
            hint="Tokens would travel in the clear; http is for loopback alone.",
        )
    with requests.Session() as http, _ca_file(access.ca_pem) as ca:
        http.trust_env = False  # no proxy, no netrc, no other CA than ours
        http.verify = ca
        client = hvac.Client(
            url=access.address,
            token=access.token.reveal() if access.token else "",
            verify=ca,
            timeout=(_CONNECT_S, _ANSWER_S),
            allow_redirects=False,
            session=http,
            namespace=access.namespace,
        )
        yield VaultSession(client, access.address)


@contextmanager
def _ca_file(pem: str | None) -> Iterator[str | bool]:
    if pem is None:
        yield True
        return
    with tempfile.NamedTemporaryFile("w", prefix="oidc-gateway-ca-", suffix=".pem") as file:
        file.write(pem)
        file.flush()
        yield file.name


def _is_shaped(answer: Mapping[str, object]) -> bool:
    """Say whether what we read of answers is of the types that Vault gives it; what is not there is no fault."""
    data, auth = answer.get("data"), answer.get("auth")
    if not isinstance(data, dict | None) or not isinstance(auth, dict | None):
        return False
    found = auth or {}
    policies, lease = found.get("policies"), found.get("lease_duration")
    return (
        _is_line(found.get("client_token"))
        and _is_line(found.get("accessor"))
        and (
            policies is None or (isinstance(policies, list) and all(isinstance(one, str) for one in policies))
        )
        and (lease is None or type(lease) is int)
    )


def _is_line(value: object) -> bool:
    return value is None or (isinstance(value, str) and value.isascii() and value.isprintable())


def _sentences(answer: requests.Response) -> str:
    try:
        errors = answer.json().get("errors", ())
    except (ValueError, AttributeError, RecursionError):
        return ""
    if not isinstance(errors, list):
        return ""
    return " | ".join(one for one in errors if isinstance(one, str))[:_TEXT_CHARS]
