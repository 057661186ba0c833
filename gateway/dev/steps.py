"""What a step of the demo can be: a call of the gateway or of Vault, a call of AWS, or one of our commands."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPMethod

PRESENT = object()  # the answer must have this member, whatever its value


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpStep:
    """One call of the gateway, or of Vault.

    says:   what happens, for a reader; one sentence.
    token:  shell variable of the bearer token. vault_token: of a token that Vault itself is shown.
    server: shell variable of the base URL.
    path:   may begin with `$NAME`, a value that an earlier step kept.
    body:   sent as JSON. form: sent as a form; `$NAME` in its values is replaced. At most one of them.
    expect: by JSON pointer without its first slash: the exact value, `$NAME`, or PRESENT; `#` is the length of a list.
    show:   label and pointer of what the reader sees.
    keep:   shell variable and pointer of what later steps use.
    patience_s: the call is repeated for so long until it answers as expected: what it looks for happens beside an answer.
    """

    says: str
    token: str | None
    vault_token: str | None = None
    server: str = "GATEWAY"
    method: HTTPMethod = HTTPMethod.POST
    path: str = "/v1/executions"
    key: str | None = None
    body: Mapping[str, object] | None = None
    form: Mapping[str, str] | None = None
    status: int
    expect: Mapping[str, object] = field(default_factory=dict)
    show: Mapping[str, str] = field(default_factory=dict)
    keep: Mapping[str, str] = field(default_factory=dict)
    patience_s: float = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadStep:
    """A call of AWS itself with credentials that the gateway handed out. key: of an object in the reports bucket."""

    says: str
    key: str
    status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandStep:
    """One of our commands.

    arguments: after `oidc-gateway`; `$NAME` is replaced. expect: texts that it must print.

    fold: headings of its output whose lines are not shown.
    """

    says: str
    arguments: tuple[str, ...]
    expect: tuple[str, ...]
    fold: tuple[str, ...] = ()


Step = HttpStep | ReadStep | CommandStep


@dataclass(frozen=True, slots=True, kw_only=True)
class Chapter:
    """Steps of one party."""

    title: str
    steps: tuple[Step, ...]
