"""Marked secrets go through every door and every failure; afterwards everything the gateway wrote is searched for them."""

import asyncio
import base64
import json
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import pytest

from tests.secrets.scene import Scene, command_lines, issues_marked, running_scene
from tests.support.caller import until
from tests.support.canaries import canary, leaks
from tests.support.components import skip_without
from tests.support.peer import Received, Reply, answers, cuts_the_connection, stays_silent
from tests.support.scripted_aws import (
    by_operation,
    describes,
    form_of,
    issues_credentials,
    refuses_operation,
    refuses_token,
    starts,
)
from tests.support.tokens import b64
from tests.support.vault_edge import login_answer, refuses, says

pytestmark = skip_without("redis")

VAULT_TOKEN = "urn:oidc-gateway:token-type:vault-token"
GOOD = {"version": "1.4.2"}
#: How an upstream may repeat what it was sent, in the text of an error.
ECHOES: Mapping[str, Callable[[str], str]] = {
    "as it is": lambda text: text,
    "after a word": lambda text: f"Invalid token:{text}.",
    "URL-escaped": lambda text: quote(text, safe=""),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "hex": lambda text: text.encode().hex(),
    "its signature": lambda text: text.rpartition(".")[2],
    "the second half": lambda text: text[len(text) // 2 :],
    "in lines": lambda text: "\n".join(text[at : at + 60] for at in range(0, len(text), 60)),
}


@pytest.mark.requirement("SE-01", "SE-02", "SE-04", "SE-05")
@pytest.mark.parametrize(
    ("workers", "log", "hurt"),
    [
        pytest.param(1, "json", None, id="one worker"),
        pytest.param(2, "console", None, id="two workers, console"),
        pytest.param(1, "json", {"loud": True}, id="libraries at DEBUG"),
    ],
)
def test_no_secret_is_where_it_does_not_belong(
    workers: int, log: Literal["json", "console"], hurt: Mapping[str, object] | None, tmp_path: Path
) -> None:
    with running_scene(tmp_path, workers=workers, log=log, hurt=hurt) as scene:
        goes_well(scene)
        goes_wrong_here(scene)
        goes_wrong_at_aws(scene)
        goes_wrong_at_vault(scene)
        arguments = command_lines(scene.gateway.process.pid)
        metrics = scene.gateway.client.get("/metrics").content
        until(lambda: len(scene.collector.spans) > 30)
        scene.gateway.process.terminate()
        scene.gateway.ended()
        written = {
            "log": scene.gateway.log().encode(),
            "metrics": metrics,
            "traces": b"\n".join(scene.collector.bodies),
            "arguments": arguments,
            **files_below(scene.temporary),
        }
        recorded = {
            "copy of the record": b"\n".join(scene.copy.messages),
            **files_below(scene.gateway.audit),
        }

    held = scene.secrets
    assert leaks(written, {**held.everywhere, **held.recorded, **held.delivered}) == []
    assert leaks(recorded, {**held.everywhere, **held.delivered}) == []
    assert leaks(refusals_of(scene), {**held.everywhere, **held.recorded}) == []
    # Else nothing was searched.
    assert leaks(recorded, held.recorded) != []


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refusals_of(scene: Scene) -> dict[str, bytes]:
    """Return bodies and headers of all answers that hand nothing out."""
    return {
        f"{number}: {asked} {answer.status_code}": str(dict(answer.headers)).encode() + answer.content
        for number, (asked, answer) in enumerate(scene.answers)
        if answer.status_code >= 400
    }


def goes_well(scene: Scene) -> None:
    """Every door, and every kind of thing that comes out of one."""
    secrets = scene.secrets
    # Words, of which no mask knows that they are secret.
    given = secrets.delivered.setdefault("input", "the incident of marlene whittaker at the zurich branch")
    output = secrets.delivered.setdefault("output", "quentin underwood from basel is to be called at once")
    scene.aws.states = by_operation(
        StartExecution=starts(),
        DescribeExecution=describes(
            status="SUCCEEDED", output=json.dumps({"said": output}), stopDate=1_700_000_001
        ),
        StopExecution=answers(json.dumps({"stopDate": 1_700_000_001})),
        GetExecutionHistory=answers(
            json.dumps(
                {
                    "events": [
                        {
                            "timestamp": 1_700_000_001,
                            "type": "ExecutionSucceeded",
                            "id": 1,
                            "executionSucceededEventDetails": {"output": json.dumps({"said": output})},
                        }
                    ]
                }
            )
        ),
        StartSyncExecution=syncs(output),
    )
    key, token = scene.key(), secrets.token()
    begun = scene.start(token, key=key, input=GOOD)
    assert begun.status_code == 201, begun.text
    assert scene.start(token, key=key, input=GOOD).status_code in {200, 201}
    for path in ("", "/events"):
        assert scene.ask("GET", f"{begun.json()['url']}{path}", token).status_code == 200
    scene.ask("DELETE", begun.json()["url"], token)
    scene.ask("POST", f"{begun.json()['url']}/stop", token, body={"reason": given})
    agent = secrets.token("okta")
    ran = scene.start(agent, "triage-incident", input={"said": given})
    assert ran.status_code == 201, ran.text
    shown = scene.ask("GET", ran.json()["url"], agent)
    assert output in shown.text
    synced = scene.ask("POST", "/v1/executions", agent, body={"workflow": "notify", "input": {"said": given}})
    assert output in synced.text, synced.text
    once = secrets.token(environment="once")
    assert scene.start(once, input=GOOD).status_code == 201
    assert scene.start(once, input=GOOD).status_code == 409
    hands_out(scene)


def syncs(output: str) -> Reply:
    """Answer StartSyncExecution: it succeeded with this output."""

    async def reply(request: Received, writer: asyncio.StreamWriter) -> None:
        asked = json.loads(request.body)
        machine = asked["stateMachineArn"]
        done = {
            "executionArn": f"{machine.replace(':stateMachine:', ':express:')}:{asked['name']}:{uuid.uuid4()}",
            "stateMachineArn": machine,
            "name": asked["name"],
            "status": "SUCCEEDED",
            "startDate": time.time(),
            "stopDate": time.time() + 1,
            "output": json.dumps({"said": output}),
        }
        await answers(json.dumps(done))(request, writer)

    return reply


def hands_out(scene: Scene) -> None:
    """Credentials of AWS and tokens of Vault, which only these answers hold."""
    secrets = scene.secrets
    prod = secrets.token()
    assert scene.ask("GET", "/v1/whoami", prod).status_code == 200
    issued = scene.ask("POST", "/v1/credentials", prod, body={"target": "payments-prod"})
    assert secrets.everywhere["AWS secret"] in issued.text
    assert scene.exchange(secrets.token(), audience="payments-prod").status_code == 200
    vaulted = secrets.token(repository="acme/payments-tests", repository_id="4712", environment="ci")
    handed = scene.exchange(vaulted, audience="payments-ci", requested_token_type=VAULT_TOKEN)
    assert secrets.everywhere["Vault token"] in handed.text, handed.text
    through = scene.exchange(vaulted, audience="payments-ci")
    assert secrets.everywhere["Vault AWS secret"] in through.text, through.text


def goes_wrong_here(scene: Scene) -> None:
    """Requests that the gateway refuses, with secrets in every place of them."""
    secrets = scene.secrets
    good = secrets.token()
    header, payload, signature = good.split(".")
    wrong = secrets.token(ref="refs/heads/x")
    for bad in (
        f"{header}.{payload}.{b64(b'x' * 256)}",
        f"{header}.{payload}",
        f"{header}.{payload}.{signature}=",
        f"{good}.{payload}.{signature}",
        secrets.hold_token(good)[:-20],
        secrets.token(exp=1_000),
        secrets.token(aud="https://elsewhere.example"),
        secrets.token(iss="https://unknown.example"),
        "x" + canary() + "." + payload + "." + signature,
        good * 12,
        wrong,
    ):
        for path in ("/v1/whoami", f"/v1/executions/{canary('path-')}"):
            assert 400 <= scene.ask("GET", path, bad).status_code < 500 or bad == wrong
        assert 400 <= scene.start(bad, input=GOOD).status_code < 500
        assert 400 <= scene.exchange(bad, audience="payments-prod").status_code < 500
    for mark in ("header", "path", "query", "form", "body"):
        secrets.everywhere[f"a {mark} of the caller"] = canary(f"{mark}-")
    held = secrets.everywhere
    scene.ask("GET", f"/v1/{held['a path of the caller']}?x={held['a query of the caller']}", good)
    scene.ask("GET", f"/v1/whoami?access_token={good}")
    scene.ask("GET", "/v1/whoami", headers={"Authorization": f"Basic {held['a header of the caller']}"})
    cookies = {
        "Cookie": held["a header of the caller"],
        "X-Amz-Security-Token": held["a header of the caller"],
    }
    scene.ask("GET", "/v1/whoami", good, headers=cookies)
    scene.exchange(good, audience=secrets.recorded.setdefault("an audience", canary("audience-")))
    scene.exchange(good, audience="payments-prod", actor_token=held["a form of the caller"])
    scene.exchange(good, audience="payments-prod", client_secret=held["a form of the caller"])
    scene.start(good, input={"version": held["a body of the caller"]})
    scene.ask(
        "POST", "/v1/credentials", good, body={"target": "payments-prod", "x": held["a body of the caller"]}
    )
    for data in (
        f"GET /{good} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        f"GET /v1/whoami HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {good}\r\n{good}\r\n\r\n",
        f"GET /v1/whoami HTTP/1.1\r\nHost: {held['a header of the caller']}.example\r\n\r\n",
        f"{held['a path of the caller']} / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        (
            "POST /v1/credentials HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"Content-Length: 60\r\nAuthorization: Bearer {good}\r\n\r\n{held['a body of the caller']}"
        ),
    ):
        scene.raw(data.encode())


