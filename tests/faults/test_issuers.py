"""Issuers that are down, hang, lie or change: what their callers hear, that nobody else notices, and that it ends by itself."""

import gzip
import json
import os
import socket
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from gateway.listening.protocol import ProtocolLimits
from tests.faults.conftest import DEPLOY, GOOD, Faulty, running_faulty
from tests.support.base_line import standing
from tests.support.caller import problem, until
from tests.support.certificates import Authority
from tests.support.gateways import fresh, replace
from tests.support.idp import Idps, document
from tests.support.peer import Reply, answers, drips, stays_silent
from tests.support.scripted_aws import ScriptedAws, in_turn
from tests.support.serving import read_answer
from tests.support.steered_gateway import HANGS, UNKNOWN
from tests.support.tokens import b64, jwk, jwks, key_id

HOUR_S = 3600
COOL_DOWN_S = 61
#: Of a worker in a flood: a kibibyte kept of each of its tokens would be more.
MOST_GROWTH_KIB = 4 * 1024


def code(answer: httpx2.Response) -> object:
    return problem(answer)["code"]


def with_unknown_key(faulty: Faulty, provider: str) -> str:
    """Return a token, signed by nobody, that names a key which no issuer has."""
    _header, payload, _ = faulty.token(provider).split(".")
    members = {"alg": "RS256", "kid": uuid.uuid4().hex, "typ": "JWT"}
    return f"{b64(json.dumps(members).encode())}.{payload}.{b64(b'x' * 256)}"


def refreshed(faulty: Faulty, provider: str) -> None:
    """Have every worker try once to fetch the provider's keys, as a caller with an unknown key makes it."""
    asked, tried = faulty.idps.asked(provider), faulty.attempts(provider)
    faulty.steering.age(COOL_DOWN_S)

    def all_have() -> bool:
        faulty.whoami(with_unknown_key(faulty, provider))
        return faulty.attempts(provider) >= tried + faulty.workers

    until(all_have)
    assert faulty.idps.asked(provider) - asked <= faulty.workers


def assert_others_are_served(faulty: Faulty) -> None:
    assert faulty.whoami(fresh()).status_code == 200
    key = uuid.uuid4().hex
    assert faulty.gateway.start(fresh(), DEPLOY, key=key, input=GOOD).status_code == 201


# --- Not there ---


@pytest.mark.requirement("F-01")
@pytest.mark.parametrize("workers", [1, 4])
def test_an_issuer_that_is_down_at_the_start_is_unavailable_alone_and_recovers_without_a_restart(
    tmp_path: Path, idps: Idps, faulty_aws: ScriptedAws, workers: int
) -> None:
    with idps.away(), running_faulty(tmp_path, faulty_aws, idps, workers=workers) as faulty:
        refused = faulty.whoami(faulty.token("idp01"))
        assert_others_are_served(faulty)
        ready = faulty.gateway.get("/readyz").json()
        idps.open()
        faulty.steering.age(COOL_DOWN_S)
        recovered = faulty.all_answer(faulty.token("idp01"), 200)
        idps.close()

    assert (refused.status_code, code(refused)) == (503, "keys_unavailable")
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert ready["status"] == "ready"
    assert ready["issuers"]["idp01"]["keys"] == 0
    assert recovered


@pytest.mark.requirement("F-02")
def test_known_keys_outlive_an_outage_of_a_day_and_afterwards_only_that_issuer_is_unavailable(
    faulty: Faulty,
) -> None:
    name = faulty.provider()
    seen = []
    with faulty.idps.away():
        for hours in (1, 22, 2):
            faulty.steering.age(hours * HOUR_S)
            seen.append(faulty.whoami(faulty.token(name)).status_code)
        refused = faulty.whoami(faulty.token(name))
        assert_others_are_served(faulty)
    faulty.steering.age(COOL_DOWN_S)

    assert seen == [200, 200, 503]
    assert code(refused) == "keys_unavailable"
    until(lambda: faulty.all_answer(faulty.token(name), 200))


# --- Slow ---


