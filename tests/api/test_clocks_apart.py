"""Two gateways on one Redis whose clocks are ninety seconds apart: no token counts twice, whoever is wrong."""

import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from tests.support import steered_gateway
from tests.support.caller import problem, until
from tests.support.components import skip_without
from tests.support.gateways import Gateway, fresh, running_gateway, write_config
from tests.support.redis_server import running_redis
from tests.support.scripted_aws import ScriptedAws
from tests.support.steered_gateway import Steering

pytestmark = skip_without("redis")

DEPLOY = "deploy-payments"
GOOD = {"version": "1.4.2"}
STARTED = "started"
RULES = """\
format: oidc-gateway/mapping.v1
rules:
  - name: once
    why: PAY-7, each token once
    issuer: github
    claims: { repository: acme/payments, repository_id: "4711", environment: once }
    grants: [{ start: deploy-payments, as: payments-prod }]
    replay: once
  - name: free
    why: PAY-9, as often as it likes
    issuer: github
    claims: { repository: acme/payments, repository_id: "4711", environment: free }
    grants: [{ start: deploy-payments, as: payments-prod }]
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Steered:
    """A gateway of two, and the clock that it alone has."""

    gateway: Gateway
    steering: Steering

    def start(self, token: str) -> str:
        """Return the code of the refusal, or that it started: 200 or 201, for who is ahead takes what AWS began for earlier."""
        answer = self.gateway.start(token, DEPLOY, key=uuid.uuid4().hex, input=GOOD)
        return STARTED if answer.is_success else str(problem(answer)["code"])

    def shown(self) -> object:
        """Return what health says of the Redis."""
        answer: httpx2.Response = self.gateway.get("/readyz")
        assert answer.status_code == 200
        return answer.json()["state"]


@pytest.fixture(scope="module")
def running_two(
    tmp_path_factory: pytest.TempPathFactory, scripted_aws: ScriptedAws
) -> Iterator[tuple[Steered, Steered]]:
    folder: Path = tmp_path_factory.mktemp("apart")
    config = write_config(folder / "config", aws=scripted_aws.url)
    (config / "mappings" / "payments" / "replay.yaml").write_text(RULES)
    with running_redis() as server, ExitStack() as stack:

        def steered(name: str) -> Steered:
            steering = Steering(folder / f"{name}.json")
            environment = {
                "OIDC_GATEWAY_STATE_URL": server.url,
                steered_gateway.VARIABLE: str(steering.file),
            }
            gateway = running_gateway(
                config, folder / name, environment=environment, module="tests.support.steered_gateway"
            )
            return Steered(gateway=stack.enter_context(gateway), steering=steering)

        yield steered("one"), steered("two")


@pytest.fixture
def two(running_two: tuple[Steered, Steered], scripted_aws: ScriptedAws) -> Iterator[tuple[Steered, Steered]]:
    """Two gateways, right by the clock and of one mind with their Redis."""
    scripted_aws.begin()
    for each in running_two:
        each.steering.jump(0)
        until(lambda each=each: each.shown() == "ok")  # type: ignore[misc]
    yield running_two
    for each in running_two:
        each.steering.jump(0)


def token(environment: str) -> str:
    """Return a token that is good by every clock here: issued a while ago, and good for a while."""
    now = int(time.time())
    return fresh(environment=environment, iat=now - 120, nbf=now - 120, exp=now + 300)


@pytest.mark.requirement("TV-42", "TV-45")
@pytest.mark.parametrize(
    ("off_s", "others"),
    [
        # To who is this far behind, credentials of AWS live for longer than was asked for, and are used for nothing.
        pytest.param(-90, "aws_answer_mismatch", id="behind"),
        pytest.param(90, STARTED, id="ahead"),
    ],
)
def test_the_one_that_is_far_from_its_redis_uses_no_token_up_serves_the_rest_and_comes_back_with_its_clock(
    two: tuple[Steered, Steered], off_s: float, others: str
) -> None:
    right, wrong = two
    used, other = token("once"), token("once")

    wrong.steering.jump(off_s)
    # Not when the next probe is due: the first reservation finds it.
    refused = wrong.start(other)
    taken = right.start(used)
    again = wrong.start(used)
    unaffected = wrong.start(token("free"))
    until(lambda: wrong.shown() == "clock")
    wrong.steering.jump(0)
    until(lambda: wrong.shown() == "ok")

    assert refused == again == "replay_store_unavailable"
    assert (taken, unaffected) == (STARTED, others)
    assert right.shown() == "ok"
    assert wrong.start(used) == "token_replayed"
    assert wrong.start(other) == STARTED, "what was refused is not used up"


@pytest.mark.requirement("TV-42")
@pytest.mark.parametrize("first", [0, 1], ids=["the one ahead first", "the one behind first"])
def test_between_two_that_are_each_near_their_redis_a_token_counts_once(
    two: tuple[Steered, Steered], scripted_aws: ScriptedAws, first: int
) -> None:
    two[0].steering.jump(45)
    two[1].steering.jump(-45)
    used = token("once")

    said = [two[first].start(used), two[1 - first].start(used), two[first].start(used)]

    assert said == [STARTED, "token_replayed", "token_replayed"]
    assert scripted_aws.states_calls() == ["StartExecution"]
