"""A Vault that lets AWS identities in, judged by the embedded AWS, and identities for tasks."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from gateway.admin.vault_session import VaultSession
from tests.support.boto import Keys, client

_CHAIN = (
    "AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_PROFILE AWS_CONTAINER_CREDENTIALS_FULL_URI"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskMount:
    """An AWS auth mount of its own with one role. role: bound to `principal`; its tokens may read `secret`."""

    session: VaultSession
    mount: str
    role: str
    principal: str
    secret: str
    server_id: str | None


def client_config(aws_url: str) -> dict[str, object]:
    """Return what an administrator writes for an AWS auth mount: how Vault asks AWS."""
    return {
        "access_key": "test",
        "secret_key": "test",
        "sts_endpoint": aws_url,
        "iam_endpoint": aws_url,
        "sts_region": "us-east-1",
        "max_retries": 0,
    }


@contextmanager
def task_mount(
    session: VaultSession, aws_url: str, *, principal: str, server_id: str | None = None
) -> Iterator[TaskMount]:
    """Yield the mount; secrets live at `secret/data/…` of Vault's dev mode."""
    suffix = uuid.uuid4().hex[:8]
    mount, name, secret = f"aws-{suffix}", f"task-{suffix}", f"secret/data/payments-{suffix}"
    session.write(f"sys/auth/{mount}", {"type": "aws"})
    config = client_config(aws_url)
    if server_id is not None:
        config["iam_server_id_header_value"] = server_id
    session.write(f"auth/{mount}/config/client", config)
    session.write(f"sys/policies/acl/{name}", {"policy": f'path "{secret}" {{ capabilities = ["read"] }}'})
    session.write(
        f"auth/{mount}/role/{name}",
        {
            "auth_type": "iam",
            "bound_iam_principal_arn": [principal],
            "resolve_aws_unique_ids": False,
            "token_policies": [name],
            "token_ttl": 300,
            "token_explicit_max_ttl": 300,
        },
    )
    session.write(secret, {"data": {"password": "s3cr3t-of-a-test", "port": 5432}})
    try:
        yield TaskMount(
            session=session, mount=mount, role=name, principal=principal, secret=secret, server_id=server_id
        )
    finally:
        session.delete(f"sys/auth/{mount}")


def task_keys(aws_url: str, role_arn: str, *, duration_s: int = 900) -> Keys:
    """Return the credentials that a task of this role would find in its environment."""
    answer = client("sts", aws_url).assume_role(
        RoleArn=role_arn, RoleSessionName="task", DurationSeconds=duration_s
    )
    return Keys.of(answer["Credentials"])


def as_task(monkeypatch: pytest.MonkeyPatch, keys: Keys | None) -> None:
    """Put credentials into the environment as a platform does, and nothing else; None: none at all."""
    for name in _CHAIN.split():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    if keys is None:
        return
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", keys.key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", keys.secret)
    if keys.session_token is not None:
        monkeypatch.setenv("AWS_SESSION_TOKEN", keys.session_token)
