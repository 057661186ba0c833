"""The bytes of a file, read once, as nodes with places; and what is found wrong in them."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


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

    FILE_MISSING = "file_missing"
    FILE_PERMISSIONS = "file_permissions"
    FILE_OUTSIDE = "file_outside"
    FILE_TOO_LARGE = "file_too_large"
    FILE_ENCODING = "file_encoding"
    FILE_SYNTAX = "file_syntax"
    FILE_EMPTY = "file_empty"
    FORMAT_UNKNOWN = "format_unknown"
    FIELD_UNKNOWN = "field_unknown"
    FIELD_DUPLICATE = "field_duplicate"
    FIELD_MISSING = "field_missing"
    VALUE_TYPE = "value_type"
    VALUE_INVALID = "value_invalid"
    VALUE_UNSAFE_TEXT = "value_unsafe_text"
    SECRET_IN_FILE = "secret_in_file"
    LIMIT_EXCEEDED = "limit_exceeded"
    REFERENCE_UNKNOWN = "reference_unknown"
    NAME_TAKEN = "name_taken"
    ISSUER_INSECURE = "issuer_insecure"
    ISSUER_UNPINNED = "issuer_unpinned"
    AUDIENCE_MISSING = "audience_missing"
    RULE_UNBOUND = "rule_unbound"
    RULE_UNSATISFIABLE = "rule_unsatisfiable"
    RULE_OVERLAP = "rule_overlap"
    RULE_EXPIRED = "rule_expired"
    CLAIM_TYPE_WRONG = "claim_type_wrong"
    GRANT_NOT_OWNED = "grant_not_owned"
    POLICY_EMPTY = "policy_empty"
    VAULT_UNSUPPORTED = "vault_unsupported"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing wrong in a file.

    message: what is wrong, naming the failing thing. fix: what to write instead.
    excerpt: the line of the file, without its line end; empty where there is none or it may hold a secret.
    """

    code: FindingCode
    severity: Literal["error", "warning"]
    place: Place
    message: str
    fix: str
    excerpt: str = ""
