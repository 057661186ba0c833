"""What the kernel says of processes: who descends from whom, and who listens where. Where there is no /proc the test is skipped."""

import contextlib
import socket
from collections.abc import Iterable
from ipaddress import ip_address
from pathlib import Path

import pytest

_LISTEN = "0A"
HAS_PROC = Path("/proc/self/stat").exists()


def descendants(ancestor: int) -> set[int]:
    """Return the process and all its descendants that live now."""
    if not HAS_PROC:
        pytest.skip("needs /proc")
    parents = {int(path.parent.name): _parent(path) for path in Path("/proc").glob("[0-9]*/stat")}
    family = {ancestor}
    while more := {child for child, parent in parents.items() if parent in family} - family:
        family |= more
    return family


def _parent(stat: Path) -> int:
    try:
        # The name in brackets may hold blanks; the fields after the last bracket do not.
        return int(stat.read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def listening_addresses(processes: Iterable[int]) -> set[tuple[str, int]]:
    """Return host and port of every TCP socket that these processes listen on."""
    owned = {link for process in processes for link in _links(process)}
    return {address for address, inode in _listeners() if f"socket:[{inode}]" in owned}


def _links(process: int) -> set[str]:
    links = set()
    for descriptor in Path(f"/proc/{process}/fd").glob("*"):
        with contextlib.suppress(OSError):  # closed since
            links.add(str(descriptor.readlink()))
    return links


def _listeners() -> Iterable[tuple[tuple[str, int], str]]:
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        for line in table.read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTEN:
                host, port = fields[1].split(":")
                yield (_host(host), int(port, 16)), fields[9]


def _host(text: str) -> str:
    # The kernel prints 32-bit words in the machine's order; ours are little-endian.
    raw = bytes.fromhex(text)
    words = b"".join(raw[start : start + 4][::-1] for start in range(0, len(raw), 4))
    family = socket.AF_INET if len(words) == 4 else socket.AF_INET6
    return str(ip_address(socket.inet_ntop(family, words)))
