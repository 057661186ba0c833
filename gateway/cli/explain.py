"""`oidc-gateway explain`: what happened to a request, and what to do next."""

import argparse
import json
import sys
from typing import Final

from gateway.admin.explain import as_json, as_text, explain
from gateway.audit.reading import find_stories
from gateway.cli.audit_folder import DirectoryUnknown, add_directory_options, audit_directory
from gateway.cli.options import COULD_NOT_RUN

NO_RECORD: Final = """\
No record of it. Either the record is elsewhere:
  each replica keeps a journal of its own, so ask there too; older files may have been archived;
  or none was written:
  the request was refused before a token was read (no token, malformed, at another address, overloaded, draining),
  it was a `whoami` that succeeded, or its caller left before anything was decided;
  or it was one of many refusals of one address within a minute, which share a record: `oidc-gateway audit find` shows it
  with `repeated`.
The log has a line for every request that was HTTP, under its request id."""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "explain",
        help="tell what happened to a request, from the audit journal",
        description="Tells who asked, which rule was nearest, each check with what was wanted and presented, what AWS "
        "said, and what to do next. For administrators: it shows the rules' values.",
        epilog="Exit codes: 0 told, 1 no record of it, 2 could not run.",
    )
    parser.add_argument(
        "what",
        metavar="REQUEST_ID",
        help="a request id (X-Request-Id of the answer), an execution or session ARN (or only its last part), "
        "a trace id, or a token's SHA-256",
    )
    add_directory_options(parser)
    parser.add_argument(
        "--format", choices=("text", "json"), default="text", help="json: an array of objects"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the story of every request that fits; return 0, 1 when none fits, 2 when there is no journal."""
    try:
        stories = find_stories(audit_directory(args), args.what)
    except DirectoryUnknown as fault:
        return _could_not_run(str(fault))
    except OSError as fault:
        return _could_not_run(f"{fault.filename}: {fault.strerror}")
    told = [explain([entry.record for entry in story]) for story in stories]
    if args.format == "json":
        print(json.dumps([as_json(explanation) for explanation in told], indent=2))
    elif told:
        print("\n".join(as_text(explanation) for explanation in told), end="")
    if not told:
        print(NO_RECORD, file=sys.stderr)
    return 0 if told else 1


def _could_not_run(reason: str) -> int:
    print(f"oidc-gateway explain: {reason}", file=sys.stderr)
    return COULD_NOT_RUN
