"""Signs the end of the chain as often as it was promised, and says so in the log too.

[edge] Used from the journal's writer thread alone.
"""

import logging
from dataclasses import replace

from gateway.audit.document import moment
from gateway.audit.heads import Pledge, SignedHead, Signer, body
from gateway.audit.place import Mark
from gateway.clock import Clock
from gateway.metrics import Metrics

_log = logging.getLogger("gateway.audit.head")


class HeadKeeper:
    """Knows which records no head covers yet."""

    def __init__(self, signer: Signer, pledge: Pledge, clock: Clock, metrics: Metrics) -> None:
        self._signer = signer
        self._pledge = pledge
        self._clock = clock
        self._metrics = metrics
        self._seen: int | None = None  # the number that the last head's own record has
        self._since: float | None = None

    def is_due(self, mark: Mark, *, now: bool = False) -> bool:
        """Say whether a head must be signed. now: for any record that none covers, however recent."""
        if self._seen is None:
            return True
        bare = mark.head.seq - self._seen
        if bare <= 0:
            self._since = None
            return False
        if self._since is None:
            self._since = self._clock.monotonic()
        waited = self._clock.monotonic() - self._since
        return now or bare >= self._pledge.records or waited >= self._pledge.seconds

    def sign(self, mark: Mark) -> str:
        """Return the record of a head over everything durable; the log gets the same, for keeping elsewhere."""
        now = self._clock.wall()
        head = SignedHead(
            chain=mark.chain,
            boot=mark.boot,
            file=mark.file,
            head=mark.head,
            at=moment(now),
            pledge=self._pledge,
            key=self._signer.key,
        )
        head = replace(head, signature=self._signer.sign(head.text()))
        self._seen, self._since = mark.head.seq + 1, None
        self._metrics.audit_head_time.set(now)
        _log.info("audit head", extra={"head": head.document()})
        return body(head)
