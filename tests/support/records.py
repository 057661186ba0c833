"""Audit records for tests, and a chain of them without a disk."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from gateway.audit.chain import START, Head, seal
from gateway.audit.document import encode, moment
from gateway.audit.record import Record
from gateway.errors import ErrorCode
from gateway.identity.token import Principal
from gateway.policy.claims import MISSING, ClaimCheck
from gateway.policy.rule import Operator

NOW = 1_795_342_623.123456
BOOT = "00c0ffee00c0ffee"
EXECUTION = "arn:aws:states:eu-west-1:111122223333:execution:deploy-payments:ca6c-ffd7"
SESSION = "arn:aws:sts::111122223333:assumed-role/payments-deployer/payments-prod.1f2e3d4c.5a6b7c8d"
TOKEN = "5a6b7c8d" * 8

PRINCIPAL = Principal(
    issuer="https://token.actions.githubusercontent.com", subject="repo:acme/payments:environment:prod"
)
INTENT = Record(
    kind="intent",
    request_id="req-1",
    at=NOW,
    act="start",
    policy="sha256:" + "ab" * 32,
    token=TOKEN,
    token_alias="9f" * 32,
    token_bytes=1311,
    issuer="github",
    principal=PRINCIPAL,
    principal_digest=PRINCIPAL.digest,
    session=SESSION.rpartition("/")[2],
    claims=(("repository", "acme/payments"), ("run_attempt", 2), ("environments", ["prod", "eu"])),
    rules=("payments.prod",),
    checks=(
        ClaimCheck(
            claim="repository",
            outcome="matched",
            presented="acme/payments",
            wanted=("acme/payments",),
            operator=Operator.EQUALS,
        ),
    ),
    object="deploy-payments",
    target="payments-prod",
    execution="ca6c-ffd7",
    source="192.0.2.7",
    user_agent="curl/8.5.0",
    trace="4bf92f3577b34da6a3ce929d0e0e4736",
)
OUTCOME = replace(
    INTENT, kind="outcome", issued=SESSION, execution=EXECUTION, existed=False, expires_at=NOW + 900
)
REFUSAL = replace(
    INTENT,
    kind="refused",
    request_id="req-2",
    code=ErrorCode.CLAIM_MISMATCH,
    target=None,
    session=None,
    execution=None,
    checks=(
        *INTENT.checks,
        ClaimCheck(
            claim="ref",
            outcome="value",
            presented="refs/heads/x",
            wanted=("refs/heads/main",),
            operator=Operator.EQUALS,
        ),
        ClaimCheck(
            claim="environment",
            outcome="missing",
            presented=MISSING,
            wanted=("prod", "prod-eu"),
            operator=Operator.ANY_OF,
        ),
    ),
)
ADMIN = Record(
    kind="admin",
    request_id="req-3",
    at=NOW,
    act="switch",
    policy="sha256:" + "ab" * 32,
    object="rule payments.prod",
    actor="alice",
    why="PAY-9, deploys stop until the ledger is mended",
    changes=("+ off rule payments.prod",),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryFile:
    """A file of a journal that was never on a disk."""

    name: str
    data: bytes

    def lines(self) -> Iterator[bytes]:
        """Yield its lines with their ends."""
        yield from io.BytesIO(self.data)  # as a file opened in binary mode: only LF ends a line


def chained(records: Sequence[Record], head: Head = START) -> tuple[list[bytes], Head]:
    """Seal records into lines behind `head`."""
    lines = []
    for record in records:
        line, head = seal(encode(record), head, boot=BOOT, written_at=moment(NOW))
        lines.append(line)
    return lines, head
