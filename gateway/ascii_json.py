"""JSON written on one line that no terminal, log or reader interprets."""

import json
from typing import Final

import msgspec

_quick_encoder: Final = msgspec.json.Encoder()


def _spelled_out(value: object) -> object:
    if isinstance(value, msgspec.Raw):
        return json.loads(bytes(value))
    raise TypeError(f"JSON cannot say {type(value).__name__}.")


_careful_encoder: Final = json.JSONEncoder(
    separators=(",", ":"), ensure_ascii=True, allow_nan=False, default=_spelled_out
)


def written_once(value: object) -> msgspec.Raw:
    """Return a value that `ascii_json` has only to copy, where several texts hold it. Raises as `ascii_json` does."""
    return msgspec.Raw(ascii_json(value).encode("ascii"))


def ascii_json(value: object) -> str:
    """Return a value on one compact ASCII line: no line end, control or bidirectional character survives unescaped.

    Raises ValueError or TypeError for what JSON cannot say, infinity and NaN among it where nothing else hides them:
    readers of ours let neither in.
    """
    try:
        quick = _quick_encoder.encode(value)
    except (TypeError, ValueError, RecursionError):
        quick = b"\x7f"
    # The quick encoder leaves what is beyond ASCII as it is, and both leave DEL, which can stand inside a text only.
    if quick.isascii() and b"\x7f" not in quick:
        return quick.decode("ascii")
    return _careful_encoder.encode(value).replace("\x7f", "\\u007f")