@pytest.mark.requirement("F-03", "F-04", "F-10")
def test_issuers_that_hang_in_three_ways_are_given_up_in_seconds_and_no_other_request_waits_for_them(
    faulty: Faulty,
) -> None:
    silent, dripping, nameless = faulty.provider(), faulty.provider(), faulty.named_provider()
    faulty.idps.script(silent, keys=stays_silent())
    faulty.idps.script(dripping, keys=drips(pause_s=1))
    faulty.steering.name(faulty.idps.host(nameless), [HANGS])
    before = {name: faulty.idps.asked(name) for name in (silent, dripping, nameless)}
    faulty.steering.age(COOL_DOWN_S)

    with ThreadPoolExecutor() as pool:
        waiting = [
            pool.submit(faulty.whoami, with_unknown_key(faulty, name)) for name in before for _ in "ab"
        ]
        until(lambda: faulty.idps.asked(silent) > before[silent])
        meanwhile = [faulty.whoami(faulty.token(name)).status_code for name in before for _ in range(10)]
        assert_others_are_served(faulty)
        assert not all(one.done() for one in waiting), "they were served while it hung"
        given_up = [one.result(20) for one in waiting]

    assert meanwhile == [200] * 30
    # What was kept is still good, so a key that is not in it is unknown; who waited too long hears that it may return.
    assert {(one.status_code, code(one)) for one in given_up} <= {
        (401, "token_key_unknown"),
        (503, "keys_unavailable"),
    }
    assert max(one.elapsed.total_seconds() for one in given_up) < 15
    assert all(faulty.idps.asked(name) - before[name] <= faulty.workers for name in before)
    faulty.steering.name(faulty.idps.host(nameless), ["127.0.0.1"])
    for name in before:
        faulty.idps.script(name, keys=jwks(jwk("RS256", "next")))
    faulty.steering.age(COOL_DOWN_S)
    for name in before:
        until(lambda name=name: faulty.all_answer(faulty.token(name, which="next"), 200))  # type: ignore[misc]


# --- Wrong answers ---

BAD_SETS: list[object] = [
    pytest.param(answers(b""), "bad_answer", id="empty"),
    pytest.param(answers(b" " * 300_000 + jwks()), "too_large", id="oversized"),
    pytest.param(
        answers(gzip.compress(b" " * 10_000_000), content_encoding="gzip"), "bad_answer", id="gzip bomb"
    ),
    pytest.param(answers(b"<html>Sign in</html>", content_type="text/html"), "bad_answer", id="HTML"),
    pytest.param(answers(b'{"keys": [], ' + jwks()[1:]), "bad_answer", id="duplicate member"),
    pytest.param(answers(jwks()[:-40]), "bad_answer", id="truncated"),
]


@pytest.mark.requirement("F-05")
def test_a_bad_answer_is_a_failed_fetch_with_its_reason_and_the_working_keys_stay(faulty: Faulty) -> None:
    name = faulty.provider()
    for case in BAD_SETS:
        reply, reason = case.values  # type: ignore[attr-defined]
        counted = faulty.fetches(name, reason)
        faulty.idps.script(name, keys=reply)

        refreshed(faulty, name)

        assert faulty.fetches(name, reason) > counted, case
        assert faulty.all_answer(faulty.token(name), 200)
    faulty.idps.script(name, keys=jwks(jwk("ES256")))
    refreshed(faulty, name)
    assert faulty.all_answer(faulty.token(name), 401), "the first good answer counts again"


GOOD_RSA = jwk("RS256")
MALFORMED = [
    "no object",
    {},
    {"kty": "RSA"},
    {**GOOD_RSA, "kid": "small", "n": "AQAB"},
    {**GOOD_RSA, "kid": "even", "e": "Ag"},
    {**GOOD_RSA, "kid": "padded", "n": f"{GOOD_RSA['n']}=="},
    {**GOOD_RSA, "kid": 7},
    {**GOOD_RSA, "kid": "enc", "use": "enc"},
    {**GOOD_RSA, "kid": "none", "alg": "none"},
    {"kty": "oct", "k": "c2VjcmV0", "kid": "oct"},
    {**jwk("ES256"), "kid": "off-curve", "x": jwk("ES256")["y"]},
    {**jwk("ES256"), "kid": "other-curve", "crv": "secp256k1"},
]


