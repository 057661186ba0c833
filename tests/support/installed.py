"""A gateway as a small installation has it: an issuer that we did not write, one role, one state machine, one rule."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.boto import allow, create_machine, create_role, trust_policy
from tests.support.gateways import Gateway, running_gateway
from tests.support.provider import RunningIssuer

_GATEWAY = """\
format: oidc-gateway/gateway.v1
issuers:
  okta: {{ preset: okta, issuer: {issuer}, audiences: ["{audience}"] }}
aws:
  region: eu-west-1
  endpoints: {{ eu-west-1: {{ sts: {aws}, states: {aws} }} }}
  emulator: true
"""
_TARGETS = """\
format: oidc-gateway/targets.v1
roles:
  agent: {{ arn: {role}, duration: 1h }}
  sealed: {{ arn: {other}, duration: 15m }}
workflows:
  work: {{ state_machine: {machine}, type: standard }}
"""
_RULES = """\
format: oidc-gateway/mapping.v1
rules:
  - name: agent
    why: a test
    issuer: okta
    claims: { cid: agent, sub: agent, scp: { contains: workflows.start } }
    grants:
      - { start: work, as: agent }
      - { start: work, as: sealed }
      - { obtain: agent }
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """A running gateway in front of ministack. aws: its base URL."""

    gateway: Gateway
    okta: RunningIssuer
    aws: str

    def start(self, key: str) -> str:
        """Let the gateway start an execution for the client `agent`; return its ARN."""
        answer = self.gateway.start(self.okta.token("agent"), "work", target="agent", key=key)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["arn"])


@contextmanager
def installed_gateway(
    folder: Path, *, aws: str, okta: RunningIssuer, environment: Mapping[str, str] | None = None
) -> Iterator[Installed]:
    """Start a gateway whose role `agent` may start and describe executions of the machine behind `work`.

    environment: variables that the gateway finds besides its own few.
    """
    trust = trust_policy(okta.issuer, audience=okta.audience, subject="agent")
    role, other = create_role(aws, trust), create_role(aws, trust)
    machine = create_machine(aws, role)
    allow(aws, role, action="states:StartExecution", resource=machine)
    executions = machine.replace(":stateMachine:", ":execution:") + ":*"
    allow(aws, role, action="states:DescribeExecution", resource=executions)
    config = folder / "config"
    (config / "mappings").mkdir(parents=True)
    (config / "gateway.yaml").write_text(_GATEWAY.format(issuer=okta.issuer, audience=okta.audience, aws=aws))
    (config / "targets.yaml").write_text(_TARGETS.format(role=role, other=other, machine=machine))
    (config / "mappings" / "agents.yaml").write_text(_RULES)
    with running_gateway(config, folder / "audit", environment=environment) as gateway:
        yield Installed(gateway=gateway, okta=okta, aws=aws)
