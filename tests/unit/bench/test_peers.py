"""Nothing is measured that judges wrongly; and every token of a load is another one."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, repeat
from pathlib import Path

import pytest

from tests.bench.ask import Ask
from tests.bench.load import Load
from tests.bench.machine import Cores
from tests.bench.peers import Peer, PeerUnfit, prove
from tests.bench.tokens import Supply, TokensUnusable, supply


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Supply:
    return supply(tmp_path_factory.mktemp("tokens"), 20, log=lambda _: None)


@contextmanager
def answering(status: int, *, then: int | None = None) -> Iterator[Peer]:
    """A peer that gives everybody the same answer. then: to all but the first."""
    statuses = chain([status], repeat(then or status))

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(next(statuses))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  the base class names it so
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield Peer(
                name="fake",
                version="0",
                origin=f"http://127.0.0.1:{server.server_address[1]}",
                ask=Ask(path="/"),
                process=0,
                lets_in=lambda found, _: found == 200,
            )
        finally:
            server.shutdown()
            thread.join()


def test_a_peer_that_believes_everything_is_not_measured(tokens: Supply) -> None:
    with (
        answering(200) as peer,
        pytest.raises(PeerUnfit, match="lets in a token with the signature of another key"),
    ):
        prove(peer, tokens)


def test_a_peer_that_breaks_on_a_bad_token_does_not_refuse_it(tokens: Supply) -> None:
    with answering(200, then=500) as peer, pytest.raises(PeerUnfit, match="does not refuse a token with"):
        prove(peer, tokens)


def test_a_peer_that_believes_nothing_is_not_measured(tokens: Supply) -> None:
    with answering(401) as peer, pytest.raises(PeerUnfit, match="refuses a good token"):
        prove(peer, tokens)


def test_every_token_of_a_supply_is_different_and_none_is_the_one_peers_are_tried_with(
    tokens: Supply,
) -> None:
    lines = tokens.file.read_text().split()

    assert len(set(lines) | {tokens.good(), *tokens.bad().values()}) == 20 + 1 + 6


def test_a_supply_is_used_again(tokens: Supply) -> None:
    again = supply(tokens.file.parent, 20, log=lambda _: pytest.fail("signed twice"))

    assert again.jwks == tokens.jwks


def test_a_round_goes_on_where_the_last_one_of_that_peer_ended(
    tokens: Supply, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cache that remembers the end of one round must not help in the next."""
    program = tmp_path / "wrk"
    program.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n'
        'echo \'FIGURES {"requests":7,"seconds":1,"refused":0,"broken":0,"p50_ms":1,"p99_ms":1}\'\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr("tests.bench.load.cpu_seconds", _rising())
    load = Load(tokens, Cores(server=0, load=0))
    peer = Peer(
        name="fake", version="0", origin="http://x", ask=Ask(path="/"), process=1, lets_in=lambda *_: True
    )

    load.run(peer, 1)
    load.run(peer, 1)

    skipped = [
        line.split(" -- ")[1].split()[2]
        for line in (tmp_path / "calls").read_text().splitlines()
        if " -- " in line
    ]
    assert skipped == ["0", "24"]


def _rising() -> object:
    seconds = iter(range(100))
    return lambda _process: float(next(seconds))


def test_a_file_of_tokens_that_was_cut_is_made_anew(tmp_path: Path) -> None:
    file = supply(tmp_path, 20, log=lambda _: None).file
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:7]))

    assert len(supply(tmp_path, 20, log=lambda _: None).file.read_text().splitlines()) == 20


def test_a_key_that_cannot_be_read_is_said_with_its_folder(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("no key")

    with pytest.raises(TokensUnusable, match=str(tmp_path)):
        supply(tmp_path, 20, log=lambda _: None)
