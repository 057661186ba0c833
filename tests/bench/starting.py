"""P8: from the start of the process to the first `ready`, and the memory of a process that has nothing to do."""

import http.client
import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from gateway.dev.children import LOOPBACK, free_port
from tests.bench.configuration import write_configuration
from tests.bench.figures import figure
from tests.bench.gateways import RULES, serve_command
from tests.bench.machine import Cores, cpu_seconds, rss_mb
from tests.bench.peers import scratch
from tests.bench.rows import Bench, Line, Measured, Row, at_most

_PATIENCE_S: Final = 60.0
_IDLE_S: Final = 1.0
_MOST_START_S: Final = 1.0
_MOST_IDLE_MB: Final = 80.0


class StartFailed(Exception):
    """The gateway did not become ready; the message holds the last lines it wrote."""


def measure(rows: Sequence[Row], bench: Bench) -> tuple[Measured, ...]:
    """Return the row. Raises StartFailed."""
    (row,) = rows
    # The first reads files that nobody had read.
    _, *starts = [_start(bench.supply.jwks, bench.cores) for _ in range(bench.pick(5, 3) + 1)]
    wall, cpu, memory = (figure([start[at] for start in starts]) for at in range(3))
    lines = (
        Line(label="start to ready", figure=wall, unit="s", digits=2).judged(at_most(_MOST_START_S)),
        Line(label="CPU until ready", figure=cpu, unit="s CPU", digits=2),
        Line(label="idle memory", figure=memory, unit="MB").judged(at_most(_MOST_IDLE_MB)),
    )
    notes = (f"{RULES} rules, byte code compiled before, one core.",)
    return (Measured(row=row, lines=lines, notes=notes),)


def _start(jwks: bytes, cores: Cores) -> tuple[float, float, float]:
    """Return seconds and CPU seconds until ready, and megabytes a second later."""
    with scratch() as folder:
        config = write_configuration(folder / "config", rules=RULES, jwks=jwks)
        port, output = free_port(), folder / "output"
        command = [*cores.pin_server(), *serve_command(config, folder / "audit", port)]
        environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(folder)}
        with output.open("wb") as lines:
            begun = time.monotonic()
            # taskset becomes the program, so the process is the gateway's own.
            process = subprocess.Popen(command, env=environment, cwd=folder, stdout=lines, stderr=lines)
        try:
            _wait_until_ready(process, port, output)
            wall, cpu = time.monotonic() - begun, cpu_seconds(process.pid)
            time.sleep(_IDLE_S)
            return wall, cpu, rss_mb(process.pid)
        finally:
            process.kill()  # it holds nothing that a graceful end would save
            process.wait()


def _wait_until_ready(process: "subprocess.Popen[bytes]", port: int, output: Path) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while process.poll() is None and time.monotonic() < deadline:
        if _is_ready(port):
            return
        time.sleep(0.005)
    last = output.read_text(errors="replace").splitlines()[-10:]
    raise StartFailed("The gateway did not become ready.\n" + "\n".join(last))


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=2)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
