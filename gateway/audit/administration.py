"""What administrators do, as records: who, what, why, and what it changed."""

import uuid
from collections.abc import Callable

from gateway.audit.record import AdminAct, Notebook, Record
from gateway.clock import Clock
from gateway.errors import ErrorCode


class AdminLog:
    """Writes an administrator's acts beside what callers do. policy: returns the digest of the policy in force."""

    def __init__(self, notebook: Notebook, clock: Clock, *, policy: Callable[[], str]) -> None:
        self._notebook = notebook
        self._clock = clock
        self._policy = policy

    def note(
        self,
        act: AdminAct,
        *,
        actor: str,
        object: str | None = None,  # noqa: A002 - what the record calls it
        why: str | None = None,
        changes: tuple[str, ...] = (),
        code: ErrorCode | None = None,
        request_id: str | None = None,
        source: str | None = None,
    ) -> None:
        """Take an act that was done, or refused with `code`; does not wait for the disk and never raises.

        actor:      who did it, as surely as it is known: an account, a certificate's subject, a verified identity.
        request_id: of the request by which it came; None: it came by a file or a store, and gets one of its own.
        """
        record = Record(
            kind="admin",
            request_id=request_id or uuid.uuid4().hex,
            at=self._clock.wall(),
            act=act,
            policy=self._policy(),
            code=code,
            object=object,
            source=source,
            actor=actor,
            why=why,
            changes=changes,
        )
        self._notebook.note(record)
