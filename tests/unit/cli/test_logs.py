import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.cli.logs import Format, LogOutput, configure_logging
from gateway.errors import ErrorCode, UpstreamFailed
from gateway.secret import Secret

NAUGHTY = "a\r\nb\x1b[31m\x7f\x85\u2028\u2029\u202e\u200b\ufeff\ud800"
JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl"
OUR_LOG = logging.getLogger("gateway.test")


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    before, level, ours = root.handlers[:], root.level, logging.getLogger("gateway").level
    yield
    root.handlers[:] = before
    root.setLevel(level)
    logging.getLogger("gateway").setLevel(ours)
    logging.captureWarnings(capture=False)
    logging.raiseExceptions = True


class Lines:
    """The reading end of a log."""

    def __init__(self, format_: Format = "json", level: str = "INFO") -> None:
        self._reader, self._writer = os.pipe()
        self.output = configure_logging(format_, level, descriptor=self._writer)

    def read(self) -> list[str]:
        self.output.close()
        os.close(self._writer)
        with os.fdopen(self._reader, encoding="utf-8") as file:
            return file.read().split("\n")[:-1]

    def documents(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.read()]


def test_an_event_is_one_json_object_with_its_members() -> None:
    lines = Lines()

    OUR_LOG.info(
        "call answered",
        extra={"request_id": "req-1", "status": 201, "route": "/v1/executions", "took_s": 0.25},
    )

    (event,) = lines.documents()
    assert event.pop("time")
    assert event == {
        "level": "INFO",
        "logger": "gateway.test",
        "message": "call answered",
        "request_id": "req-1",
        "status": 201,
        "route": "/v1/executions",
        "took_s": 0.25,
    }


def test_an_event_for_people_is_one_line() -> None:
    lines = Lines("console")

    OUR_LOG.warning("call answered", extra={"status": 201})

    (line,) = lines.read()
    assert line.endswith(" WARNING gateway.test: call answered status=201")


@pytest.mark.requirement("SE-09")
@pytest.mark.parametrize("format_", ["json", "console"])
@pytest.mark.parametrize("text", [NAUGHTY, *NAUGHTY], ids=ascii)
def test_no_text_adds_a_line_or_turns_one(format_: Format, text: str) -> None:
    lines = Lines(format_)

    OUR_LOG.info("said %s", text, extra={"subject": text, "more": {"deep": [text]}, text: 1})

    (line,) = lines.read()
    assert line.isprintable()


@pytest.mark.requirement("SE-02")
@pytest.mark.parametrize("format_", ["json", "console"])
@pytest.mark.parametrize(
    "secret",
    [JWT, "ASIA" + "A" * 16, "AKIA" + "B" * 16, "hvs." + "c" * 24, "IQoJ" + "d" * 100],
    ids=["token", "session-key", "access-key", "vault", "session-token"],
)
def test_what_is_shaped_like_a_secret_is_masked_in_every_place(format_: Format, secret: str) -> None:
    lines = Lines(format_)

    OUR_LOG.info("got %s", secret, extra={"one": secret, "list": [secret], "map": {secret: secret}})
    logging.getLogger("botocore.parsers").warning("body: %s", secret)

    assert secret[:10] not in "".join(lines.read())


@pytest.mark.requirement("SE-03")
@pytest.mark.parametrize("format_", ["json", "console"])
def test_a_secret_and_any_object_are_named_by_their_class_alone(format_: Format) -> None:
    class Odd:
        def __repr__(self) -> str:
            return "leaks"

    lines = Lines(format_)

    OUR_LOG.info("held", extra={"token": Secret("canary"), "odd": Odd(), "bytes": b"canary"})

    (line,) = lines.read()
    assert "canary" not in line
    assert "leaks" not in line
    assert "<Odd>" in line


@pytest.mark.requirement("SE-04")
@pytest.mark.parametrize("format_", ["json", "console"])
def test_a_failure_is_told_by_its_classes_and_our_places_without_its_values(format_: Format) -> None:
    lines = Lines(format_)

    try:
        try:
            LogOutput(descriptor=-1)._write(b"canary")
        except OSError as cause:
            raise UpstreamFailed(ErrorCode.AWS_ERROR, "canary") from cause
    except UpstreamFailed:
        OUR_LOG.exception("unexpected failure")

    (line,) = lines.read()
    assert "canary" not in line
    assert "gateway.errors.UpstreamFailed aws_error at no code of ours" in line
    assert "builtins.OSError errno 9 at gateway/cli/logs.py:" in line
    assert "in _write" in line


