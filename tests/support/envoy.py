"""Starts Envoy as another judge of the same tokens: its jwt_authn filter shares no code with us."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.dev.children import LOOPBACK, Server, running
from tests.support.components import program

_PAYLOAD = "payload"


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedIssuer:
    """One issuer as Envoy is told of it. jwks: the key set itself."""

    issuer: str
    audiences: Sequence[str]
    jwks: Mapping[str, object]
    leeway_s: int = 0


@contextmanager
def running_envoy(
    issuers: Sequence[JudgedIssuer],
    *,
    claim: tuple[str, str] | None = None,
    prefix: Sequence[str] = (),
) -> Iterator[str]:
    """Yield the URL of an Envoy that answers 200 to a bearer token it believes, 401 or 403 to any other.

    claim: name and value that a token must have besides. prefix: a command that starts it, such as `taskset`.
    """

    def command(port: int, scratch: Path) -> Sequence[str]:
        configuration = scratch / "envoy.json"
        configuration.write_text(json.dumps(_envoy_configuration(port, issuers, claim)))
        # One process, no shared memory for hot restarts: several may run side by side.
        return [
            *prefix,
            program("tools", "envoy"),
            "-c",
            str(configuration),
            "--concurrency",
            "1",
            "--disable-hot-restart",
            "-l",
            "warning",
        ]

    server = Server(name="envoy", command=command, environment=lambda _port: {}, health="/ready")
    with running(server) as port:
        yield f"http://{LOOPBACK}:{port}/"


def _claim_filter(name: str, value: str) -> Mapping[str, object]:
    """Return Envoy's own way to ask for a claim: role-based access control over what jwt_authn has read."""
    bearer = {
        "metadata": {
            "filter": "envoy.filters.http.jwt_authn",
            "path": [{"key": _PAYLOAD}, {"key": name}],
            "value": {"string_match": {"exact": value}},
        }
    }
    anyone = {"permissions": [{"url_path": {"path": {"exact": "/ready"}}}], "principals": [{"any": True}]}
    holder = {"permissions": [{"any": True}], "principals": [bearer]}
    return {
        "name": "envoy.filters.http.rbac",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
            "rules": {"action": "ALLOW", "policies": {"ready": anyone, "claim": holder}},
        },
    }


def _envoy_configuration(
    port: int, issuers: Sequence[JudgedIssuer], claim: tuple[str, str] | None
) -> Mapping[str, object]:
    api = "type.googleapis.com/envoy.extensions.filters"
    providers = {
        f"issuer-{number}": {
            "issuer": known.issuer,
            "audiences": list(known.audiences),
            "local_jwks": {"inline_string": json.dumps(known.jwks)},
            "clock_skew_seconds": known.leeway_s or None,
            "require_expiration": True,
            "payload_in_metadata": _PAYLOAD if claim else None,
        }
        for number, known in enumerate(issuers)
    }
    any_of = {"requires_any": {"requirements": [{"provider_name": name} for name in providers]}}
    needs = any_of if len(providers) > 1 else {"provider_name": next(iter(providers))}
    answer = {"status": 200, "body": {"inline_string": "believed"}}
    manager = {
        "@type": f"{api}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "judge",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "direct_response": answer}],
                }
            ]
        },
        "http_filters": [
            {
                "name": "envoy.filters.http.jwt_authn",
                "typed_config": {
                    "@type": f"{api}.http.jwt_authn.v3.JwtAuthentication",
                    "providers": providers,
                    "rules": [{"match": {"path": "/ready"}}, {"match": {"prefix": "/"}, "requires": needs}],
                },
            },
            *([_claim_filter(*claim)] if claim else []),
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{api}.http.router.v3.Router"},
            },
        ],
    }
    listener = {
        "address": {"socket_address": {"address": LOOPBACK, "port_value": port}},
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }
    return {"static_resources": {"listeners": [listener]}}
