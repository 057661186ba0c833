"""`oidc-gateway check`: every problem of every file, with its place and its fix."""

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from gateway.admin.check import (
    CheckReport,
    counted,
    render_github,
    render_json,
    render_summary,
    render_text,
    report_on,
    visible,
)
from gateway.admin.listening import listening_findings
from gateway.admin.remarks import remarks_on
from gateway.cli.as_served import add_state_option, as_served
from gateway.cli.options import COULD_NOT_RUN, default_config
from gateway.compiling.compile import compile_policy
from gateway.compiling.compiled import Compiled
from gateway.files.editor import editor_schemas
from gateway.files.folder import load_sources
from gateway.settings.setting import SettingInvalid

# What `check`, which reads the files anew like a start does, says of teams whose files have errors.
_HELD_BACK: Final = "A gateway that runs keeps their last good rules in memory; one that starts has none for them, so do not restart it."


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "check",
        help="find every problem of the files, with place and fix",
        description="Reads the files as `serve` would and says everything that is wrong, at once. Nothing is fetched.",
        epilog="Exit codes: 0 no errors, 1 errors, with --strict warnings too, 2 could not run.",
    )
    default = default_config()
    parser.add_argument(
        "folder", nargs="?", type=Path, metavar="DIR", help=f"configuration folder ({default})"
    )
    parser.add_argument("--config", type=Path, metavar="DIR", default=default, help=argparse.SUPPRESS)
    parser.add_argument("--strict", action="store_true", help="warnings count as errors do")
    parser.add_argument(
        "--dev", action="store_true", help="allow what only the embedded environment may have"
    )
    add_state_option(parser)
    parser.add_argument(
        "--format",
        choices=("text", "json", "github"),
        default="text",
        help="json: one object; github: annotations of a workflow",
    )
    parser.add_argument(
        "--schemas",
        action="store_true",
        help="write the JSON Schemas for editors to DIR/schemas instead, and check nothing",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print what is wrong; return 0, 1 when something is, 2 when there is no folder or a variable of `serve` is bad."""
    folder: Path = args.folder or args.config
    if args.schemas:
        return _write_schemas(folder)
    try:
        sources = load_sources(folder, lenient=True)
    except NotADirectoryError:
        print(
            f"oidc-gateway check: there is no folder {folder}. Name the one with gateway.yaml.",
            file=sys.stderr,
        )
        return COULD_NOT_RUN
    try:
        serving = as_served(sources, state=args.state)
    except SettingInvalid as fault:
        print(f"oidc-gateway check: {fault}", file=sys.stderr)
        return COULD_NOT_RUN
    compiled = compile_policy(sources, dev=args.dev, today=datetime.now(tz=UTC).date(), serving=serving)
    report = report_on((*compiled.findings, *listening_findings(sources)))
    _print(report, compiled, folder, args.format)
    return 1 if report.failed(strict=args.strict) else 0


def _print(report: CheckReport, compiled: Compiled, folder: Path, form: str) -> None:
    policy = compiled.policy
    if form == "json":
        remarks = remarks_on(policy) if policy else ()
        print(render_json(report, policy=policy.digest if policy else None, remarks=remarks))
        return
    found = (
        render_github(report, folder=str(folder))
        if form == "github"
        else render_text(report.findings, folder=str(folder))
    )
    if found:
        print(found)
    if form == "text":
        summary = render_summary(report)
        held = [name for name, team in compiled.teams.items() if team.state == "held"]
        if policy is not None:
            amounts = ((policy.rules, "rule"), (policy.targets, "target"), (policy.workflows, "workflow"))
            summary += f" {', '.join(counted(len(one), noun) for one, noun in amounts if one)}."
        if held:
            summary += f" Held back: {', '.join(visible(name) or 'all rules' for name in held)}. {_HELD_BACK}"
        print(summary)
        for remark in remarks_on(policy) if policy is not None else ():
            print(f"Remark: {visible(remark)}")


def _write_schemas(folder: Path) -> int:
    schemas = folder / "schemas"
    written = []
    try:
        schemas.mkdir(exist_ok=True)
        for name, text in editor_schemas().items():
            (schemas / name).write_text(text, encoding="utf-8")
            written.append(schemas / name)
    except OSError as error:
        print(f"oidc-gateway check: {error.filename}: {error.strerror}", file=sys.stderr)
        return COULD_NOT_RUN
    # Not while they are written: a reader of this list who has gone is no fault of a file.
    for file in written:
        print(file)
    return 0
