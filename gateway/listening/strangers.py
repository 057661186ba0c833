"""Who sends what is no request: each such message counts against its peer's address, and a flood of them fills no log."""

import logging
from typing import Final, NamedTuple

from gateway.clock import Clock, SystemClock
from gateway.doors.callers import Callers
from gateway.errors import ErrorCode
from gateway.state.rates import RateTable, counted_as
from gateway.together import Together

_access = logging.getLogger("gateway.access")
_PROXY: Final = "proxy"


class _Line(NamedTuple):
    source: str | None
    code: ErrorCode
    request_id: str


class Strangers:
    """Takes note of messages that were refused before they were requests, so that nothing of them was read but the peer.

    address: requests by address, as `Entrance` counts them; None for no limit. A listed proxy's are not counted: whoever
             is behind it is not known, and the others there have done nothing.
    """

    def __init__(
        self, *, clock: Clock | None = None, callers: Callers | None = None, address: RateTable | None = None
    ) -> None:
        self._callers = callers or Callers()
        self._address = address
        self._together: Together[tuple[str, ErrorCode], _Line] = Together(
            self._tell, clock=clock or SystemClock()
        )

    def refused(self, peer: str | None, code: ErrorCode, request_id: str, *, counted: bool) -> None:
        """Take note of one. counted: it was a request, counted already, until it went wrong."""
        source = self._callers.source(peer, ())
        proxied = source is not None and self._callers.is_trusted(source)
        key = _PROXY if proxied else counted_as(source)
        if self._address is not None and not proxied and not counted:
            self._address.hit(key)
        if not self._together.take((key, code), _Line(source, code, request_id)):
            extra = {"request_id": request_id, "code": str(code), "source": source}
            _access.info("refused", extra=extra)

    def finish(self) -> None:
        """Tell of all that was only counted."""
        self._together.finish()

    def _tell(self, last: _Line, number: int) -> None:
        extra = {
            "request_id": last.request_id,
            "code": str(last.code),
            "source": last.source,
            "repeated": number,
        }
        _access.warning("refusals were counted and not told one by one", extra=extra)
