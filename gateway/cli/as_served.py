"""How the service would run that the files are for: what `serve` would take from flags and variables, for whoever judges them."""

import argparse
import os
from typing import Final

from gateway.compiling.central import Serving
from gateway.files.folder import Sources
from gateway.files.schema.keeping import StateShape
from gateway.files.schema.serving import ServerShape
from gateway.settings.setting import Setting, SettingInvalid
from gateway.settings.written import overridden
from gateway.state.address import AddressInvalid, parse_url

_STATE: Final = Setting(path="state.url", flag="--state")
_WORKERS: Final = Setting(path="server.workers")


def add_state_option(parser: argparse.ArgumentParser) -> None:
    """Add what says that the service has a state in common, as `serve` takes it."""
    parser.add_argument(
        "--state",
        metavar="URL",
        help=f"judge as for `serve --state URL` (${_STATE.variable}); nothing is asked there",
    )


def as_served(sources: Sources, *, state: str | None = None) -> Serving | None:
    """Return how `serve --state` with the variables of this shell would run; None where gateway.yaml cannot be read.

    Raises SettingInvalid for a flag or a variable with which `serve` would not start.
    """
    shape = sources.gateway.shape if sources.gateway is not None else None
    if shape is None:
        return None
    # Others matter to `serve` alone: a shell that checks files may have any of them.
    heeded = {one.variable: os.environ.get(one.variable, "") for one in (_STATE, _WORKERS)}
    written = overridden(
        {"server": shape.server, "state": shape.state},
        environment=heeded,
        flags={} if state is None else {_STATE.path: state},
    )
    url = written.judged(StateShape, "state").url
    if url is not None and _STATE.path in written.named:
        try:
            parse_url(url)
        except AddressInvalid as fault:
            # Without its value: somebody may have put a password there.
            raise SettingInvalid(f"{written.name_of(_STATE.path)} {fault}.") from None
    return Serving(workers=written.judged(ServerShape, "server").workers, shared=url is not None)