@pytest.mark.requirement("F-06")
def test_twelve_malformed_keys_are_dropped_and_counted_and_the_good_one_between_them_is_used(
    faulty: Faulty,
) -> None:
    name = faulty.provider()
    good = jwk("RS256", "next")
    keys = json.dumps({"keys": [*MALFORMED[:6], good, *MALFORMED[6:]]}).encode()
    faulty.idps.script(name, keys=keys)

    refreshed(faulty, name)

    assert faulty.all_answer(faulty.token(name, which="next"), 200)
    counted = f'oidc_gateway_issuer_keys_dropped_total{{issuer="{name}"'
    dropped = [
        line for line in faulty.gateway.client.get("/metrics").text.splitlines() if line.startswith(counted)
    ]
    count = sum(float(line.rpartition(" ")[2]) for line in dropped)
    assert count >= 12
    assert count % 12 == 0
    assert len(dropped) >= 5, "each with its reason"


@pytest.mark.requirement("F-07")
def test_a_rotation_under_load_refuses_no_new_token_and_old_ones_only_once_their_key_is_gone(
    faulty: Faulty,
) -> None:
    name = faulty.provider()
    old, new = faulty.token(name), faulty.token(name, which="next")
    before = faulty.idps.asked(name)
    faulty.steering.age(COOL_DOWN_S)

    with ThreadPoolExecutor(8) as pool:
        early = [pool.submit(faulty.whoami, old) for _ in range(50)]
        faulty.idps.script(name, keys=jwks(jwk("RS256", "next")))
        late = [(pool.submit(faulty.whoami, old), pool.submit(faulty.whoami, new)) for _ in range(100)]
        firsts = [one.result() for one in early]
        seconds = [(one.result(), other.result()) for one, other in late]

    assert {answer.status_code for answer in firsts} <= {200, 401}
    assert {new.status_code for _, new in seconds} == {200}
    assert {old.status_code for old, _ in seconds} <= {200, 401}
    assert {code(old) for old, _ in seconds if old.status_code == 401} <= {"token_key_unknown"}
    assert faulty.idps.asked(name) - before <= faulty.workers
    until(lambda: faulty.all_answer(new, 200))
    assert faulty.all_answer(old, 401)


def agreement(faulty: Faulty, what: str) -> tuple[object, float]:
    """Return what readiness and the metric of workers that disagree say of it."""
    said = faulty.gateway.get("/readyz").json()["agreement"][what]
    return said, faulty.gateway.metric(f'oidc_gateway_workers_disagree{{what="{what}"}}')


@pytest.mark.requirement("KS-26", "F-07")
def test_one_token_of_a_new_key_brings_it_to_every_worker_with_one_fetch_each(four: Faulty) -> None:
    name = four.provider()
    new = four.token(name, which="next")
    four.idps.script(name, keys=jwks(jwk("RS256", "next")))
    four.steering.age(COOL_DOWN_S)
    asked, fetched = four.idps.asked(name), four.attempts(name)

    first = four.whoami(new).status_code
    # Nobody asks the others, who learn from what the first one posts that there is another set.
    until(lambda: four.attempts(name) == fetched + four.workers)
    everybody = four.all_answer(new, 200)

    assert (first, everybody) == (200, True)
    assert four.all_answer(four.token(name), 401), "and none keeps the old key"
    assert four.idps.asked(name) - asked == four.workers


@pytest.mark.requirement("KS-26")
def test_workers_that_cannot_fetch_what_one_has_are_reported_and_follow_without_being_asked(
    four: Faulty,
) -> None:
    name = four.provider()
    new = four.token(name, which="next")
    one_of_them = in_turn(answers(jwks(jwk("RS256", "next"))), answers(b"", status=503))
    four.idps.script(name, keys=one_of_them)
    four.steering.age(COOL_DOWN_S)
    asked = four.idps.asked(name)

    first = four.whoami(new).status_code
    until(lambda: four.idps.asked(name) - asked >= four.workers)
    until(lambda: agreement(four, "keys") == ("differs", 1))
    tried = four.idps.asked(name) - asked
    four.idps.script(name, keys=jwks(jwk("RS256", "next")))
    four.steering.age(COOL_DOWN_S)
    until(lambda: agreement(four, "keys") == ("same", 0))

    assert first == 200
    assert tried == four.workers, "one fetch each in a cool-down, well or failing"
    assert four.all_answer(new, 200)


