"""The example of deploy/vault as a whole: a state machine's task reads its secret from a real Vault with its own role."""

import io
import json
import sysconfig
import time
import uuid
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

import gateway
from gateway.arn import parse_role
from gateway.compiling.compile import compile_policy
from gateway.dev.vault import VaultServer
from gateway.files.folder import load_sources
from gateway.policy.rule import TaskRole
from gateway.policy.snapshot import AwsEndpoints
from tests.support.boto import client, create_machine
from tests.support.vault_plans import TODAY, administrator, apply, planned, task_policy
from tests.support.vault_tasks import client_config
from tests.support.vaults import assumable_role

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "deploy" / "vault"
SECRET = "secret/data/payments"
_PACKAGES = ("hvac", "requests", "urllib3", "idna", "certifi", "charset_normalizer")


def package() -> bytes:
    """Return what the README packages: our own package, hvac with what it needs, and the handler."""
    site = Path(sysconfig.get_paths()["purelib"])
    ours = Path(gateway.__file__).parent
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for folder in (ours, *(site / name for name in _PACKAGES)):
            for file in folder.rglob("*"):
                if file.suffix in {".py", ".so", ".pem", ".json"}:
                    archive.write(file, file.relative_to(folder.parent))
        archive.write(EXAMPLE / "task.py", "task.py")
    return held.getvalue()


def task_role_of_the_files(address: str, *, mount: str, principal: str) -> TaskRole:
    """Return the task role of config/, on this Vault and for this IAM role."""
    policy = compile_policy(load_sources(ROOT / "config"), dev=False, today=TODAY).policy
    assert policy is not None
    written = policy.task_roles["payout-task"]
    vault = replace(written.vault, address=address, namespace=None)
    return replace(written, vault=vault, mount=mount, principals=(parse_role(principal),))


def run(aws_url: str, machine: str, payload: dict[str, object]) -> dict[str, str]:
    states = client("stepfunctions", aws_url)
    execution = states.start_execution(stateMachineArn=machine, input=json.dumps(payload))["executionArn"]
    until = time.monotonic() + 60
    while (found := states.describe_execution(executionArn=execution))["status"] == "RUNNING":
        assert time.monotonic() < until, "the execution does not end"
        time.sleep(0.1)  # another process's work
    ended: dict[str, str] = found
    return ended


@pytest.mark.parametrize("allowed", [True, False], ids=["its role", "another role"])
def test_a_task_of_a_state_machine_reads_its_secret_from_vault_with_its_role_alone(
    vault: VaultServer, ministack: str, allowed: bool
) -> None:
    task_role = assumable_role(ministack)
    name = f"pay-{uuid.uuid4().hex[:8]}"
    bound = task_role if allowed else assumable_role(ministack)
    definition = (EXAMPLE / "pay.asl.json").read_text().replace("function:pay", f"function:{name}")
    role = task_role_of_the_files(vault.address, mount=f"aws-{name}", principal=bound)
    with administrator(vault) as session:
        session.write(f"sys/auth/{role.mount}", {"type": "aws"})
        session.write(f"auth/{role.mount}/config/client", client_config(ministack))
        session.write("sys/policies/acl/payout-task", {"policy": (EXAMPLE / "task-policy.hcl").read_text()})
        # By name: the embedded AWS gives a function's session another id than its role has.
        policy = replace(task_policy(role), aws=AwsEndpoints(region="eu-west-1", emulator=True))
        apply(session, policy)
        assert planned(session, policy).in_step
        session.write(SECRET, {"data": {"user": "ledger", "password": "s3cr3t-of-a-test"}})
        client("lambda", ministack).create_function(
            FunctionName=name,
            Runtime="python3.11",
            Handler="task.pay",
            Role=task_role,
            Timeout=30,
            Code={"ZipFile": package()},
            Environment={
                "Variables": {
                    "VAULT_ADDR": vault.address,
                    "VAULT_ROLE": role.role,
                    "VAULT_MOUNT": role.mount,
                    "VAULT_SERVER_ID": role.server_id or "",
                    "VAULT_SECRET": SECRET,
                }
            },
        )
        machine = create_machine(ministack, task_role, definition=definition)

        ended = run(ministack, machine, {"amount": "12.00"})

        client("lambda", ministack).delete_function(FunctionName=name)
        session.delete(f"sys/auth/{role.mount}")
    if allowed:
        assert ended["status"] == "SUCCEEDED", ended
        assert json.loads(ended["output"]) == {"amount": "12.00", "paid_as": "ledger", "authenticated": True}
    else:
        assert ended["status"] == "FAILED"
        assert "this AWS identity is not one that the role is for" in str(ended)
    assert "s3cr3t" not in str(ended)
