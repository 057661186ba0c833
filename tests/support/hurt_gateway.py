"""The command `oidc-gateway` with libraries that talk, or that fail with secrets in their words, in every worker too.

Run as `python -m tests.support.hurt_gateway serve …`; the variable `HURT_BY` holds a JSON object:
loud:       every logger of a library is at DEBUG, whatever level it is given, and the HTTP client tells there what it sends, as
            botocore does with whatever it is given and gets.
unfiltered: and the log lets all of it through, so that what is left is the mask alone.
raises:     {place: text}: the library raises its own exception with this text there; see `_PLACES`.
shows:      {place: text}: we ourselves show this text there; see `_SHOWN`.
"""

import atexit
import errno
import json
import logging
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from tests.support.sockets import refuse_the_outside

VARIABLE = "HURT_BY"
#: The disk fails while there is a file of this name in the folder for temporary ones: a gateway must have started first.
DISK_FAILS = "disk-fails"


def _loud() -> None:
    logging.Logger.isEnabledFor = lambda self, level: True  # type: ignore[method-assign]
    logging.Logger.getEffectiveLevel = lambda self: logging.DEBUG  # type: ignore[method-assign]


def _gossiping() -> None:
    from gateway.outbound.connection import Connection

    honest = Connection.ask

    async def ask(self: Connection, request: bytes, **how: Any) -> Any:
        logging.getLogger("botocore.endpoint").debug("%s", request.decode())
        return await honest(self, request, **how)

    Connection.ask = ask  # type: ignore[method-assign]


def _unfiltered() -> None:
    from gateway.cli import logs

    logs.Admitted.filter = lambda self, record: True  # type: ignore[method-assign]


def _raising(fault: BaseException) -> Callable[..., NoReturn]:
    def fail(*_: object, **__: object) -> NoReturn:
        raise fault

    return fail


def _raising_later(fault: BaseException) -> Callable[..., Any]:
    async def fail(*_: object, **__: object) -> NoReturn:
        raise fault

    return fail


def _in_aiohappyeyeballs(text: str) -> None:
    from gateway.outbound import dialling

    setattr(dialling, "start_connection", _raising_later(OSError(text)))  # noqa: B010


def _in_httptools(text: str) -> None:
    import httptools

    _reading_raises(httptools.HttpParserError(text))


def _in_httptools_as_a_bug(text: str) -> None:
    _reading_raises(ValueError(text))


def _reading_raises(fault: Exception) -> None:
    import httptools

    class Failing:
        def __init__(self, _reader: object) -> None:
            self.feed_data = _raising(fault)

    setattr(httptools, "HttpResponseParser", Failing)  # noqa: B010


def _in_botocore(text: str) -> None:
    from botocore.exceptions import ParamValidationError

    # Which Region has which host is botocore's to know.
    from gateway.outbound.aws_endpoints import AwsEndpointData

    AwsEndpointData.url = _raising(ParamValidationError(report=text))  # type: ignore[method-assign]


def _in_redis(text: str) -> None:
    from redis.asyncio.connection import AbstractConnection
    from redis.exceptions import ResponseError

    setattr(AbstractConnection, "send_packed_command", _raising_later(ResponseError(text)))  # noqa: B010


def _in_the_disk(text: str) -> None:
    from gateway.audit.ledger import Ledger

    honest = Ledger.__init__

    def init(self: Ledger, *arguments: Any, **options: Any) -> None:
        sync = options.get("fsync", os.fsync)

        def fail_once_told(descriptor: int) -> None:
            if (Path(tempfile.gettempdir()) / DISK_FAILS).exists():
                raise OSError(errno.EIO, os.strerror(errno.EIO), text)
            sync(descriptor)

        honest(self, *arguments, **{**options, "fsync": fail_once_told})

    Ledger.__init__ = init  # type: ignore[method-assign]


def _in_the_verifier(text: str) -> None:
    from gateway.identity import identify

    setattr(identify, "verify_token", _raising(RuntimeError(text)))  # noqa: B010


def _in_the_decision(text: str) -> None:
    from gateway.exchange import admission

    setattr(admission, "decide", _raising(KeyError(text)))  # noqa: B010


_PLACES: dict[str, Callable[[str], None]] = {
    "aiohappyeyeballs": _in_aiohappyeyeballs,
    "httptools": _in_httptools,
    "httptools-bug": _in_httptools_as_a_bug,
    "botocore": _in_botocore,
    "redis": _in_redis,
    "disk": _in_the_disk,
    "verifier": _in_the_verifier,
    "decision": _in_the_decision,
}


def _in_log(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _in_metrics(text: str) -> None:
    from gateway.metrics import Metrics

    honest = Metrics.exposition
    setattr(Metrics, "exposition", lambda self: honest(self) + f"# {text}\n".encode())  # noqa: B010


def _in_refusals(text: str) -> None:
    from gateway.doors import problems

    honest = problems._detail
    setattr(problems, "_detail", lambda error: f"{honest(error)} {text}")  # noqa: B010


def _in_temporary_file(text: str) -> None:
    (Path(tempfile.gettempdir()) / "left").write_text(text)


def _in_temporary_file_for_now(text: str) -> None:
    path = Path(tempfile.gettempdir()) / "used"
    path.write_text(text)
    atexit.register(path.unlink)


_SHOWN: dict[str, Callable[[str], None]] = {
    "log": _in_log,
    "metrics": _in_metrics,
    "refusals": _in_refusals,
    "file": _in_temporary_file,
    "file-for-now": _in_temporary_file_for_now,
}


def _hurt(told: dict[str, Any]) -> None:
    if told.get("loud"):
        _loud()
        _gossiping()
    if told.get("unfiltered"):
        _unfiltered()
    for place, text in told.get("raises", {}).items():
        _PLACES[place](text)
    for place, text in told.get("shows", {}).items():
        _SHOWN[place](text)


# Also when a worker is spawned, which runs this module under another name first.
if VARIABLE in os.environ and __name__ in {"__main__", "__mp_main__"}:
    refuse_the_outside()
    _hurt(json.loads(os.environ[VARIABLE]))

if __name__ == "__main__":
    from gateway.cli.main import main

    sys.exit(main())