#: Of a flood: each connection carries as many requests as it may, and comes from another address, so that no limit of rates
#: takes the flood away from what is tested.
CONNECTIONS, EACH = 50, ProtocolLimits().max_requests


def flooded(faulty: Faulty, provider: str) -> Counter[tuple[int, object]]:
    """Send five thousand tokens that nobody signed, each with a key id of its own; return what was answered how often."""
    _header, payload, _ = faulty.token(provider).split(".")
    port = int(faulty.gateway.url.rsplit(":", 1)[1])

    def connection(number: int) -> Counter[tuple[int, object]]:
        said: Counter[tuple[int, object]] = Counter()
        source = (f"127.8.0.{1 + number}", 0)
        with socket.create_connection(("127.0.0.1", port), timeout=60, source_address=source) as sock:
            for _ in range(EACH):
                header = b64(b'{"alg":"RS256","kid":"%s","typ":"JWT"}' % os.urandom(16).hex().encode())
                token = f"{header}.{payload}.{b64(os.urandom(256))}"
                sock.sendall(
                    f"GET /v1/whoami HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
                )
                status, body = read_answer(sock)
                said[status, json.loads(body)["code"]] += 1
        return said

    with ThreadPoolExecutor(8) as pool:
        return sum(pool.map(connection, range(CONNECTIONS)), Counter())


@pytest.mark.requirement("F-08")
@pytest.mark.parametrize("failing", [False, True], ids=["healthy", "failing"])
def test_a_flood_of_unknown_keys_costs_the_issuer_one_fetch_in_a_cool_down_and_known_ones_nothing(
    faulty: Faulty, failing: bool
) -> None:
    name = faulty.provider()
    if failing:
        faulty.idps.script(name, keys=answers(b"", status=503))
    before = faulty.idps.asked(name)
    faulty.steering.age(COOL_DOWN_S)
    known = faulty.token(name)
    held = standing(faulty.gateway.process.pid, faulty.temporary).memory_kib
    began = time.monotonic()

    with ThreadPoolExecutor(1) as pool:
        flood = pool.submit(flooded, faulty, name)
        meanwhile = {faulty.whoami(known).status_code for _ in range(20)}
        refused = flood.result()
    cool_downs = 1 + int((time.monotonic() - began) / 60)
    grown = standing(faulty.gateway.process.pid, faulty.temporary).memory_kib - held

    assert refused == {(401, "token_key_unknown"): CONNECTIONS * EACH}
    assert meanwhile == {200}
    assert faulty.idps.asked(name) - before <= faulty.workers * cool_downs
    assert grown < MOST_GROWTH_KIB * faulty.workers, "what nobody signed is remembered nowhere"
    faulty.idps.script(name, keys=jwks(jwk("RS256", "next")))
    refreshed(faulty, name)
    assert faulty.all_answer(faulty.token(name, which="next"), 200)


# --- Led elsewhere ---


@pytest.mark.requirement("F-09")
@pytest.mark.parametrize("status", [302, 307])
def test_a_redirect_is_a_failed_fetch_and_nobody_follows_it(faulty: Faulty, status: int) -> None:
    name, elsewhere = faulty.provider(), uuid.uuid4().hex
    redirect = answers(b"", status=status, location=f"{faulty.idps.issuer(elsewhere)}/keys")
    to_metadata = answers(b"", status=status, location="http://169.254.169.254/latest/meta-data/")
    for scripted in ({"keys": redirect}, {"discovery": redirect}, {"discovery": to_metadata}):
        counted = faulty.fetches(name, "redirect_refused")
        faulty.idps.script(name, **scripted)

        refreshed(faulty, name)

        assert faulty.fetches(name, "redirect_refused") > counted
        assert faulty.all_answer(faulty.token(name), 200)
    assert faulty.idps.asked(elsewhere) == 0
    faulty.idps.script(name, keys=jwks(jwk("RS256", "next")))
    refreshed(faulty, name)
    assert faulty.all_answer(faulty.token(name, which="next"), 200)


@contextmanager
def nobody_may_call(address: str, port: int) -> Iterator[Callable[[], bool]]:
    """Listen there; what is yielded says whether nobody has connected."""
    with socket.create_server((address, port)) as trap:
        trap.setblocking(False)

        def untouched() -> bool:
            try:
                trap.accept()[0].close()
            except BlockingIOError:
                return True
            return False

        yield untouched


