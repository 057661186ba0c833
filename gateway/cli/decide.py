"""`oidc-gateway decide`: what would happen to a token, offline, check by check."""

import argparse
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, get_args

from gateway.admin.offline import Forecast, Step, forecast
from gateway.cli.folder import load_or_complain
from gateway.cli.options import COULD_NOT_RUN, default_config
from gateway.policy.decide import Allowed, Denied
from gateway.policy.holdings import Held
from gateway.policy.refuse import refusal
from gateway.policy.rule import AwsRole, Issued, Obtain, Replay, Start, VaultRole, Wish
from gateway.policy.snapshot import Policy
from gateway.secret import Secret

_MARKS = {"ok": "✓", "no": "✗", "unknown": "?"}
_LONGEST_FILE = 64 * 1024
_LIMITS: Final[Mapping[Replay, str]] = {
    "off": "",
    "once": " Each token may do so once.",
    "per-request": " Each token may do so for one request and its exact repetition.",
}


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "decide",
        help="say offline what would happen to a token, and why",
        description=(
            "Says what the gateway would answer, check by check. Nothing is fetched, recorded or started; "
            "the signature is checked only where the issuer's keys are in a file."
        ),
        epilog="Exit codes: 0 it would be allowed, 1 it would be refused, 2 could not run.",
    )
    default = default_config()
    parser.add_argument("--config", type=Path, default=default, metavar="DIR", help=f"the files ({default})")
    parser.add_argument(
        "--token", required=True, metavar="FILE", help="file with the token; - for standard input"
    )
    wish = parser.add_mutually_exclusive_group()
    wish.add_argument("--start", metavar="WORKFLOW", help="would it start this workflow?")
    wish.add_argument("--obtain", metavar="TARGET", help="would it obtain credentials of this target?")
    parser.add_argument("--target", metavar="TARGET", help="as this target (with --start)")
    parser.add_argument(
        "--form",
        choices=get_args(Issued),
        help="what would be handed out (with --obtain): aws-credentials unless you say so",
    )
    parser.add_argument(
        "--at", type=float, metavar="SECONDS", help="at this time, in seconds since 1970 (now)"
    )
    parser.add_argument(
        "--dev", action="store_true", help="allow what only the embedded environment may have"
    )
    parser.add_argument("--format", choices=("text", "json"), default="text", help="how to say it (text)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command and return its exit code."""
    if arguments.target and not arguments.start:
        arguments.parser.error("--target goes with --start; --obtain names the target itself")
    if arguments.form and not arguments.obtain:
        arguments.parser.error("--form goes with --obtain TARGET; a start hands nothing out")
    loaded = load_or_complain(arguments.config, dev=arguments.dev, lenient=True, command="decide")
    if loaded is None or loaded.policy is None:
        return COULD_NOT_RUN
    try:
        token = _read_token(arguments.token)
    except (OSError, ValueError) as fault:
        reason = fault.strerror if isinstance(fault, OSError) else str(fault)
        print(
            f"oidc-gateway decide: cannot read the token from {arguments.token}: {reason}.", file=sys.stderr
        )
        return COULD_NOT_RUN
    wish = _wish(arguments)
    if (impossible := _impossible(wish, loaded.policy)) is not None:
        print(f"oidc-gateway decide: {impossible}", file=sys.stderr)
        return COULD_NOT_RUN
    now = time.time() if arguments.at is None else arguments.at
    answer = forecast(token, loaded.policy, wish, now=now)
    if arguments.format == "json":
        print(json.dumps(_document(answer, wish), indent=2, ensure_ascii=False))
    else:
        _print_text(answer, wish)
    return 0 if answer.allowed else 1


def _read_token(name: str) -> Secret:
    if name == "-":
        data = sys.stdin.buffer.read(_LONGEST_FILE + 1)
    else:
        with Path(name).open("rb") as file:
            data = file.read(_LONGEST_FILE + 1)
    if len(data) > _LONGEST_FILE:
        raise ValueError("it is larger than any token")
    try:
        # The line end that editors and `echo` add is no part of the token; everything else is judged as it is.
        return Secret(data.decode("utf-8").rstrip("\r\n"))
    except UnicodeDecodeError:
        raise ValueError("it is no text") from None


def _wish(arguments: argparse.Namespace) -> Wish | None:
    if arguments.start:
        return Start(workflow=arguments.start, target=arguments.target)
    if arguments.obtain:
        return Obtain(target=arguments.obtain, form=arguments.form or "aws-credentials")
    return None


def _impossible(wish: Wish | None, policy: Policy) -> str | None:
    """Say why no rule could ever grant this form of this target, which is a mistake in the question."""
    if not isinstance(wish, Obtain):
        return None
    match policy.targets.get(wish.target):
        case AwsRole(name=name) if wish.form == "vault-token":
            return (
                f"{name} is an IAM role, and only roles of Vault hand out tokens of Vault: leave --form out."
            )
        case VaultRole(name=name, aws=None) if wish.form == "aws-credentials":
            return (
                f"{name} has no AWS engine behind it and hands out tokens of Vault alone: --form vault-token."
            )
        case _:
            return None


def _print_text(answer: Forecast, wish: Wish | None) -> None:
    for step in answer.steps:
        _print_step(step)
    print()
    print(_verdict(answer, wish))
    if wish is None:
        for held in answer.grants:
            print(f"  {_said(held)}")


def _print_step(step: Step) -> None:
    print(f"{_MARKS[step.mark]} {step.text}")
    if step.hint and step.mark != "ok":
        print(f"    {step.hint}")


def _verdict(answer: Forecast, wish: Wish | None) -> str:
    if wish is None:
        held = (
            f"This token would hold {len(answer.grants)} grants"
            if answer.grants
            else "This token would hold no grant"
        )
        return (
            f"{held}{':' if answer.grants else '.'}"
            if answer.allowed or not answer.grants
            else f"{held}, if the faults above were mended:"
        )
    match answer.decision:
        case Allowed() as allowed if answer.allowed:
            return (
                f"ALLOWED as {allowed.target.name}, by {', '.join(allowed.rules)}.{_LIMITS[allowed.replay]}"
            )
        case Allowed() as allowed:
            return f"REFUSED because of the token; the rules ({', '.join(allowed.rules)}) would allow it as {allowed.target.name}."
        case Denied() as denied:
            nearest = f" The nearest rule is {denied.nearest}." if denied.nearest else ""
            targets = f" Choose one of: {', '.join(denied.targets)}." if denied.targets else ""
            return f"REFUSED with {denied.code}: {refusal(wish, denied).message}{targets}{nearest}"
        case None:
            return "REFUSED because of the token."


def _said(held: Held) -> str:
    grant = held.grant
    limit = "" if held.replay == "off" else f" ({held.replay})"
    if grant.workflow is None:
        form = " as a token of Vault" if grant.form == "vault-token" else ""
        return f"obtain {grant.target.name}{form}{limit}"
    return f"{grant.verb} {grant.workflow.name} as {grant.target.name}{limit}"


def _document(answer: Forecast, wish: Wish | None) -> dict[str, object]:
    decision = answer.decision
    return {
        "allowed": answer.allowed,
        "verdict": _verdict(answer, wish),
        "code": decision.code if isinstance(decision, Denied) else None,
        "target": decision.target.name if isinstance(decision, Allowed) else None,
        "rules": list(decision.rules) if isinstance(decision, Allowed) else [],
        "replay": decision.replay if isinstance(decision, Allowed) else None,
        "nearest_rule": decision.nearest if isinstance(decision, Denied) else None,
        "steps": [{"mark": step.mark, "text": step.text, "hint": step.hint} for step in answer.steps],
        "grants": [_said(held) for held in answer.grants],
    }
