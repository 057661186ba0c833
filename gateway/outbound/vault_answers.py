"""What Vault answers: objects that can be read one way only, and errors, which have a status and a sentence."""

import re
from typing import Final

from gateway.outbound.http import Answer
from gateway.strict_json import JsonLimits, StrictJsonError, parse_json_object

_LIMITS: Final = JsonLimits(string_length=65_536)
_TEXT_CHARS: Final = 1_000


class VaultFault(Exception):
    """Vault answered with an error.

    status:        of HTTP; Vault has no codes.
    text:          Vault's words: to be recognised and for the operator's log, cut; never part of `str()` and never
                   shown to a caller.
    retry_after_s: as Vault asks for, 1 to 60; None where it does not.
    """

    def __init__(self, status: int, *, text: str, retry_after_s: int | None = None) -> None:
        super().__init__(f"Vault answered with status {status}")
        self.status = status
        self.text = text
        self.retry_after_s = retry_after_s


class AnswerUnreadable(Exception):
    """Vault's answer is good by its status and yet not a JSON object that can be read one way only."""


def answered_object(answer: Answer) -> dict[str, object]:
    """Return the object of a good answer, empty for 204. Raises AnswerUnreadable."""
    if answer.status == 204 and not answer.body:
        return {}
    try:
        return parse_json_object(answer.body, _LIMITS)
    except StrictJsonError as error:
        raise AnswerUnreadable(error.message) from None


def fault_of(answer: Answer) -> VaultFault:
    """Return the error that an answer stands for; one without Vault's form has no text."""
    try:
        found = parse_json_object(answer.body, _LIMITS).get("errors")
    except StrictJsonError:
        found = None
    texts = [text for text in found if isinstance(text, str)] if isinstance(found, list) else []
    asked = answer.headers.get("retry-after", "")
    after = min(60, max(1, int(asked))) if re.fullmatch("[0-9]{1,4}", asked) else None
    return VaultFault(answer.status, text=" | ".join(texts)[:_TEXT_CHARS], retry_after_s=after)
