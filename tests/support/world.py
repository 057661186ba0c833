"""The whole product running on this machine: the example configuration, and a team `lab` for what it has no example of."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from gateway.dev.environment import Environment, environment
from gateway.dev.tokens import TokenOrder
from tests.support.caller import Caller
from tests.support.canaries import RUN
from tests.support.canary_gateway import take_arguments, take_metrics
from tests.support.gateways import ROOT, edit

_TEAM = "  lab: { contact: lab@acme.example, issuers: [github, okta-agents] }\n"
_TARGETS = """\
format: oidc-gateway/targets.v1
roles:
  lab-one: { arn: arn:aws:iam::111122223333:role/lab-one, duration: 1h, teams: [lab] }
  lab-two: { arn: arn:aws:iam::111122223333:role/lab-two, duration: 15m, teams: [lab] }
vault_roles:
  lab-vault: { <v>lab-vault, policies: [lab-vault], ttl: 15m, <e>lab-vault, role_arn: <r>lab-vault }, teams: [lab] }
  lab-narrow: { <v>lab-narrow, policies: [lab-narrow], ttl: 15m, <e>lab-narrow, role_arn: <r>lab-narrow }, teams: [lab] }
  lab-wrapped: { <v>lab-wrapped, policies: [lab-wrapped], ttl: 10m, wrap: 60s, teams: [lab] }
workflows:
  lab-wait:    { <m>lab-wait, type: standard, input_schema: any, timeout: 1h, teams: [lab] }
  lab-echo:    { <m>lab-echo, type: standard, input_schema: any, output: visible, timeout: 1h, teams: [lab] }
  lab-fail:    { <m>lab-fail, type: standard, output: visible, timeout: 1h, teams: [lab] }
  lab-secret:  { <m>lab-secret, type: standard, input_schema: any, timeout: 1h, teams: [lab] }
  lab-past:    { <m>lab-past, type: standard, timeout: 1h, teams: [lab] }
  lab-express: { <m>lab-express, type: express, input_schema: any, timeout: 1m, teams: [lab] }
  lab-sync:    { <m>lab-sync, type: express-sync, input_schema: any, output: visible, timeout: 30s, teams: [lab] }
  lab-vaulted: { <m>lab-vaulted, type: standard, timeout: 15m, teams: [lab] }
"""
_ABBREVIATED: Mapping[str, str] = {
    "<m>": "state_machine: arn:aws:states:eu-west-1:111122223333:stateMachine:",
    "<v>": "vault: main, mount: jwt-github, user_claim: repository_id, role: ",
    "<e>": "aws: { mount: aws, role: ",
    "<r>": "arn:aws:iam::111122223333:role/",
}
_RULES = """\
format: oidc-gateway/mapping.v1
rules:
  - name: bench
    why: LAB-1, what the tests do themselves
    issuer: github
    claims: { repository: acme/lab, repository_id: "99" }
    grants:
      - { start: lab-wait, as: lab-one }
      - { start: lab-echo, as: lab-one }
      - { start: lab-fail, as: lab-one }
      - { start: lab-secret, as: lab-one }
      - { start: lab-express, as: lab-one }
      - { start: lab-sync, as: lab-one }
      - { obtain: lab-one }
  - name: second
    why: LAB-2, the same workflow as another target
    issuer: github
    claims: { repository: acme/lab, repository_id: "99", environment: both }
    grants:
      - { start: lab-wait, as: lab-two }
  - name: greedy
    why: LAB-3, grants what belongs to the team payments
    issuer: github
    claims: { repository: acme/lab, repository_id: "99" }
    grants:
      - { start: migrate-ledger, as: payments-migrator }
  - name: past
    why: LAB-4, was allowed once
    issuer: github
    claims: { repository: acme/lab, repository_id: "99" }
    grants:
      - { start: lab-past, as: lab-one }
    last_day: "2020-01-31"
  - name: vaulted
    why: LAB-5, what the tests do through Vault
    issuer: github
    claims: { repository: acme/vault-lab, repository_id: "98" }
    grants:
      - { start: lab-vaulted, as: lab-vault }
      - { start: lab-vaulted, as: lab-narrow }
      - { obtain: lab-vault }
      - { obtain: lab-vault, form: vault-token }
      - { obtain: lab-narrow, form: vault-token }
      - { obtain: lab-wrapped, form: vault-token }
