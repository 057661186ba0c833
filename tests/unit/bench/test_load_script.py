"""wrk's script, run by wrk against a server that notes what comes."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.bench.ask import NUMBER, TOKEN, Ask
from tests.bench.load import Load, Manner
from tests.bench.machine import cores
from tests.bench.peers import Peer
from tests.bench.tokens import Supply, supply
from tests.support.components import skip_without

pytestmark = skip_without("wrk")

_ASK = Ask(
    method="POST",
    path="/start",
    headers={"Authorization": f"Bearer {TOKEN}", "Idempotency-Key": f"bench-{NUMBER}"},
    body=f'{{"jwt": "{TOKEN}", "soak_s": 1}}',
)


class _Noting(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen: list[tuple[str, str, str, bytes]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        sent = (self.path, self.headers["Authorization"], self.headers["Idempotency-Key"], body)
        type(self).seen.append(sent)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  the base class names it so
        pass


@contextmanager
def noting() -> Iterator[tuple[Peer, type[_Noting]]]:
    handler = type("Handler", (_Noting,), {"seen": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            origin = f"http://127.0.0.1:{server.server_address[1]}"
            yield (
                Peer(name="noting", version="", origin=origin, ask=_ASK, process=1, lets_in=lambda *_: True),
                handler,
            )
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Supply:
    rising = iter(range(1_000))
    monkeypatch.setattr("tests.bench.load.cpu_seconds", lambda _: float(next(rising)))
    return supply(tmp_path, 5, log=lambda _: None)


def test_requests_carry_token_number_and_a_body_of_the_right_length(tokens: Supply) -> None:
    with noting() as (peer, handler):
        Load(tokens, cores()).run(peer, 1, Manner(connections=1, pause_ms=20))
    known = tokens.file.read_text().split()

    assert len(handler.seen) > 1
    for path, authorization, _, body in handler.seen:
        token = authorization.removeprefix("Bearer ")
        assert path == "/start"
        assert token in known
        assert body.decode() == f'{{"jwt": "{token}", "soak_s": 1}}'


def test_no_number_comes_twice_in_several_rounds(tokens: Supply) -> None:
    with noting() as (peer, handler):
        load = Load(tokens, cores())
        for _ in range(2):
            load.run(peer, 1, Manner(connections=2, pause_ms=20))
    numbers = [key for _, _, key, _ in handler.seen]

    assert len(set(numbers)) == len(numbers)


def test_of_a_few_tokens_in_turns_no_others_are_sent(tokens: Supply) -> None:
    with noting() as (peer, handler):
        Load(tokens, cores()).run(peer, 1, Manner(connections=1, pause_ms=20, tokens=2))
    known = tokens.file.read_text().split()

    assert {f"Bearer {token}" for token in known[:2]} >= {one[1] for one in handler.seen}
