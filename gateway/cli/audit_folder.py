"""Where the audit journal is, as every command that reads it is told."""

import argparse
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, TypeVar

from gateway.cli.options import COULD_NOT_RUN, default_config
from gateway.errors import GatewayError
from gateway.files.folder import load_sources

_T = TypeVar("_T")

DIRECTORY_VARIABLE: Final = "OIDC_GATEWAY_AUDIT_DIRECTORY"


class DirectoryUnknown(Exception):
    """There is no audit directory to read. The message says where it was looked for and what to do."""


class JournalUnreadable(Exception):
    """A file of the journal cannot be read. The message names it and says why."""


def add_directory_options(parser: argparse.ArgumentParser) -> None:
    """Add the two ways to say where the journal is."""
    default = default_config()
    parser.add_argument(
        "--audit", type=Path, metavar="DIR", help=f"the audit directory (${DIRECTORY_VARIABLE})"
    )
    parser.add_argument(
        "--config",
        type=Path,
        metavar="DIR",
        default=default,
        help=f"configuration folder whose gateway.yaml names the audit directory ({default})",
    )


def audit_directory(args: argparse.Namespace) -> Path:
    """Return the directory that --audit, the environment or gateway.yaml names; raises DirectoryUnknown."""
    named = args.audit or os.environ.get(DIRECTORY_VARIABLE)
    if not named:
        try:
            named = load_sources(args.config, lenient=True).audit.directory
        except OSError as fault:
            raise DirectoryUnknown(
                f"There is no configuration folder {args.config}. Name the audit directory with --audit DIR."
            ) from fault
    directory = Path(named)
    if not directory.is_dir():
        raise DirectoryUnknown(f"There is no audit directory {directory}. Name it with --audit DIR.")
    return directory


def as_they_are_read(found: Iterable[_T]) -> Iterator[_T]:
    """Yield what is read from the journal; raises JournalUnreadable.

    Who prints between two of them can tell by it that no OSError is the journal's: a reader who has gone, as `… | head`
    does, is no fault of any file.
    """
    try:
        yield from found
    except OSError as fault:
        raise JournalUnreadable(_said(fault)) from fault


def could_not_run(fault: Exception) -> int:
    """Say why on stderr and return the exit code."""
    match fault:
        case OSError():
            reason = _said(fault)
        case GatewayError():
            reason = f"{fault.message} {fault.hint or ''}".strip()
        case _:
            reason = str(fault)
    print(f"oidc-gateway audit: {reason}", file=sys.stderr)
    return COULD_NOT_RUN


def _said(fault: OSError) -> str:
    place = f"{fault.filename}: " if fault.filename else ""
    return f"{place}{fault.strerror or fault}"
