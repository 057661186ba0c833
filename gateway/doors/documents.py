"""The documents that the REST and token doors answer with, made from values of the exchange."""

import json
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final, cast
from weakref import WeakKeyDictionary

from starlette.responses import Response

from gateway.arn import parse_assumed_role
from gateway.ascii_json import ascii_json
from gateway.credentials.session import AwsCredentials
from gateway.doors.times import rfc3339_ms, rfc3339_s
from gateway.exchange.call import Identity, ObtainedVaultToken, Shown
from gateway.executions.execution import execution_url
from gateway.policy.holdings import Held, Holdings
from gateway.policy.rule import Replay, strictest


class _PlainAnswer(Response):
    """A JSON answer with nothing unusual; what Response makes of the same costs as much as writing the JSON."""

    media_type = "application/json"

    def __init__(self, body: bytes) -> None:
        # What Response sets, and nothing else is ever set there.
        self.status_code = 200
        self.background = None
        self.body = body
        self.raw_headers = [(b"content-length", b"%d" % len(body)), (b"content-type", b"application/json")]


def json_response(document: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a JSON answer."""
    # With a line end: people read answers in terminals and build logs.
    body = json_bytes(document) + b"\n"
    if status == 200 and not headers:
        return _PlainAnswer(body)
    return Response(body, status, headers, "application/json")


def json_bytes(document: object) -> bytes:
    """Return compact ASCII JSON: whatever a claim holds, the answer is one line that no terminal interprets."""
    return ascii_json(document).encode("ascii")


def execution_document(shown: Shown) -> dict[str, object]:
    """Return the state of an execution; its data only when it is done and the workflow makes it visible."""
    execution, workflow = shown.execution, shown.workflow
    document: dict[str, object] = {
        # AWS cannot describe EXPRESS executions, so there is nothing to come back to.
        "url": execution_url(workflow.name, execution.name) if workflow.type == "standard" else None,
        "workflow": workflow.name,
        "name": execution.name,
        "target": shown.target.name,
        "arn": execution.arn,
        "status": execution.status,
        "done": execution.done,
        "started_at": rfc3339_ms(execution.started_at),
        "ended_at": None if execution.ended_at is None else rfc3339_ms(execution.ended_at),
    }
    if execution.done and workflow.output_visible and not shown.replayed:
        document |= _visible(
            execution.status == "SUCCEEDED", execution.output, execution.error, execution.cause
        )
    return document


def _visible(succeeded: bool, output: str | None, error: str | None, cause: str | None) -> dict[str, object]:  # noqa: FBT001
    if not succeeded:
        return {"error": error, "cause": cause}
    try:
        return {"output": None if output is None else json.loads(output)}
    except ValueError:
        # Step Functions promises JSON; the emulators do not always keep it.
        return {"output": output}


def credentials_document(credentials: AwsCredentials) -> dict[str, object]:
    """Return the `credential_process` document (AWS SDKs reference, "Process credential provider")."""
    return {
        "Version": 1,
        "AccessKeyId": credentials.access_key_id,
        "SecretAccessKey": credentials.secret_access_key.reveal(),
        "SessionToken": credentials.session_token.reveal(),
        "Expiration": rfc3339_s(credentials.expires_at),
        "AccountId": parse_assumed_role(credentials.identity).account,
    }


def vault_token_document(obtained: ObtainedVaultToken) -> dict[str, object]:
    """Return what a caller needs to use a Vault token: the token, where, and whether it must be unwrapped first.

    `creation_path` lets the receiver of a wrapping token find out that somebody else has wrapped another one
    (Vault documentation, "Response wrapping").
    """
    token, vault = obtained.token, obtained.target.vault
    document: dict[str, object] = {
        "access_token": token.token.reveal(),
        "vault_address": vault.address,
        "vault_namespace": vault.namespace,
        "wrapped": token.wrapped,
    }
    return {**document, "creation_path": token.creation_path} if token.wrapped else document


def identity_document(identity: Identity) -> dict[str, object]:
    """Return who the caller is, as verified, and what it may do."""
    token = identity.token
    return {
        "issuer": token.principal.issuer,
        "issuer_name": token.issuer.name,
        "subject": token.principal.subject,
        "expires_at": rfc3339_ms(token.expires_at),
        "claims": _plain(token.claims.members),
        **_powers(identity.holdings),
        "policy": identity.policy,
    }


def _plain(members: Mapping[str, object]) -> dict[str, object]:
    # What a read-only view copies takes a fifth of the time of reading it member by member.
    return members.copy() if isinstance(members, MappingProxyType) else dict(members)


def _powers(holdings: Holdings) -> dict[str, object]:
    found = _known_powers.get(holdings)
    if found is None:
        found = {"may_start": _may_start(holdings.grants), "may_obtain": _may_obtain(holdings.grants)}
        _known_powers[holdings] = found
    return found


#: For as long as the policy keeps them, whose number is bounded.
_known_powers: Final[WeakKeyDictionary[Holdings, dict[str, object]]] = WeakKeyDictionary()


def _may_start(holds: Iterable[Held]) -> list[dict[str, object]]:
    found: dict[str, dict[str, object]] = {}
    for held in holds:
        grant = held.grant
        if grant.verb != "start" or grant.workflow is None:
            continue
        entry = found.setdefault(
            grant.workflow.name,
            {
                "workflow": grant.workflow.name,
                "type": grant.workflow.type,
                "targets": [],
                "input_schema": grant.workflow.input_schema.document,
            },
        )
        if held.replay != "off":
            entry["replay"] = strictest([held.replay, cast(Replay, entry.get("replay", "off"))])
        targets = entry["targets"]
        if isinstance(targets, list):
            targets.append(grant.target.name)
    return list(found.values())


def _may_obtain(holds: Iterable[Held]) -> list[dict[str, object]]:
    found: dict[str, list[Held]] = {}
    for held in holds:
        if held.grant.verb == "obtain" and held.grant.form is not None:
            found.setdefault(held.grant.target.name, []).append(held)
    return [
        {"target": target, "forms": [one.grant.form for one in several], **_replay(several)}
        for target, several in found.items()
    ]


def _replay(several: Iterable[Held]) -> dict[str, object]:
    replay = strictest(held.replay for held in several)
    return {} if replay == "off" else {"replay": replay}
