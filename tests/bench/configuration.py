"""Administrators' folders of any number of rules, for measuring."""

from pathlib import Path
from typing import Final

from tests.bench.tokens import AUDIENCE, CLAIM, batches

RULES_A_FILE: Final = 100
REGION: Final = "eu-west-1"
ROLE: Final = "arn:aws:iam::111122223333:role/deployer"
MACHINE: Final = f"arn:aws:states:{REGION}:111122223333:stateMachine:deploy"

_REGION_LINE: Final = f"  region: {REGION}\n"
_GATEWAY: Final = f"""\
format: oidc-gateway/gateway.v1
issuers:
  github:
    preset: github-actions
    audiences: [{AUDIENCE}]
    require: {{ repository_owner_id: "12" }}
    jwks_file: keys.json
    max_age: 24h
aws:
  region: {REGION}
# Out of reach, so that the counting is measured and nothing is refused.
limits: {{ address: 9999999/1s, subject: 9999999/1s, rule: 9999999/1s }}
"""
_TARGETS: Final = f"""\
format: oidc-gateway/targets.v1
roles:
  deployer: {{ arn: {ROLE}, duration: 15m }}
workflows:
  deploy:
    state_machine: {MACHINE}
    type: standard
    input_schema: deploy.json
    timeout: 1h
"""
_INPUT: Final = """\
{"type": "object", "required": ["version"], "additionalProperties": false, "properties": {
  "version": {"type": "string", "maxLength": 32}, "soak_s": {"type": "integer", "minimum": 0, "maximum": 3600}}}
"""


def repository_id(number: int) -> str:
    """Return the repository that rule `number` is about; rule 0 is about that of the tokens."""
    return CLAIM[1] if number == 0 else str(1_000_000 + number)


def write_configuration(folder: Path, *, rules: int, jwks: bytes, upstream: str | None = None) -> Path:
    """Write a folder of so many rules, a hundred a file, each about a repository of its own, all for one workflow.

    upstream: base URL of STS and Step Functions; AWS's own when None.
    """
    (folder / "mappings").mkdir(parents=True)
    folder.chmod(0o755)
    (folder / "gateway.yaml").write_text(_GATEWAY.replace(_REGION_LINE, _REGION_LINE + _endpoints(upstream)))
    (folder / "targets.yaml").write_text(_TARGETS)
    (folder / "deploy.json").write_text(_INPUT)
    (folder / "keys.json").write_bytes(jwks)
    for at, numbers in enumerate(batches(rules, RULES_A_FILE)):
        write_mapping(folder, at, numbers)
    return folder


def _endpoints(upstream: str | None) -> str:
    return f"  endpoints: {{ {REGION}: {{ sts: {upstream}, states: {upstream} }} }}\n" if upstream else ""


def write_mapping(folder: Path, at: int, numbers: range, *, why: str = "BENCH-1, measured") -> None:
    """Write one mapping file; another `why` makes it another file."""
    text = "".join(_rule(number, why) for number in numbers)
    (folder / "mappings" / f"part-{at:04}.yaml").write_text(
        f"format: oidc-gateway/mapping.v1\nrules:\n{text}"
    )


def _rule(number: int, why: str) -> str:
    name = "payments" if number == 0 else f"service-{number}"
    return f"""\
  - name: {name}
    why: {why}
    issuer: github
    claims:
      repository: acme/{name}
      repository_id: "{repository_id(number)}"
      ref: refs/heads/main
      environment: {{ any_of: [prod, prod-eu] }}
    grants:
      - {{ start: deploy, as: deployer }}
      - {{ obtain: deployer }}
"""
