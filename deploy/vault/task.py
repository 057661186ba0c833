"""A task that reads its secret from Vault when it runs, with nothing but its own IAM role.

AWS Lambda handler. Nothing is stored in the function: Vault gets a signed `sts:GetCallerIdentity` request, asks AWS who
signed it, and answers with a token of five minutes, which is revoked as soon as the secret has been read.
"""

import os

from gateway.admin.vault_login import IamLogin, logged_in_with_iam_role
from gateway.admin.vault_session import VaultAccess


def pay(event: dict[str, object], _context: object) -> dict[str, object]:
    """Pay out, as the user whose password stands at VAULT_SECRET."""
    access = VaultAccess(
        address=os.environ["VAULT_ADDR"],
        namespace=os.environ.get("VAULT_NAMESPACE"),
    )
    login = IamLogin(
        role=os.environ["VAULT_ROLE"],
        mount=os.environ.get("VAULT_MOUNT", "aws"),
        header_value=os.environ.get("VAULT_SERVER_ID"),
    )
    with logged_in_with_iam_role(access, login) as vault:
        secret = vault.secret(os.environ.get("VAULT_SECRET", "secret/data/payments"))
    user, password = secret["user"], secret["password"]
    # … connect to the ledger as this user with this password, and pay.
    # What is returned stands in the execution's history for 90 days: never the secret.
    return {"amount": event["amount"], "paid_as": user, "authenticated": bool(password)}
