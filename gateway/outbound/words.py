"""What an upstream says in its own words, made fit for the operators' log: nothing that could be a secret, or that we sent."""

import re
from collections.abc import Iterable
from typing import Final

_RUN: Final = re.compile(r"[A-Za-z0-9+/=_%-]{20,}")
# Request ids, digests and names of executions are lower-case hex, 65 characters at most.
_DIGEST: Final = re.compile(r"[0-9a-f-]{20,65}")
_MIXED: Final = re.compile(r"(?=.*[A-Z])(?=.*[a-z])(?=.*[0-9])")
_CUT: Final = re.compile(r"[A-Za-z0-9+/=_%.-]+\Z")
_ECHO: Final = 12
# An upstream repeats the beginning of what it does not understand. This much is looked through in a millisecond.
_MOST_SENT: Final = 16_384


def said_by_upstream(text: str, *, limit: int, sent: Iterable[str] = ()) -> str:
    """Return the text in ASCII on one line, cut, without long opaque words and without echoes of what was sent.

    sent: what of the request must not come back: a token, a workflow's input. Names and ARNs are not of these.
    """
    # What stands at the cut may have been part of something, and has no shape any more.
    words = text if len(text) <= limit else _CUT.sub("", text[:limit])
    words = mask_opaque(words)
    for private in sent:
        words = _without(words, private[:_MOST_SENT])
    return ascii(words)


def mask_opaque(text: str) -> str:
    """Return the text without long words that are neither names nor lower-case digests."""
    return _RUN.sub(_masked, text)


def _masked(run: re.Match[str]) -> str:
    word = run[0]
    if _DIGEST.fullmatch(word):
        return word
    opaque = _MIXED.match(word) is not None or len(word) > 65
    return f"[masked, {len(word)} characters]" if opaque else word


def _without(text: str, private: str) -> str:
    kept, at = [], 0
    while at < len(text):
        if len(text) - at >= _ECHO and text[at : at + _ECHO] in private:
            end = at + _ECHO
            while end < len(text) and text[at : end + 1] in private:
                end += 1
            kept.append("[not shown]")
            at = end
        else:
            kept.append(text[at])
            at += 1
    return "".join(kept)
