"""Several workers behind one port: to callers one gateway, whatever happens to each of them."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Semaphore
from typing import Self

import httpx2
import pytest

from gateway.audit.files import journal_directories
from gateway.audit.reading import Query, find
from tests.support.caller import until
from tests.support.gateways import ROOT, Gateway, fresh, replace, running_gateway, write_config
from tests.support.hang import no_hang
from tests.support.processes import descendants
from tests.support.scripted_aws import ScriptedAws, held_back, issues_credentials, running_scripted_aws

DEPLOY = "deploy-payments"
GOOD = {"version": "1.4.2"}
RULES = "mappings/payments/deploy.yaml"
WORKERS = 4


@contextmanager
def several(folder: Path, aws: ScriptedAws, *, workers: int = WORKERS, **settings: str) -> Iterator[Gateway]:
    """Run a gateway with workers. settings: variables without their prefix."""
    config = write_config(folder / "config", aws=aws.url)
    environment = {f"OIDC_GATEWAY_{name}": value for name, value in settings.items()}
    environment |= {"OIDC_GATEWAY_WORKERS": str(workers), "TMPDIR": str(folder)}
    with running_gateway(config, folder / "audit", environment=environment) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def aws() -> Iterator[ScriptedAws]:
    with running_scripted_aws() as scripted:
        yield scripted


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, aws: ScriptedAws) -> Iterator[Gateway]:
    """A gateway with four workers; see `gateway`."""
    with several(tmp_path_factory.mktemp("workers"), aws) as running:
        yield running


@pytest.fixture
def gateway(shared: Gateway, aws: ScriptedAws) -> Gateway:
    """That gateway, whole and of one mind."""
    aws.begin()
    with no_hang():
        until(lambda: len(workers_of(shared)) == WORKERS and agreement(shared) == AGREED)
    return shared


AGREED = {"workers": WORKERS, "missing": 0, "policy": "same", "keys": "same", "switches": "same"}


def workers_of(gateway: Gateway) -> set[int]:
    """Return the process ids of the workers."""
    return workers_below(gateway.process.pid)


def workers_below(supervisor: int) -> set[int]:
    found = set()
    for process in descendants(supervisor) - {supervisor}:
        try:
            command = Path(f"/proc/{process}/cmdline").read_bytes()
        except OSError:  # gone since
            continue
        if b"spawn_main" in command:
            found.add(process)
    return found


def ask(gateway: Gateway, path: str) -> httpx2.Response:
    """Ask on a connection of its own, which any worker may get."""
    with httpx2.Client(trust_env=False, timeout=20) as client:
        return client.get(gateway.url + path)


def start(gateway: Gateway, key: str) -> httpx2.Response:
    """Start on a connection of its own, again and with the same key when it breaks."""
    token, body = fresh(), json.dumps({"workflow": DEPLOY, "input": GOOD})
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/json",
        "Idempotency-Key": key,
    }
    for _ in range(20):
        try:
            with httpx2.Client(trust_env=False, timeout=20) as client:
                return client.post(f"{gateway.url}/v1/executions", content=body, headers=headers)
        except httpx2.TransportError:
            time.sleep(0.05)
    raise AssertionError("No connection held.")


def change_files(gateway: Gateway) -> None:
    rules = gateway.config / RULES
    replace(rules, re.sub(r"why: \S+", f"why: CHANGE-{uuid.uuid4().hex[:8]}", rules.read_text()).encode())


def agreement(gateway: Gateway) -> object:
    return ask(gateway, "/readyz").json().get("agreement")


def sample(gateway: Gateway, name: str) -> float:
    found = re.search(rf"(?m)^{re.escape(name)} (\S+)$", ask(gateway, "/metrics").text)
    return float(found[1]) if found else 0.0


def log_of(gateway: Gateway, message: str) -> list[dict[str, object]]:
    lines = (json.loads(line) for line in list(gateway.lines) if line.startswith("{"))
    return [line for line in lines if line["message"] == message]


@contextmanager
def stopped(processes: set[int]) -> Iterator[None]:
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            os.kill(process, signal.SIGCONT)


@pytest.mark.requirement("AU-05", "MP-07")
def test_every_worker_serves_into_a_journal_of_its_own_and_all_count_together(gateway: Gateway) -> None:
    allowed = 'oidc_gateway_decisions_total{act="start",code="allowed",issuer="github"}'
    counted, processes = sample(gateway, allowed), workers_of(gateway)

    answers = []
    for one in processes:
        with stopped(processes - {one}):
            answers.append(start(gateway, f"alone-{one}"))

    assert [answer.status_code for answer in answers] == [201] * WORKERS
    files = {entry.file for answer in answers for entry in find(gateway.audit, request_of(answer))}
    assert {name.partition("/")[0] for name in files} == {"w1", "w2", "w3", "w4"}
    until(lambda: workers_in_log(gateway) == {"w1", "w2", "w3", "w4"})
    assert sample(gateway, allowed) == counted + WORKERS


def workers_in_log(gateway: Gateway) -> set[object]:
    return {line["worker"] for line in log_of(gateway, "request") if line["status"] == 201}


def request_of(answer: httpx2.Response) -> Query:
    return Query(request=answer.headers["x-request-id"])


@pytest.mark.requirement("AU-05")
def test_the_chain_of_each_worker_is_verified(gateway: Gateway) -> None:
    start(gateway, "chained")

    told = command("audit", "verify", "--audit", str(gateway.audit))

    assert told.returncode == 0, told.stdout + told.stderr
    assert told.stdout.count("Intact") == WORKERS
    assert [path.name for path in journal_directories(gateway.audit)] == ["w1", "w2", "w3", "w4"]


def command(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(  # our own command
        [sys.executable, "-m", "gateway", *arguments],
        cwd=ROOT,
        env={"PATH": "", "HOME": "/nowhere"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.requirement("F-57")
def test_a_worker_that_dies_under_load_is_replaced_and_no_start_is_lost_or_done_twice(
    gateway: Gateway, aws: ScriptedAws
) -> None:
    before = workers_of(gateway)
    victim = min(before)
    keys = [f"load-{number}" for number in range(80)]

    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(start, gateway, key) for key in keys]
        until(lambda: sum(future.done() for future in waiting) > 20)
        os.kill(victim, signal.SIGKILL)
        answers = [future.result(60) for future in waiting]

    assert {answer.status_code for answer in answers} <= {200, 201}
    names = [answer.json()["name"] for answer in answers]
    assert len(set(names)) == len(keys)
    # A start whose answer was lost is repeated under its name, which AWS does once.
    assert {json.loads(call.body)["name"] for call in aws.peer.received if b'"name"' in call.body} == set(
        names
    )
    until(lambda: len(workers_of(gateway)) == WORKERS and victim not in workers_of(gateway))


@pytest.mark.requirement("F-57")
def test_a_worker_that_dies_in_a_loop_is_replaced_later_each_time_while_the_others_serve(
    gateway: Gateway,
) -> None:
    gateway.lines.clear()
    victim = max(workers_of(gateway))

    for deaths in range(1, 4):
        others = workers_of(gateway) - {victim}
        os.kill(victim, signal.SIGKILL)
        wait_for_deaths(gateway, deaths)
        assert ask(gateway, "/livez").status_code == 200
        victim = newcomer(gateway, others)

    died = log_of(gateway, "worker died and is replaced")
    slot = died[0]["worker"]
    waits = [float(str(line["wait_s"])) for line in died]
    assert {line["worker"] for line in died} == {slot}
    assert waits == sorted(set(waits))
    assert waits[-1] >= 2
    assert sample(gateway, f'oidc_gateway_worker_restarts_total{{worker="{slot}"}}') >= 3


def wait_for_deaths(gateway: Gateway, number: int) -> None:
    until(lambda: len(log_of(gateway, "worker died and is replaced")) == number)


def newcomer(gateway: Gateway, others: set[int]) -> int:
    return min(until(lambda: workers_of(gateway) - others))


#: Promised to administrators: so soon after a change everybody runs on it.
CONVERGED_S = 5.0
_TICK_S = 0.02


class Starved(threading.Thread):
    """Counts for how long the machine ran nothing of ours that was due: no gateway can keep a promise in that time.

    seconds: of it so far.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.seconds = 0.0
        self._over = Event()

    def run(self) -> None:
        before = time.monotonic()
        while not self._over.wait(_TICK_S):
            now = time.monotonic()
            self.seconds += max(0.0, now - before - 2 * _TICK_S)
            before = now

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()


