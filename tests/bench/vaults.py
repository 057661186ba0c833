"""Real Vault as a peer: `auth/jwt/login` of the same tokens, with the same checks, for service or batch tokens."""

import json
import secrets
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

from gateway.dev.children import LOOPBACK, Server, running
from gateway.dev.vault import HOW_TO_GET_ONE, VaultNotFound, find_vault
from tests.bench.ask import TOKEN, Ask
from tests.bench.machine import Cores, listener
from tests.bench.peers import Peer
from tests.bench.tokens import AUDIENCE, CLAIM, ISSUER, Supply
from tests.support.vaults import hvac_client

_LOGIN: Final = Ask(
    method="POST",
    path="/v1/auth/jwt/login",
    headers={"Content-Type": "application/json"},
    body=f'{{"role":"bench","jwt":"{TOKEN}"}}',
)


@contextmanager
def vault(supply: Supply, cores: Cores, *, kind: Literal["service", "batch"]) -> Iterator[Peer]:
    """Run Vault in dev mode, which keeps everything in memory and has no audit device; raises VaultNotFound.

    On one core Go runs one thread of the program at a time.
    """
    program = find_vault()
    if program is None:
        raise VaultNotFound(HOW_TO_GET_ONE)
    root = secrets.token_urlsafe(24)

    def command(_port: int, _scratch: Path) -> Sequence[str]:
        return [*cores.pin_server(), str(program), "server", "-dev", "-dev-no-store-token"]

    def environment(port: int) -> dict[str, str]:
        return {
            "VAULT_DEV_ROOT_TOKEN_ID": root,
            "VAULT_DEV_LISTEN_ADDRESS": f"{LOOPBACK}:{port}",
            "VAULT_DISABLE_MLOCK": "true",
            "SKIP_SETCAP": "true",
        }

    server = Server(name=f"vault-{kind}", command=command, environment=environment, health="/v1/sys/health")
    with running(server) as port:
        address = f"http://{LOOPBACK}:{port}"
        _prepare(address, root, supply, kind)
        yield Peer(
            name=f"vault-{kind}",
            version=_version(program),
            origin=address,
            ask=_LOGIN,
            process=listener(port),
            lets_in=_has_token,
            refuses=frozenset({400}),
        )


def _prepare(address: str, root: str, supply: Supply, kind: str) -> None:
    claim, wanted = CLAIM
    with hvac_client(address, root) as admin:
        admin.sys.enable_auth_method("jwt")
        admin.write_data(
            "auth/jwt/config",
            data={"jwt_validation_pubkeys": [supply.public_pem()], "bound_issuer": ISSUER},
        )
        admin.write_data(
            "auth/jwt/role/bench",
            data={
                "role_type": "jwt",
                "bound_audiences": [AUDIENCE],
                "bound_claims": {claim: wanted},
                "user_claim": claim,
                "token_type": kind,
                "token_policies": ["default"],
                "token_ttl": "15m",
            },
        )


def _has_token(status: int, body: bytes) -> bool:
    return status == 200 and bool(json.loads(body)["auth"]["client_token"])


def _version(program: Path) -> str:
    done = subprocess.run([str(program), "version"], capture_output=True, text=True, check=True)
    return done.stdout.partition(" ")[2].lstrip("v").replace(",", " ").split()[0]
