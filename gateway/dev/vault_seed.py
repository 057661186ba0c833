"""Makes the embedded Vault what the files say, with the code of `vault apply`, and its AWS engines users of the embedded AWS."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from gateway.admin.vault_apply import make, read_held
from gateway.admin.vault_iam import GLOBAL_REGION
from gateway.admin.vault_items import WantedVault
from gateway.admin.vault_plan import Change, plan
from gateway.admin.vault_session import VaultAccess, VaultSession, opened
from gateway.admin.vault_wanted import wanted_of
from gateway.dev.ministack import ROOT_KEY_ID, ROOT_SECRET
from gateway.dev.vault import VaultServer
from gateway.errors import GatewayError
from gateway.outbound.vault_answers import VaultFault
from gateway.policy.snapshot import Policy

#: Where targets behind Vault lead when there is none: nobody listens there, and no token goes to a real Vault.
NOBODY: Final = "http://127.0.0.1:1"


def seed_vault(server: VaultServer, policy: Policy, *, aws_url: str, region: str) -> tuple[str, ...]:
    """Create, correct and delete what the files want; return what could not be made, one sentence each.

    May be repeated after the files have changed. All Vaults of the files are this one. region: of the engines' STS.
    """
    every = wanted_of(policy, today=datetime.now(tz=UTC).date())
    access = VaultAccess(address=server.address, token=server.root_token)
    faults: list[str] = []
    with opened(access) as session:
        for wanted in every:
            try:
                held = read_held(session, wanted)
                for engine in wanted.engines:
                    if engine not in held.engines:
                        _enable_engine(session, engine, _root_config(aws_url, region))
                for mount in wanted.task_mounts:
                    if mount not in held.mounts:
                        _enable_task_mount(session, mount, _client_config(aws_url))
                # What one Vault of the files does not want, another may.
                faults += _follow(session, wanted, prune=len(every) == 1)
            except (GatewayError, VaultFault) as fault:
                faults.append(f"The embedded Vault could not be brought in step with the files: {fault}")
    return tuple(faults)


def _follow(session: VaultSession, wanted: WantedVault, *, prune: bool) -> list[str]:
    found = plan(wanted, read_held(session, wanted))
    changes = (*found.changes, *(found.prune if prune and not found.problems else ()))
    return [*found.problems, *(fault for change in changes if (fault := _made(session, change)))]


def _made(session: VaultSession, change: Change) -> str | None:
    try:
        make(session, change)
    except GatewayError as fault:
        return f"The embedded Vault did not take {change.path}: {fault.message}"
    return None


def _enable_engine(session: VaultSession, engine: str, config: Mapping[str, object]) -> None:
    # An administrator does this by hand: `vault apply` never holds what the engine signs with.
    session.write(f"sys/mounts/{engine}", {"type": "aws"})
    session.write(f"{engine}/config/root", config)


def _enable_task_mount(session: VaultSession, mount: str, config: Mapping[str, object]) -> None:
    session.write(f"sys/auth/{mount}", {"type": "aws"})
    session.write(f"auth/{mount}/config/client", config)


def _client_config(aws_url: str) -> Mapping[str, object]:
    return {
        "access_key": ROOT_KEY_ID,
        "secret_key": ROOT_SECRET,
        "iam_endpoint": aws_url,
        "sts_endpoint": aws_url,
        "sts_region": GLOBAL_REGION,  # for which `vault login` signs
    }


def _root_config(aws_url: str, region: str) -> Mapping[str, object]:
    return {
        "access_key": ROOT_KEY_ID,
        "secret_key": ROOT_SECRET,
        "region": region,
        "sts_region": region,
        "iam_endpoint": aws_url,
        "sts_endpoint": aws_url,
    }