@pytest.mark.requirement("MP-07")
def test_every_worker_takes_a_change_of_the_files_within_five_seconds(gateway: Gateway) -> None:
    accepted = 'oidc_gateway_policy_reloads_total{result="accepted"}'
    before, digest = sample(gateway, accepted), ask(gateway, "/readyz").json()["digest"]

    with Starved() as starved, no_hang():
        began = time.monotonic()
        change_files(gateway)
        until(lambda: sample(gateway, accepted) == before + WORKERS)
        took_s = time.monotonic() - began

    assert took_s - starved.seconds < CONVERGED_S
    digests = {ask(gateway, "/readyz").json()["digest"] for _ in range(20)}
    assert len(digests) == 1
    assert digests != {digest}
    with no_hang():
        until(lambda: agreement(gateway) == AGREED)


@pytest.mark.requirement("MP-07")
def test_two_gateways_with_one_folder_run_on_a_change_of_it_within_five_seconds(
    tmp_path: Path, aws: ScriptedAws
) -> None:
    config = write_config(tmp_path / "config", aws=aws.url)
    with (
        running_gateway(config, tmp_path / "one") as one,
        running_gateway(config, tmp_path / "two") as two,
        Starved() as starved,
        no_hang(),
    ):
        digest = ask(one, "/readyz").json()["digest"]
        began = time.monotonic()
        change_files(one)
        until(lambda: all(ask(each, "/readyz").json()["digest"] != digest for each in (one, two)))
        took_s = time.monotonic() - began
        digests = {ask(each, "/readyz").json()["digest"] for each in (one, two)}

    assert took_s - starved.seconds < CONVERGED_S
    assert len(digests) == 1