@pytest.mark.requirement("F-10")
def test_a_name_that_leads_to_an_address_inside_at_its_second_look_up_is_not_dialled_there(
    faulty: Faulty,
) -> None:
    name = faulty.named_provider()
    host = faulty.idps.host(name)
    with nobody_may_call("127.0.0.2", faulty.idps.port) as untouched:
        for answer in (["127.0.0.2"], ["127.0.0.1", "127.0.0.2"], ["::ffff:127.0.0.1"]):
            counted = faulty.fetches(name, "address_refused")
            faulty.steering.name(host, answer)

            refreshed(faulty, name)

            assert faulty.fetches(name, "address_refused") > counted, answer
        assert untouched()
    assert faulty.all_answer(faulty.token(name), 200)
    faulty.steering.name(host, [UNKNOWN])
    refreshed(faulty, name)
    assert faulty.fetches(name, "unreachable") > 0
    assert faulty.all_answer(faulty.token(name), 200)
    faulty.steering.name(host, ["127.0.0.1"])
    faulty.idps.script(name, keys=jwks(jwk("RS256", "next")))
    refreshed(faulty, name)
    assert faulty.all_answer(faulty.token(name, which="next"), 200)


@pytest.mark.requirement("F-11")
def test_a_certificate_that_does_not_hold_fails_the_fetch_and_nothing_is_asked_without_one_that_does(
    faulty: Faulty,
) -> None:
    name, authority = faulty.provider(), faulty.idps.authority
    for certificate in (
        authority.server("127.0.0.1", expired=True),
        authority.server("elsewhere.example"),
        Authority().server("127.0.0.1"),
    ):
        counted, asked = faulty.fetches(name, "tls_failed"), faulty.idps.asked(name)

        with faulty.idps.presenting(certificate):
            refreshed(faulty, name)

            assert faulty.fetches(name, "tls_failed") > counted
            assert faulty.idps.asked(name) == asked
            assert faulty.all_answer(faulty.token(name), 200)
    faulty.idps.script(name, keys=jwks(jwk("RS256", "next")))
    refreshed(faulty, name)
    assert faulty.all_answer(faulty.token(name, which="next"), 200)


# --- Issuers that change ---


@pytest.mark.requirement("F-12")
def test_a_key_whose_private_part_is_published_is_refused_from_then_on_and_the_others_are_not(
    faulty: Faulty,
) -> None:
    name = faulty.provider()
    lost, other = faulty.token(name), faulty.token(name, algorithm="ES256")
    faulty.idps.script(name, keys=jwks(jwk("RS256", d="AQAB"), jwk("ES256")))

    refreshed(faulty, name)

    assert faulty.all_answer(lost, 401)
    assert faulty.all_answer(other, 200)
    until(lambda: "issuer_published_private_key" in faulty.gateway.log())
    faulty.idps.script(name)
    refreshed(faulty, name)
    assert faulty.all_answer(lost, 401), "what was once out stays out"
    assert faulty.all_answer(other, 200)


@pytest.mark.requirement("F-13")
def test_a_discovery_document_that_names_another_issuer_or_another_host_changes_nothing(
    faulty: Faulty,
) -> None:
    name = faulty.provider()
    issuer = faulty.idps.issuer(name)
    changes: list[tuple[Reply, str]] = [
        (answers(document(f"{issuer}/", jwks_uri=f"{issuer}/keys")), "discovery_mismatch"),
        (answers(document("https://elsewhere.example", jwks_uri=f"{issuer}/keys")), "discovery_mismatch"),
        (
            answers(document(issuer, jwks_uri=f"https://localhost:{faulty.idps.port}/keys")),
            "jwks_host_not_allowed",
        ),
    ]
    for reply, reason in changes:
        faulty.idps.script(name, discovery=reply)

        refreshed(faulty, name)

        assert faulty.fetches(name, reason) > 0
        assert faulty.all_answer(faulty.token(name), 200)
        until(lambda reason=reason: f'"{reason}"' in faulty.gateway.log())  # type: ignore[misc]
    faulty.idps.script(name, keys=jwks(jwk("RS256", "next")))
    refreshed(faulty, name)
    assert faulty.all_answer(faulty.token(name, which="next"), 200)


