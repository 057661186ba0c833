"""`oidc-gateway audit verify`, `heads` and `keygen`: is the journal intact, who vouches for it, and with which key?"""

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from gateway.audit.chain import Head
from gateway.audit.files import JournalFile, journal_directories, journal_files
from gateway.audit.heads import HeadInvalid, SignedHead, heads_in, read_exported
from gateway.audit.signing import HeadKeys, generate
from gateway.audit.verdict import Verdict
from gateway.audit.vouching import Exported, chain_ids, verify_signed
from gateway.cli.audit_folder import (
    DirectoryUnknown,
    JournalUnreadable,
    add_directory_options,
    as_they_are_read,
    audit_directory,
    could_not_run,
)
from gateway.errors import GatewayError

_MOST_FINDINGS: Final = 100


class NothingToVerify(Exception):
    """A journal without a record is neither intact nor not: whoever deletes all of it must not be told that it is."""

    def __init__(self, directory: Path) -> None:
        super().__init__(
            f"There are no records in {directory}, so nothing was verified. A gateway writes one as soon as it starts: "
            "this is another directory, or the records were removed."
        )


class HeadsUnusable(Exception):
    """What --head names cannot be used. The message says why."""


class KeyThere(Exception):
    """A key is never replaced: what it signed could no longer be told from what somebody else did."""

    def __init__(self, file: str) -> None:
        super().__init__(
            f"{file} exists already, and a key is never replaced: name another file. To change the key, point "
            "audit.signing_key to the new one, restart, and give `audit verify` both public keys."
        )


