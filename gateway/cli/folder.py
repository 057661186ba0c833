"""The administrators' folder as commands need it: read, compiled, and its findings said on a terminal."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from gateway.admin.check import render_text
from gateway.cli.as_served import as_served
from gateway.compiling.central import Serving
from gateway.compiling.compile import compile_policy
from gateway.files.folder import Sources, load_sources
from gateway.files.schema.administration import AdminShape
from gateway.files.schema.keeping import AuditShape, StateShape
from gateway.files.schema.serving import LimitsShape, ServerShape
from gateway.files.source import Finding, FindingCode
from gateway.policy.snapshot import Policy
from gateway.settings.setting import SettingInvalid

#: Says how the service runs that the files are for; None: as gateway.yaml says.
_Judge = Callable[[Sources], Serving | None]


def as_written(_: Sources) -> Serving | None:
    """Judge files by themselves, whatever flags and variables say."""
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What a folder amounts to. policy: None when its files cannot be served."""

    policy: Policy | None
    findings: tuple[Finding, ...]
    server: ServerShape
    audit: AuditShape
    limits: LimitsShape
    state: StateShape
    admin: AdminShape | None = None
    sources: Sources | None = None


def load_folder(folder: Path, *, dev: bool, lenient: bool, serving: _Judge = as_served) -> Loaded:
    """Read and compile a folder. lenient: as `load_sources` says. Raises NotADirectoryError, SettingInvalid."""
    sources = load_sources(folder, lenient=lenient)
    compiled = compile_policy(
        sources, dev=dev, today=datetime.now(tz=UTC).date(), overlaps=False, serving=serving(sources)
    )
    shape = sources.gateway.shape if sources.gateway else None
    return Loaded(
        policy=compiled.policy,
        findings=compiled.findings,
        server=shape.server if shape else ServerShape(),
        audit=shape.audit if shape else AuditShape(),
        limits=shape.limits if shape else LimitsShape(),
        state=shape.state if shape else StateShape(),
        admin=shape.admin if shape else None,
        sources=sources,
    )


def unfit_for(loaded: Loaded, serving: Serving, *, dev: bool) -> tuple[Finding, ...]:
    """Return the findings about rules that hold as gateway.yaml describes the service, and cannot as it is started.

    What `check` finds too holds back its own team and stops nobody else; this is a mistake of whoever starts it.
    """
    if serving.tokens_shared or loaded.sources is None:
        return ()
    compiled = compile_policy(
        loaded.sources, dev=dev, today=datetime.now(tz=UTC).date(), overlaps=False, serving=serving
    )
    known = {one.place for one in loaded.findings if one.code is FindingCode.STORE_NOT_SHARED}
    return tuple(
        one
        for one in compiled.findings
        if one.code is FindingCode.STORE_NOT_SHARED and one.place not in known
    )


def load_or_complain(
    folder: Path, *, dev: bool, lenient: bool, command: str, serving: _Judge = as_served
) -> Loaded | None:
    """Return the folder when its files can be served; else say on stderr why not and return None."""
    try:
        loaded = load_folder(folder, dev=dev, lenient=lenient, serving=serving)
    except NotADirectoryError:
        print(
            f"oidc-gateway {command}: there is no folder {folder}. Name the one with gateway.yaml: --config DIR.",
            file=sys.stderr,
        )
        return None
    except SettingInvalid as fault:
        print(f"oidc-gateway {command}: {fault}", file=sys.stderr)
        return None
    if loaded.policy is not None:
        return loaded
    print(render_text(loaded.findings), file=sys.stderr)
    print(
        f"oidc-gateway {command}: the files of {folder} cannot be used; their errors are above.",
        file=sys.stderr,
    )
    return None
