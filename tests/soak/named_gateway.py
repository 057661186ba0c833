"""The command `oidc-gateway`, whose request ids begin with the process that gave them: what one worker took with it, no other did.

Run as `python -m tests.soak.named_gateway serve …`. Nothing of the gateway is replaced but where these digits come from.
"""

import os
import secrets
import sys

from gateway.doors import answers
from gateway.listening import protocol

_PROCESS_DIGITS = 8
_OTHER_BYTES = 12


def process_of(request_id: str) -> int:
    """Return the id of the process that gave this request id; 0 for none."""
    return int(request_id[:_PROCESS_DIGITS] or "0", 16)


def _named(*_: object) -> str:
    return f"{os.getpid():0{_PROCESS_DIGITS}x}{secrets.token_hex(_OTHER_BYTES)}"


# Also when a worker is spawned, which runs this module under another name first.
if __name__ in {"__main__", "__mp_main__"}:
    setattr(answers.RequestIds, "take", _named)  # noqa: B010  a test's way in
    setattr(protocol, "new_request_id", _named)  # noqa: B010

if __name__ == "__main__":
    from gateway.cli.main import main

    sys.exit(main())
