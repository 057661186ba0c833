"""The derived configuration folder: the person's files, with issuers and AWS on loopback."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from gateway.dev.derive import DerivedFolder, StandIn, read_issuers

_GATEWAY = """\
format: oidc-gateway/gateway.v1
issuers:
  github: { preset: github-actions, audiences: [https://gw.example] }
  okta: { preset: okta, issuer: https://acme.okta.example/oauth2/x, jwks_uri: https://k.example/, audiences: [a] }
  pool: { preset: cognito, issuer: https://cognito-idp.eu-west-1.amazonaws.com/p, clients: [real] }
aws: { region: eu-west-1 }
"""
_TARGETS = "workflows: {w: {state_machine: 'arn:aws:states:us-east-1:111122223333:stateMachine:w'}}\n"


@pytest.fixture
def derived(tmp_path: Path) -> DerivedFolder:
    source = tmp_path / "config"
    (source / "mappings").mkdir(parents=True)
    (source / "gateway.yaml").write_text(_GATEWAY)
    (source / "targets.yaml").write_text(_TARGETS)
    (source / "mappings" / "team.yaml").write_text("rules: []  # as written\n")
    return DerivedFolder(
        source=source,
        destination=tmp_path / "copy",
        stand_ins={
            "github": StandIn(issuer="http://127.0.0.1:1/github"),
            "okta": StandIn(issuer="http://127.0.0.1:1/okta/oauth2/x"),
            "pool": StandIn(issuer="https://pool", jwks_uri="http://127.0.0.1:2/jwks", clients=("dev",)),
        },
        aws_url="http://127.0.0.1:2",
    )


def gateway_yaml(derived: DerivedFolder) -> dict[str, dict[str, object]]:
    document: dict[str, dict[str, object]] = yaml.safe_load(
        (derived.destination / "gateway.yaml").read_bytes()
    )
    return document


def test_only_issuers_and_endpoints_differ_from_the_persons_files(derived: DerivedFolder) -> None:
    derived.update()

    assert gateway_yaml(derived) == {
        "format": "oidc-gateway/gateway.v1",
        "issuers": {
            "github": {
                "preset": "github-actions",
                "audiences": ["https://gw.example"],
                "issuer": "http://127.0.0.1:1/github",
            },
            "okta": {"preset": "okta", "issuer": "http://127.0.0.1:1/okta/oauth2/x", "audiences": ["a"]},
            "pool": {
                "preset": "cognito",
                "issuer": "https://pool",
                "clients": ["dev"],
                "jwks_uri": "http://127.0.0.1:2/jwks",
            },
        },
        "aws": {
            "region": "eu-west-1",
            "endpoints": {
                "eu-west-1": {"sts": "http://127.0.0.1:2", "states": "http://127.0.0.1:2"},
                "us-east-1": {"sts": "http://127.0.0.1:2", "states": "http://127.0.0.1:2"},
            },
            "emulator": True,
        },
    }
    for name in ("targets.yaml", "mappings/team.yaml"):
        assert (derived.destination / name).read_bytes() == (derived.source / name).read_bytes()


def test_an_edit_an_addition_and_a_removal_reach_the_copy(derived: DerivedFolder) -> None:
    derived.update()
    (derived.source / "mappings" / "team.yaml").write_text("rules: [changed]\n")
    (derived.source / "mappings" / "new.yaml").write_text("rules: [new]\n")
    (derived.source / "targets.yaml").unlink()

    stale = derived.is_stale()
    derived.update()

    assert stale
    assert not derived.is_stale()
    assert (derived.destination / "mappings" / "team.yaml").read_text() == "rules: [changed]\n"
    assert (derived.destination / "mappings" / "new.yaml").exists()
    assert not (derived.destination / "targets.yaml").exists()


def test_a_file_that_did_not_change_is_not_written_again(derived: DerivedFolder) -> None:
    derived.update()
    before = (derived.destination / "targets.yaml").stat().st_mtime_ns

    derived.update()

    assert (derived.destination / "targets.yaml").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "text", [pytest.param("issuers: [", id="syntax"), pytest.param("issuers: 7\n", id="shape")]
)
def test_a_broken_file_reaches_the_gateway_as_it_is_so_that_errors_name_the_right_line(
    derived: DerivedFolder, text: str
) -> None:
    (derived.source / "gateway.yaml").write_text(text)

    derived.update()

    assert (derived.destination / "gateway.yaml").read_text() == text


def test_copies_are_readable_by_their_owner_alone(derived: DerivedFolder) -> None:
    derived.update()

    assert (derived.destination / "gateway.yaml").stat().st_mode & 0o077 == 0


def test_a_folder_without_usable_issuers_is_refused_with_the_next_step(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text("issuers: 7\n")

    with pytest.raises(ValueError, match=r"`oidc-gateway check .*` says why"):
        read_issuers(tmp_path)


VAULTS = "vaults:\n  main: { address: https://vault.example:8200, namespace: acme, ca_file: ca.pem }\n"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        pytest.param(
            None,
            {"address": "https://vault.example:8200", "namespace": "acme", "ca_file": "ca.pem"},
            id="none-runs",
        ),
        pytest.param("http://127.0.0.1:3", {"address": "http://127.0.0.1:3"}, id="one-runs"),
    ],
)
def test_a_vault_of_the_files_is_replaced_when_one_is_embedded(
    derived: DerivedFolder, url: str | None, expected: dict[str, str]
) -> None:
    (derived.source / "gateway.yaml").write_text(_GATEWAY + VAULTS)

    replace(derived, vault_url=url).update()

    assert gateway_yaml(derived)["vaults"] == {"main": expected}
