"""STS and Step Functions as one scripted peer in a thread of its own, for faults that no emulator can be asked for."""

import asyncio
import base64
import json
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from urllib.parse import parse_qsl

from tests.support.background import in_background
from tests.support.peer import Peer, Received, Reply, answers

_ACTION = "AssumeRoleWithWebIdentity"
_START_S = 10


class ScriptedAws:
    """What both services do next; a test sets `sts` and `states`, which stay until they are set again.

    received: every request so far, in order.
    """

    def __init__(self, port: int = 0) -> None:
        self.sts: Reply = issues_credentials()
        self.states: Reply = starts()
        self.peer = Peer(self._reply, port=port)

    @property
    def url(self) -> str:
        return self.peer.url

    def begin(self) -> None:
        """Do everything well again, and forget what was received."""
        self.sts, self.states = issues_credentials(), starts()
        self.peer.received.clear()

    def sts_calls(self) -> list[Mapping[str, str]]:
        """Return the forms that STS received."""
        return [form_of(request) for request in self.peer.received if not _operation(request)]

    def states_calls(self) -> list[str]:
        """Return the operations that Step Functions was asked for."""
        return [_operation(request) for request in self.peer.received if _operation(request)]

    async def _reply(self, request: Received, writer: asyncio.StreamWriter) -> None:
        await (self.states if _operation(request) else self.sts)(request, writer)


@contextmanager
def running_scripted_aws(port: int = 0) -> Iterator[ScriptedAws]:
    """Serve it until the block ends. port: 0 takes a free one."""
    aws = ScriptedAws(port)
    with in_background(aws.peer):
        yield aws


def form_of(request: Received) -> dict[str, str]:
    """Return the fields of a query-protocol request."""
    return dict(parse_qsl(request.body.decode()))


def issues_credentials(*, without: str = "", lasting_s: int | None = None, **elements: str) -> Reply:
    """Answer as STS does: credentials for the role, session and token of the request.

    without: an element left out. lasting_s: expiry, in place of what was asked for. elements: texts in place of the right
    ones, such as `Provider="https://elsewhere.example"`.
    """

    async def reply(request: Received, writer: asyncio.StreamWriter) -> None:
        form = form_of(request)
        answer = _issued(form if lasting_s is None else {**form, "DurationSeconds": str(lasting_s)})
        if without:
            answer = re.sub(f"<{without}>.*?</{without}>", "", answer)
        for name, text in elements.items():
            answer = re.sub(f"<{name}>.*?</{name}>", f"<{name}>{text}</{name}>", answer)
        await answers(answer, content_type="text/xml")(request, writer)

    return reply


def refuses_token(code: str, *, status: int = 400, text: str = "arn:aws:iam::111122223333:role/x") -> Reply:
    """Answer with an error of STS, whose text nobody but our log may repeat."""
    body = (
        f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{text}</Message></Error>"
        "<RequestId>aws-request-1</RequestId></ErrorResponse>"
    )
    return answers(body, status=status, content_type="text/xml")


def starts() -> Reply:
    """Answer as Step Functions does to a start."""

    async def reply(request: Received, writer: asyncio.StreamWriter) -> None:
        asked = json.loads(request.body)
        machine = asked["stateMachineArn"].replace(":stateMachine:", ":execution:")
        body = {"executionArn": f"{machine}:{asked['name']}", "startDate": time.time()}
        await answers(json.dumps(body))(request, writer)

    return reply


def describes(**members: object) -> Reply:
    """Answer DescribeExecution: the execution that was asked for, running since 2023, changed by members."""

    async def reply(request: Received, writer: asyncio.StreamWriter) -> None:
        arn = json.loads(request.body)["executionArn"]
        machine, _, name = arn.replace(":execution:", ":stateMachine:").rpartition(":")
        body = {
            "executionArn": arn,
            "stateMachineArn": machine,
            "name": name,
            "status": "RUNNING",
            "startDate": 1_700_000_000.5,
            **members,
        }
        await answers(json.dumps(body))(request, writer)

    return reply


def refuses_operation(code: str, *, status: int = 400, text: str = "arn:aws:states:x") -> Reply:
    """Answer with an error of Step Functions."""
    return answers(
        json.dumps({"__type": code, "message": text}), status=status, x_amzn_requestid="aws-request-2"
    )


def held_back(reply: Reply, arrived: threading.Semaphore, go_on: threading.Event) -> Reply:
    """Count the request in `arrived`, and answer once `go_on` is set."""

    async def held(request: Received, writer: asyncio.StreamWriter) -> None:
        arrived.release()
        await asyncio.to_thread(go_on.wait, _START_S)
        await reply(request, writer)

    return held


def by_operation(**replies: Reply) -> Reply:
    """Answer each operation in its own way, such as `StartExecution=starts()`."""

    async def reply(request: Received, writer: asyncio.StreamWriter) -> None:
        await replies[_operation(request)](request, writer)

    return reply


def in_turn(*replies: Reply) -> Reply:
    """Play the replies one after the other, the last one for ever."""
    left = list(replies)

    async def reply(request: Received, writer: asyncio.StreamWriter) -> None:
        chosen = left.pop(0) if len(left) > 1 else left[0]
        await chosen(request, writer)

    return reply


def _operation(request: Received) -> str:
    return request.headers.get("x-amz-target", "").removeprefix("AWSStepFunctions.")


def _issued(form: Mapping[str, str]) -> str:
    claims = json.loads(base64.urlsafe_b64decode(form["WebIdentityToken"].split(".")[1] + "=="))
    _, _, _, _, account, role = form["RoleArn"].split(":")
    session = f"arn:aws:sts::{account}:assumed-{role}/{form['RoleSessionName']}"
    expires_at = datetime.fromtimestamp(time.time() + int(form["DurationSeconds"]), tz=UTC)
    return (
        f"<{_ACTION}Response><{_ACTION}Result>"
        f"<SubjectFromWebIdentityToken>{claims['sub']}</SubjectFromWebIdentityToken>"
        f"<Provider>{claims['iss']}</Provider>"
        f"<AssumedRoleUser><Arn>{session}</Arn></AssumedRoleUser>"
        "<Credentials><AccessKeyId>ASIATESTTESTTEST0001</AccessKeyId>"
        "<SecretAccessKey>an-issued-secret</SecretAccessKey><SessionToken>an-issued-session-token</SessionToken>"
        f"<Expiration>{expires_at:%Y-%m-%dT%H:%M:%SZ}</Expiration></Credentials>"
        f"</{_ACTION}Result></{_ACTION}Response>"
    )
