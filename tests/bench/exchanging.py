"""P4: the main job, verified token to started execution, beside boto3; STS and Step Functions are a stub."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from tests.bench.comparing import compare, lines_of, versus
from tests.bench.gateways import START, Manned, gateway
from tests.bench.load import Load, Manner
from tests.bench.rivals import boto3
from tests.bench.rows import Bench, Measured, Row
from tests.bench.upstream import upstream

_BUSY = Manner(connections=32)
_NOTES = (
    "Every request: POST /v1/executions with a token and an Idempotency-Key of its own, so STS and Step Functions are called.",
    "The gateway records intent and outcome durably, writes its access log, and its rate limits are on; the others do none of it.",
    "boto3-per-credential: shared STS client, a Step Functions client of the caller's session for each request, in threads.",
    "boto3-threads: both clients shared, so the start is signed with standing credentials of the service's own.",
    "Upstream latency 0, plain http (the gateway runs with --dev for that), no TLS for anybody.",
)


def measure(rows: Sequence[Row], bench: Bench) -> tuple[tuple[Measured, ...], Mapping[str, str]]:
    """Return the row, and the versions of the peers. Raises PeerUnfit before any load, LoadFailed after."""
    (row,) = rows
    seconds = bench.pick(4, 3)
    with ExitStack() as stack:
        stub = stack.enter_context(upstream(bench.cores))
        manned = Manned(ask=START, upstream=stub.url)
        peers = [stack.enter_context(gateway(bench.supply, bench.cores, manned))]
        for rival in row.rivals:
            manner = rival.removeprefix("boto3-")
            peers.append(
                stack.enter_context(boto3(bench.supply, bench.cores, manner=manner, upstream=stub.url))
            )
        found = compare(peers, bench, rounds=bench.pick(5, 3), seconds=seconds, manner=_BUSY)
        ceilings = stub.ceilings(Load(bench.supply, bench.cores), seconds=2)
    judged = versus(row, found, (*_NOTES, f"{_BUSY.connections} connections, always busy."))
    lines = [line for name, one in ceilings.items() for line in lines_of(f"stub, {name}", [one])[:3]]
    measured = Measured(row=row, lines=(*judged.lines, *lines), notes=judged.notes)
    return (measured,), {peer.name: peer.version for peer in peers}
