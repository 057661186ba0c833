"""What certificates say by their text."""

import time

import pytest

from gateway.identity.certificates import ends_at
from tests.support.certificates import Authority

DAY_S = 86_400


@pytest.mark.parametrize(
    ("expired", "days"),
    [pytest.param((False,), 1, id="good"), pytest.param((False, True), -1, id="the-first-of-a-chain")],
)
def test_a_chain_ends_with_the_first_of_its_certificates(expired: tuple[bool, ...], days: int) -> None:
    authority = Authority()
    chain = b"".join(authority.server_pem("gateway.example", expired=one) for one in expired)

    found = ends_at(chain.decode("ascii"))

    assert found == pytest.approx(time.time() + days * DAY_S, abs=600)


def test_a_text_without_a_certificate_ends_never() -> None:
    assert ends_at("nothing") is None
