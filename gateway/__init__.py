"""OIDC token exchange gateway: identity tokens become scoped, short-lived AWS credentials and executions."""
