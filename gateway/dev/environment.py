"""The embedded environment as one context manager: identity providers, AWS and the real gateway, all on loopback."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import gateway
from gateway.compiling.compile import compile_policy
from gateway.dev.aws import EmbeddedAws, embedded_aws, seed, seed_reports
from gateway.dev.children import LOOPBACK, ChildFailed, Server, is_free, running
from gateway.dev.cognito import create_user_pool
from gateway.dev.derive import DerivedFolder, StandIn, read_account, read_issuers
from gateway.dev.folder import Note, kept_folder, leave_note, write_private
from gateway.dev.issuer import DevIssuer, Issuers, running_issuers
from gateway.dev.ministack import ministack_executable, running_ministack
from gateway.dev.tokens import TokenOrder, default_claims
from gateway.dev.vault import VaultNotFound, VaultServer, running_vault
from gateway.dev.vault_seed import NOBODY, seed_vault
from gateway.files.folder import load_sources
from gateway.identity.presets import PRESETS
from gateway.policy.snapshot import Policy

DEFAULT_PORT = 8080
_EXAMPLE_ACCOUNT = "111122223333"
_VAULT_TOKEN = "vault-token"
_VAULT_REGION = "eu-west-1"  # the embedded AWS answers alike in all


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """A running environment.

    url:     base URL of the gateway; empty until it runs.
    account: the account id of the embedded AWS.
    folder:  private folder of this run; gone at its end.
    derived: the configuration that the gateway reads.
    vault:   the embedded Vault; None where the machine has none.
    real:    by issuer name, the `iss` that `gateway.yaml` names and a stand-in replaces here.
    say:     told what the files ask for and could not be made.
    """

    url: str
    account: str
    folder: Path
    derived: DerivedFolder
    issuers: Issuers
    aws: EmbeddedAws
    vault: VaultServer | None
    real: Mapping[str, str] = field(repr=False)
    say: Callable[[str], None] = field(repr=False)

    @property
    def audit(self) -> Path:
        """Return the folder of the gateway's audit files."""
        return self.folder / "audit"

    @property
    def vault_token_file(self) -> Path:
        """Return the file with the root token of the embedded Vault; only its owner can read it."""
        return self.folder / _VAULT_TOKEN

    def mint(self, order: TokenOrder) -> str:
        """Return a compact token. Raises OrderInvalid."""
        return self.issuers.mint(order)

    def log(self) -> Path:
        """Return the file that the gateway writes its log to."""
        return next(self.folder.glob("oidc-gateway-gateway-*/output"))

    def follow_files(self) -> bool:
        """Bring gateway, AWS and Vault up to date with the configuration folder; say whether its files could be used.

        Raises AwsNotSeeded and OSError.
        """
        if not self.derived.is_stale():
            return True
        self.derived.update()
        policy = _compile(self.derived.destination)
        if policy is None:
            return False  # the gateway says what is wrong and keeps what it has
        seed(self.aws, policy, templates=_templates(self.derived.source), real=self.real)
        if self.vault is not None:
            for fault in seed_vault(self.vault, policy, aws_url=self.aws.url, region=_VAULT_REGION):
                self.say(fault)
        return True


def _compile(folder: Path) -> Policy | None:
    sources = load_sources(folder, lenient=True)
    return compile_policy(sources, dev=True, today=datetime.now(tz=UTC).date(), overlaps=False).policy


def _templates(config: Path) -> Path:
    """Return the folder whose files Terraform and we make roles from: beside the configuration, else the checkout's own."""
    beside = config.parent / "deploy" / "terraform"
    return beside if beside.is_dir() else Path(gateway.__file__).parent.parent / "deploy" / "terraform"


@contextmanager
def environment(
    config: Path, *, port: int | None = None, log: Callable[[str], None] = lambda _line: None
) -> Iterator[Environment]:
    """Start everything and yield when the gateway answers; leave nothing behind.

    config: the administrators' folder; it is only read. port: of the gateway; a free one when None.
    log:    told what takes long, and what could not be made. Raises ValueError, EnvironmentNotBuilt, ChildFailed and
    AwsNotSeeded.
    """
    if port is not None and not is_free(port):
        # Found out now and not when all else has been started.
        raise ChildFailed(
            f"The gateway cannot listen on port {port}: another program does, or it is not ours to use. "
            "Choose another with --port; 0 takes a free one."
        )
    ministack_executable(log=log)
    with ExitStack() as stack:
        folder = stack.enter_context(kept_folder())
        around = _surround(config, folder, stack, log)
        bound = stack.enter_context(running(_gateway(folder), workdir=folder, port=port))
        url = f"http://{LOOPBACK}:{bound}"
        issuers, aws = around.issuers, around.aws
        leave_note(folder, Note(gateway=url, issuers=issuers.url, aws=aws.url, mint_key=issuers.mint_key))
        yield replace(around, url=url)


