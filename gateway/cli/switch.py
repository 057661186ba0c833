"""`oidc-gateway switch`: stop an issuer, a rule, a workflow or one identity, now and on every replica."""

import argparse
import asyncio
import json
import logging
import os
import sys
import time
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from gateway.admin.account import account_of
from gateway.admin.switch_steps import left_over
from gateway.audit.safe_text import one_line
from gateway.cli.options import COULD_NOT_RUN, default_config
from gateway.cli.switch_store import Opened, StoreUnknown, add_store_options, opened_store
from gateway.compiling.compile import compile_policy
from gateway.errors import GatewayError
from gateway.files.folder import Sources, load_sources
from gateway.policy.snapshot import Policy
from gateway.state.switches import KINDS, Switch, SwitchKind

_CODES: Final = "Exit codes: 0 done, or it was so already, 1 no such name, 2 could not run."
_WITHIN_S: Final = 5

_Act = Callable[[argparse.Namespace, "_Files", Opened], Awaitable[int]]


class NameUnknown(Exception):
    """The files have no such name. The message names it and the nearest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Files:
    """The administrators' files as far as they can be read. policy: None when they have errors."""

    sources: Sources | None
    policy: Policy | None


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the commands to the parser."""
    parser = commands.add_parser(
        "switch",
        help="stop an issuer, a rule, a workflow or one identity at once, on every replica",
        description="Switches things off and on again, without a change of the files.",
        epilog=_CODES,
    )
    below = parser.add_subparsers(metavar="COMMAND", title="commands", required=True)
    _add_off(below)
    _add_on(below)
    listed = below.add_parser(
        "list",
        help="list what is off, who switched it off, and why",
        description="Lists what is off, read now.",
        epilog="Exit codes: 0 listed, 2 the switches cannot be read: then the gateway refuses everything.",
    )
    listed.add_argument("--json", action="store_true", help="one JSON object")
    made = below.add_parser(
        "init",
        help="write a file in which nothing is off",
        description="Writes a file in which nothing is off; one that exists is never touched. A gateway whose settings "
        "name a file that does not exist refuses everything, and so does one whose file has vanished.",
        epilog="Exit codes: 0 written, or a good one was there, 2 could not run, or what is there cannot be read.",
    )
    acts: tuple[tuple[argparse.ArgumentParser, _Act], ...] = ((listed, _list), (made, _init))
    for command, act in acts:
        add_store_options(command, default_config())
        command.set_defaults(run=run, act=act)


def run(args: argparse.Namespace) -> int:
    """Run a command and return its exit code."""
    # What the store logs for a gateway, this command says itself.
    logging.getLogger("gateway").addHandler(logging.NullHandler())
    try:
        return asyncio.run(_run(args))
    except NameUnknown as fault:
        print(f"oidc-gateway switch: {fault}", file=sys.stderr)
        return 1
    except StoreUnknown as fault:
        return _could_not_run(str(fault))
    except GatewayError as fault:
        return _could_not_run(f"{fault.message} {fault.hint or ''}".strip())


async def _run(args: argparse.Namespace) -> int:
    files = _read_files(args.config)
    async with opened_store(args, files.sources) as opened:
        act: _Act = args.act
        return await act(args, files, opened)


def _add_off(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "off",
        help="switch off",
        description=(
            "Switches off: `issuer NAME`, `rule ID`, `workflow NAME` (nothing starts it; what runs can be seen and "
            "stopped) or `subject ISSUER SUB`. Files are not changed."
        ),
        epilog=_CODES,
    )
    _add_name(parser)
    parser.add_argument(
        "--why", required=True, help="a ticket and a sentence, for the record and for colleagues"
    )
    parser.add_argument("--force", action="store_true", help="also a name that the files do not have")
    parser.set_defaults(run=run, act=_off)


def _add_on(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "on", help="switch on again", description="Switches on again what is off.", epilog=_CODES
    )
    _add_name(parser)
    parser.add_argument("--why", default="switched on again", help="for the record (switched on again)")
    parser.set_defaults(run=run, act=_on, force=False)


def _add_name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", choices=KINDS, metavar="KIND", help=f"one of {', '.join(KINDS)}")
    parser.add_argument(
        "name", nargs="+", metavar="NAME", help="as the files name it; for a subject ISSUER SUB"
    )
    parser.add_argument("--by", help="who does it, for the record (the user of this shell)")
    add_store_options(parser, default_config())


async def _off(args: argparse.Namespace, files: _Files, opened: Opened) -> int:
    switch = _switch(args)
    if not args.force:
        _must_be_known(files.policy, switch.kind, switch.name, args.config)
    if not await opened.store.turn_off(switch):
        earlier = (await opened.store.read()).off.get((switch.kind, switch.name))
        print(f"{_called(switch)} was off already{_turned(earlier)}.")
        return 0
    print(f"Switched off: {_called(switch)}.")
    print(
        f"Every gateway on {opened.what} refuses it within {_WITHIN_S} seconds, and records who did it and why."
    )
    if opened.file is not None:
        print(
            "A gateway on another machine has a file of its own: switch off there too, or use `state.switches: redis`."
        )
    for line in left_over(files.policy, switch.kind, switch.name, now=switch.at + _WITHIN_S):
        print(line)
    return 0


async def _on(args: argparse.Namespace, files: _Files, opened: Opened) -> int:
    switch = _switch(args)
    before = await opened.store.turn_on(switch)
    if before is not None:
        print(f"Switched on again: {_called(switch)}, which was off{_turned(before)}.")
        print(f"Every gateway on {opened.what} allows within {_WITHIN_S} seconds what the files allow.")
        return 0
    off = [one.name for one in (await opened.store.read()).off.values() if one.kind == switch.kind]
    if near := _nearest(switch.name, off):
        raise NameUnknown(f"{_called(switch)} is not off. Did you mean {_plain(near)}?")
    _must_be_known(files.policy, switch.kind, switch.name, args.config)
    print(f"{_called(switch)} was not off.")
    return 0


async def _list(args: argparse.Namespace, _: _Files, opened: Opened) -> int:
    board = await opened.store.read()
    if args.json:
        off = [_document(one) for one in board.off.values()]
        print(json.dumps({"store": opened.what, "digest": board.digest, "off": off}, indent=2))
        return 0
    for one in board.off.values():
        print(f"{_called(one)}: off{_turned(one)}")
    if not board.off:
        fresh = opened.file is not None and await asyncio.to_thread(opened.file.load) is None
        print(f"Nothing is off{f', and nothing ever was: there was no {opened.what} yet' if fresh else ''}.")
    return 0


async def _init(_: argparse.Namespace, __: _Files, opened: Opened) -> int:
    if opened.file is None:
        print(f"{opened.what} needs no beginning: nothing is off until somebody switches it off.")
    elif await opened.file.create():
        print(f"Wrote {opened.what}: nothing is off.")
    else:
        # A gateway that cannot read it refuses everything, so this would be no good news.
        board = await opened.store.read()
        print(f"{opened.what} exists and stays as it is: {len(board.off) or 'nothing'} off.")
    return 0


def _switch(args: argparse.Namespace) -> Switch:
    wanted = 2 if args.kind == "subject" else 1
    if len(args.name) != wanted:
        args.parser.error(
            "a subject is named by two words: ISSUER SUB (put a SUB with blanks in quotes)"
            if args.kind == "subject"
            else f"a {args.kind} is named by one word"
        )
    return Switch(
        kind=args.kind, name=" ".join(args.name), why=args.why.strip(), by=args.by or _user(), at=time.time()
    )


def _user() -> str:
    """Return who runs this command, as far as the system knows."""
    account = account_of(os.getuid())
    behind = os.environ.get("SUDO_USER")
    return f"{behind} as {account}" if behind and not account.startswith(f"{behind} ") else account


def _read_files(folder: Path) -> _Files:
    """Read what can be read: a broken file must not keep anybody from switching off."""
    try:
        sources = load_sources(folder, lenient=True)
    except OSError:
        return _Files(sources=None, policy=None)
    # As a gateway with --dev would take them: nothing is served here, names are looked up.
    compiled = compile_policy(sources, dev=True, today=datetime.now(tz=UTC).date(), overlaps=False)
    return _Files(sources=sources, policy=compiled.policy)


def _must_be_known(policy: Policy | None, kind: SwitchKind, name: str, folder: Path) -> None:
    if policy is None:
        raise StoreUnknown(
            f"The files of {folder} cannot be used, so nobody can tell whether {kind} {_plain(name)} exists. "
            "Mend them, or add --force and mind the spelling."
        )
    what = "issuer" if kind == "subject" else kind
    asked = name.partition(" ")[0] if kind == "subject" else name
    known = _names(policy, kind)
    if asked in known:
        return
    near = _nearest(asked, known)
    advice = f"Did you mean {near}?" if near else f"`{what}` takes names of the files."
    raise NameUnknown(
        f"The files of {folder} have no {what} {_plain(asked)}. {advice} --force takes it as it is."
    )


def _names(policy: Policy, kind: SwitchKind) -> Collection[str]:
    match kind:
        case "issuer" | "subject":
            return [issuer.name for issuer in policy.issuers.values()]
        case "rule":
            return policy.rules
        case "workflow":
            return policy.workflows


def _nearest(name: str, known: Iterable[str]) -> str | None:
    return next(iter(get_close_matches(name, list(known), n=1)), None)


def _called(switch: Switch) -> str:
    return f"{switch.kind} {_plain(switch.name)}"


def _turned(switch: Switch | None) -> str:
    if switch is None:
        return ""
    at = datetime.fromtimestamp(switch.at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    return f" since {at} by {_plain(switch.by)}: {_plain(switch.why)}"


def _plain(text: str) -> str:
    return one_line(text, limit=500)


def _document(switch: Switch) -> dict[str, str]:
    at = datetime.fromtimestamp(switch.at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"kind": switch.kind, "name": switch.name, "why": switch.why, "by": switch.by, "at": at}


def _could_not_run(reason: str) -> int:
    print(f"oidc-gateway switch: {reason}", file=sys.stderr)
    return COULD_NOT_RUN
