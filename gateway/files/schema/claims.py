"""What a rule or an issuer asks of claims."""

from typing import Annotated, Final, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from gateway.files.schema.values import Scalar, Shape

MAX_CONDITIONS: Final = 32


class ConditionShape(Shape):
    """An operator and what it compares with; exactly one."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})

    any_of: list[Scalar] | None = Field(
        default=None, min_length=1, max_length=1000, description="The claim is one of these values."
    )
    contains: Scalar | None = Field(default=None, description="The claim is a list with this item.")
    contains_any: list[Scalar] | None = Field(
        default=None,
        min_length=1,
        max_length=1000,
        description="The claim is a list with at least one of these items.",
    )
    contains_all: list[Scalar] | None = Field(
        default=None,
        min_length=1,
        max_length=1000,
        description="The claim is a list with all of these items.",
    )
    scope: str | None = Field(
        default=None,
        min_length=1,
        description="The claim is a list of scopes, or a text of scopes with blanks between them, and this is one.",
    )
    absent: Literal[True] | None = Field(
        default=None, description="The token does not have this claim at all."
    )

    @model_validator(mode="after")
    def _has_one(self) -> "ConditionShape":
        if len(self.model_fields_set) != 1:
            raise PydanticCustomError("one_operator", "exactly one operator")
        return self


def _is_operator(value: object) -> str:
    return "=operator" if isinstance(value, dict | ConditionShape) else "=value"


ClaimShape = Annotated[
    Annotated[Scalar, Tag("=value")] | Annotated[ConditionShape, Tag("=operator")],
    Discriminator(_is_operator),
]
ClaimsShape = Annotated[dict[str, ClaimShape], Field(min_length=1, max_length=MAX_CONDITIONS)]
