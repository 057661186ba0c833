"""What a serving process gives up before it reads anything: other people's files, memory images, an identity of its own."""

import ctypes
import os
import resource
import sys
from collections.abc import MutableMapping
from typing import Final

_PRIVATE: Final = 0o077
_DIGITS: Final = 4_300
_PR_SET_DUMPABLE: Final = 4
_AWS: Final = "AWS_"
#: These choose nothing that `serve` uses and hold no secret; platforms set them everywhere, so they are no news.
_HARMLESS: Final = frozenset(
    {
        "AWS_DEFAULT_OUTPUT", "AWS_DEFAULT_REGION", "AWS_EC2_METADATA_DISABLED", "AWS_EXECUTION_ENV",
        "AWS_PAGER", "AWS_REGION",
    }
)  # fmt: skip
#: What botocore would look for, were it ever asked for credentials: no metadata service, no files of somebody's home.
_NO_IDENTITY: Final = {
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_CONFIG_FILE": os.devnull,
}


def shed_aws_identity(environment: MutableMapping[str, str]) -> tuple[str, ...]:
    """Take every AWS_… variable out and close the other places where an AWS identity could come from.

    Returns the names of those that held an identity or would have redirected a client, sorted: the gateway has no use
    for them, so somebody should know that they are there.
    """
    found = [name for name in environment if name.startswith(_AWS)]
    telling = [
        name for name in found if name not in _HARMLESS and environment[name] != _NO_IDENTITY.get(name)
    ]
    for name in found:
        del environment[name]
    environment.update(_NO_IDENTITY)
    return tuple(sorted(telling))


def confine(*, debuggable: bool = False) -> None:
    """Keep what this process writes and holds to itself; a process that is started by it says so again.

    debuggable: the same user's tools may look into its memory, as a developer's do.
    """
    os.umask(_PRIVATE)
    # A memory image holds tokens and credentials in flight.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if not debuggable:
        _refuse_to_be_dumped()
    # PYTHONINTMAXSTRDIGITS=0 would let a number in a token cost seconds (CVE-2020-10735).
    if not 0 < sys.get_int_max_str_digits() <= _DIGITS:
        sys.set_int_max_str_digits(_DIGITS)


def _refuse_to_be_dumped() -> None:
    """Close memory and environment to other processes of the same user (prctl(2)); the kernel forgets it at execve."""
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    # Where a sandbox forbids it, the limit above still stands.
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
