"""JSON written on one line that no terminal, log or reader interprets."""

import json
from typing import Final

import msgspec

_quick_encoder: Final = msgspec.json.Encoder()
_careful_encoder: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True, allow_nan=False)


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
