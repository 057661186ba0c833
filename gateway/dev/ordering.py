"""Asks a running environment for a token, from another process."""

import http.client
import json
from urllib.parse import urlsplit

from gateway.dev.folder import Note, NotRunning
from gateway.dev.tokens import OrderInvalid, TokenOrder

_TIMEOUT_S = 15.0


def order_token(note: Note, order: TokenOrder) -> str:
    """Return a compact token. Raises OrderInvalid and NotRunning."""
    body = {
        "issuer": order.issuer,
        "claims": dict(order.claims),
        "remove": list(order.remove),
        "expires_in_s": order.expires_in_s,
    }
    headers = {"Authorization": f"Bearer {note.mint_key}", "Content-Type": "application/json"}
    connection = http.client.HTTPConnection(urlsplit(note.issuers).netloc, timeout=_TIMEOUT_S)
    try:
        connection.request("POST", "/mint", json.dumps(body), headers)
        answer = connection.getresponse()
        document = json.loads(answer.read())
    except (OSError, http.client.HTTPException, ValueError) as cause:
        raise NotRunning("The environment does not answer. Start it again: oidc-gateway dev") from cause
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise OrderInvalid(str(document.get("error", "The token could not be made.")))
    return str(document["token"])