@pytest.mark.requirement("MP-07", "F-32")
def test_a_worker_that_lags_behind_a_change_is_reported_until_it_has_taken_it(gateway: Gateway) -> None:
    disagree = 'oidc_gateway_workers_disagree{what="policy"}'
    slow = min(workers_of(gateway))

    with stopped({slow}):
        change_files(gateway)
        with no_hang():
            # Each of the others counts its own five seconds.
            until(lambda: sample(gateway, disagree) == 1)
            until(lambda: agreement(gateway) == {**AGREED, "policy": "differs"})

    with no_hang():
        until(lambda: agreement(gateway) == AGREED and sample(gateway, disagree) == 0)
    assert ["policy"] in [line["what"] for line in log_of(gateway, "workers disagree")]


@pytest.mark.requirement("HT-14", "F-56")
def test_requests_under_way_at_sigterm_are_answered_by_every_worker(tmp_path: Path) -> None:
    arrived, go_on = Semaphore(0), Event()
    with (
        running_scripted_aws() as aws,
        several(tmp_path, aws, SERVE_ON="1s", DRAIN="20s") as gateway,
        ThreadPoolExecutor(50) as pool,
    ):
        aws.sts = held_back(issues_credentials(), arrived, go_on)
        waiting = [pool.submit(start, gateway, f"held-{number}") for number in range(50)]
        # Calls for the same credentials share one.
        assert arrived.acquire(timeout=20)
        until(lambda: sample(gateway, "oidc_gateway_http_requests_in_flight") >= 50)

        gateway.process.send_signal(signal.SIGTERM)
        until(lambda: ask(gateway, "/readyz").json()["status"] == "draining")
        go_on.set()
        answers = [future.result(30) for future in waiting]
        code = gateway.process.wait(30)

    assert [answer.status_code for answer in answers] == [201] * 50
    assert code == 0
    assert not list(tmp_path.glob("oidc-gateway-*"))
    assert command("audit", "verify", "--audit", str(tmp_path / "audit")).returncode == 0


@pytest.mark.requirement("HT-14", "F-56")
def test_a_second_signal_ends_all_workers_at_once(tmp_path: Path, aws: ScriptedAws) -> None:
    with several(tmp_path, aws, workers=2, SERVE_ON="30s") as gateway:
        family = workers_of(gateway)
        gateway.process.send_signal(signal.SIGTERM)
        until(lambda: log_of(gateway, "ending workers"))

        gateway.process.send_signal(signal.SIGTERM)
        code = gateway.ended()

    assert code == 128 + signal.SIGTERM
    assert not any(Path(f"/proc/{process}").exists() for process in family)
    assert "Second SIGTERM: ending at once." in gateway.log()


def test_a_hang_up_ends_nobody(gateway: Gateway) -> None:
    before = workers_of(gateway)

    for process in (gateway.process.pid, *before):
        os.kill(process, signal.SIGHUP)

    assert start(gateway, "after-the-hang-up").status_code == 201
    assert workers_of(gateway) == before


