"""An OAuth client that we did not write: authlib's, unmodified."""

import json

import pytest
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import AsyncOAuth2Client, OAuth2Client
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata

from tests.support.caller import GRANT_TYPE, JWT_TYPE
from tests.support.world import World


def wish(world: World, audience: str = "partner-northwind") -> dict[str, str]:
    return {
        "grant_type": GRANT_TYPE,
        "subject_token": world.mint("partners"),
        "subject_token_type": JWT_TYPE,
        "audience": audience,
    }


def test_a_client_exchanges_its_token(world: World) -> None:
    with OAuth2Client(token_endpoint_auth_method="none", trust_env=False) as client:
        found = client.fetch_token(f"{world.url}/token", **wish(world))

    assert json.loads(found["access_token"])["AccountId"] == "111122223333"
    assert (found["token_type"], found["target"]) == ("N_A", "partner-northwind")
    assert not found.is_expired()


async def test_so_does_an_asynchronous_one(world: World) -> None:
    async with AsyncOAuth2Client(token_endpoint_auth_method="none", trust_env=False) as client:
        found = await client.fetch_token(f"{world.url}/token", **wish(world))

    assert json.loads(found["access_token"])["Version"] == 1


def test_a_client_understands_a_refusal(world: World) -> None:
    with (
        OAuth2Client(token_endpoint_auth_method="none", trust_env=False) as client,
        pytest.raises(OAuthError) as refused,
    ):
        client.fetch_token(f"{world.url}/token", **wish(world, "no-such-target"))

    assert refused.value.error == "invalid_target"
    assert "No target of this name" in refused.value.description


def test_our_metadata_satisfies_rfc_8414_as_authlib_reads_it(world: World) -> None:
    document = world.get("/.well-known/oauth-authorization-server").json()

    # The RFC knows https alone; on loopback there is no TLS.
    secure = json.loads(json.dumps(document).replace("http://", "https://"))
    metadata = AuthorizationServerMetadata(secure)
    metadata.validate()

    assert metadata.token_endpoint_auth_methods_supported == ["none"]
