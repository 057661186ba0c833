"""`oidc-gateway audit`: is the journal intact, and which records speak of this?"""

import argparse
import os
import sys
from pathlib import Path
from typing import Final

from gateway.audit.chain import Head
from gateway.audit.document import moment
from gateway.audit.ledger import journal_files
from gateway.audit.reading import Entry, Query, find
from gateway.audit.safe_text import one_line
from gateway.audit.verify import Verdict, verify
from gateway.cli.options import COULD_NOT_RUN, default_config
from gateway.files.folder import load_sources

DIRECTORY_VARIABLE: Final = "OIDC_GATEWAY_AUDIT_DIRECTORY"
_MOST_FINDINGS: Final = 100


class NothingToVerify(Exception):
    """A journal without a record is neither intact nor not: whoever deletes all of it must not be told that it is."""

    def __init__(self, directory: Path) -> None:
        super().__init__(
            f"There are no records in {directory}, so nothing was verified. A gateway writes one as soon as it starts: "
            "this is another directory, or the records were removed."
        )


class DirectoryUnknown(Exception):
    """There is no audit directory to read. The message says where it was looked for and what to do."""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its subcommands to the parser."""
    audit = commands.add_parser(
        "audit",
        help="verify the audit journal, or find records in it",
        description="Is the journal intact, and which records speak of this?",
    )
    subcommands = audit.add_subparsers(metavar="COMMAND", required=True)
    _add_verify(subcommands)
    _add_find(subcommands)


def run(args: argparse.Namespace) -> int:
    """Run the subcommand that the arguments name; return the exit code."""
    code: int = args.run(args)
    return code


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


def _add_verify(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "verify",
        help="find every edited, removed, moved or inserted record",
        description="Finds every edited, removed, moved or inserted record. Records cut from the end of the last file "
        "are found only with --head: note the head that a verification prints, somewhere else.",
        epilog="Exit codes: 0 intact, 1 findings, 2 could not run, or there are no records.",
    )
    add_directory_options(parser)
    parser.add_argument(
        "--head",
        action="append",
        default=[],
        type=_head,
        metavar="SEQ:HASH",
        help="a head that was noted earlier and must still be there; may be repeated",
    )
    parser.add_argument("--partial", action="store_true", help="older files were archived elsewhere")
    parser.set_defaults(run=_verify)


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
        "--format", choices=("text", "json"), default="text", help="json: the lines as they stand"
    )
    parser.set_defaults(run=_find)


def _head(text: str) -> Head:
    seq, _, digest = text.partition(":")
    if not seq.isdecimal() or len(digest) != 64:
        raise argparse.ArgumentTypeError("expected SEQ:HASH as `audit verify` prints it")
    return Head(seq=int(seq), hash=digest)


def _verify(args: argparse.Namespace) -> int:
    try:
        directory = audit_directory(args)
        files = journal_files(directory)
        verdict = verify(files, partial=args.partial, noted=args.head)
    except (DirectoryUnknown, OSError) as fault:
        return _could_not_run(fault)
    for note in verdict.notes:
        print(f"note: {note}")
    for finding in verdict.findings[:_MOST_FINDINGS]:
        print(finding)
    if len(verdict.findings) > _MOST_FINDINGS:
        print(f"… and {len(verdict.findings) - _MOST_FINDINGS} more.")
    if not verdict.findings and not verdict.records:
        return _could_not_run(NothingToVerify(directory))
    print(_summary(verdict))
    return 1 if verdict.findings else 0


def _summary(verdict: Verdict) -> str:
    size = f"{_counted(verdict.records, 'record')} in {_counted(verdict.files, 'file')}"
    if verdict.findings:
        return f"Not intact: {_counted(len(verdict.findings), 'finding')} in {size}."
    return f"Intact: {size}. Head {verdict.head}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _find(args: argparse.Namespace) -> int:
    query = Query(
        request=args.request,
        token=args.token,
        session=args.session,
        execution=args.execution,
        rule=args.rule,
        trace=args.trace,
    )
    found = 0
    try:
        for entry in find(audit_directory(args), query):
            found += 1
            print(entry.text if args.format == "json" else _line(entry))
    except (DirectoryUnknown, OSError) as fault:
        return _could_not_run(fault)
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


def _could_not_run(fault: Exception) -> int:
    reason = f"{fault.filename}: {fault.strerror}" if isinstance(fault, OSError) else str(fault)
    print(f"oidc-gateway audit: {reason}", file=sys.stderr)
    return COULD_NOT_RUN