@pytest.mark.requirement("F-56")
def test_workers_whose_supervisor_is_killed_finish_and_free_the_port(tmp_path: Path) -> None:
    arrived, go_on = Semaphore(0), Event()
    with (
        running_scripted_aws() as aws,
        several(tmp_path, aws, workers=2, SERVE_ON="30s") as gateway,
        ThreadPoolExecutor(1) as pool,
    ):
        aws.sts = held_back(issues_credentials(), arrived, go_on)
        family = workers_of(gateway)
        waiting: Future[httpx2.Response] = pool.submit(start, gateway, "orphan")
        assert arrived.acquire(timeout=20)

        gateway.process.kill()
        until(lambda: refuses_connections(gateway))
        go_on.set()

        assert waiting.result(30).status_code == 201
        until(lambda: not any(Path(f"/proc/{process}").exists() for process in family))
    assert not list(tmp_path.glob("oidc-gateway-*"))


def refuses_connections(gateway: Gateway) -> bool:
    try:
        socket.create_connection(("127.0.0.1", int(gateway.url.rpartition(":")[2])), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


def serve(config: Path, audit: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return command(
        *("serve", "--dev", "--workers", "3", "--config", str(config), "--audit", str(audit)), *arguments
    )


@pytest.mark.requirement("F-57")
def test_workers_that_cannot_start_end_the_gateway_with_one_reason(tmp_path: Path, aws: ScriptedAws) -> None:
    config, audit = write_config(tmp_path / "config", aws=aws.url), tmp_path / "audit"
    audit.mkdir()
    (audit / "w2").write_text("no folder")

    ended = serve(config, audit, "--port", "0")

    assert ended.returncode == 2
    assert ended.stderr.count("oidc-gateway serve: ") == 1
    assert f"The audit directory {audit / 'w2'} cannot be written" in ended.stderr
    assert "Listening" not in ended.stderr
    [line] = [one for one in map(json.loads, ended.stdout.splitlines()) if one["level"] == "CRITICAL"]
    assert ended.stderr == f"oidc-gateway serve: {line['why']}\n"
    assert (line["message"], line["code"]) == ("could not start", "audit_unavailable")
    assert "exception" not in line


def test_a_port_in_use_is_said_once(tmp_path: Path, aws: ScriptedAws) -> None:
    config = write_config(tmp_path / "config", aws=aws.url)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        ended = serve(config, tmp_path / "audit", "--port", str(port))

    assert ended.returncode == 2
    assert (
        ended.stderr
        == f"oidc-gateway serve: 127.0.0.1 port {port} is in use. Stop what listens there, or choose another port.\n"
    )


@pytest.mark.requirement("AU-05")
def test_records_of_several_workers_stay_readable_when_there_is_one_again(
    tmp_path: Path, aws: ScriptedAws
) -> None:
    aws.begin()
    with several(tmp_path, aws, workers=2) as gateway:
        first = start(gateway, "of-two")
    with several(tmp_path, aws, workers=1) as gateway:
        second = start(gateway, "of-one")

    found = [next(find(tmp_path / "audit", request_of(answer))).file for answer in (first, second)]

    assert re.match(r"w[12]/audit-", found[0])
    assert re.match(r"audit-", found[1])
    assert command("audit", "verify", "--audit", str(tmp_path / "audit")).returncode == 0


@pytest.mark.requirement("F-57")
def test_alerts_about_restarts_and_descriptors_have_their_metrics_with_several_workers_too(
    tmp_path: Path, aws: ScriptedAws
) -> None:
    before = time.time()
    with several(tmp_path, aws, workers=2) as gateway:
        started = gateway.metric("oidc_gateway_start_time_seconds")
        used, most = (gateway.metric(f"oidc_gateway_descriptors{end}") for end in ("", "_limit"))
        text = httpx2.get(f"{gateway.url}/metrics").text

    assert before < started < time.time()
    assert 10 < used < most
    assert 'oidc_gateway_worker_restarts_total{worker="w2"} 0.0' in text


@pytest.mark.requirement("TV-40")
def test_flags_under_which_a_rule_of_the_files_cannot_hold_are_refused_at_the_start(
    tmp_path: Path, aws: ScriptedAws
) -> None:
    config = write_config(tmp_path / "config", aws=aws.url)
    rules = config / "mappings" / "payments" / "deploy.yaml"
    replace(rules, rules.read_bytes().replace(b"    # replay: once ", b"    replay: once # "))

    checked = command("check", "--dev", "--config", str(config))
    ended = serve(config, tmp_path / "audit", "--port", "0")

    assert checked.returncode == 0, checked.stdout
    assert ended.returncode == 2
    assert "store_not_shared" in ended.stderr
    assert (
        "3 workers without shared state cannot count tokens, which the rules above ask for." in ended.stderr
    )
