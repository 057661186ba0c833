"""`oidc-gateway test`: the tests that stand beside the rules, one by one."""

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from gateway.admin.check import counted, render_text, visible
from gateway.cli.as_served import add_state_option, as_served
from gateway.cli.options import COULD_NOT_RUN, default_config
from gateway.compiling.cases import CaseResult
from gateway.compiling.compile import compile_policy
from gateway.compiling.compiled import Compiled
from gateway.files.folder import load_sources
from gateway.files.listing import is_test
from gateway.files.source import Finding, FindingCode
from gateway.settings.setting import SettingInvalid


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "test",
        help="run the tests beside the rules: who must, and who must not",
        description="Runs mappings/TEAM/*.test.yaml: tokens, by their claims, and what the team's rules must and must "
        "not allow. Nothing is fetched. `check` finds the same, with every other problem.",
        epilog="Exit codes: 0 all passed, 1 one failed or could not be judged, 2 could not run.",
    )
    default = default_config()
    parser.add_argument("--config", type=Path, default=default, metavar="DIR", help=f"the files ({default})")
    parser.add_argument(
        "--dev", action="store_true", help="allow what only the embedded environment may have"
    )
    add_state_option(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run every test; return 0, 1 when one failed or could not be judged, 2 when there is no folder or a variable is bad."""
    try:
        sources = load_sources(args.config, lenient=True)
    except NotADirectoryError:
        print(
            f"oidc-gateway test: there is no folder {args.config}. Name the one with gateway.yaml: --config DIR.",
            file=sys.stderr,
        )
        return COULD_NOT_RUN
    try:
        serving = as_served(sources, state=args.state)
    except SettingInvalid as fault:
        print(f"oidc-gateway test: {fault}", file=sys.stderr)
        return COULD_NOT_RUN
    compiled = compile_policy(
        sources, dev=args.dev, today=datetime.now(tz=UTC).date(), overlaps=False, serving=serving
    )
    written = sum(len(file.shape.tests) for file in sources.tests if file.shape is not None)
    unjudged = max(0, written - len(compiled.cases))
    wrong = _wrong(compiled, unjudged=unjudged)
    failed = sum(bool(case.faults) for case in compiled.cases)
    if args.json:
        print(_document(compiled, wrong, unjudged=unjudged))
    else:
        _print(compiled.cases, wrong, failed=failed, unjudged=unjudged, folder=args.config)
    return 1 if failed or wrong or unjudged else 0


def _wrong(compiled: Compiled, *, unjudged: int) -> tuple[Finding, ...]:
    """Return what keeps tests from being judged: in their own files, and everywhere else where that is the cause."""
    return tuple(
        finding
        for finding in compiled.findings
        if finding.severity == "error" and finding.code is not FindingCode.FIXTURE_FAILED
        if unjudged or is_test(finding.place.file)
    )


def _print(
    cases: tuple[CaseResult, ...], wrong: tuple[Finding, ...], *, failed: int, unjudged: int, folder: Path
) -> None:
    for case in cases:
        print(f"{'✗' if case.faults else '✓'} {visible(case.file)}: {visible(case.name)}")
        for fault in case.faults:
            print(f"    {visible(fault)}")
    if wrong:
        print(render_text(wrong, folder=str(folder)))
    if not cases and not unjudged and not wrong:
        print("There are no tests. Write some beside the rules: mappings/TEAM/NAME.test.yaml.")
        return
    summary = f"{counted(len(cases), 'test') or 'No tests'} judged, {failed} failed."
    if unjudged:
        summary += f" {unjudged} could not be judged: mend the files first."
    print(summary)


def _document(compiled: Compiled, wrong: tuple[Finding, ...], *, unjudged: int) -> str:
    return json.dumps(
        {
            "tests": [
                {"file": case.file, "name": case.name, "passed": not case.faults, "faults": list(case.faults)}
                for case in compiled.cases
            ],
            "unjudged": unjudged,
            "errors": [f"{finding.place}: {finding.code}: {finding.message}" for finding in wrong],
        },
        indent=2,
        ensure_ascii=False,
    )
