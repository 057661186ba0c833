"""P1, P2, P3: servers that verify a token and decide."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from tests.bench.comparing import compare, versus
from tests.bench.gateways import RULES, gateway
from tests.bench.load import BUSY
from tests.bench.rivals import DECIDING
from tests.bench.rows import Bench, Measured, Row

_NOTES = (
    f"gateway: GET /v1/whoami, which verifies the token, judges it by {RULES} rules and answers with what it holds.",
    "The gateway writes its access log to a file, its rate limits are on; envoy and plain write none and answer a few bytes.",
    f"Tokens are cold: no server sees one again before every other; {BUSY.connections} connections, kept alive, always busy.",
    "Ratios are medians of each round's own; p50 and p99 are of a saturated server.",
)
_VAULT = "Vault runs in dev mode: storage in memory, no audit device. Each login makes a token, which whoami does not."


def measure(rows: Sequence[Row], bench: Bench) -> tuple[tuple[Measured, ...], Mapping[str, str]]:
    """Return the rows, and the versions of the peers. Raises PeerUnfit before any load, LoadFailed after."""
    names = list(dict.fromkeys(rival for row in rows for rival in row.rivals))
    with ExitStack() as stack:
        peers = [stack.enter_context(gateway(bench.supply, bench.cores))]
        peers += [stack.enter_context(DECIDING[name](bench.supply, bench.cores)) for name in names]
        found = compare(peers, bench, rounds=bench.pick(5, 3), seconds=bench.pick(4, 3))
    measured = tuple(versus(row, found, _notes(row, bench)) for row in rows)
    return measured, {peer.name: peer.version for peer in peers}


def _notes(row: Row, bench: Bench) -> Sequence[str]:
    more = (_VAULT,) if row.id == "P3" else ()
    return (*_NOTES, *more, f"{bench.supply.count:,} distinct tokens.")
