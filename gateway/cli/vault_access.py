"""Where Vault is and who asks, for the commands of people and tasks. `serve` reads none of these variables."""

import argparse
import os
from pathlib import Path
from typing import Final

from gateway.admin.vault_session import VaultAccess
from gateway.errors import ConfigurationInvalid, ErrorCode
from gateway.policy.rule import Vault
from gateway.secret import Secret

_LONGEST_TOKEN: Final = 8_192
_LONGEST_CA: Final = 1_048_576


def variable(name: str) -> str | None:
    """Return VAULT_name, or else OpenBao's BAO_name; one without a value counts as not set."""
    return os.environ.get(f"VAULT_{name}") or os.environ.get(f"BAO_{name}") or None


def access_of_administrator(vault: Vault, token_file: Path | None) -> VaultAccess:
    """Return how an administrator reaches a Vault of the files.

    VAULT_ADDR and VAULT_CACERT may lead there by another way; the namespace is that of the files, where callers log in.
    Raises ConfigurationInvalid.
    """
    namespace = variable("NAMESPACE")
    if namespace is not None and namespace.strip("/") != (vault.namespace or "").strip("/"):
        raise ConfigurationInvalid(
            ErrorCode.MAPPING_INVALID_FOR_VAULT,
            f"VAULT_NAMESPACE is {namespace}, and the files say {vault.namespace or 'the root namespace'}.",
            hint="Unset it, or correct `namespace` of the vault in gateway.yaml.",
        )
    token = _token(token_file)
    if token is None:
        raise ConfigurationInvalid(
            ErrorCode.VAULT_DENIED,
            "There is no token of an administrator.",
            hint="Set VAULT_TOKEN, or name a file that holds one with --token-file.",
        )
    return VaultAccess(
        address=_address(variable("ADDR") or vault.address),
        namespace=vault.namespace,
        ca_pem=_ca() or vault.ca_pem,
        token=token,
    )


def access_of_task(
    arguments: argparse.Namespace, *, token_file: Path | None = None, login: bool
) -> VaultAccess:
    """Return how a task reaches Vault; with a token unless it is going to log in. Raises ConfigurationInvalid."""
    address = arguments.address or variable("ADDR")
    if address is None:
        raise ConfigurationInvalid(
            ErrorCode.MAPPING_INVALID_FOR_VAULT,
            "Nothing says where Vault is.",
            hint="Set VAULT_ADDR, or give --address https://HOST:8200.",
        )
    token = None if login else _token(token_file)
    if token is None and not login:
        raise ConfigurationInvalid(
            ErrorCode.VAULT_DENIED,
            "There is no token.",
            hint="Set VAULT_TOKEN, give --token-file FILE, or log in with --role ROLE.",
        )
    return VaultAccess(
        address=_address(address),
        namespace=arguments.namespace or variable("NAMESPACE"),
        ca_pem=_ca(),
        token=token,
    )


def _address(text: str) -> str:
    return text.rstrip("/")


def _token(file: Path | None) -> Secret | None:
    text = variable("TOKEN") if file is None else _read(file, _LONGEST_TOKEN, "token").strip()
    if text is None:
        return None
    if not text.isascii() or not text.isprintable() or " " in text or not text:
        raise ConfigurationInvalid(
            ErrorCode.VAULT_DENIED, "What was given as a token is none.", hint="It is one line, such as hvs.…"
        )
    return Secret(text)


def _ca() -> str | None:
    name = variable("CACERT")
    return None if name is None else _read(Path(name), _LONGEST_CA, "CA")


def _read(file: Path, limit: int, what: str) -> str:
    try:
        with file.open("rb") as opened:
            data = opened.read(limit + 1)
        if len(data) > limit:
            raise ConfigurationInvalid(ErrorCode.VAULT_DENIED, f"{file} is too large for a {what}.")
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise ConfigurationInvalid(ErrorCode.VAULT_DENIED, f"{file} holds no text.") from None
    except OSError as fault:
        raise ConfigurationInvalid(
            ErrorCode.VAULT_DENIED, f"The {what} cannot be read from {file}: {fault.strerror}."
        ) from None
