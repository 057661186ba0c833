"""`oidc-gateway admin`: what the running gateway is, and what an administrator asks of it."""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, cast, get_args
from urllib.parse import quote

from gateway.admin.check import visible
from gateway.cli.admin_client import Access, NotAsked, Refused, ask
from gateway.cli.options import COULD_NOT_RUN
from gateway.policy.rule import Issued
from gateway.secret import Secret

TOKEN_VARIABLE: Final = "OIDC_GATEWAY_ADMIN_TOKEN"
_LONGEST_TOKEN: Final = 64 * 1024
_MARKS: Final = {"ok": "✓", "no": "✗", "unknown": "?"}
Document = Mapping[str, object]


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its subcommands to the parser."""
    admin = commands.add_parser(
        "admin",
        help="ask the admin listener of a running gateway",
        description="Asks the admin listener of a running gateway; `admin` in gateway.yaml turns it on.",
    )
    subcommands = admin.add_subparsers(metavar="COMMAND", required=True)
    _add_state(subcommands)
    _add_rules(subcommands)
    _add_explain(subcommands)
    _add_reload(subcommands)


def run(arguments: argparse.Namespace) -> int:
    """Run the subcommand that the arguments name; return the exit code."""
    try:
        code: int = arguments.ask(arguments, _access(arguments))
    except NotAsked as fault:
        print(f"oidc-gateway admin: {visible(str(fault))}", file=sys.stderr)
        return COULD_NOT_RUN
    except Refused as refusal:
        if arguments.json:
            print(json.dumps(refusal.document, indent=2))
        code_said = refusal.document.get("code", "refused")
        print(f"oidc-gateway admin: {visible(str(code_said))}: {visible(str(refusal))}", file=sys.stderr)
        return 1
    return code


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--to",
        required=True,
        metavar="ADDRESS",
        help="of the listener: unix:/PATH, https://127.0.0.1:PORT, or without TLS http://127.0.0.1:PORT",
    )
    parser.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help=f"file with your own token for it (${TOKEN_VARIABLE} holds the token itself)",
    )
    parser.add_argument(
        "--ca", type=Path, metavar="FILE", help="the only CA that may have signed its certificate"
    )
    parser.add_argument("--cert", type=Path, metavar="FILE", help="your own client certificate")
    parser.add_argument("--key", type=Path, metavar="FILE", help="its key, where it is in another file")
    parser.add_argument("--json", action="store_true", help="print the answer as it came")


def _add_state(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("state", help="show policy, keys, switches, workers, limits and records")
    _options(parser)
    parser.set_defaults(run=run, ask=_state)


def _add_rules(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("rules", help="list the rules in force, or show one")
    parser.add_argument("rule", nargs="?", metavar="ID", help="show this one")
    _options(parser)
    parser.set_defaults(run=run, ask=_rules)


def _add_explain(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "explain",
        help="tell what happened to a request, or what would happen to a token",
        description="With REQUEST_ID: what happened, from the record. With --token: what would happen, without any effect.",
        epilog="Exit codes: 0 told, or it would be allowed; 1 it would be refused, no record, no right; 2 could not run.",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "what",
        nargs="?",
        metavar="REQUEST_ID",
        help="a request id, an execution or session ARN, a token's SHA-256",
    )
    what.add_argument("--token", metavar="FILE", help="file with the token in question; - for standard input")
    wish = parser.add_mutually_exclusive_group()
    for verb in ("start", "view", "stop"):
        wish.add_argument(f"--{verb}", metavar="NAME", help=f"would it {verb} this workflow?")
    wish.add_argument("--obtain", metavar="NAME", help="would it obtain credentials of this target?")
    parser.add_argument("--target", metavar="TARGET", help="as this target (with --start, --view, --stop)")
    parser.add_argument("--form", choices=get_args(Issued), help="what would be handed out (with --obtain)")
    _options(parser)
    parser.set_defaults(run=run, ask=_explain)


def _add_reload(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "reload",
        help="have the configured folder read again, and say what is found",
        epilog="Exit codes: 0 the files are in force; 1 they are not as written, or no right; 2 could not run.",
    )
    _options(parser)
    parser.set_defaults(run=run, ask=_reload)


def _access(arguments: argparse.Namespace) -> Access:
    token = _read(str(arguments.token_file)) if arguments.token_file else _of_variable()
    return Access(
        to=arguments.to, token=token, ca=arguments.ca, certificate=arguments.cert, key=arguments.key
    )


def _of_variable() -> Secret | None:
    text = os.environ.get(TOKEN_VARIABLE, "").strip()
    return Secret(text) if text else None


def _read(name: str) -> Secret:
    try:
        if name == "-":
            data = sys.stdin.buffer.read(_LONGEST_TOKEN + 1)
        else:
            with Path(name).open("rb") as file:
                data = file.read(_LONGEST_TOKEN + 1)
        text = data.decode("ascii").strip()
    except UnicodeDecodeError:
        raise NotAsked(f"{name} holds no token.") from None
    except OSError as fault:
        raise NotAsked(f"{name} cannot be read: {fault.strerror}.") from None
    if not text or len(data) > _LONGEST_TOKEN or not text.isprintable():
        raise NotAsked(f"{name} holds no token.")
    return Secret(text)


def _state(arguments: argparse.Namespace, access: Access) -> int:
    state = ask(access, "GET", "/admin/v1/state")
    if arguments.json:
        return _as_it_came(state)
    policy, switches = _object(state, "policy"), _object(state, "switches")
    workers = _list(state, "workers")
    # The process that answers is one worker of several, and may have replaced another.
    since = f", since {state['started_at']}" if len(workers) == 1 else f", {len(workers)} workers"
    _say(f"oidc-gateway {state['version']}{since}")
    _say(
        f"policy {policy['digest']} ({policy['state']}), {policy['rules']} rules, since {policy['loaded_at']}"
    )
    _findings(policy)
    for name, one in _object(state, "issuers").items():
        found = cast(Document, one)
        age = "" if found["age_s"] is None else f", {found['age_s']} s old"
        fault = f", last attempt: {found['last_error']}" if found["last_error"] else ""
        _say(f"issuer {name}: {found['keys']} keys{age}{fault}")
    if not switches["readable"]:
        _say("switches cannot be read: everything counts as off")
    for switch in _list(switches, "off"):
        _say(f"off: {switch['kind']} {switch['name']}, by {switch['by']} at {switch['at']}: {switch['why']}")
    for worker in workers:
        same = "" if worker["policy"] == policy["digest"] else f", on another policy: {worker['policy']}"
        _say(
            f"worker {worker['worker']}: pid {worker['pid']}, since {worker['started_at']}, seen {worker['at']}{same}"
        )
    audit = _object(state, "audit")
    _say(
        f"records in {audit['directory']}: {'FAILING' if audit['failing'] else 'written'}, {audit['waiting']} waiting"
    )
    return 0


def _rules(arguments: argparse.Namespace, access: Access) -> int:
    if arguments.rule:
        found = ask(access, "GET", f"/admin/v1/policy/rules/{quote(arguments.rule, safe='')}")
        if arguments.json:
            return _as_it_came(found)
        _say(f"{found['id']} ({found['written']}): {found['why']}")
        for claim in _list(found, "claims"):
            _say(f"  {claim['claim']} {claim['operator']} {json.dumps(claim['wanted'], ensure_ascii=False)}")
        for grant in _list(found, "grants"):
            _say(f"  {_grant(grant)}")
        return 0
    after, every = "", []
    while True:
        page = ask(access, "GET", f"/admin/v1/policy/rules?limit=1000{after}")
        every += _list(page, "rules")
        if not page["next"]:
            break
        after = f"&after={quote(str(page['next']), safe='')}"
    if arguments.json:
        return _as_it_came({"policy": page["policy"], "rules": every})
    for rule in every:
        _say(f"{rule['id']} ({rule['written']}): {rule['why']}")
    return 0


def _explain(arguments: argparse.Namespace, access: Access) -> int:
    if arguments.what:
        told = ask(access, "GET", f"/admin/v1/explain/{quote(arguments.what, safe=':/')}")
        # Its text form is `oidc-gateway explain`'s; here the members are shown one by one.
        for request in [] if arguments.json else _list(told, "requests"):
            for name, value in request.items():
                if value not in (None, [], {}):
                    _say(
                        f"{name}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
                    )
        return _as_it_came(told) if arguments.json else 0
    body: dict[str, object] = {"token": _read(arguments.token).reveal()}
    if wish := _wish(arguments):
        body["wish"] = wish
    answer = ask(access, "POST", "/admin/v1/explain", body)
    if arguments.json:
        _as_it_came(answer)
    else:
        for step in _list(answer, "steps"):
            _say(f"{_MARKS[str(step['mark'])]} {step['text']}")
            if step["hint"] and step["mark"] != "ok":
                _say(f"    {step['hint']}")
        for grant in _list(answer, "grants"):
            _say(f"  {_grant(grant)}")
        _say(_verdict(answer))
    return 0 if answer["allowed"] else 1


def _wish(arguments: argparse.Namespace) -> dict[str, str]:
    wish = {verb: name for verb in ("start", "view", "stop", "obtain") if (name := getattr(arguments, verb))}
    extra = {name: value for name in ("target", "form") if (value := getattr(arguments, name))}
    if extra and not wish:
        arguments.parser.error("--target and --form go with what is wished for")
    return wish | extra


def _verdict(answer: Document) -> str:
    if answer["target"]:
        rules = ", ".join(cast(Sequence[str], answer["rules"]))
        return f"{'ALLOWED' if answer['allowed'] else 'REFUSED, though the rules would allow it,'} as {answer['target']}, by {rules}."
    nearest = f" The nearest rule is {answer['nearest_rule']}." if answer["nearest_rule"] else ""
    if answer["code"]:
        return f"REFUSED with {answer['code']}.{nearest}"
    return "ALLOWED what is listed." if answer["allowed"] else "REFUSED."


def _reload(arguments: argparse.Namespace, access: Access) -> int:
    answer = ask(access, "POST", "/admin/v1/reload")
    if arguments.json:
        _as_it_came(answer)
    else:
        policy = _object(answer, "policy")
        _findings(policy)
        for line in cast(Sequence[str], answer["changes"]):
            _say(line)
        how = "in force" if answer["accepted"] else "in force, and not all the files say"
        _say(f"policy {policy['digest']} {how}{'' if answer['changed'] else '; unchanged'}")
    return 0 if answer["accepted"] else 1


def _findings(policy: Document) -> None:
    for one in _list(policy, "findings"):
        _say(
            f"{one['file']}:{one['line']}:{one['column']}: {one['severity']}[{one['code']}]: {one['message']}"
        )
        _say(f"  fix: {one['fix']}")


def _grant(grant: Document) -> str:
    if grant["workflow"]:
        return f"{grant['verb']} {grant['workflow']} as {grant['target']}"
    return f"{grant['verb']} {grant['target']} ({grant['form']})"


def _object(document: Document, name: str) -> Document:
    return cast(Document, document[name])


def _list(document: Document, name: str) -> list[Document]:
    return cast(list[Document], document[name])


def _as_it_came(document: object) -> int:
    print(json.dumps(document, indent=2))
    return 0


def _say(line: str) -> None:
    # Files and tokens are somebody's text: none of it may steer the terminal.
    print(visible(line))