# --- The clock ---

MINUTE_S = 60


@pytest.mark.requirement("F-14")
@pytest.mark.parametrize(
    ("jump_s", "said"),
    [
        pytest.param(10 * MINUTE_S, "token_expired", id="ten minutes ahead"),
        pytest.param(-10 * MINUTE_S, "token_not_yet_valid", id="ten minutes back"),
        pytest.param(1_440 * MINUTE_S, "token_expired", id="a day ahead"),
    ],
)
def test_a_wall_clock_that_jumps_judges_tokens_by_it_and_costs_neither_keys_nor_what_is_cached(
    faulty: Faulty, jump_s: float, said: str
) -> None:
    name = faulty.provider()
    token = faulty.token(name)
    asked = faulty.idps.asked(name)

    faulty.steering.jump(jump_s)
    refused = faulty.whoami(token)
    by_then = faulty.whoami(token_at(faulty, name, jump_s))
    faulty.steering.jump(0)

    assert (refused.status_code, code(refused)) == (401, said)
    assert by_then.status_code == 200, "keys are as old as before"
    # At most the refresh in the background that was due anyhow.
    assert faulty.idps.asked(name) - asked <= faulty.workers
    assert faulty.all_answer(token, 200)


def token_at(faulty: Faulty, provider: str, jump_s: float) -> str:
    """Return a token that is good once the clock has jumped."""
    now = int(time.time() + jump_s)
    return faulty.token(provider, iat=now, nbf=now, exp=now + 300)


ONCE = """\
format: oidc-gateway/mapping.v1
rules:
  - name: once
    why: FLT-2, each token once
    issuer: github
    claims: { repository: acme/payments, repository_id: "4711", environment: once }
    grants:
      - { start: deploy-payments, as: payments-prod }
    replay: once
"""


@pytest.mark.requirement("F-14")
def test_a_used_token_stays_used_whichever_way_the_clock_jumps_meanwhile(own_faulty: Faulty) -> None:
    replace(own_faulty.gateway.config / "mappings" / "payments" / "once.yaml", ONCE.encode())

    def start(token: str) -> httpx2.Response:
        return own_faulty.gateway.start(token, DEPLOY, key=uuid.uuid4().hex, input=GOOD)

    def used() -> str | None:
        token = fresh(environment="once")
        return token if start(token).status_code == 201 else None

    token = until(used)
    seen = []
    for jump_s in (4 * MINUTE_S, -20, 1_440 * MINUTE_S, -1_440 * MINUTE_S, 0):
        own_faulty.steering.jump(jump_s)
        # Whoever is served now makes the store forget what is over.
        now = int(time.time() + jump_s)
        other = start(fresh(environment="once", iat=now, nbf=now, exp=now + 300))
        answer = start(token)
        seen.append((other.status_code, answer.status_code, code(answer)))
        if abs(jump_s) > 5 * MINUTE_S:
            until(lambda: "the wall clock jumped" in own_faulty.gateway.log())
    replayed = (409, "token_replayed")

    # Where our clock stands beyond what AWS answered, its credentials do not count.
    assert {one[1:] for one in seen} <= {replayed, (401, "token_expired"), (401, "token_not_yet_valid")}
    assert [seen[0][1:], seen[1][1:], seen[-1][1:]] == [replayed] * 3


# --- Two of them ---


@pytest.mark.requirement("F-15")
def test_of_two_issuers_with_one_key_id_each_verifies_with_its_own_key_alone(faulty: Faulty) -> None:
    one, two = faulty.provider(), faulty.provider()
    faulty.idps.script(one, keys=jwks(jwk("RS256", kid="shared")))
    faulty.idps.script(two, keys=jwks(jwk("RS256", "next", kid="shared")))
    refreshed(faulty, one)
    refreshed(faulty, two)
    header = {"kid": "shared"}

    own = [faulty.token(one, header=header), faulty.token(two, which="next", header=header)]
    foreign = [faulty.token(one, which="next", header=header), faulty.token(two, header=header)]

    assert all(faulty.all_answer(token, 200) for token in own)
    assert [code(faulty.whoami(token)) for token in foreign] == ["token_signature_invalid"] * 2
    assert key_id("RS256") != "shared"
