"""Revoking beside the answer: how long an attempt may take, and how often it is made."""

import asyncio

import pytest

from gateway.credentials.revocation import Revocations
from gateway.outbound.http import OutboundFailure
from gateway.policy.rule import Vault
from gateway.secret import Secret
from tests.support.vault_edge import vault_role

VAULT = vault_role().vault


@pytest.mark.requirement("VA-05")
async def test_each_of_two_attempts_has_two_seconds_and_there_is_no_third() -> None:
    given_s: list[float] = []

    async def fails(vault: Vault, token: Secret, *, deadline: float) -> None:
        del vault, token
        given_s.append(deadline - asyncio.get_running_loop().time())
        raise OutboundFailure("timeout", "no complete answer in time", sent=True)

    async with Revocations(fails, pause_s=0) as revocations:
        revocations.soon(VAULT, Secret("hvs.x"), accessor="a-digest")

    assert len(given_s) == 2
    assert all(1.5 < seconds <= 2 for seconds in given_s)
