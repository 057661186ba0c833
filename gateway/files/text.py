"""Text that deceives its reader, and text that is a secret."""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Final

# Scripts whose letters pass for Latin ones.
_CONFUSABLE: Final = frozenset({"LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "FULLWIDTH", "COPTIC"})
# Refused anywhere in a file, comments included: they hide or reorder what a reviewer sees.
RAW_UNSAFE: Final = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]"
    "|\r(?!\n)"
)
# Letters and marks that show nothing, although Unicode does not call them formatting.
_INVISIBLE: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_SECRETS: Final = (
    ("an AWS access key id", re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b")),
    ("a Vault token", re.compile(r"\bhv[sbr]\.[A-Za-z0-9_-]{20,}")),
    ("a private key", re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----")),
    ("a JSON Web Token", re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}")),
    ("a GitHub token", re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{40})")),
)
# No secret is without one of these; looking for them first keeps large files quick.
_SECRET_SIGNS: Final = (
    "AKIA",
    "ASIA",
    "hvs.",
    "hvb.",
    "hvr.",
    "-----BEGIN",
    "eyJ",
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "github_pat_",
)


_LONGEST_KEY: Final = 20_000


def split_lines(text: str) -> list[str]:
    """Split at line feeds; a carriage return before one belongs to the line end."""
    return [line.removesuffix("\r") for line in text.split("\n")]


def find_secret(text: str) -> tuple[str, int] | None:
    """Return what kind of secret a text holds and at which character, or None."""
    return next(iter(find_secrets(text)), None)


def find_secrets(text: str) -> list[tuple[str, int]]:
    """Return every secret's kind and first character, in the order of the text."""
    if not any(sign in text for sign in _SECRET_SIGNS):
        return []
    found = [(kind, match.start()) for kind, shape in _SECRETS for match in shape.finditer(text)]
    return sorted(found, key=lambda one: one[1])


def secret_lines(text: str) -> frozenset[int]:
    """Return the numbers of lines that must not be shown, counted from 1; of a private key all lines."""
    hidden: set[int] = set()
    secrets = find_secrets(text)
    for (kind, start), (first, _) in zip(secrets, positions(text, [at for _, at in secrets]), strict=True):
        hidden.add(first)
        if kind == "a private key":
            end = text.find("-----END", start, start + _LONGEST_KEY)
            last = text.count("\n", start, end) + first if end >= 0 else first + 200
            hidden.update(range(first, last + 1))
    return frozenset(hidden)


def positions(text: str, offsets: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Return line and column of ascending offsets, counted from 1; the text is gone through once for all of them."""
    line, begin, last = 1, 0, 0
    for offset in offsets:
        line += text.count("\n", last, offset)
        found = text.rfind("\n", last, offset)
        begin = found + 1 if found >= 0 else begin
        last = offset
        yield line, offset - begin + 1


def unsafe_text(value: str) -> str | None:
    """Say what makes a value unsafe to compare or to review, None when nothing does."""
    if value.isascii() and value.isprintable():
        return "has white space at its beginning or end" if value[:1] == " " or value[-1:] == " " else None
    if value != value.strip():
        return "has white space at its beginning or end"
    for character in value:
        if unicodedata.category(character) in {"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"} or _INVISIBLE.match(
            character
        ):
            return f"holds {describe(character)}"
    if not unicodedata.is_normalized("NFC", value):
        return "is not in Unicode normal form C: it would differ from the same letters typed elsewhere"
    return None


def describe(character: str) -> str:
    """Name a character that cannot be shown."""
    return f"U+{ord(character):04X} ({unicodedata.name(character, 'control character').lower()})"


def mixed_scripts(value: str) -> str | None:
    """Return the first word that mixes scripts with look-alike letters, escaped; None when there is none."""
    if value.isascii():
        return None
    for word in re.split(r"[^\w]+", value):
        scripts = {
            unicodedata.name(letter, "?").split(" ")[0].split("-")[0] for letter in word if letter.isalpha()
        }
        if "FULLWIDTH" in scripts or len(scripts & _CONFUSABLE) > 1:
            return word.encode("ascii", "backslashreplace").decode("ascii")
    return None


def empty_fix(file: str) -> str:
    """Say what to do about a file that says nothing. file: relative to the configuration folder."""
    if file.startswith("mappings/"):
        return "Delete the file when nothing is meant."
    return "Restore what it held; the gateway cannot do without it."
