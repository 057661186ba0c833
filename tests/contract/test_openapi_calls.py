"""A program that knows nothing of us but `/openapi.json` calls every operation, as it says and otherwise, and holds us to it."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.support import components
from tests.support.components import skip_without
from tests.support.gateways import fresh, running_gateway, write_config
from tests.support.peer import answers
from tests.support.scripted_aws import by_operation, describes, running_scripted_aws, starts

pytestmark = skip_without("schemathesis")

SEED = 20_261_122
#: For the calls; start and reading of the document come on top.
SECONDS = 30
# What holds of every answer, whatever was asked: never a fault of ours, and nothing that the document does not say.
# Not `unsupported_method`: it asks for 405 also where a method is none that HTTP/1.1 had, and that is no request for us.
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "allow_header_conformance",
    "ignored_auth",
)
# Names that exist, so that more than the first check of a name is reached.
CONFIGURATION = """\
[parameters]
"path.workflow" = "deploy-payments"
"query.target" = "payments-prod"
"""


@pytest.mark.requirement("HT-12")
def test_the_running_gateway_is_what_its_openapi_document_says(tmp_path: Path) -> None:
    (tmp_path / "schemathesis.toml").write_text(CONFIGURATION)
    with (
        running_scripted_aws() as aws,
        running_gateway(write_config(tmp_path / "config", aws=aws.url), tmp_path / "audit") as gateway,
    ):
        # Names of executions are learnt from answers to starts, and used.
        aws.states = by_operation(
            StartExecution=starts(),
            DescribeExecution=describes(status="SUCCEEDED", stopDate=1_700_000_001.5, output="{}"),
            StopExecution=answers('{"stopDate": 1700000001.0}'),
            GetExecutionHistory=answers('{"events": []}'),
        )
        done = subprocess.run(
            [*_command(gateway.url), "--header", f"Authorization: Bearer {fresh()}"],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS * 6,
            check=False,
        )
        operations = _operations(gateway.get("/openapi.json").text)
        still_serves = gateway.get("/v1/whoami", fresh()).status_code

    assert done.returncode == 0, done.stdout[-20_000:]
    # It leaves out the document that it was given.
    assert f"Tested: {operations - 1}" in done.stdout, done.stdout[-20_000:]
    calls = re.search(r"(\d+) generated, (\d+) passed", done.stdout)
    assert calls is not None
    assert calls[1] == calls[2]
    assert int(calls[1]) > 100
    assert still_serves == 200


def _command(url: str) -> list[str]:
    bounds = f"--max-examples 50 --max-time {SECONDS} --seed {SEED} --request-timeout 30 --no-shrink --continue-on-failure"
    chosen = f"--phases examples,coverage,fuzzing --checks {','.join(CHECKS)} --suppress-health-check all"
    quiet = "--generation-database none"
    program = components.program("schemathesis", "st")
    return [program, "run", f"{url}/openapi.json", "--url", url, *f"{bounds} {chosen} {quiet}".split()]


def _operations(document: str) -> int:
    methods = {"get", "put", "post", "delete", "patch", "head", "options"}
    return sum(len(methods & item.keys()) for item in json.loads(document)["paths"].values())
