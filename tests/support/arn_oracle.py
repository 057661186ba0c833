"""A second opinion on ARNs, written from AWS's forms and without a pattern: the fuzzer sees its way through it, but not through `re`."""

from string import ascii_letters, ascii_lowercase, digits
from typing import Final

_PARTITIONS: Final = frozenset(
    {"aws", "aws-cn", "aws-us-gov", "aws-iso", "aws-iso-b", "aws-iso-e", "aws-iso-f", "aws-eusc"}
)
_ROLE: Final = frozenset(ascii_letters + digits + "_+=,.@-")
_MACHINE: Final = frozenset(ascii_letters + digits + "_.-")
_REGION: Final = frozenset(ascii_lowercase + digits + "-")
_VISIBLE: Final = frozenset(map(chr, range(0x21, 0x7F)))
_DIGITS: Final = frozenset(digits)

Parts = tuple[str | None, ...]


def role_of(text: str) -> Parts | None:
    """Return partition, account, path and name of an IAM role's ARN; None when it is none."""
    match text.split(":", 5):
        case ["arn", partition, "iam", "", account, resource] if _is_account(partition, account):
            pass
        case _:
            return None
    kind, slash, rest = resource.partition("/")
    folders, last_slash, name = rest.rpartition("/")
    if kind != "role" or not slash or "//" in text or not _is_of(name, _ROLE, 1, 64):
        return None
    if last_slash and not _is_of(folders, _VISIBLE, 1, 510):
        return None
    return partition, account, folders + last_slash, name


def session_of(text: str) -> Parts | None:
    """Return partition, account, role and session of an assumed role's ARN; None when it is none."""
    match text.split(":"):
        case ["arn", partition, "sts", "", account, resource] if _is_account(partition, account):
            pass
        case _:
            return None
    match resource.split("/"):
        case ["assumed-role", role, session] if _is_of(role, _ROLE, 1, 64) and _is_of(session, _ROLE, 2, 64):
            return partition, account, role, session
        case _:
            return None


def machine_of(text: str) -> Parts | None:
    """Return partition, region, account, name and qualifier of a state machine's ARN; None when it is none."""
    match text.split(":"):
        case ["arn", partition, "states", region, account, "stateMachine", name, *more]:
            pass
        case _:
            return None
    named = all(_is_of(one, _MACHINE, 1, 80) for one in (name, *more))
    if (
        not _is_account(partition, account)
        or not _is_of(region, _REGION, 1, 32)
        or not named
        or len(more) > 1
    ):
        return None
    return partition, region, account, name, more[0] if more else None


def _is_account(partition: str, account: str) -> bool:
    return partition in _PARTITIONS and _is_of(account, _DIGITS, 12, 12)


def _is_of(text: str, letters: frozenset[str], least: int, most: int) -> bool:
    if not least <= len(text) <= most:
        return False
    return all(letter in letters for letter in text)
