"""The files of tests of rules."""

from typing import Annotated, Final, Literal

from pydantic import ConfigDict, Field, PlainValidator, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from gateway.files.schema.values import Day, Name, Shape

CASES_FORMAT: Final = "oidc-gateway/tests.v1"


def _anything(value: object) -> object:
    return value


ClaimValue = Annotated[object, PlainValidator(_anything), WithJsonSchema({})]


class WishShape(Shape):
    """One power, as in a rule's grants."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"required": ["start"]},
                {"required": ["view"]},
                {"required": ["stop"]},
                {"required": ["obtain"], "not": {"required": ["as"]}},
            ]
        }
    )

    start: Name | None = Field(default=None, description="Workflow to start.")
    view: Name | None = Field(
        default=None, description="Workflow whose executions, anybody's, would be seen."
    )
    stop: Name | None = Field(
        default=None, description="Workflow whose executions, anybody's, would be stopped."
    )
    obtain: Name | None = Field(default=None, description="Target whose credentials would leave the gateway.")
    as_: Name | None = Field(default=None, alias="as", description="As this target; any target unless given.")
    form: Literal["aws-credentials", "vault-token"] | None = Field(
        default=None, description="What would be handed out by `obtain`; AWS credentials unless given."
    )

    @model_validator(mode="after")
    def _has_one(self) -> "WishShape":
        if sum(getattr(self, verb) is not None for verb in ("start", "view", "stop", "obtain")) != 1:
            raise PydanticCustomError("one_verb", "exactly one verb")
        if self.obtain is not None and self.as_ is not None:
            raise PydanticCustomError("as_extra", "as")
        if self.form is not None and self.obtain is None:
            raise PydanticCustomError("form_extra", "form")
        return self


class CaseShape(Shape):
    """One token, by its claims, and what it must and must not be allowed."""

    name: str = Field(min_length=1, max_length=200, description="What it shows, as a sentence.")
    issuer: Name = Field(description="Name of an issuer in gateway.yaml, who has signed these claims.")
    claims: Annotated[dict[str, ClaimValue], Field(min_length=1, max_length=512)] = Field(
        description="The token's claims, those that the issuer's `require` asks for included."
    )
    may: list[WishShape] = Field(
        default_factory=list, max_length=100, description="What the team's rules must allow."
    )
    may_not: list[WishShape] = Field(
        default_factory=list,
        max_length=100,
        description="What no rule of the team may allow. While one does, the team's last good rules stay in force.",
    )
    today: Day | None = Field(default=None, description="On this day, UTC; today unless given.")

    @model_validator(mode="after")
    def _asks(self) -> "CaseShape":
        if not self.may and not self.may_not:
            raise PydanticCustomError("nothing_asked", "nothing asked")
        return self


class CasesShape(Shape):
    """config/mappings/TEAM/*.test.yaml: what the team's rules must and must not allow."""

    format: Literal["oidc-gateway/tests.v1"] = Field(description="The first key of the file.")
    tests: list[CaseShape] = Field(min_length=1, max_length=1000, description="Each is judged by itself.")
