"""`oidc-gateway audit`: is the journal intact, and which records speak of this?"""

import argparse
import sys
from typing import get_args

from gateway.audit.document import moment
from gateway.audit.reading import Entry, Query, find
from gateway.audit.record import Act
from gateway.audit.safe_text import one_line
from gateway.cli.audit_folder import (
    DirectoryUnknown,
    JournalUnreadable,
    add_directory_options,
    as_they_are_read,
    audit_directory,
    could_not_run,
)
from gateway.cli.audit_verify import add_heads, add_keygen, add_verify


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its subcommands to the parser."""
    audit = commands.add_parser(
        "audit",
        help="verify the audit journal, or find records in it",
        description="Is the journal intact, and which records speak of this?",
    )
    subcommands = audit.add_subparsers(metavar="COMMAND", required=True)
    add_verify(subcommands)
    _add_find(subcommands)
    add_heads(subcommands)
    add_keygen(subcommands)


def run(args: argparse.Namespace) -> int:
    """Run the subcommand that the arguments name; return the exit code."""
    code: int = args.run(args)
    return code


def _add_find(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "find",
        help="list the records that speak of something",
        description="Lists the records that speak of something, one a line. All options given must hold.",
        epilog="Exit codes: 0 found, 1 no record fits, 2 could not run.",
    )
    add_directory_options(parser)
    parser.add_argument("--request", metavar="ID", help="request id")
    parser.add_argument("--token", metavar="DIGEST", help="SHA-256 of a token, or its first 8 hex digits")
    parser.add_argument("--session", metavar="ARN", help="assumed-role ARN, or its session name")
    parser.add_argument("--execution", metavar="ARN", help="execution ARN, or its name")
    parser.add_argument("--rule", metavar="ID", help="rule id")
    parser.add_argument("--trace", metavar="ID", help="trace id, 32 hex digits")
    parser.add_argument(
        "--act", choices=get_args(Act), metavar="ACT", help="what was done, such as start or switch"
    )
    parser.add_argument(
        "--format", choices=("text", "json"), default="text", help="json: the lines as they stand"
    )
    parser.set_defaults(run=_find)


def _find(args: argparse.Namespace) -> int:
    query = Query(
        request=args.request,
        token=args.token,
        session=args.session,
        execution=args.execution,
        rule=args.rule,
        trace=args.trace,
        act=args.act,
    )
    found = 0
    try:
        for entry in as_they_are_read(find(audit_directory(args), query)):
            found += 1
            print(entry.text if args.format == "json" else _line(entry))
    except (DirectoryUnknown, JournalUnreadable) as fault:
        return could_not_run(fault)
    if not found:
        print("No record fits.", file=sys.stderr)
    return 0 if found else 1


def _line(entry: Entry) -> str:
    record = entry.record
    parts = [
        moment(record.at),
        record.request_id,
        record.kind,
        record.act,
        record.object or "-",
        record.code or "-",
        record.principal.subject if record.principal else record.actor or "-",
        record.execution or record.issued or "-",
    ]
    return " ".join(one_line(part, limit=200) for part in parts)
