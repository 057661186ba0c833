"""Conditions that no token of a known kind of issuer will ever meet."""

from pathlib import Path

import pytest

from tests.support.config_folder import GATEWAY, compiled, rule

EXTRA = """\
  gitlab:
    preset: gitlab
    audiences: [https://gateway.acme.example]
    require: { namespace_id: "12" }
  cluster:
    preset: kubernetes
    issuer: https://cluster.acme.example
    audiences: [https://gateway.acme.example]
"""


def found(folder: Path, issuer: str, claims: str) -> list[tuple[str, str]]:
    gateway = GATEWAY.replace("  partners:\n", f"{EXTRA}  partners:\n").replace(
        "issuers: [github, partners]", "issuers: [github, partners, gitlab, cluster]"
    )
    file = rule(
        f"issuer: {issuer}\nclaims: {{ sub: 'x', {claims} }}\ngrants: [{{ view: deploy, as: shared }}]"
    )
    file = file.replace("'x'", "system:serviceaccount:a:b" if issuer == "cluster" else "x")
    result = compiled(folder, {"gateway.yaml": gateway, "mappings/ops.yaml": file})
    return [(finding.code.value, finding.fix) for finding in result.findings]


@pytest.mark.parametrize(
    ("issuer", "claims", "code", "fix"),
    [
        ("github", "enviroment: prod", "claim_unlikely", "Did you mean environment?"),
        ("github", "branch: main-line", "claim_unlikely", "Did you mean ref?"),
        ("github", "Ref: refs/heads/main", "claim_unlikely", "Did you mean ref?"),
        (
            "github",
            "ref: main",
            "value_unlikely",
            "Write refs/heads/main for a branch, refs/tags/main for a tag.",
        ),
        ("github", 'ref_protected: "yes"', "value_unlikely", 'Write "true" in quotes.'),
        ("github", "ref_protected: yes", "yaml_type", 'Write "true" in quotes.'),
        ("github", "event_name: pull-request", "value_unlikely", "Did you mean pull_request?"),
        ("gitlab", "ref: refs/heads/main", "value_unlikely", "Write main: the name alone."),
        ("cluster", "namespace: prod", "claim_unlikely", "Did you mean /kubernetes.io/namespace?"),
        ("partners", "permision: x", "claim_unlikely", "Did you mean permissions?"),
    ],
)
def test_a_claim_or_value_that_an_issuer_never_sends_is_pointed_out(
    tmp_path: Path, issuer: str, claims: str, code: str, fix: str
) -> None:
    assert (code, fix) in found(tmp_path, issuer, claims)


@pytest.mark.parametrize(
    ("issuer", "claims"),
    [
        ("github", "ref: refs/tags/v1, event_name: merge_group, repo_property_tier: gold"),
        ("gitlab", 'ref: main, ref_protected: "true", ref_path: refs/heads/main'),
        ("cluster", "/kubernetes.io/pod/name: a"),
        ("partners", "https://acme.example/team: a, department: b, tenant: c"),
    ],
)
def test_what_an_issuer_may_well_send_is_not_doubted(tmp_path: Path, issuer: str, claims: str) -> None:
    assert found(tmp_path, issuer, claims) == []


@pytest.mark.parametrize(
    ("preset", "issuer", "right"),
    [
        ("auth0", "https://acme.auth0.example", "https://acme.auth0.example/"),
        ("okta", "https://acme.okta.example/oauth2/a/", "https://acme.okta.example/oauth2/a"),
        (
            "cognito",
            "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_A/",
            "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_A",
        ),
    ],
)
def test_the_end_of_an_issuer_is_as_its_kind_writes_it(
    tmp_path: Path, preset: str, issuer: str, right: str
) -> None:
    entry = f"  more:\n    preset: {preset}\n    issuer: {issuer}\n    audiences: [a]\n    clients: [b]\n"

    result = compiled(tmp_path, {"gateway.yaml": GATEWAY.replace("teams:\n", f"{entry}teams:\n", 1)})

    assert [(one.code, one.severity, one.fix) for one in result.findings] == [
        ("value_unlikely", "warning", f"Write {right}")
    ]