def add_verify(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `verify` to the parser of `audit`."""
    parser = commands.add_parser(
        "verify",
        help="find every edited, removed, moved or inserted record",
        description="Finds every edited, removed, moved or inserted record. Records cut from the end of the last file are "
        "found only with --head: a head that was kept elsewhere. A chain that was computed anew is found with --key, the "
        "public half of audit.signing_key: only its holder could sign the heads in the journal.",
        epilog="Exit codes: 0 intact, 1 findings, 2 could not run, or there are no records.",
    )
    add_directory_options(parser)
    parser.add_argument(
        "--head",
        action="append",
        default=[],
        metavar="HEAD",
        help="SEQ:HASH as printed here, or a file (- for stdin) with a head a line: of `audit heads`, of the gateway's log, "
        "or of syslog; all must still be there; may be repeated",
    )
    parser.add_argument(
        "--key",
        action="append",
        default=[],
        type=Path,
        metavar="PUBLIC.pem",
        help="a public key that is trusted; repeat it for a key that was changed",
    )
    parser.add_argument("--partial", action="store_true", help="older files were archived elsewhere")
    parser.set_defaults(run=_verify)


def add_heads(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `heads` to the parser of `audit`."""
    parser = commands.add_parser(
        "heads",
        help="print the signed heads, to keep them elsewhere",
        description="Prints every signed head of the journal, one a line: keep them where the gateway cannot write, for "
        "`audit verify --head`.",
        epilog="Exit codes: 0 printed, 1 there are none, 2 could not run.",
    )
    add_directory_options(parser)
    parser.set_defaults(run=_heads)


def add_keygen(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `keygen` to the parser of `audit`."""
    parser = commands.add_parser(
        "keygen",
        help="make a key for signed heads",
        description="Writes a new Ed25519 private key for audit.signing_key, mode 0600, and its public key beside it as "
        "FILE.pub, which auditors need.",
        epilog="Exit codes: 0 written, 2 could not run; a file that is there is never replaced.",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="where the private key goes")
    parser.set_defaults(run=_keygen)


def _verify(args: argparse.Namespace) -> int:
    try:
        directory = audit_directory(args)
        journals = {path: journal_files(path) for path in journal_directories(directory)}
        exported = [head for text in args.head for head in _exported(text)]
        check = HeadKeys(args.key).check if args.key else None
        verdicts = {
            path: verify_signed(
                files, check=check, partial=args.partial, exported=_of(exported, files, journals.values())
            )
            for path, files in journals.items()
        }
    except (DirectoryUnknown, HeadsUnusable, GatewayError, OSError) as fault:
        return could_not_run(fault)
    told = [_tell(path, verdict, alone=len(verdicts) == 1) for path, verdict in verdicts.items()]
    return max(told)


def _of(
    exported: Sequence[Exported], files: Sequence[JournalFile], all_files: Iterable[Sequence[JournalFile]]
) -> list[Exported]:
    """Return the heads that concern one of several journals; the first gets those that concern none, as findings."""
    ids = [chain_ids(one) for one in all_files]
    if len(ids) == 1:
        return list(exported)
    own, first = chain_ids(files), chain_ids(files) == ids[0]
    everybody = frozenset().union(*ids)
    kept = []
    for one in exported:
        if isinstance(one.head, Head):
            raise HeadsUnusable(
                "There are several journals here; name the one that SEQ:HASH is of with --audit DIR/w1."
            )
        if one.head.chain in own or (first and one.head.chain not in everybody):
            kept.append(one)
    return kept


def _exported(text: str) -> list[Exported]:
    if ":" in text:
        try:
            head = read_exported(text)
        except HeadInvalid:
            head = None
        if head is not None:
            return [Exported(head=head, source="--head")]
    if text == "-":
        return _read_heads(sys.stdin, "stdin")
    path = Path(text)
    if ":" in text and not path.exists():
        raise HeadsUnusable(f"{text!r} is neither SEQ:HASH as `audit verify` prints it nor a file.")
    if path.is_dir():
        raise HeadsUnusable(f"{text} is a folder. Name the file in which heads were kept.")
    with path.open(encoding="utf-8", errors="replace") as file:
        return _read_heads(file, path.name if path.is_file() else text)


def _read_heads(lines: Iterable[str], source: str) -> list[Exported]:
    """Return the heads among the lines; a log has others too, and a line of it that means nothing is passed over."""
    found: list[Exported] = []
    number = 0
    for number, line in enumerate(lines, start=1):
        try:
            head = read_exported(line)
        except HeadInvalid as fault:
            raise HeadsUnusable(f"{source}:{number}: This is no head. {fault}") from None
        if head is not None:
            found.append(Exported(head=head, source=source, line=number))
    if not found:
        why = f"There is no head in its {_counted(number, 'line')}." if number else "It is empty."
        raise HeadsUnusable(
            f"{source}: {why} "
            "`oidc-gateway audit heads` prints heads, and so does the log of a gateway with audit.signing_key."
        )
    return found


def _tell(directory: Path, verdict: Verdict, *, alone: bool) -> int:
    prefix = "" if alone else f"{directory.name}/"
    for note in verdict.notes:
        print(f"note: {prefix}{note}" if note.startswith("audit-") else f"note: {note}")
    for finding in verdict.findings[:_MOST_FINDINGS]:
        print(f"{prefix if finding.file.startswith('audit-') else ''}{finding}")
    if len(verdict.findings) > _MOST_FINDINGS:
        print(f"… and {len(verdict.findings) - _MOST_FINDINGS} more.")
    if not verdict.findings and not verdict.records:
        return could_not_run(NothingToVerify(directory))
    print(_summary(verdict) if alone else f"{directory.name}: {_summary(verdict)}")
    return 1 if verdict.findings else 0


def _summary(verdict: Verdict) -> str:
    size = f"{_counted(verdict.records, 'record')} in {_counted(verdict.files, 'file')}"
    if verdict.findings:
        return f"Not intact: {_counted(len(verdict.findings), 'finding')} in {size}."
    return f"Intact: {size}. Head {verdict.head}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _heads(args: argparse.Namespace) -> int:
    found = False
    try:
        for head in as_they_are_read(_signed_heads(audit_directory(args))):
            found = True
            print(head.line())
    except (DirectoryUnknown, JournalUnreadable) as fault:
        return could_not_run(fault)
    if not found:
        print("There is no signed head: audit.signing_key switches them on.", file=sys.stderr)
    return 0 if found else 1


def _signed_heads(directory: Path) -> Iterator[SignedHead]:
    for journal in journal_directories(directory):
        for file in journal_files(journal):
            for _, head in heads_in(file.lines()):
                if isinstance(head, SignedHead):
                    yield head


def _keygen(args: argparse.Namespace) -> int:
    try:
        public, key = generate(args.file)
    except FileExistsError as fault:
        return could_not_run(KeyThere(str(fault.filename)))
    except OSError as fault:
        return could_not_run(fault)
    print(f"Private key: {args.file} (for audit.signing_key)")
    print(f"Public key:  {public} (for `audit verify --key`)")
    print(f"Key id:      {key}")
    return 0
