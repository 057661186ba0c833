"""The command `oidc-gateway`: one parser, the groups of commands, and how every failure leaves the process."""

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version

from gateway.cli import audit, check, decide, dev, explain, serve

#: sysexits-free and the same for every command: 0 good, 1 findings or refused, 2 could not run.
COULD_NOT_RUN = 2
_INTERRUPTED = 130

_EPILOG = """\
Start here:
  scripts/demo                          the main job on this machine, no account needed
  oidc-gateway dev                      keep that environment running, to play with
  oidc-gateway check config/            every problem of every file, with its place and its fix
  oidc-gateway serve --config config/   serve real AWS

Exit codes: 0 good, 1 findings or refused, 2 could not run.
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of every command."""
    parser = argparse.ArgumentParser(
        prog="oidc-gateway",
        description="Trades OIDC identity tokens for scoped AWS credentials and starts Step Functions executions.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"oidc-gateway {version('oidc-gateway')}")
    commands = parser.add_subparsers(metavar="COMMAND", title="commands", required=True)
    for group in (serve, check, decide, explain, audit, dev):
        group.add_parser(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    parsed = build_parser().parse_args(arguments)
    try:
        code: int = parsed.run(parsed)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone, as `… | head` does; nothing is wrong, and nothing more can be said.
        sys.stderr.close()
        return 0
    return code