def goes_wrong_at_aws(scene: Scene) -> None:
    """AWS refuses in the words of what it was sent, answers nonsense, is silent, or cuts."""
    secrets, aws = scene.secrets, scene.aws
    good_sts, good_states = issues_marked(secrets), aws.states
    # Never good for anything, and then always: what is held for a token is not asked for again.
    refused, token, agent = secrets.token(), secrets.token(), secrets.token("okta")
    for echo in ECHOES.values():
        for code, status in (("AccessDenied", 403), ("InvalidIdentityToken", 400)):
            aws.sts = _sts_echo(echo, code, status)
            scene.start(refused, input=GOOD)
        aws.sts = good_sts
        for code, status in (("AccessDeniedException", 400), ("ValidationException", 400)):
            aws.states = _states_echo(echo, code, status)
            scene.start(token, input=GOOD)
            scene.start(agent, "triage-incident", input={"said": secrets.delivered["input"]})
        aws.states = good_states
    aws.sts = issues_marked_with(secrets.everywhere["AWS session token"])
    assert scene.start(secrets.token(), input=GOOD).status_code >= 500
    # Asked for again, with pauses between.
    aws.sts = _sts_echo(str, "InternalFailure", 500)
    assert scene.start(refused, input=GOOD).status_code >= 500
    for reply in (
        answers(json.dumps(secrets.everywhere), status=200, content_type="text/html"),
        answers(json.dumps(secrets.everywhere), status=502, content_type="text/html"),
        answers(b"", status=307, location=f"http://127.0.0.1:1/{secrets.everywhere['AWS secret']}"),
        cuts_the_connection(),
    ):
        aws.sts = reply
        assert scene.start(refused, input=GOOD).status_code >= 500
        aws.sts, aws.states = good_sts, reply
        assert scene.start(token, input=GOOD).status_code >= 500
        aws.states = good_states
    aws.sts = stays_silent()
    with ThreadPoolExecutor(2) as pool:
        held = [pool.submit(scene.start, secrets.token(), input=GOOD) for _ in range(2)]
    assert {one.result().status_code for one in held} <= {503, 504}
    aws.sts = good_sts


