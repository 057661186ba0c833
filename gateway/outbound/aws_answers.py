"""What AWS answers: its errors in JSON and XML, its request ids, its dates."""

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Final
from xml.parsers import expat

import msgspec

from gateway.outbound.http import Answer

_CODE: Final = re.compile(r"[A-Za-z0-9.]{1,64}")
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9-]{1,64}")
_MAX_DEPTH: Final = 16
_TEXT_CHARS: Final = 1_000
_THROTTLED: Final = frozenset(
    {
        "KmsThrottlingException",
        "LimitExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)


class AwsFault(Exception):
    """AWS answered with an error.

    code:       AWS's own, `unknown` when the answer holds none.
    request_id: AWS's own, None when the answer holds none.
    text:       AWS's words: for the operator's log, cut; never part of `str()` and never shown to a caller.
    maybe_done: an earlier attempt of the same call was sent and its answer lost, so the effect may have happened.
    """

    def __init__(
        self, code: str, *, status: int, request_id: str | None, text: str, maybe_done: bool = False
    ) -> None:
        super().__init__(f"AWS answered {code} with status {status}")
        self.code = code
        self.status = status
        self.request_id = request_id
        self.text = text
        self.maybe_done = maybe_done

    @property
    def throttled(self) -> bool:
        """Whether AWS asks to come again later and has done nothing."""
        return self.status == 429 or self.code in _THROTTLED

    @property
    def unavailable(self) -> bool:
        """Whether AWS itself failed, so that the same call may succeed later."""
        return self.status >= 500


class AnswerInvalid(Exception):
    """A successful answer does not have the promised form; the message says what is wrong, without its content."""


def fault_of(answer: Answer) -> AwsFault:
    """Read an error answer of any AWS protocol; an unreadable one becomes the code `unknown`."""
    code, text, request_id = _json_error(answer) or _xml_error(answer) or ("unknown", "", "")
    request_id = request_id_of(answer) or request_id
    return AwsFault(
        code if _CODE.fullmatch(code) else "unknown",
        status=answer.status,
        request_id=request_id if _REQUEST_ID.fullmatch(request_id) else None,
        text=" ".join(text.split())[:_TEXT_CHARS],
    )


def request_id_of(answer: Answer) -> str | None:
    """Return AWS's own id of the request as its header says it; None without one, or one that cannot be an id."""
    sent = answer.headers.get("x-amzn-requestid", "")
    return sent if _REQUEST_ID.fullmatch(sent) else None


def date_of(answer: Answer) -> float | None:
    """Return the answer's `Date` as seconds since the epoch (RFC 9110 section 6.6.1), whole seconds; None without."""
    return _seconds(answer.headers.get("date", ""))


@lru_cache(maxsize=64)
def _seconds(date: str) -> float | None:
    # Answers of one second carry the same text, and reading it costs more than the rest of the answer's head.
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        return None


def json_object(answer: Answer) -> dict[str, object]:
    """Return the body of a successful AWS JSON answer; raises AnswerInvalid."""
    try:
        found = msgspec.json.decode(answer.body)
    except (ValueError, RecursionError):
        raise AnswerInvalid("the answer is not JSON") from None
    if not isinstance(found, dict):
        raise AnswerInvalid("the answer is not a JSON object")
    return found


def xml_texts(body: bytes) -> Mapping[str, str]:
    """Return the texts of an XML document by their path of local names, such as `Error/Code`, without the root.

    A document type declaration (the only place where entities are declared), a repeated path, or a depth above 16
    is refused. Raises AnswerInvalid.
    """
    texts: dict[str, str] = {}
    names: list[str] = []  # of the open elements
    words: list[str] = []  # since the last tag

    def refuse(*_: object) -> None:
        raise AnswerInvalid("the answer declares a document type")

    def start(name: str, _attributes: object) -> None:
        words.clear()
        names.append(name.rpartition(":")[2])
        if len(names) > _MAX_DEPTH:
            raise AnswerInvalid("the answer is nested too deep")

    def end(_name: str) -> None:
        if text := "".join(words).strip():
            path = "/".join(names[1:])
            if path in texts:
                raise AnswerInvalid("the answer holds an element twice")
            texts[path] = text
        words.clear()
        names.pop()

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = words.append
    try:
        parser.Parse(body, True)  # noqa: FBT003  the C function takes no keyword
    except (expat.ExpatError, LookupError, ValueError):  # the latter two: an encoding nobody knows
        raise AnswerInvalid("the answer is not well-formed XML") from None
    return texts


def _json_error(answer: Answer) -> tuple[str, str, str] | None:
    try:
        found = json_object(answer)
    except AnswerInvalid:
        return None
    # `com.amazonaws.swf.service.v2.model#Name`, and `Name:http://…` in the header.
    named = found.get("__type") or answer.headers.get("x-amzn-errortype") or found.get("code")
    if not isinstance(named, str):
        return None
    text = found.get("message", found.get("Message"))
    return named.rpartition("#")[2].partition(":")[0], text if isinstance(text, str) else "", ""


def _xml_error(answer: Answer) -> tuple[str, str, str] | None:
    try:
        texts = xml_texts(answer.body)
    except AnswerInvalid:
        return None
    for place in ("Error", "Errors/Error"):
        if f"{place}/Code" in texts:
            request_id = texts.get("RequestId", texts.get("RequestID", ""))
            return texts[f"{place}/Code"], texts.get(f"{place}/Message", ""), request_id
    return None
