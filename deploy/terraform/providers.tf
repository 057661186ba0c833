# Whose tokens IAM believes: one IAM identity provider for each issuer of config/gateway.yaml. The gateway carries the
# caller's own token to STS, so AWS verifies signature, expiry, issuer and client list a second time, by itself.
#
# What STS asks of an issuer: https without a port, at most 255 characters, discovery and keys reachable from the
# internet, RS256/384/512 or ES256/384/512, and a `kid` on every key.
#
# `client_id_list` is compared to the token's `azp` when it has one, and to `aud` only when it has none.
#
# An account has one provider for each URL. Where GitHub's exists already, import it and add our audience:
#   terraform import aws_iam_openid_connect_provider.github arn:aws:iam::111122223333:oidc-provider/token.actions.githubusercontent.com

resource "aws_iam_openid_connect_provider" "github" {
  url = "https://token.actions.githubusercontent.com"

  # An audience of our own, not sts.amazonaws.com: a token that a job made for AWS directly is worth nothing to the
  # gateway, and one made for the gateway is worth nothing to roles that other teams opened to sts.amazonaws.com.
  client_id_list = ["https://gateway.acme.example"]
}

resource "aws_iam_openid_connect_provider" "okta_agents" {
  # A custom authorization server. Access tokens of the org server (no /oauth2/…) are for Okta alone.
  url = "https://acme.okta.example/oauth2/agents"

  # Okta's access tokens name their client in `cid`, which STS does not look at; there is no `azp`, so `aud` counts.
  client_id_list = ["https://gateway.acme.example"]
}

resource "aws_iam_openid_connect_provider" "operators" {
  url = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_AbC"

  # The app client: the audience of a user pool's ID tokens. Its access tokens have no `aud` and STS refuses them.
  client_id_list = ["4fk2client"]
}

resource "aws_iam_openid_connect_provider" "partners" {
  # Auth0's issuers end in a slash and IAM keeps it: also in the ARN and in the condition keys of trust/*.json.
  url = "https://acme.eu.auth0.example/"

  # Auth0's access tokens carry `azp`, so this list holds client ids; the API audience would never be looked at.
  # Equal to `clients` of the issuer in config/gateway.yaml.
  client_id_list = ["nw7partnerclient"]
}