def issues_marked_with(text: str) -> Reply:
    """Answer as STS does for somebody else, whose name is a secret."""
    return issues_credentials(Provider=text, SubjectFromWebIdentityToken=text, Arn=text)


def _sts_echo(echo: Callable[[str], str], code: str, status: int) -> Reply:
    async def reply(request: Received, writer: asyncio.StreamWriter) -> None:
        token = form_of(request)["WebIdentityToken"]
        await refuses_token(code, status=status, text=echo(token))(request, writer)

    return reply


def _states_echo(echo: Callable[[str], str], code: str, status: int) -> Reply:
    async def reply(request: Received, writer: asyncio.StreamWriter) -> None:
        text = " and ".join(
            (
                echo(request.headers["x-amz-security-token"]),
                request.headers["authorization"],
                request.body.decode(),
            )
        )
        await refuses_operation(code, status=status, text=text)(request, writer)

    return reply


def goes_wrong_at_vault(scene: Scene) -> None:
    """Vault refuses in the words of what it was sent, gives more than it should, or cannot revoke."""
    secrets, vault = scene.secrets, scene.vault

    token = secrets.token(repository="acme/payments-tests", repository_id="4712", environment="ci")

    def ask() -> int:
        return scene.exchange(token, audience="payments-ci", requested_token_type=VAULT_TOKEN).status_code

    for echo in ECHOES.values():
        for status in (400, 403, 500):
            vault.reply = _vault_echo(echo, status)
            assert ask() >= 400
    held = secrets.everywhere
    wide = login_answer(
        client_token=held["Vault token"],
        accessor=held["Vault accessor"],
        token_policies=[held["Vault token"], "root"],
    )
    for reply in (says(wide), says(wide, status=500), answers(json.dumps(wide)[:-9]), cuts_the_connection()):
        vault.reply = reply
        assert ask() >= 400
    vault.reply = None


def _vault_echo(echo: Callable[[str], str], status: int) -> Reply:
    async def reply(request: Received, writer: asyncio.StreamWriter) -> None:
        jwt = json.loads(request.body).get("jwt", "none")
        await refuses(f"error validating token: {echo(jwt)}", status=status)(request, writer)

    return reply
