"""Configuration folders for tests: one that is good, and small changes to it."""

from collections.abc import Mapping
from datetime import date
from pathlib import Path

from gateway.compiling.compile import compile_policy
from gateway.compiling.compiled import Compiled
from gateway.files.folder import Sources, load_sources

TODAY = date(2026, 11, 22)

GATEWAY = """\
format: oidc-gateway/gateway.v1
issuers:
  github:
    preset: github-actions
    audiences: [https://gateway.acme.example]
    require: { repository_owner_id: "12" }
  partners:
    preset: auth0
    issuer: https://acme.eu.auth0.example/
    audiences: [https://gateway.acme.example]
    clients: [nw7]
teams:
  payments: { contact: payments@acme.example, issuers: [github] }
  ops: { contact: ops@acme.example, issuers: [github, partners] }
aws:
  region: eu-west-1
"""
TARGETS = """\
format: oidc-gateway/targets.v1
roles:
  prod: { arn: "arn:aws:iam::111122223333:role/prod", duration: 15m, teams: [payments] }
  shared: { arn: "arn:aws:iam::111122223333:role/shared", duration: 1h, teams: [payments, ops] }
workflows:
  deploy:
    state_machine: arn:aws:states:eu-west-1:111122223333:stateMachine:deploy
    type: standard
    teams: [payments, ops]
"""
PAYMENTS = """\
format: oidc-gateway/mapping.v1
rules:
  - name: deploy
    why: PAY-1, production
    issuer: github
    claims: { repository_id: "4711", ref: refs/heads/main }
    grants:
      - { start: deploy, as: prod }
      - { obtain: prod }
"""
OPS = """\
format: oidc-gateway/mapping.v1
rules:
  - name: watch
    why: OPS-1, on call
    issuer: partners
    claims: { sub: nw7@clients }
    grants: [{ view: deploy, as: shared }]
"""
GOOD: Mapping[str, str] = {
    "gateway.yaml": GATEWAY,
    "targets.yaml": TARGETS,
    "mappings/payments/deploy.yaml": PAYMENTS,
    "mappings/ops.yaml": OPS,
}


def rule(text: str) -> str:
    """Return a mapping file with one rule, whose members are given."""
    lines = "\n".join(f"    {line}" for line in text.strip().splitlines())
    return f"format: oidc-gateway/mapping.v1\nrules:\n  - name: one\n    why: test\n{lines}\n"


def write_folder(folder: Path, files: Mapping[str, str | bytes | None]) -> Path:
    """Write files; None deletes one."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
            path.chmod(0o644)
    return folder


def load(folder: Path, changes: Mapping[str, str | bytes | None] | None = None) -> Sources:
    """Write the good folder with changes and read it as `serve` does."""
    write_folder(folder, GOOD)
    write_folder(folder, changes or {})
    return load_sources(folder)


def compiled(
    folder: Path,
    changes: Mapping[str, str | bytes | None] | None = None,
    *,
    dev: bool = False,
    previous: Compiled | None = None,
) -> Compiled:
    """Write the good folder with changes and compile it."""
    return compile_policy(load(folder, changes), dev=dev, today=TODAY, previous=previous)


def said(result: Compiled) -> list[tuple[str, str]]:
    """Return code and place of each finding."""
    return [(finding.code, str(finding.place)) for finding in result.findings]


def codes(result: Compiled) -> list[str]:
    """Return the code of each finding."""
    return [finding.code for finding in result.findings]
