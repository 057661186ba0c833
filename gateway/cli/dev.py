"""`oidc-gateway dev`: the embedded environment, tokens for it, and the demo."""

import argparse
import re
import shlex
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import gateway
from gateway.dev.aws import AwsNotSeeded
from gateway.dev.children import LOOPBACK, ChildFailed
from gateway.dev.demo import Demo, StepFailed, variables_file
from gateway.dev.environment import DEFAULT_PORT, Environment, environment
from gateway.dev.environments import EnvironmentNotBuilt
from gateway.dev.folder import NotRunning, find_running
from gateway.dev.keep import Ended, command_name, ended_by_signals, keep_running, welcome
from gateway.dev.ordering import order_token
from gateway.dev.screen import Screen
from gateway.dev.tokens import OrderInvalid, TokenOrder, parse_claim

_INTERRUPTED = 130
_LAST_PORT = 65_535
_DURATION = re.compile(r"(-?)([0-9]{1,6})([smh])")
_SECONDS = {"s": 1, "m": 60, "h": 3600}
_Work = Callable[[Environment, threading.Event], int]


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its subcommands to the parser."""
    dev = commands.add_parser(
        "dev",
        help="run identity providers, AWS and the gateway on this machine",
        description="Runs stand-ins for the identity providers, an embedded AWS and the gateway on loopback, until Ctrl-C.",
        epilog="Exit codes: 0 ended as told, 2 could not start, or the gateway ended, 130 interrupted while it started.",
    )
    _add_environment_options(dev, port_help=f"of the gateway (default {DEFAULT_PORT}; 0: a free one)")
    dev.set_defaults(run=_run_dev)
    subcommands = dev.add_subparsers(metavar="COMMAND")
    demo = subcommands.add_parser(
        "demo",
        help="show the main job with real calls, and check every answer",
        description="Starts what `dev` starts, shows the main job with real calls, checks every answer and ends everything.",
        epilog="Exit codes: 0 all as it should be, 1 a step was not, 2 could not start, 130 interrupted.",
    )
    _add_environment_options(demo, port_help="of the gateway (default: a free one)")
    demo.add_argument(
        "--keep", action="store_true", help="leave it running afterwards, to paste the commands"
    )
    demo.set_defaults(run=_run_demo)
    _add_token(subcommands)


def _add_environment_options(parser: argparse.ArgumentParser, *, port_help: str) -> None:
    parser.add_argument(
        "--config", type=Path, metavar="DIR", default=None, help="configuration folder (default: config)"
    )
    parser.add_argument("--port", type=_port, metavar="N", default=None, help=port_help)


def _add_token(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    token = commands.add_parser(
        "token",
        help="print a token for the running environment",
        description="Prints a token that satisfies the example rules, changed as you say. Nothing else goes to stdout.",
        epilog="Exit codes: 0 printed, 2 no environment, or no such token.",
    )
    token.add_argument("--issuer", required=True, metavar="NAME", help="an issuer of gateway.yaml")
    token.add_argument(
        "--claim",
        action="append",
        default=[],
        metavar="NAME=TEXT",
        help="set a claim; NAME:=JSON for other types",
    )
    token.add_argument("--remove", action="append", default=[], metavar="NAME", help="leave a claim out")
    token.add_argument("--audience", metavar="TEXT", help="`aud` of the token")
    token.add_argument(
        "--expires-in", type=_duration_s, metavar="TIME", help="such as 90s, 5m, 1h; in the past: =-5m"
    )
    token.add_argument(
        "--port", type=_port, metavar="N", help="of the gateway, where several environments run"
    )
    token.set_defaults(run=_run_token)


def _port(text: str) -> int:
    if not text.isdecimal() or not text.isascii() or int(text) > _LAST_PORT:
        raise argparse.ArgumentTypeError(f"expected a port, 0 to {_LAST_PORT}, not {text!r}")
    return int(text)


def _duration_s(text: str) -> int:
    found = _DURATION.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"expected a time such as 90s, 5m or 1h, not {text!r}")
    sign, number, unit = found.groups()
    return int(f"{sign}{number}") * _SECONDS[unit]


def _run_dev(arguments: argparse.Namespace) -> int:
    port = DEFAULT_PORT if arguments.port is None else arguments.port
    return _with_environment(arguments, port=port, work=lambda _environment, _asked: 0, keep=True)


def _run_demo(arguments: argparse.Namespace) -> int:
    tell = _tell_and_leave_running if arguments.keep else _tell
    return _with_environment(arguments, port=arguments.port, work=tell, keep=arguments.keep)


def _tell(running: Environment, asked: threading.Event) -> int:
    status = _told(running, asked)
    if status == 0:
        print("To paste the commands yourself: scripts/demo --keep")
        print(f"To play on: {command_name()} dev")
    return status


def _tell_and_leave_running(running: Environment, asked: threading.Event) -> int:
    status = _told(running, asked)
    print(f"The commands above can be pasted after: . {shlex.quote(str(variables_file(running)))}")
    command = Path(command_name())
    if (activate := command.with_name("activate")).is_file():
        print(f"Those that begin with {command.name}, in this folder after: . {activate}")
    return status


def _told(running: Environment, asked: threading.Event) -> int:
    screen = Screen()
    try:
        Demo(running, screen, asked).tell()
    except StepFailed as failure:
        screen.failure(["This step is not as it should be:", *str(failure).splitlines()])
        screen.failure(["The gateway's log ends with:", *running.log().read_text().splitlines()[-5:]])
        return 1
    return 0


def _with_environment(arguments: argparse.Namespace, *, port: int | None, work: _Work, keep: bool) -> int:
    """Start the environment, work in it, and keep it if asked to. Exit codes: 0, 1 a failed step, 2 could not run."""
    status = None
    try:
        with ended_by_signals() as asked, environment(_config(arguments), port=port, log=_say) as running:
            status = work(running, asked)
            if keep:
                for line in welcome(running):
                    _say(line)
                keep_running(running, asked, say=_say)
            return status
    except Ended:
        return _INTERRUPTED if status is None else status
    except BrokenPipeError:
        raise  # who read our output has gone, and knows
    except (AwsNotSeeded, ChildFailed, EnvironmentNotBuilt, ValueError, OSError) as fault:
        _say(f"oidc-gateway dev: {fault}")
        return 2


def _config(arguments: argparse.Namespace) -> Path:
    if arguments.config is not None:
        return Path(arguments.config).resolve()
    here = Path("config").resolve()
    # From another folder: the examples that came with the checkout.
    return here if (here / "gateway.yaml").exists() else Path(gateway.__file__).parent.parent / "config"


def _run_token(arguments: argparse.Namespace) -> int:
    try:
        claims = dict(parse_claim(text) for text in arguments.claim)
        if arguments.audience is not None:
            claims["aud"] = arguments.audience
        order = TokenOrder(
            issuer=arguments.issuer,
            claims=claims,
            remove=tuple(arguments.remove),
            expires_in_s=arguments.expires_in,
        )
        url = None if arguments.port is None else f"http://{LOOPBACK}:{arguments.port}"
        token = order_token(find_running(url), order)
    except (OrderInvalid, NotRunning) as refusal:
        _say(f"oidc-gateway dev token: {refusal}")
        return 2
    # No line end unless a person reads it: AWS SDKs refuse a token file that has one.
    sys.stdout.write(token + ("\n" if sys.stdout.isatty() else ""))
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
