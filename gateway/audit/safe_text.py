"""Text from outside, made fit for one line of a record, a log or a terminal: masked, escaped, cut."""

import re
from typing import Final

_MASKS: Final = (
    # A compact JWS or JWE; `eyJ` is base64url for `{"`. Other spellings of an opening brace begin with `e[wy]`; they
    # come first, because their second part is likely to begin with `eyJ`.
    (
        re.compile(
            r"(?<![A-Za-z0-9_-])e[wy][A-Za-z0-9_-]{14,}\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}[A-Za-z0-9_.-]*"
        ),
        "[masked token]",
    ),
    # In the middle of a run too (`Bearer%20eyJ…`). The look-ahead goes over each run once and asks whether a full stop
    # ends it; without it every `eyJ` of a run would be tried to the run's end.
    (
        re.compile(
            r"(?<![A-Za-z0-9_-])(?=[A-Za-z0-9_-]++\.)([A-Za-z0-9_-]*?)eyJ[A-Za-z0-9_-]{5,}+\.[A-Za-z0-9_.-]*"
        ),
        r"\1[masked token]",
    ),
    (re.compile(r"(?:AKIA|ASIA)[A-Z0-9]{12,}"), "[masked access key]"),
    (re.compile(r"(?:IQoJ|FwoG|FQoG)[A-Za-z0-9+/=_-]{40,}"), "[masked session token]"),
    (re.compile(r"hv[sbr]\.[A-Za-z0-9_-]{8,}"), "[masked Vault token]"),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*", re.DOTALL), "[masked private key]"),
)
# Nearly every text has none of these, and one look is cheaper than six.
_SUSPECT: Final = re.compile(r"eyJ|e[wy][A-Za-z0-9_-]{14}|AKIA|ASIA|IQoJ|F[wQ]oG|hv[sbr]\.|-----BEGIN")


def is_suspect(text: str) -> bool:
    """Say whether `mask_secrets` would look closely at a text; False: it has nothing to mask."""
    return _SUSPECT.search(text) is not None


def mask_secrets(text: str) -> str:
    """Replace what is shaped like a token or a key. The second line of defence: nobody passes secrets here."""
    if not is_suspect(text):
        return text
    for shape, label in _MASKS:
        text = shape.sub(label, text)
    return text


def escape_unprintable(text: str) -> str:
    r"""Write control, bidirectional, zero-width and line-separating characters as `\uXXXX`; keep the rest."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def cut(text: str, limit: int) -> str:
    """Return at most `limit` characters, and a marker with the full length where something is left out."""
    return text if len(text) <= limit else f"{text[:limit]}…[cut, {len(text)} characters]"


def one_line(text: str, *, limit: int) -> str:
    """Return the text masked, cut to `limit` characters and on one printable line."""
    # Masking first: a cut in the middle of a token would leave a piece that has no shape any more. The first cut
    # only bounds the work; nothing behind it is shown.
    masked = mask_secrets(text[: max(4 * limit, 65_536)])
    return escape_unprintable(cut(masked, limit))


def _escaped(char: str) -> str:
    code = ord(char)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
