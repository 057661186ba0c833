"""The files of rules."""

from typing import Annotated, Final, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from gateway.files.schema.claims import ClaimsShape
from gateway.files.schema.values import MAX_ISSUERS, Day, Name, Shape

MAPPING_FORMAT: Final = "oidc-gateway/mapping.v1"


class GrantShape(Shape):
    """One power: start, view or stop a workflow as a target, or obtain a target."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"required": ["start", "as"]},
                {"required": ["view", "as"]},
                {"required": ["stop", "as"]},
                {"required": ["obtain"], "not": {"required": ["as"]}},
            ]
        }
    )

    start: Name | None = Field(
        default=None, description="Workflow to start; its own executions may be seen and stopped too."
    )
    view: Name | None = Field(default=None, description="Workflow whose executions, anybody's, may be seen.")
    stop: Name | None = Field(
        default=None, description="Workflow whose executions, anybody's, may be stopped."
    )
    obtain: Name | None = Field(default=None, description="Target whose credentials leave the gateway.")
    as_: Name | None = Field(
        default=None, alias="as", description="Target under whose authority this happens."
    )
    form: Literal["aws-credentials", "vault-token"] | None = Field(
        default=None, description="What is handed out by `obtain`; AWS credentials unless given."
    )

    @model_validator(mode="after")
    def _has_one(self) -> "GrantShape":
        if sum(getattr(self, verb) is not None for verb in ("start", "view", "stop", "obtain")) != 1:
            raise PydanticCustomError("one_verb", "exactly one verb")
        if (self.obtain is None) != (self.as_ is not None):
            raise PydanticCustomError("as_missing" if self.obtain is None else "as_extra", "as")
        if self.form is not None and self.obtain is None:
            raise PydanticCustomError("form_extra", "form")
        return self


def _is_list(value: object) -> str:
    return "=list" if isinstance(value, list) else "=name"


RuleIssuer = Annotated[
    Annotated[Name, Tag("=name")]
    | Annotated[list[Name], Field(min_length=1, max_length=MAX_ISSUERS), Tag("=list")],
    Discriminator(_is_list),
]


class RuleShape(Shape):
    """Tokens of this issuer that satisfy all claims hold these grants."""

    name: Name = Field(description="Its id is TEAM.name, for audit and explain; no caller ever writes it.")
    why: str = Field(min_length=1, description="Why it exists: a ticket and a sentence.")
    issuer: RuleIssuer = Field(
        description="Name of an issuer in gateway.yaml, or a list of issuers of one preset."
    )
    claims: ClaimsShape = Field(
        description="All must hold, exactly, in value and type. Names are single members; JSON pointers start with `/`."
    )
    grants: list[GrantShape] = Field(min_length=1, max_length=100, description="One power a line.")
    replay: Literal["off", "once", "per-request"] = Field(
        default="off",
        description="How often one token may start and obtain here: without limit, for one success (once), "
        "or for one request and its repetition (per-request).",
    )
    last_day: Day | None = Field(
        default=None, description="Usable through this day, UTC; afterwards rule_expired."
    )


class MappingShape(Shape):
    """config/mappings/TEAM/*.yaml: who may do what."""

    format: Literal["oidc-gateway/mapping.v1"] = Field(description="The first key of the file.")
    rules: list[RuleShape] = Field(description="Their order means nothing.")
