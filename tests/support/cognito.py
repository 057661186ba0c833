"""A Cognito user pool in ministack or moto: real tokens in Cognito's shapes, signed by keys that the emulator publishes."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.support.boto import REGION, client

_PASSWORD = "Correct-horse-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class CognitoTokens:
    """What one sign-in gives."""

    id_token: str
    access_token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CognitoPool:
    """One pool with one client and one user.

    issuer:   AWS's own host name, as in the tokens' `iss`; nothing here ever calls it.
    jwks_uri: where the emulator publishes the pool's keys; loopback.
    """

    issuer: str
    jwks_uri: str
    client_id: str
    username: str
    endpoint: str

    def sign_in(self) -> CognitoTokens:
        """Sign the user in with the password and return fresh tokens."""
        answer = client("cognito-idp", self.endpoint).initiate_auth(
            ClientId=self.client_id,
            AuthFlow="USER_PASSWORD_AUTH",
            AuthParameters={"USERNAME": self.username, "PASSWORD": _PASSWORD},
        )["AuthenticationResult"]
        return CognitoTokens(id_token=answer["IdToken"], access_token=answer["AccessToken"])


def create_pool(
    endpoint: str,
    *,
    groups: Sequence[str] = (),
    attributes: Mapping[str, str] | None = None,
) -> CognitoPool:
    """Make a pool with a client and a signed-up user.

    endpoint:   base URL of ministack or moto. groups: become `cognito:groups`. attributes: become `custom:…` of the ID token.
    """
    idp = client("cognito-idp", endpoint)
    custom = attributes or {}
    schema = [{"Name": name, "AttributeDataType": "String", "Mutable": True} for name in ("email", *custom)]
    pool = idp.create_user_pool(PoolName=f"pool-{uuid.uuid4().hex[:8]}", Schema=schema)["UserPool"]["Id"]
    app = idp.create_user_pool_client(
        UserPoolId=pool,
        ClientName="app",
        ExplicitAuthFlows=["ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"],
    )
    named = [{"Name": f"custom:{name}", "Value": value} for name, value in custom.items()]
    email = {"Name": "email", "Value": "alice@acme.example"}
    idp.admin_create_user(
        UserPoolId=pool, Username="alice", MessageAction="SUPPRESS", UserAttributes=[email, *named]
    )
    idp.admin_set_user_password(UserPoolId=pool, Username="alice", Password=_PASSWORD, Permanent=True)
    for group in groups:
        idp.create_group(UserPoolId=pool, GroupName=group)
        idp.admin_add_user_to_group(UserPoolId=pool, Username="alice", GroupName=group)
    return CognitoPool(
        issuer=f"https://cognito-idp.{REGION}.amazonaws.com/{pool}",
        jwks_uri=f"{endpoint}/{pool}/.well-known/jwks.json",
        client_id=app["UserPoolClient"]["ClientId"],
        username="alice",
        endpoint=endpoint,
    )
