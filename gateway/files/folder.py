"""The whole configuration folder, read once: gateway, targets, mappings, and the files they name."""

import gc
import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeVar

from gateway.files.document import MAX_FINDINGS, Document, read_document
from gateway.files.schema import AuditShape, GatewayShape, MappingShape, ServerShape, TargetsShape
from gateway.files.shapes import Shaped, shape_document
from gateway.files.source import SECRET_FIX, Finding, FindingCode, Place, Source, read_source
from gateway.files.text import find_secrets, positions

MAX_FILES: Final = 10_000
_MAX_FOLDERS: Final = 8

AnyShape = TypeVar("AnyShape", GatewayShape, TargetsShape, MappingShape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Every file of the folder, with what is wrong in each by itself.

    folder:      a real path.
    gateway:     None when gateway.yaml is not there.
    mappings:    by file name; those that cannot be read included.
    attachments: files that gateway.yaml and the targets name, by the name written there: schemas, key sets, CAs.
    findings:    about files that are missing or in the wrong place; those of each document are its own.
    """

    folder: Path
    gateway: Shaped[GatewayShape] | None
    targets: tuple[Shaped[TargetsShape], ...]
    mappings: tuple[Shaped[MappingShape], ...]
    attachments: Mapping[str, Source]
    findings: tuple[Finding, ...]

    @property
    def server(self) -> ServerShape:
        """Return the `server` block, or its defaults."""
        shape = self.gateway.shape if self.gateway is not None else None
        return ServerShape() if shape is None else shape.server

    @property
    def audit(self) -> AuditShape:
        """Return the `audit` block, or its defaults."""
        shape = self.gateway.shape if self.gateway is not None else None
        return AuditShape() if shape is None else shape.audit

    @property
    def fingerprint(self) -> str:
        """Return a digest of all bytes, modes and owners included: equal ones need no second compilation."""
        shaped = (*((self.gateway,) if self.gateway else ()), *self.targets, *self.mappings)
        lines = [f"{one.file} {one.document.digest}" for one in shaped]
        lines += [f"{name} {source.digest}" for name, source in sorted(self.attachments.items())]
        found = [*self.findings, *(finding for one in shaped for finding in one.findings)]
        found += [finding for source in self.attachments.values() for finding in source.findings]
        lines += [f"{finding.code} {finding.severity} {finding.place}" for finding in found]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def load_sources(folder: Path, *, lenient: bool = False, previous: Sources | None = None) -> Sources:
    """Read the configuration folder.

    lenient:  modes and owners of files are warnings (`check`, `--dev`) and not errors (`serve`).
    previous: files whose bytes have not changed since are not parsed again.
    Raises NotADirectoryError when there is no such folder.
    """
    if not folder.is_dir():
        raise NotADirectoryError(folder)
    with collector_paused():
        return _Loading(folder.resolve(), lenient=lenient, previous=previous).load()


@contextmanager
def collector_paused() -> Iterator[None]:
    """Keep the garbage collector from running meanwhile."""
    # Half a million small objects are made and kept: looking for garbage among them takes as long as making them.
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class _Loading:
    def __init__(self, folder: Path, *, lenient: bool, previous: Sources | None) -> None:
        self._folder = folder
        self._lenient = lenient
        self._findings: list[Finding] = []
        self._known: dict[tuple[str, str], object] = {}
        if previous is not None:
            shaped = (
                *((previous.gateway,) if previous.gateway else ()),
                *previous.targets,
                *previous.mappings,
            )
            self._known = {(one.file, one.document.digest): one for one in shaped if one.sound}

    def load(self) -> Sources:
        gateway = self._read("gateway.yaml", GatewayShape) if self._exists("gateway.yaml") else None
        if gateway is None:
            self._missing("gateway.yaml", "Without it no issuer is trusted.")
        targets = tuple(self._read(file, TargetsShape) for file in self._target_files())
        mappings = tuple(self._read(file, MappingShape) for file in self._yaml_files("mappings"))
        named = [*_named_by_gateway(gateway), *(one for file in targets for one in _named_by_targets(file))]
        first = {one.file: one for one in reversed(named)}
        return Sources(
            folder=self._folder,
            gateway=gateway,
            targets=targets,
            mappings=mappings,
            attachments={file: self._attachment(one) for file, one in first.items()},
            findings=tuple(self._findings),
        )

    def _exists(self, file: str) -> bool:
        return os.path.lexists(self._folder / file)

    def _missing(self, file: str, why: str) -> None:
        self._add(FindingCode.FILE_MISSING, file, f"{file} does not exist. {why}", f"Create {file}.")

    def _add(self, code: FindingCode, file: str, message: str, fix: str, *, warning: bool = False) -> None:
        self._findings.append(
            Finding(
                code=code,
                severity="warning" if warning else "error",
                place=Place(file=file, line=1, column=1),
                message=message,
                fix=fix,
            )
        )

    def _target_files(self) -> list[str]:
        files = ["targets.yaml"] if self._exists("targets.yaml") else []
        files += self._yaml_files("targets")
        if not files:
            self._missing("targets.yaml", "Without it there is nothing that a rule could grant.")
        return files

    def _read(self, file: str, shape: type[AnyShape]) -> Shaped[AnyShape]:
        source = read_source(self._folder, file, lenient=self._lenient)
        known = self._known.get((file, source.digest))
        if isinstance(known, Shaped) and isinstance(known.shape, shape) and not source.findings:
            return known
        return shape_document(read_document(source), shape)

    def _attachment(self, named: "_Named") -> Source:
        name = named.file
        if name.startswith("/") or ".." in name.split("/"):
            finding = named.finding(
                FindingCode.FILE_OUTSIDE,
                f"{name} leads outside the configuration folder.",
                "Move the file into the folder and name it from there, such as schemas/deploy.json.",
            )
            return Source(file=name, digest="", text="", findings=(finding,))
        source = _without_secrets(read_source(self._folder, name, lenient=self._lenient))
        if any(finding.code is FindingCode.FILE_MISSING for finding in source.findings):
            # What is not there has no place of its own; its name has one.
            finding = named.finding(
                FindingCode.FILE_MISSING, f"{name} does not exist.", "Create it, or mend the name."
            )
            return replace(source, findings=(finding,))
        return source

    def _yaml_files(self, below: str) -> list[str]:
        found: list[str] = []
        if self._exists(below):
            self._walk(below, found, depth=0)
        if len(found) > MAX_FILES:
            self._add(
                FindingCode.LIMIT_EXCEEDED,
                below,
                f"{below}/ holds more than {MAX_FILES:,} files.",
                "Join some.",
            )
        return found[:MAX_FILES]

    def _walk(self, below: str, found: list[str], *, depth: int) -> None:
        here = self._folder / below
        if depth > _MAX_FOLDERS or not here.resolve().is_relative_to(self._folder):
            self._add(
                FindingCode.FILE_OUTSIDE,
                below,
                f"{below}/ leads outside the configuration folder, or in a circle.",
                "Replace the link by a folder.",
            )
            return
        try:
            names = sorted(entry.name for entry in here.iterdir())
        except OSError as error:
            self._add(
                FindingCode.FILE_PERMISSIONS,
                below,
                f"{below}/ cannot be listed: {error.strerror}.",
                "Make it a folder that the gateway's user may read.",
            )
            return
        for name in names:
            # Hidden ones are editors' leftovers, and the `..data` behind the links of a mounted ConfigMap.
            if not name.startswith("."):
                self._entry(f"{below}/{name}", found, depth)

    def _entry(self, file: str, found: list[str], depth: int) -> None:
        if (self._folder / file).is_dir():
            self._walk(file, found, depth=depth + 1)
        elif file.endswith(".test.yaml"):
            return
        elif file.endswith(".yaml"):
            found.append(file)
        else:
            self._add(
                FindingCode.FILE_IGNORED,
                file,
                f"{file} is not read.",
                "Name it .yaml when it should be, or move it elsewhere.",
                warning=True,
            )


def _without_secrets(source: Source) -> Source:
    secrets = find_secrets(source.text)[:MAX_FINDINGS]
    found = tuple(
        Finding(
            code=FindingCode.SECRET_IN_FILE,
            severity="error",
            place=Place(file=source.file, line=line, column=column),
            message=f"This looks like {kind}.",
            fix=SECRET_FIX,
        )
        for (kind, _), (line, column) in zip(
            secrets, positions(source.text, [at for _, at in secrets]), strict=True
        )
    )
    return replace(source, findings=(*source.findings, *found)) if found else source


@dataclass(frozen=True, slots=True)
class _Named:
    """A file and the place that names it."""

    file: str
    document: Document
    path: tuple[str, ...]

    def finding(self, code: FindingCode, message: str, fix: str) -> Finding:
        return self.document.finding(code, self.path, message, fix)


def _named_by_gateway(gateway: Shaped[GatewayShape] | None) -> Iterator[_Named]:
    if gateway is not None and gateway.shape is not None:
        for name, issuer in gateway.shape.issuers.items():
            for key, file in (("jwks_file", issuer.jwks_file), ("ca_file", issuer.ca_file)):
                if file is not None:
                    yield _Named(file, gateway.document, ("issuers", name, key))
        for name, vault in (gateway.shape.vaults or {}).items():
            if vault.ca_file is not None:
                yield _Named(vault.ca_file, gateway.document, ("vaults", name, "ca_file"))


def _named_by_targets(targets: Shaped[TargetsShape]) -> Iterator[_Named]:
    if targets.shape is not None:
        for name, workflow in targets.shape.workflows.items():
            if workflow.input_schema is not None and workflow.input_schema != "any":
                yield _Named(workflow.input_schema, targets.document, ("workflows", name, "input_schema"))
