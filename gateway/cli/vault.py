"""`oidc-gateway vault`: what Vault needs for the files, and a task's own login."""

import argparse
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from gateway.admin.check import counted, render_text
from gateway.admin.vault_apply import make, read_held
from gateway.admin.vault_items import WantedVault
from gateway.admin.vault_plan import VaultPlan, plan
from gateway.admin.vault_session import VaultAccess, VaultSession, opened
from gateway.admin.vault_text import render_plan, summary, to_document
from gateway.admin.vault_wanted import wanted_of
from gateway.cli.folder import Loaded, load_or_complain
from gateway.cli.options import COULD_NOT_RUN, default_config
from gateway.cli.vault_access import access_of_administrator
from gateway.cli.vault_task import add_task_parsers, say_fault
from gateway.errors import GatewayError

_Act = Callable[[argparse.Namespace, VaultAccess, VaultSession, WantedVault], int]

_PLAN_CODES = "Exit codes: 0 in step, 1 Vault differs or is wider than the files, 2 could not run."
_APPLY_CODES = (
    "Exit codes: 0 done or in step, 1 not made, or something is left to do by hand, 2 could not run."
)
_ADMINISTRATOR = "VAULT_ADDR, VAULT_TOKEN and VAULT_CACERT are the administrator's (BAO_… as well); the token is never printed or stored."


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the commands to the parser."""
    parser = commands.add_parser(
        "vault",
        help="see and make what HashiCorp Vault needs for the files; log a task in",
        description="HashiCorp Vault: its set-up for the files, and the login of a task with its IAM role.",
        epilog="Exit codes: 0 good, 1 differences or refused, 2 could not run.",
    )
    below = parser.add_subparsers(metavar="COMMAND", title="commands", required=True)
    shown = below.add_parser(
        "plan",
        help="show the difference between Vault and the files",
        description=f"Compares Vault with the files and changes nothing. {_ADMINISTRATOR}",
        epilog=_PLAN_CODES,
    )
    _add_options(shown)
    shown.add_argument("--format", choices=("text", "json"), default="text", help="how to say it (text)")
    shown.set_defaults(run=run_plan)
    made = below.add_parser(
        "apply",
        help="show the difference, and make Vault what the files say",
        description=f"Shows what `vault plan` shows, asks, and makes it. {_ADMINISTRATOR}",
        epilog=_APPLY_CODES,
    )
    _add_options(made)
    made.add_argument("--yes", action="store_true", help="do not ask")
    made.add_argument("--prune", action="store_true", help="also delete what the files do not have")
    made.set_defaults(run=run_apply)
    add_task_parsers(below)


def _add_options(parser: argparse.ArgumentParser) -> None:
    default = default_config()
    parser.add_argument("--config", type=Path, default=default, metavar="DIR", help=f"the files ({default})")
    parser.add_argument(
        "--vault", metavar="NAME", help="which Vault of gateway.yaml, where there are several"
    )
    parser.add_argument(
        "--token-file", type=Path, metavar="FILE", help="file with the token, not VAULT_TOKEN"
    )
    parser.add_argument(
        "--dev", action="store_true", help="allow what only the embedded environment may have"
    )


def run_plan(arguments: argparse.Namespace) -> int:
    """Show the difference; return 0 when there is none, else 1."""
    return _run(arguments, "vault plan", _show)


def run_apply(arguments: argparse.Namespace) -> int:
    """Show the difference and make it; return 0 when nothing is left to do by hand, else 1."""
    return _run(arguments, "vault apply", _apply)


def _run(arguments: argparse.Namespace, command: str, act: _Act) -> int:
    loaded = load_or_complain(arguments.config, dev=arguments.dev, lenient=True, command=command)
    if loaded is None or loaded.policy is None:
        return COULD_NOT_RUN
    errors = _errors(loaded)
    every = wanted_of(loaded.policy, today=datetime.now(tz=UTC).date())
    all_wanted = tuple(wanted.with_errors(errors) for wanted in every)
    if not all_wanted and arguments.vault is None:
        print("No target of the files is a Vault role; nothing is needed.")
        return COULD_NOT_RUN if errors else 0
    wanted = _chosen(all_wanted, arguments.vault, command)
    if wanted is None:
        return COULD_NOT_RUN
    try:
        access = access_of_administrator(wanted.vault, arguments.token_file)
        with opened(access) as session:
            return act(arguments, access, session, wanted)
    except GatewayError as fault:
        say_fault(command, fault)
        return COULD_NOT_RUN


def _errors(loaded: Loaded) -> tuple[str, ...]:
    """Say on stderr what is wrong in the files, as `serve` does, and return it a line each."""
    errors = [finding for finding in loaded.findings if finding.severity == "error"]
    if errors:
        print(render_text(errors), file=sys.stderr)
    return tuple(f"{one.place.file}:{one.place.line}: {one.message}" for one in errors)


def _chosen(all_wanted: tuple[WantedVault, ...], name: str | None, command: str) -> WantedVault | None:
    """Return the one Vault that is meant; a token is for one server and is never shown to another."""
    names = [wanted.vault.name for wanted in all_wanted]
    if name is None and len(all_wanted) == 1:
        return all_wanted[0]
    if name in names:
        return all_wanted[names.index(name)]
    what = "Several Vaults are named" if name is None else f"No Vault role is on a Vault named {name}"
    print(f"oidc-gateway {command}: {what}. Choose with --vault: {', '.join(names)}.", file=sys.stderr)
    return None


def _show(
    arguments: argparse.Namespace, access: VaultAccess, session: VaultSession, wanted: WantedVault
) -> int:
    found = plan(wanted, read_held(session, wanted))
    if arguments.format == "json":
        print(json.dumps(to_document(found, address=access.address), indent=2, ensure_ascii=False))
    else:
        print(render_plan(found, address=access.address, pruning=False))
    return 0 if found.in_step else 1


def _apply(
    arguments: argparse.Namespace, access: VaultAccess, session: VaultSession, wanted: WantedVault
) -> int:
    found = plan(wanted, read_held(session, wanted))
    print(render_plan(found, address=access.address, pruning=arguments.prune), flush=True)
    if arguments.prune and found.problems:
        print(
            "oidc-gateway vault apply: nothing was changed or deleted. --prune takes away what the files do not have, and with "
            f"{counted(len(found.problems), 'problem')} left (above, after `!`) nobody can tell what that is: mend them first, "
            "or leave --prune out.",
            file=sys.stderr,
        )
        return COULD_NOT_RUN
    changes = (*found.changes, *(found.prune if arguments.prune else ()))
    if changes and not (arguments.yes or _agreed()):
        print("Nothing was changed; --yes makes these changes.")
        return 1
    for change in changes:
        make(session, change)
        print(f"  done: {change.action} {change.path}", flush=True)
    if changes:
        print(_left(plan(wanted, read_held(session, wanted))))
    return 1 if found.problems else 0


def _left(found: VaultPlan) -> str:
    if found.in_step:
        return "  Vault is in step with the files now."
    return f"  Left: {summary(found)}"


def _agreed() -> bool:
    if sys.stdin is None or not sys.stdin.isatty():
        return False
    print("Make these changes? [yes/no] ", end="", flush=True)
    return sys.stdin.readline().strip() == "yes"
