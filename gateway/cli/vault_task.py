"""`oidc-gateway vault login` and `vault read`: a task of AWS gets a token of Vault, or one secret, with its IAM role."""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from gateway.admin.vault_iam import GLOBAL_REGION
from gateway.admin.vault_login import (
    IamLogin,
    VaultLogin,
    logged_in_with_iam_role,
    login_with_iam_role,
    read_secret,
)
from gateway.cli.options import COULD_NOT_RUN
from gateway.cli.vault_access import access_of_task
from gateway.errors import AccessDenied, ErrorCode, GatewayError

_CODES = "Exit codes: 0 {}, 1 {}, 2 could not run: not reached, sealed, not a Vault, or no way to log in."
_ENVIRONMENT = "VAULT_ADDR, VAULT_NAMESPACE and VAULT_CACERT say where (BAO_… as well)."


def add_task_parsers(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the commands to the parser of `vault`."""
    login = commands.add_parser(
        "login",
        help="log in with the IAM role of this task and print or write the token",
        description=f"Logs in with the AWS credentials of this environment, which never leave it. {_ENVIRONMENT}",
        epilog=_CODES.format("logged in", "refused"),
    )
    login.add_argument("--role", required=True, help="role of Vault's AWS auth method")
    _add_iam_options(login)
    login.add_argument(
        "--output",
        nargs="+",
        metavar=("FORM", "PATH"),
        default=["token"],
        help="token, json, or `file PATH`: the token alone, for its owner only, put into place at once (token)",
    )
    login.set_defaults(run=run_login)
    read = commands.add_parser(
        "read",
        help="print one secret, with a token or after logging in with --role",
        description=(
            "Prints a secret. With --role it logs in first and revokes the token afterwards; else the token is "
            f"VAULT_TOKEN or in --token-file. {_ENVIRONMENT}"
        ),
        epilog=_CODES.format("printed", "refused or not there"),
    )
    read.add_argument("path", metavar="PATH", help="mount and path, such as secret/data/payments")
    read.add_argument("--field", metavar="NAME", help="print this member alone, as it is")
    read.add_argument("--format", choices=("text", "json"), default="text", help="how to print it (text)")
    read.add_argument("--token-file", type=Path, metavar="FILE", help="file with the token")
    read.add_argument("--role", help="log in as this role of Vault's AWS auth method")
    _add_iam_options(read)
    read.set_defaults(run=run_read)


def _add_iam_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--method", choices=("aws",), default="aws", help="how to log in: with an AWS identity (aws)"
    )
    parser.add_argument("--mount", default="aws", help="of the AWS auth method, without auth/ (aws)")
    parser.add_argument(
        "--header-value", metavar="ID", help="what the mount wants in X-Vault-AWS-IAM-Server-ID"
    )
    parser.add_argument(
        "--region",
        default=GLOBAL_REGION,
        help=f"sts_region of the mount; {GLOBAL_REGION} is AWS's global STS ({GLOBAL_REGION})",
    )
    parser.add_argument("--address", metavar="URL", help="of Vault, not VAULT_ADDR")
    parser.add_argument("--namespace", metavar="NAME", help="of Vault, not VAULT_NAMESPACE")


def run_login(arguments: argparse.Namespace) -> int:
    """Log in and hand the token over; return 0, 1 when it is refused, 2 when it could not be tried."""
    form, *rest = arguments.output
    if (form, len(rest)) not in (("token", 0), ("json", 0), ("file", 1)):
        arguments.parser.error("--output is `token`, `json` or `file PATH`")
    try:
        login = login_with_iam_role(access_of_task(arguments, login=True), _iam(arguments))
    except GatewayError as fault:
        return say_fault("vault login", fault)
    if form == "file":
        write_privately(Path(rest[0]), login.token.reveal())
    else:
        print(_document(login) if form == "json" else login.token.reveal())
    return 0


def run_read(arguments: argparse.Namespace) -> int:
    """Print the secret; return 0, 1 when it is refused or not there, 2 when it could not be tried."""
    if arguments.role and arguments.token_file:
        arguments.parser.error(
            "--role logs in anew; --token-file names a login that is there: give one of them"
        )
    try:
        secret = _read(arguments)
        printed = _field(secret, arguments.field) if arguments.field else _whole(secret, arguments.format)
    except GatewayError as fault:
        return say_fault("vault read", fault)
    print(_shown(printed) if sys.stdout.isatty() else printed)
    return 0


def _read(arguments: argparse.Namespace) -> Mapping[str, object]:
    if not arguments.role:
        access = access_of_task(arguments, token_file=arguments.token_file, login=False)
        return read_secret(access, arguments.path)
    access = access_of_task(arguments, login=True)
    with logged_in_with_iam_role(access, _iam(arguments)) as vault:
        return vault.secret(arguments.path)


def _iam(arguments: argparse.Namespace) -> IamLogin:
    return IamLogin(
        role=arguments.role,
        mount=arguments.mount,
        header_value=arguments.header_value,
        region=arguments.region,
    )


def _document(login: VaultLogin) -> str:
    document = {
        "token": login.token.reveal(),
        "accessor": login.accessor.reveal(),
        "policies": list(login.policies),
        "lease_s": login.lease_s,
        "renewable": login.renewable,
    }
    return json.dumps(document, indent=2)


def _field(secret: Mapping[str, object], name: str) -> str:
    if name not in secret:
        raise AccessDenied(
            ErrorCode.NOT_FOUND,
            f"The secret has no member {name}.",
            hint=f"It has {', '.join(sorted(secret))}.",
        )
    value = secret[name]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _whole(secret: Mapping[str, object], form: str) -> str:
    if form == "json":
        return json.dumps(secret, indent=2, ensure_ascii=False)
    return "\n".join(f"{name}: {_field(secret, name)}" for name in secret)


def _shown(text: str) -> str:
    """Return the text without what a terminal would obey or that would hide or reorder the rest; lines stay lines."""
    return "".join(char if char.isprintable() or char in "\n\t" else json.dumps(char)[1:-1] for char in text)


def write_privately(path: Path, text: str) -> None:
    """Put a file with this text into place at once, readable and writable by its owner alone. Raises OSError."""
    # mkstemp makes it 0600 whatever the umask.
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(draft).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(draft).unlink()
        raise


def say_fault(command: str, fault: GatewayError) -> int:
    """Say on stderr what was refused or is missing, on one line, and return the exit code."""
    hint = f" {fault.hint}" if fault.hint else ""
    # The hint may list a secret's members, whose names anybody may have chosen who writes there.
    print(_shown(f"oidc-gateway {command}: {fault.code}: {fault.message}{hint}"), file=sys.stderr)
    return 1 if isinstance(fault, AccessDenied) else COULD_NOT_RUN
