"""Whether the gateway may listen as gateway.yaml says, so that `check` knows before `serve` refuses. Pure."""

from gateway.files.folder import Sources
from gateway.files.source import Finding, FindingCode, show
from gateway.settings.loopback import is_loopback


def listening_findings(sources: Sources) -> tuple[Finding, ...]:
    """Return what is wrong with the block `server`, as it is written: flags and variables of `serve` are not seen."""
    gateway, server = sources.gateway, sources.server
    if (
        gateway is None
        or gateway.document.has_hole(("server",))
        or is_loopback(server.host)
        or server.tls
        or server.behind_tls_proxy
    ):
        return ()
    return (
        gateway.document.finding(
            FindingCode.VALUE_INVALID,
            ("server", "host"),
            f"Listening on {show(server.host)} without TLS would send tokens in the clear, so `serve` refuses to start.",
            "Set server.tls, or server.behind_tls_proxy: true if something in front ends TLS; else listen on 127.0.0.1.",
        ),
    )