@pytest.mark.requirement("SE-02")
@pytest.mark.parametrize(
    "name", ["botocore.auth", "boto3", "urllib3", "asyncio", "hvac", "uvicorn.error", "other"]
)
def test_other_peoples_loggers_stay_at_warning_whatever_level_they_are_given(name: str) -> None:
    lines = Lines(level="DEBUG")
    library = logging.getLogger(name)
    before = library.level
    library.setLevel(logging.DEBUG)
    try:
        library.debug("headers: secret")
        library.info("headers: secret")
        library.warning("retrying\nfuture: <Task exception=ValueError('secret')>")
    finally:
        library.setLevel(before)

    assert [event["message"] for event in lines.documents()] == ["retrying"]


def test_our_own_level_is_the_one_asked_for() -> None:
    lines = Lines(level="debug")

    OUR_LOG.debug("seen")

    assert [event["message"] for event in lines.documents()] == ["seen"]


def test_long_texts_are_cut_with_a_marker_and_long_collections_bounded() -> None:
    lines = Lines()

    OUR_LOG.info("x" * 9_000, extra={"text": "y" * 9_000, "list": ["z"] * 9_000})

    (event,) = lines.documents()
    assert event["message"] == "x" * 2_000 + "…[cut, 9000 characters]"
    assert event["text"] == "y" * 2_000 + "…[cut, 9000 characters]"
    assert len(str(event["list"])) < 1_000


def test_no_member_of_an_event_takes_the_place_of_the_log_s_own() -> None:
    lines = Lines()

    OUR_LOG.info("true", extra={"time": "never", "level": "NONE", "exception": "none"})

    (event,) = lines.documents()
    assert (event["level"], event["level_"], event["time_"]) == ("INFO", "NONE", "never")


@pytest.mark.parametrize("value", [float("nan"), float("inf")], ids=str)
def test_a_number_that_json_lacks_does_not_lose_the_event(value: float) -> None:
    lines = Lines()

    OUR_LOG.info("measured", extra={"took_s": value})

    assert lines.documents()[0]["took_s"] == str(value)


def test_a_reader_who_does_not_read_costs_lines_and_no_time() -> None:
    lines = Lines()

    began = time.monotonic()
    for number in range(12_000):
        OUR_LOG.info("event", extra={"number": number, "filling": "x" * 200})
    took = time.monotonic() - began

    assert took < 10
    assert lines.output.dropped > 0
    reader = threading.Thread(target=lambda: read.extend(_drained(lines._reader)), daemon=True)
    read: list[str] = []
    reader.start()
    lines.output.close()
    os.close(lines._writer)
    reader.join(20)
    told = [event for event in map(json.loads, read) if event["message"] == "log lines were dropped"]
    assert [event["dropped"] for event in told] == [lines.output.dropped]


def _drained(descriptor: int) -> list[str]:
    with os.fdopen(descriptor, encoding="utf-8") as file:
        return file.read().split("\n")[:-1]


def test_a_reader_who_is_gone_costs_lines_and_nothing_else() -> None:
    reader, writer = os.pipe()
    output = configure_logging("json", "INFO", descriptor=writer)
    os.close(reader)

    for _ in range(10):
        OUR_LOG.info("event")
    output.close()
    os.close(writer)

    assert output.dropped == 10


def test_lines_of_several_processes_stay_whole_and_name_their_worker(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    # More than a pipe takes at once.
    text = "x" * 1_900

    children = [
        subprocess.Popen(  # our own code
            [sys.executable, "-c", _WRITES, str(tmp_path), f"w{number}", text], stdout=writer
        )
        for number in range(3)
    ]
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8") as file:
        events = [json.loads(line) for line in file]

    assert [child.wait() for child in children] == [0, 0, 0]
    assert len(events) == 3 * 200
    assert {event["worker"] for event in events} == {"w0", "w1", "w2"}


_WRITES = """
import logging, sys
from pathlib import Path
from gateway.cli.logs import configure_logging, writing_in_turn

folder, worker, text = sys.argv[1:]
log = configure_logging("json", "INFO", worker=worker)
log.turns = writing_in_turn(Path(folder))
for number in range(200):
    logging.getLogger("gateway.test").info("long", extra={"a": text, "b": text, "c": text})
log.close()
"""
