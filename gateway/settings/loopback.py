"""Which addresses nobody outside this machine can reach."""

import ipaddress


def is_loopback(host: str) -> bool:
    """Say whether nobody outside this machine can reach the address; other names than localhost do not count."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
