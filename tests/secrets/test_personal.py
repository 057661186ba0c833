"""What the record and the log say of people: tokens by their digests, subjects and claims in the record alone."""

import base64
import hashlib
import json
from pathlib import Path

import pytest

from tests.support.caller import until
from tests.support.canaries import canary
from tests.support.gateways import fresh, running_gateway, write_config

README = Path(__file__).parents[2] / "README.md"


@pytest.mark.requirement("SE-08")
def test_a_token_is_known_by_its_sha_256_and_who_it_was_stands_in_the_record_and_nowhere_else(
    tmp_path: Path,
) -> None:
    email = canary("somebody-") + "@acme.example"
    token = fresh(email=email, ref="refs/heads/x")
    with running_gateway(
        write_config(tmp_path / "config", aws="http://127.0.0.1:1"), tmp_path / "audit"
    ) as gateway:
        answer = gateway.start(token, "deploy-payments", key="k", input={"version": "1.4.2"})
        (record,) = gateway.records(answer)
        until(lambda: answer.headers["x-request-id"] in gateway.log())
        log = gateway.log()
        journal = "".join(path.read_text() for path in (tmp_path / "audit").rglob("*.jsonl"))
    kid = json.loads(base64.urlsafe_b64decode(token.partition(".")[0] + "=="))["kid"]

    assert record.token == hashlib.sha256(token.encode()).hexdigest()
    assert record.key_id_digest == hashlib.sha256(kid.encode()).hexdigest()[:16]
    assert f'"{kid}"' not in journal + log
    assert ("email", email) in record.claims
    assert record.principal is not None
    assert email not in log + answer.text
    assert record.principal.subject not in log


@pytest.mark.requirement("SE-08")
def test_the_limits_in_the_readme_say_that_the_record_holds_personal_data_and_why() -> None:
    limits = README.read_text().partition("What it cannot do, so that you can:")[2].partition("\n| ")[0]

    assert "**The audit record holds personal data in clear**" in limits
