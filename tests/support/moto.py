"""Starts moto, the second AWS of the tests: for Step Functions' rules about names and for Cognito; its STS checks nothing."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from gateway.dev.children import LOOPBACK, Server, running
from tests.support.components import program
from tests.support.loopback import post


@contextmanager
def running_moto() -> Iterator[str]:
    """Yield the base URL of a moto server that interprets state machines."""
    server = Server(
        name="moto",
        command=lambda port, _scratch: [program("moto", "moto_server"), "-H", LOOPBACK, "-p", str(port)],
        # Tasks of a state machine call back to MOTO_PORT, 5000 unless told otherwise.
        environment=lambda port: {"MOTO_PORT": str(port)},
        health="/moto-api/data.json",
    )
    with running(server) as port:
        # State machines made before this switch would vanish with the backend that held them.
        config = {"stepfunctions": {"execute_state_machine": True}, "lambda": {"use_docker": False}}
        post(
            f"http://{LOOPBACK}:{port}/moto-api/config",
            json.dumps(config),
            {"Content-Type": "application/json"},
        )
        yield f"http://{LOOPBACK}:{port}"
