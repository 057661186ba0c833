"""Texts and numbers that stand in the files, and what every shape is: closed, strict and frozen."""

import re
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

MAX_ISSUERS: Final = 64
# Lower case, so that names which differ in case alone cannot exist; no dot, because rule ids are `team.name`.
NAME: Final = re.compile(r"^[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?$")
Name = Annotated[str, Field(pattern=NAME.pattern)]
Duration = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,6}[smh]$", examples=["30s", "15m", "1h"])]
#: So many in so long. Not `off`, which is a truth value to YAML.
RateText = Annotated[
    str,
    Field(
        pattern=r"^(?:unlimited|[1-9][0-9]{0,6}/[1-9][0-9]{0,3}[smh])$",
        examples=["600/1m", "20/1s", "unlimited"],
    ),
]
HostName = Annotated[
    str,
    Field(
        pattern=r"^(?:[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,252}[A-Za-z0-9])?|[0-9A-Fa-f]*:[0-9A-Fa-f:.]+)$",
        examples=["gateway.internal.example"],
    ),
]
Network = Annotated[
    str,
    Field(
        pattern=r"^(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?:/[0-9]{1,2})?|[0-9A-Fa-f]*:[0-9A-Fa-f:.]+(?:/[0-9]{1,3})?)$",
        examples=["10.0.0.0/16", "2001:db8::/64"],
    ),
]
Url = Annotated[str, Field(min_length=1, max_length=255)]
File = Annotated[str, Field(min_length=1, max_length=255)]
VaultName = Annotated[str, Field(min_length=1, max_length=128)]
Day = Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", examples=["2027-01-31"])]
Teams = Annotated[list[Name], Field(min_length=1)]
_DURATION = re.compile(r"([1-9][0-9]{0,6})([smh])")
_UNITS: Final = {"s": 1, "m": 60, "h": 3600}


def rate_of(text: str) -> tuple[int, int] | None:
    """Return number and seconds of a rate such as `600/1m`, None for `unlimited`; matched against the shape before."""
    if text == "unlimited":
        return None
    quota, _, window = text.partition("/")
    return int(quota), duration_s(window)


def duration_s(text: str) -> int:
    """Return the seconds of a duration such as `15m`; the text has been matched against the shape."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError("not a duration")
    return int(found[1]) * _UNITS[found[2]]


def duration_text(seconds: int) -> str:
    """Write seconds as a file does, in the largest unit that they are a multiple of."""
    unit = next(unit for unit in ("h", "m", "s") if seconds % _UNITS[unit] == 0)
    return f"{seconds // _UNITS[unit]}{unit}"


def _scalar(value: object) -> str | int | bool:
    if isinstance(value, str | int | bool):
        return value
    raise PydanticCustomError("scalar_type", "text, a whole number, true or false")


Scalar = Annotated[
    str | int | bool, PlainValidator(_scalar), WithJsonSchema({"type": ["string", "integer", "boolean"]})
]


class Shape(BaseModel):
    """A block of a file: what it does not name may not stand there, and nothing is converted."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=False)