def _surround(config: Path, folder: Path, stack: ExitStack, log: Callable[[str], None]) -> Environment:
    """Start and fill everything but the gateway."""
    entries = read_issuers(config)
    account = read_account(config) or _EXAMPLE_ACCOUNT
    aws = embedded_aws(stack.enter_context(running_ministack(account=account, workdir=folder)))
    vault = _embedded_vault(folder, stack, log)
    issuers = stack.enter_context(running_issuers(_dev_issuers(entries)))
    stand_ins = {name: StandIn(issuer=issuers.issuer_url(name)) for name in issuers.by_name}
    stand_ins |= _user_pools(entries, aws, issuers)
    surrounded = Environment(
        url="",
        account=account,
        folder=folder,
        derived=DerivedFolder(
            source=config,
            destination=folder / "config",
            stand_ins=stand_ins,
            aws_url=aws.url,
            vault_url=NOBODY if vault is None else vault.address,
        ),
        issuers=issuers,
        aws=aws,
        vault=vault,
        say=log,
        real={name: _real_issuer(entry) for name, entry in entries.items()},
    )
    if not surrounded.follow_files():
        raise ValueError(f"{config} has errors: `oidc-gateway check {config}` lists them.")
    seed_reports(aws)
    return surrounded


def _embedded_vault(folder: Path, stack: ExitStack, log: Callable[[str], None]) -> VaultServer | None:
    try:
        vault = stack.enter_context(running_vault(workdir=folder))
    except VaultNotFound:
        return None  # whoever asks is told how to get one
    except ChildFailed as fault:
        log(f"Going on without Vault: {fault}")
        return None
    write_private(folder / _VAULT_TOKEN, vault.root_token.reveal())
    return vault


def _dev_issuers(entries: Mapping[str, Mapping[str, object]]) -> tuple[DevIssuer, ...]:
    return tuple(
        _dev_issuer(name, entry) for name, entry in entries.items() if entry.get("preset") != "cognito"
    )


def _dev_issuer(name: str, entry: Mapping[str, object]) -> DevIssuer:
    audiences, clients = _texts(entry.get("audiences")), _texts(entry.get("clients"))
    return DevIssuer(
        name=name,
        # The real issuer's path, so that custom authorization servers and closing slashes stay what they are.
        path=f"/{name}{urlsplit(_real_issuer(entry)).path}",
        audience=next(iter([*audiences, *clients]), ""),
        defaults=default_claims(str(entry.get("preset")), client=next(iter(clients), None)),
    )


def _user_pools(
    entries: Mapping[str, Mapping[str, object]], aws: EmbeddedAws, issuers: Issuers
) -> dict[str, StandIn]:
    stand_ins = {}
    for name, entry in entries.items():
        if entry.get("preset") == "cognito":
            pool = create_user_pool(aws, name, region=_pool_region(entry))
            issuers.elsewhere[name] = pool.mint
            stand_ins[name] = StandIn(issuer=pool.issuer, jwks_uri=pool.jwks_uri, clients=(pool.client_id,))
    return stand_ins


def _pool_region(entry: Mapping[str, object]) -> str:
    # https://cognito-idp.REGION.amazonaws.com/POOL
    return (urlsplit(_real_issuer(entry)).hostname or "").split(".")[1]


def _real_issuer(entry: Mapping[str, object]) -> str:
    written = entry.get("issuer")
    if isinstance(written, str):
        return written
    return PRESETS[str(entry["preset"])].default_issuer or ""


def _texts(value: object) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else []


def _gateway(folder: Path) -> Server:
    """The real command, in a child process, with nothing of our environment but the package's own folder."""
    return Server(
        name="gateway",
        command=lambda port, _scratch: [
            sys.executable,
            "-m",
            "gateway",
            "serve",
            "--config",
            str(folder / "config"),
            "--dev",
            "--host",
            LOOPBACK,
            "--port",
            str(port),
            "--audit",
            str(folder / "audit"),
            "--log",
            "console",
        ],
        environment=lambda _port: {
            "PYTHONPATH": str(Path(gateway.__file__).parent.parent),
            # No load balancer has to take note here, and the tether waits three seconds only.
            "OIDC_GATEWAY_SERVE_ON": "1s",
            "OIDC_GATEWAY_DRAIN": "1s",
        },
        health="/readyz",
    )
