"""The command `oidc-gateway`: one parser, the commands, and how every failure leaves the process."""

import argparse
import io
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Final

from gateway.cli.options import COULD_NOT_RUN
from gateway.collector import collector_paused

#: In the order in which people meet them; each is a module beside this one.
COMMANDS: Final = ("serve", "check", "test", "decide", "switch", "explain", "audit", "admin", "vault", "dev")

_STDERR: Final = 2
_INTERRUPTED: Final = 128 + signal.SIGINT
_READER_GONE: Final = 128 + signal.SIGPIPE
_EXIT_CODES: Final = "Exit codes: 0 good, 1 findings or refused, 2 could not run."
_EPILOG: Final = f"""\
Start here:
  scripts/demo                          the main job on this machine, no account needed
  oidc-gateway dev                      keep that environment running, to play with
  oidc-gateway check config/            every problem of every file, with its place and its fix
  oidc-gateway serve --config config/   serve real AWS

{_EXIT_CODES} COMMAND --help says more.
"""


class CommandParser(argparse.ArgumentParser):
    """Of the command and of each below it: every help text names the exit codes, and no option can be abbreviated."""

    def __init__(self, **options: object) -> None:
        # An abbreviation would change its meaning, or lose it, with the next option that begins alike.
        given = {"epilog": _EXIT_CODES, **options, "allow_abbrev": False}
        super().__init__(**given)  # type: ignore[arg-type]  # handed on as argparse itself gives them
        self.set_defaults(parser=self)


def build_parser(commands: Sequence[str] = COMMANDS) -> argparse.ArgumentParser:
    """Return the parser of these commands."""
    parser = CommandParser(
        prog="oidc-gateway",
        description="Trades OIDC identity tokens for scoped AWS credentials and starts Step Functions executions.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--version",
        action="version",
        version=f"oidc-gateway {version('oidc-gateway')}",
        help="show the version and exit",
    )
    below = parser.add_subparsers(metavar="COMMAND", title="commands", required=True)
    with collector_paused():
        for name in commands:
            import_module(f"gateway.cli.{name}").add_parser(below)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    _open_what_is_closed()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal that is not UTF-8 shows what it can
    try:
        code = _run(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone, as `… | head` does; nothing can be said any more. Not 0: findings that
        # nobody read must not look like none.
        _forget_output()
        return _READER_GONE
    except OSError as fault:
        _forget_output()
        place = f"{fault.filename}: " if fault.filename else ""
        print(f"oidc-gateway: {place}{fault.strerror or fault}", file=sys.stderr)
        return COULD_NOT_RUN
    return code


def _run(arguments: Sequence[str]) -> int:
    try:
        parsed, unknown = build_parser(_needed(arguments)).parse_known_args(arguments)
        if unknown:
            # With the usage of the command that does not know them.
            parsed.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
        code: int = parsed.run(parsed)
    except SystemExit as end:  # argparse has said all there is to say
        return end.code if isinstance(end.code, int) else 0
    return code


def _needed(arguments: Sequence[str]) -> Sequence[str]:
    """Return the one command that is asked for, so that the others' libraries need not be loaded, else all of them."""
    word = next((argument for argument in arguments if not argument.startswith("-")), None)
    if word is None and "--version" in arguments:
        return ()
    return (word,) if word in COMMANDS else COMMANDS


def _open_what_is_closed() -> None:
    """Let what is written to a closed stdout or stderr, as `>&-` leaves it, go nowhere, and a closed stdin be empty.

    Otherwise the next file or socket to be opened gets its number, and with it our log and what children print.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        os.set_inheritable(descriptor, True)  # noqa: FBT003 - the library's own
    os.close(descriptor)
    if None not in (sys.stdin, sys.stdout, sys.stderr):
        return
    nothing = Path(os.devnull).open("r+", encoding="utf-8")  # noqa: SIM115 - as long as the process
    sys.stdin, sys.stdout, sys.stderr = (stream or nothing for stream in (sys.stdin, sys.stdout, sys.stderr))


def _forget_output() -> None:
    # Otherwise Python tries once more to write what is left in the buffer, and prints that it could not.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
