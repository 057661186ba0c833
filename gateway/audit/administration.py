"""What administrators do, as records: who, what, why, and what it changed."""

import uuid
from collections.abc import Callable

from gateway.audit.record import AdminAct, Notebook, Record
from gateway.clock import Clock
from gateway.errors import ErrorCode, Unavailable


class AdminLog:
    """Writes an administrator's acts beside what callers do. policy: returns the digest of the policy in force."""

    def __init__(self, notebook: Notebook, clock: Clock, *, policy: Callable[[], str]) -> None:
        self._notebook = notebook
        self._clock = clock
        self._policy = policy

    async def intend(
        self,
        act: AdminAct,
        *,
        actor: str,
        object: str,  # noqa: A002 - what the record calls it
        why: str | None,
        changes: tuple[str, ...],
        request_id: str,
        source: str | None,
        within_s: float | None = None,
    ) -> None:
        """Take an act that is about to be done; durable on return, else raises Unavailable (`audit_unavailable`).

        changes:  what is wanted, each behind a `?`. within_s: the longest wait; None: as long as the journal has patience.
        """
        record = self._record(
            act,
            actor=actor,
            object=object,
            why=why,
            changes=changes,
            code=None,
            request_id=request_id,
            source=source,
        )
        deadline = None if within_s is None else self._clock.monotonic() + within_s
        try:
            await self._notebook.intend(record, deadline=deadline)
        except Unavailable as fault:
            raise Unavailable(
                fault.code,
                "The record of it could not be written, so nothing was changed.",
                hint="The gateway's log says why. Switching off is never kept back by this.",
                retry_after_s=fault.retry_after_s,
            ) from None

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
        self._notebook.note(
            self._record(
                act,
                actor=actor,
                object=object,
                why=why,
                changes=changes,
                code=code,
                request_id=request_id or uuid.uuid4().hex,
                source=source,
            )
        )

    def _record(
        self,
        act: AdminAct,
        *,
        actor: str,
        object: str | None,  # noqa: A002 - as above
        why: str | None,
        changes: tuple[str, ...],
        code: ErrorCode | None,
        request_id: str,
        source: str | None,
    ) -> Record:
        return Record(
            kind="admin",
            request_id=request_id,
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
