"""The bytes of a file, read once; places in it; and what is found wrong there."""

import hashlib
import os
import re
import stat
from array import array
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Final, Literal

from gateway.files.text import empty_fix, find_secret, secret_lines

MAX_BYTES: Final = 8 * 1024 * 1024
MAX_EXCERPT: Final = 4_096
OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
SECRET_FIX: Final = (
    "Remove it, revoke it, and rewrite the history that holds it. The gateway needs no secrets in files."
)

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Place:
    """A position in a file. file: relative to the configuration folder; line and column count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class FindingCode(StrEnum):
    """What is wrong in a file; stable, documented in the README."""

    # The file itself.
    FILE_MISSING = "file_missing"
    FILE_PERMISSIONS = "file_permissions"
    FILE_OUTSIDE = "file_outside"
    FILE_TOO_LARGE = "file_too_large"
    FILE_ENCODING = "file_encoding"
    FILE_SYNTAX = "file_syntax"
    FILE_EMPTY = "file_empty"
    FILE_IGNORED = "file_ignored"
    FORMAT_UNKNOWN = "format_unknown"
    LIMIT_EXCEEDED = "limit_exceeded"
    SECRET_IN_FILE = "secret_in_file"
    # What is written in it.
    YAML_FEATURE = "yaml_feature"
    YAML_TYPE = "yaml_type"
    FIELD_UNKNOWN = "field_unknown"
    FIELD_DUPLICATE = "field_duplicate"
    FIELD_MISSING = "field_missing"
    VALUE_TYPE = "value_type"
    VALUE_INVALID = "value_invalid"
    VALUE_UNSAFE_TEXT = "value_unsafe_text"
    VALUE_LOOKALIKE = "value_lookalike"
    # What it means together with the others.
    REFERENCE_UNKNOWN = "reference_unknown"
    NAME_TAKEN = "name_taken"
    DEV_ONLY = "dev_only"
    ISSUER_INSECURE = "issuer_insecure"
    ISSUER_UNPINNED = "issuer_unpinned"
    AUDIENCE_MISSING = "audience_missing"
    ALGORITHM_FORBIDDEN = "algorithm_forbidden"
    KEYS_UNUSABLE = "keys_unusable"
    SCHEMA_UNUSABLE = "schema_unusable"
    AWS_MISMATCH = "aws_mismatch"
    AWS_TOKEN_UNUSABLE = "aws_token_unusable"
    VAULT_MISMATCH = "vault_mismatch"
    VAULT_CLAIM_UNUSABLE = "vault_claim_unusable"
    VAULT_WIDER = "vault_wider"
    TTL_MISMATCH = "ttl_mismatch"
    TEAM_MISPLACED = "team_misplaced"
    RULE_UNBOUND = "rule_unbound"
    RULE_UNSATISFIABLE = "rule_unsatisfiable"
    RULE_OVERLAP = "rule_overlap"
    RULE_EXPIRED = "rule_expired"
    FIXTURE_FAILED = "fixture_failed"
    STORE_NOT_SHARED = "store_not_shared"
    CLAIM_FORBIDDEN = "claim_forbidden"
    CLAIM_TYPE_WRONG = "claim_type_wrong"
    CLAIM_UNLIKELY = "claim_unlikely"
    VALUE_UNLIKELY = "value_unlikely"
    EMAIL_UNVERIFIED = "email_unverified"
    GRANT_NOT_OWNED = "grant_not_owned"
    POLICY_EMPTY = "policy_empty"
    # Neither is the fault of what is written.
    FILE_CHANGING = "file_changing"
    INTERNAL_FAULT = "internal_fault"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing wrong in a file.

    message: what is wrong, naming the failing thing. fix: what to write instead.
    excerpt: the line of the file, without its line end; empty where there is none or it may hold a secret.
    """

    code: FindingCode
    severity: Severity
    place: Place
    message: str
    fix: str
    excerpt: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One file, read once: what is hashed is what is parsed.

    file:   relative to the configuration folder.
    digest: SHA-256 of the bytes, 64 hex digits; empty when they could not be read.
    text:   empty when there are findings of severity error.
    size:   bytes that were read; of a file that is too large one more than it may have.
    """

    file: str
    digest: str
    text: str
    findings: tuple[Finding, ...]
    size: int = 0

    @property
    def readable(self) -> bool:
        """Say whether the text may be used."""
        return not any(finding.severity == "error" for finding in self.findings)


class Excerpts:
    """The lines of a text, as findings may show them: never one that holds a secret, nor one that nobody could read."""

    def __init__(self, text: str) -> None:
        self._text = text
        # Where each begins: texts of their own would take more than the file, as long as its document is kept.
        self._begins: array[int] | None = None
        self._secret: frozenset[int] = frozenset()

    def line(self, number: int) -> str:
        """Return a line, counted from 1; empty when there is none or it must not be shown."""
        if self._begins is None:
            self._begins = array("I", [0])
            self._begins.extend(match.end() for match in re.finditer("\n", self._text))
            self._secret = secret_lines(self._text)
        if number in self._secret or not 0 < number <= len(self._begins):
            return ""
        end = self._begins[number] - 1 if number < len(self._begins) else len(self._text)
        line = self._text[self._begins[number - 1] : end].removesuffix("\r")
        # A finding outlives its file: eight mebibytes without a line end must not live on in it.
        return line if len(line) <= MAX_EXCERPT else ""


def show(value: object) -> str:
    """Write a value of a file into a message: in quotes, short, and never a secret."""
    text = str(value)
    if find_secret(text) is not None:
        return "(a secret)"
    if isinstance(value, bool):
        return text.lower()
    if isinstance(value, int):
        return text
    return f'"{text}"' if len(text) <= 80 else f'"{text[:77]}…"'


def read_source(folder: Path, file: str, *, lenient: bool, path: Path | None = None) -> Source:
    """Read a file of the configuration folder, which is a real path.

    lenient: owner and mode are warnings, as `check` and `--dev` want them; `serve` refuses the file.
    path:    where it is read, when its name leads through a link that may be swapped meanwhile.
    """
    path = path or folder / file
    try:
        # O_NONBLOCK: opening a pipe would wait for its writer.
        if not stat.S_ISREG(path.stat().st_mode):
            return _refused(file, FindingCode.FILE_PERMISSIONS, "is not a regular file", "Put a file there.")
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except (FileNotFoundError, ValueError):  # ValueError: a name that no file can have, with a null character
        return _refused(
            file, FindingCode.FILE_MISSING, "does not exist", "Create it, or mend the link or name."
        )
    except OSError as error:
        reason = f"cannot be opened: {error.strerror}"
        return _refused(file, FindingCode.FILE_PERMISSIONS, reason, "Let the gateway's user read it.")
    with os.fdopen(handle, "rb") as opened:
        status = os.fstat(handle)
        # Judged after opening, and for the very file that is open: a link swapped in between changes nothing.
        if not _stands_inside(path, folder, status):
            return _refused(
                file,
                FindingCode.FILE_OUTSIDE,
                "leads outside the configuration folder",
                "Move the file into the folder.",
            )
        data = opened.read(MAX_BYTES + 1)
    return _judged(file, data, mode_findings(file, status, "warning" if lenient else "error"))


def _stands_inside(path: Path, folder: Path, status: os.stat_result) -> bool:
    try:
        real = path.resolve(strict=True)
        same = os.path.samestat(real.stat(), status)
    except OSError:
        return False
    return same and real.is_relative_to(folder)


def mode_findings(
    file: str, status: os.stat_result, severity: Severity, *, written: str = "can be written by others"
) -> tuple[Finding, ...]:
    """Judge a file or folder by what `stat` says of it. written: says of it that others may."""
    found = []
    if status.st_mode & OTHERS_WRITE:
        what = f"{written} than its owner (mode {stat.S_IMODE(status.st_mode):04o})"
        found.append(_finding(file, FindingCode.FILE_PERMISSIONS, what, f"chmod go-w {file}", severity))
    if not is_trusted_owner(status.st_uid):
        what = f"belongs to user {status.st_uid}, who is neither root nor the user of this process"
        found.append(_finding(file, FindingCode.FILE_PERMISSIONS, what, f"chown root {file}", severity))
    return tuple(found)


def is_trusted_owner(uid: int) -> bool:
    """Say whether files of this user may be believed."""
    return uid in {0, os.geteuid()}


def _judged(file: str, data: bytes, found: tuple[Finding, ...]) -> Source:
    if len(data) > MAX_BYTES:
        refused = _refused(
            file, FindingCode.FILE_TOO_LARGE, f"has more than {MAX_BYTES:,} bytes", "Split it."
        )
        return replace(refused, size=len(data))
    digest = hashlib.sha256(data).hexdigest()
    if not data:
        empty = _finding(
            file,
            FindingCode.FILE_EMPTY,
            "has no content; a write that was cut off looks the same",
            empty_fix(file),
        )
        return Source(file=file, digest=digest, text="", findings=(*found, empty))
    try:
        text = _decoded(data)
    except UnicodeDecodeError as error:
        encoding = _encoding(file, data, error)
        return Source(file=file, digest=digest, text="", findings=(*found, encoding), size=len(data))
    return Source(file=file, digest=digest, text=text, findings=found, size=len(data))


def _decoded(data: bytes) -> str:
    for mark in (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"):
        if data.startswith(mark):
            raise UnicodeDecodeError("utf-8", data, 0, len(mark), "byte-order mark")
    return data.decode("utf-8", "strict")


def _encoding(file: str, data: bytes, error: UnicodeDecodeError) -> Finding:
    before = data[: error.start].decode("utf-8", "replace")
    line = before.count("\n") + 1
    column = len(before) - (before.rfind("\n") + 1) + 1
    what = "a byte-order mark" if error.reason == "byte-order mark" else f"byte 0x{data[error.start]:02X}"
    return Finding(
        code=FindingCode.FILE_ENCODING,
        severity="error",
        place=Place(file=file, line=line, column=column),
        message=f"{file} is not plain UTF-8: {what} at offset {error.start}.",
        fix="Save the file as UTF-8 without a byte-order mark; Latin-1 and UTF-16 are not read.",
    )


def _refused(file: str, code: FindingCode, what: str, fix: str) -> Source:
    return Source(file=file, digest="", text="", findings=(_finding(file, code, what, fix),))


def _finding(file: str, code: FindingCode, what: str, fix: str, severity: Severity = "error") -> Finding:
    return Finding(
        code=code,
        severity=severity,
        place=Place(file=file, line=1, column=1),
        message=f"{file} {what}.",
        fix=fix,
    )
