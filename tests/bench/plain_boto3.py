"""The baselines with boto3 behind `plain`'s checks: exchange the token, start the state machine. Run by uvicorn.

`per-credential` makes a Step Functions client of the caller's own session for each request; `threads` has one client,
which needs credentials of the service's own, and asks STS only so that AWS checks the caller, too.
"""

import json
import os
import threading
import time
from typing import Any, Final

import boto3
from botocore import UNSIGNED
from botocore.config import Config
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.bench.plain import Refused, bearer, ready, verify

_PER_CREDENTIAL: Final = os.environ.get("BENCH_MANNER") == "per-credential"
_UPSTREAM: Final = os.environ.get("BENCH_UPSTREAM", "http://127.0.0.1:1")
_ROLE: Final = os.environ.get("BENCH_ROLE", "")
_MACHINE: Final = os.environ.get("BENCH_MACHINE", "")
_REGION: Final = os.environ.get("BENCH_REGION", "eu-west-1")
_POOL: Final = 50  # more than Starlette has threads, so that none waits for a connection

_session = boto3.session.Session()
_making = threading.Lock()  # sessions are not safe to share between threads (boto3 guide, "Session")


def _client(service: str, credentials: dict[str, str] | None, **options: Any) -> Any:
    with _making:
        return _session.client(
            service,
            endpoint_url=_UPSTREAM,
            region_name=_REGION,
            aws_access_key_id=credentials["AccessKeyId"] if credentials else None,
            aws_secret_access_key=credentials["SecretAccessKey"] if credentials else None,
            aws_session_token=credentials["SessionToken"] if credentials else None,
            config=Config(max_pool_connections=_POOL, **options),
        )


_sts: Final = _client("sts", None, signature_version=UNSIGNED)
_own: Final = _client(
    "stepfunctions", {"AccessKeyId": "example", "SecretAccessKey": "example", "SessionToken": "example"}
)


def start(request: Request, wish: dict[str, Any]) -> Response:
    """Exchange and start; runs in one of Starlette's threads."""
    try:
        token = bearer(request)
        verify(token)
    except Refused as refused:
        return refused.response
    key = request.headers["idempotency-key"]
    assumed = _sts.assume_role_with_web_identity(
        RoleArn=_ROLE, RoleSessionName=key, WebIdentityToken=token, DurationSeconds=900
    )
    machines = _client("stepfunctions", assumed["Credentials"]) if _PER_CREDENTIAL else _own
    begun = machines.start_execution(stateMachineArn=_MACHINE, name=key, input=json.dumps(wish["input"]))
    if _PER_CREDENTIAL:
        machines.close()
    return JSONResponse({"arn": begun["executionArn"], "at": time.time()}, 201)


async def executions(request: Request) -> Response:
    """Read the body here and do the rest in a thread: boto3 blocks."""
    return await run_in_threadpool(start, request, await request.json())


app = Starlette(routes=[Route("/v1/executions", executions, methods=["POST"]), Route("/ready", ready)])
