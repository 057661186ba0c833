"""A real user pool in the embedded AWS: its client, one operator, and ID tokens by signing that operator in."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.dev.aws import EmbeddedAws
from gateway.dev.tokens import OrderInvalid, TokenOrder

USER = "sam"
GROUP = "release-operators"


@dataclass(frozen=True, slots=True, kw_only=True)
class UserPool:
    """A Cognito user pool with one signed-up operator.

    issuer:   the AWS host name, as at AWS, although the pool is on loopback.
    jwks_uri: where its keys really are.
    """

    aws: EmbeddedAws
    region: str
    pool_id: str
    client_id: str
    password: str = field(repr=False)

    @property
    def issuer(self) -> str:
        """Return the `iss` of its tokens."""
        return f"https://cognito-idp.{self.region}.amazonaws.com/{self.pool_id}"

    @property
    def jwks_uri(self) -> str:
        """Return where its keys can be fetched."""
        return f"{self.aws.url}/{self.pool_id}/.well-known/jwks.json"

    def mint(self, order: TokenOrder) -> str:
        """Return an ID token by signing the operator in. Raises OrderInvalid: the pool decides what its tokens say."""
        if order.claims or order.remove or order.expires_in_s is not None:
            raise OrderInvalid(
                f"Tokens of {order.issuer} come from a Cognito user pool, which decides itself what they say; "
                "claims, audience and lifetime cannot be chosen."
            )
        answer: Mapping[str, Mapping[str, str]] = self.aws.client("cognito-idp", self.region).initiate_auth(
            AuthFlow="USER_PASSWORD_AUTH",
            ClientId=self.client_id,
            AuthParameters={"USERNAME": USER, "PASSWORD": self.password},
        )
        return answer["AuthenticationResult"]["IdToken"]


def create_user_pool(aws: EmbeddedAws, name: str, *, region: str) -> UserPool:
    """Create a pool with an app client and one operator in the group that the example rules ask for."""
    cognito = aws.client("cognito-idp", region)
    pool_id = cognito.create_user_pool(PoolName=name)["UserPool"]["Id"]
    client = cognito.create_user_pool_client(
        UserPoolId=pool_id, ClientName=name, ExplicitAuthFlows=["ALLOW_USER_PASSWORD_AUTH"]
    )
    pool = UserPool(
        aws=aws,
        region=region,
        pool_id=pool_id,
        client_id=client["UserPoolClient"]["ClientId"],
        password=f"Aa1!{secrets.token_urlsafe(16)}",  # satisfies the pool's default password policy
    )
    cognito.create_group(UserPoolId=pool_id, GroupName=GROUP)
    cognito.admin_create_user(UserPoolId=pool_id, Username=USER, MessageAction="SUPPRESS")
    cognito.admin_set_user_password(UserPoolId=pool_id, Username=USER, Password=pool.password, Permanent=True)
    cognito.admin_add_user_to_group(UserPoolId=pool_id, Username=USER, GroupName=GROUP)
    return pool