"""
_ECHO: Mapping[str, object] = {"Type": "Pass", "End": True}
_FAIL: Mapping[str, object] = {"Type": "Fail", "Error": "Broken", "Cause": "on purpose"}
_STATES: Mapping[str, Mapping[str, object]] = {
    "lab-wait": {"Type": "Wait", "Seconds": 600, "End": True},
    "lab-echo": _ECHO,
    "lab-fail": _FAIL,
    "lab-secret": _ECHO,
    "lab-past": _ECHO,
    "lab-express": _ECHO,
    "lab-sync": _FAIL,
    "lab-vaulted": _ECHO,
}
_LAB: Mapping[str, object] = {
    "sub": "repo:acme/lab:environment:build and test",
    "repository": "acme/lab",
    "repository_id": "99",
    "environment": "build and test",
}


class World(Caller):
    """The running product, for one test session: take workflows and idempotency keys that no other test takes."""

    def __init__(self, running: Environment) -> None:
        super().__init__(running.url, running.audit)
        self.environment = running

    def mint(
        self,
        issuer: str = "github",
        claims: Mapping[str, object] | None = None,
        *,
        remove: tuple[str, ...] = (),
        expires_in_s: int | None = None,
    ) -> str:
        """Return a token of an issuer of the example, changed as asked."""
        order = TokenOrder(issuer=issuer, claims=claims or {}, remove=remove, expires_in_s=expires_in_s)
        minted = self.environment.mint(order)
        RUN.hold_token(minted)
        return minted

    def lab(self, **claims: object) -> str:
        """Return a token of the repository acme/lab, whose subject has blanks in it."""
        return self.mint("github", {**_LAB, **claims})

    def vault_lab(self, **claims: object) -> str:
        """Return a token of the repository acme/vault-lab, for which everything goes through Vault."""
        return self.lab(repository="acme/vault-lab", repository_id="98", **claims)


@contextmanager
def running_world(folder: Path) -> Iterator[World]:
    """Start everything on a configuration that is written into `folder`."""
    shutil.copytree(ROOT / "deploy" / "terraform", folder / "deploy" / "terraform")
    for name, state in _STATES.items():
        machine = {"StartAt": "Only", "States": {"Only": state}}
        (folder / "deploy" / "terraform" / f"{name}.asl.json").write_text(json.dumps(machine))
    with environment(write_world_config(folder / "config")) as running:
        world = World(running)
        with world.client:
            try:
                yield world
            finally:
                take_what_it_shows(world)


def take_what_it_shows(world: World) -> None:
    """Hand over to the search at the end of the run what the product has shown and written so far."""
    take_metrics("the world", world.client)
    take_arguments("the world", os.getpid())
    RUN.add("logs", "the world", world.environment.log().read_bytes())
    for journal in world.audit.rglob("audit-*.jsonl"):
        RUN.add("records", str(journal), journal.read_bytes(), records=True)


def write_world_config(folder: Path) -> Path:
    """Write the example configuration and the team `lab` into this folder."""
    shutil.copytree(ROOT / "config", folder)
    edit(folder / "gateway.yaml", "teams:\n", f"teams:\n{_TEAM}")
    (folder / "targets").mkdir()
    targets = _TARGETS
    for short, text in _ABBREVIATED.items():
        targets = targets.replace(short, text)
    (folder / "targets" / "lab.yaml").write_text(targets)
    (folder / "mappings" / "lab.yaml").write_text(_RULES)
    return folder
