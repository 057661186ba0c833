"""Our Vault edge as `app` puts it together, the values that it is asked with, and the answers of a Vault that can lie."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from gateway.arn import parse_role
from gateway.clock import Clock
from gateway.credentials.vault import VaultCredentials
from gateway.metrics import Metrics
from gateway.outbound.by_ca import HttpByCa
from gateway.outbound.pooled import PooledHttp
from gateway.outbound.vault import VaultCalls
from gateway.policy.rule import Vault, VaultAws, VaultRole
from tests.support.aws import TLS
from tests.support.clocks import SettableClock
from tests.support.peer import Reply, answers

SERVICE_TOKEN = "hvs.a-token-of-the-role"


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """What was put together."""

    vault: VaultCredentials
    metrics: Metrics


@asynccontextmanager
async def vault_edge(*, clock: Clock | None = None, pause_s: float = 0.05) -> AsyncIterator[Edge]:
    """Yield the edge; when the block ends, every revocation that it began has come to its end."""
    metrics = Metrics()
    async with PooledHttp(tls=TLS) as http, HttpByCa(http) as clients:
        calls = VaultCalls(clients, metrics=metrics, jitter=lambda: 0.0)
        async with VaultCredentials(calls=calls, clock=clock or SettableClock(), pause_s=pause_s) as vault:
            yield Edge(vault=vault, metrics=metrics)


def engine(*, arn: str = "arn:aws:iam::111122223333:role/deployer") -> VaultAws:
    return VaultAws(mount="aws", role="payments", arn=parse_role(arn))


def vault_role(
    address: str = "https://vault.acme.example:8200",
    *,
    name: str = "payments-ci",
    namespace: str | None = None,
    ca_pem: str | None = None,
    mount: str = "jwt-github",
    role: str = "payments-ci",
    policies: tuple[str, ...] = ("payments-ci",),
    ttl_s: int = 900,
    wrap_s: int | None = None,
    aws: VaultAws | None = None,
) -> VaultRole:
    return VaultRole(
        name=name,
        vault=Vault(name="main", address=address, namespace=namespace, ca_pem=ca_pem),
        mount=mount,
        role=role,
        user_claim="repository_id",
        policies=policies,
        ttl_s=ttl_s,
        wrap_s=wrap_s,
        aws=aws,
    )


def login_answer(**changes: object) -> dict[str, object]:
    """Return what Vault answers to a good login; changes are to `auth`, and None removes."""
    auth: dict[str, object] = {
        "client_token": SERVICE_TOKEN,
        "accessor": "an-accessor",
        "policies": ["default", "payments-ci"],
        "token_policies": ["default", "payments-ci"],
        "metadata": {"role": "payments-ci"},
        "lease_duration": 900,
        "renewable": True,
        "entity_id": "an-entity",
        "token_type": "service",
        "orphan": True,
        "mfa_requirement": None,
        "num_uses": 0,
        **changes,
    }
    return {
        "request_id": "r-1",
        "lease_id": "",
        "renewable": False,
        "lease_duration": 0,
        "data": None,
        "wrap_info": None,
        "warnings": None,
        "auth": {name: value for name, value in auth.items() if value is not None},
    }


def wrapped_answer(**changes: object) -> dict[str, object]:
    """Return what Vault answers to a login that it was asked to wrap; changes are to `wrap_info`."""
    wrap: dict[str, object] = {
        "token": "hvs.a-wrapping-token",
        "accessor": "its-accessor",
        "ttl": 60,
        "creation_time": "2026-11-22T10:17:03Z",
        "creation_path": "auth/jwt-github/login",
        "wrapped_accessor": "an-accessor",
        **changes,
    }
    return {**login_answer(), "auth": None, "wrap_info": wrap}


def engine_answer(session: str, **changes: object) -> dict[str, object]:
    """Return what Vault's AWS engine answers for a session name; changes are to `data`, and None removes."""
    data: dict[str, object] = {
        "access_key": "ASIATESTTESTTEST0001",
        "secret_key": "an-issued-secret",
        "security_token": "an-issued-session-token",
        "session_token": "an-issued-session-token",
        "arn": f"arn:aws:sts::111122223333:assumed-role/deployer/{session}",
        "ttl": 899,
        **changes,
    }
    return {
        "request_id": "r-2",
        "lease_id": "aws/sts/payments/AbCdEf",
        "renewable": False,
        "lease_duration": 899,
        "data": {name: value for name, value in data.items() if value is not None},
        "auth": None,
    }


def says(document: Mapping[str, object], *, status: int = 200) -> Reply:
    return answers(json.dumps(document), status=status, content_type="application/json")


def refuses(*sentences: str, status: int = 400) -> Reply:
    return says({"errors": list(sentences)}, status=status)


REVOKED = answers(status=204)
