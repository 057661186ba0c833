"""The whole configuration folder, read once: gateway, targets, mappings, and the files they name."""

import hashlib
import logging
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeVar

from gateway.collector import collector_paused
from gateway.files.allowance import Allowances, Owner, listings, owner_of
from gateway.files.bounds import RULES, TESTS, Bounds
from gateway.files.document import MAX_FINDINGS, Document, read_document
from gateway.files.folders import Folders
from gateway.files.listing import Listing, is_test, name_fault, shown_name
from gateway.files.looking import look
from gateway.files.paths import Paths
from gateway.files.schema.cases import CasesShape
from gateway.files.schema.gateway import GatewayShape
from gateway.files.schema.keeping import AuditShape
from gateway.files.schema.mapping import MappingShape
from gateway.files.schema.serving import ServerShape
from gateway.files.schema.targets import TargetsShape
from gateway.files.shapes import Shaped, shape_document
from gateway.files.source import SECRET_FIX, Finding, FindingCode, Place, Source, read_source
from gateway.files.text import find_secrets, positions
from gateway.files.turns import at_a_stretch, step

_log = logging.getLogger("gateway.files.folder")

_NAMES: Final = ("gateway.yaml", "targets.yaml", "targets", "mappings")
# Writing a folder takes moments; who writes it all the time will not stop for us.
_ATTEMPTS: Final = 5
_PAUSE_S: Final = 0.02

AnyShape = TypeVar("AnyShape", GatewayShape, TargetsShape, MappingShape, CasesShape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Every file of the folder, with what is wrong in each by itself.

    folder:      a real path.
    gateway:     None when gateway.yaml is not there.
    mappings:    by file name; those that cannot be read included. tests: of their rules, likewise.
    attachments: files that gateway.yaml and the targets name, by the name written there: schemas, key sets, CAs.
    findings:    about files that are missing or in the wrong place; those of each document are its own.
    """

    folder: Path
    gateway: Shaped[GatewayShape] | None
    targets: tuple[Shaped[TargetsShape], ...]
    mappings: tuple[Shaped[MappingShape], ...]
    attachments: Mapping[str, Source]
    findings: tuple[Finding, ...]
    tests: tuple[Shaped[CasesShape], ...] = ()

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
        shaped = (*((self.gateway,) if self.gateway else ()), *self.targets, *self.mappings, *self.tests)
        lines = [f"{one.file} {one.document.digest}" for one in shaped]
        lines += [f"{name} {source.digest}" for name, source in sorted(self.attachments.items())]
        found = [*self.findings, *(finding for one in shaped for finding in one.findings)]
        found += [finding for source in self.attachments.values() for finding in source.findings]
        lines += [f"{finding.code} {finding.severity} {finding.place}" for finding in found]
        # A name may hold bytes that are no UTF-8, whatever refuses it elsewhere: a digest never fails.
        return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest()


def load_sources(folder: Path, *, lenient: bool = False, previous: Sources | None = None) -> Sources:
    """Read the configuration folder as it is at one moment.

    lenient:  modes and owners of files are warnings (`check`, `--dev`) and not errors (`serve`).
    previous: files whose bytes have not changed since are not parsed again.
    Raises NotADirectoryError when there is no such folder.
    """
    if not folder.is_dir():
        raise NotADirectoryError(folder)
    with collector_paused():
        known = _known(previous)
        names = {*_NAMES, *(previous.attachments if previous is not None else ())}
        loading, settled = _attempt(folder, names, known, lenient=lenient)
        for _ in range(_ATTEMPTS - 1):
            if not settled:
                time.sleep(_PAUSE_S)
                # With a rest after each turn there may be no moment at all between two of somebody's changes.
                with at_a_stretch():
                    loading, settled = _attempt(folder, names, known, lenient=lenient)
        if not settled:
            loading.be_changing()
        return loading.parse()


def _attempt(
    folder: Path, names: set[str], known: dict[tuple[str, str], object], *, lenient: bool
) -> tuple["_Loading", bool]:
    """Read once; say whether all files belong together: two versions mixed can allow what neither of them does.

    names: what is looked at before and after; names that the files turn out to mention are added for the next time.
    """
    before = look(folder, names)
    loading = _Loading(folder.resolve(), lenient=lenient, known=known)
    loading.read()
    new = loading.named - names
    names |= new
    return loading, not new and look(folder, names) == before


class _Loading:
    """One attempt.

    known: what was parsed before, by file and digest, or, where it depends on the team's other files, by file and the
           digest of all of those; more is added.
    """

    def __init__(self, folder: Path, *, lenient: bool, known: dict[tuple[str, str], object]) -> None:
        self._folder = folder
        self._lenient = lenient
        self._known = known
        self._findings: list[Finding] = []
        self._paths = Paths(folder)
        self._folders = Folders(folder, "warning" if lenient else "error")
        self._gateway: Shaped[GatewayShape] | None = None
        self._targets: tuple[Shaped[TargetsShape], ...] = ()
        self._mappings: tuple[Source, ...] = ()
        self._tests: tuple[Source, ...] = ()
        self._attachments: dict[str, Source] = {}
        self._allowances = Allowances()
        self._listings: Mapping[Owner, str] = {}

    def read(self) -> None:
        """Read all bytes, and parse no more than says which files there are."""
        self._findings.extend(self._folders.judge(self._folder, "."))
        listing = Listing(self._folder, self._paths, self._folders, self._findings.append)
        central = self._read("gateway.yaml") if self._exists("gateway.yaml") else None
        if central is None:
            self._missing("gateway.yaml", "Without it no issuer is trusted.")
        split = ["targets.yaml"] if self._exists("targets.yaml") else []
        targets = [self._read(file) for file in (*split, *listing.yaml_files("targets"))]
        if not targets:
            self._missing("targets.yaml", "Without it there is nothing that a rule could grant.")
        mappings = listing.yaml_files("mappings")
        self._mappings = tuple(self._read_of_team(file) for file in mappings if not is_test(file))
        self._tests = tuple(self._read_of_team(file) for file in mappings if is_test(file))
        self._listings = listings((one.file, one.digest) for one in (*self._mappings, *self._tests))
        self._gateway = None if central is None else self._shaped(central, GatewayShape)
        self._targets = tuple(self._shaped(source, TargetsShape) for source in targets)
        named = [*_named_by_gateway(self._gateway)]
        named += [one for file in self._targets for one in _named_by_targets(file)]
        first = {one.file: one for one in reversed(named)}
        self._attachments = {file: self._attachment(one) for file, one in first.items()}

    @property
    def named(self) -> set[str]:
        """Return the names of the attachments that were read."""
        return set(self._attachments)

    def be_changing(self) -> None:
        """Say that no moment was found at which the files belong together."""
        self._add(
            FindingCode.FILE_CHANGING,
            "gateway.yaml",
            f"Files of the folder changed each of the {_ATTEMPTS} times they were read, so they may not belong together.",
            "Write them elsewhere and replace the folder, or the link to it, at once.",
        )

    def parse(self) -> Sources:
        """Parse what was read; what goes wrong with a mapping file stays with its team."""
        return Sources(
            folder=self._folder,
            gateway=self._gateway,
            targets=self._targets,
            mappings=tuple(self._shaped_of_team(source, MappingShape, RULES) for source in self._mappings),
            tests=tuple(self._shaped_of_team(source, CasesShape, TESTS) for source in self._tests),
            attachments=self._attachments,
            findings=tuple(self._findings),
        )

    def _exists(self, file: str) -> bool:
        return os.path.lexists(self._folder / file)

    def _missing(self, file: str, why: str) -> None:
        self._add(FindingCode.FILE_MISSING, file, f"{file} does not exist. {why}", f"Create {file}.")

    def _add(self, code: FindingCode, file: str, message: str, fix: str) -> None:
        place = Place(file=file, line=1, column=1)
        self._findings.append(Finding(code=code, severity="error", place=place, message=message, fix=fix))

    def _read(self, file: str) -> Source:
        path = self._paths.find(file)
        self._findings.extend(self._folders.judge_link(path, file))
        return read_source(self._folder, file, lenient=self._lenient, path=path)

    def _read_of_team(self, file: str) -> Source:
        if self._allowances.is_spent(file):
            # Not even opened: ten thousand files of the largest size are 80 GB.
            return Source(file=file, digest="", text="", findings=(self._allowances.finding(file),))
        step()
        source = self._read(file)
        self._allowances.open(file, source.size)
        return source

    def _shaped(self, source: Source, shape: type[AnyShape]) -> Shaped[AnyShape]:
        known = self._recall(source, source.digest, shape)
        return self._judged(read_document(source), shape) if known is None else known

    def _recall(self, source: Source, digest: str, shape: type[AnyShape]) -> Shaped[AnyShape] | None:
        known = self._known.get((source.file, digest))
        if isinstance(known, Shaped) and isinstance(known.shape, shape | None) and not source.findings:
            return known
        return None

    def _judged(self, document: Document, shape: type[AnyShape]) -> Shaped[AnyShape]:
        shaped = shape_document(document, shape)
        if _is_of_its_bytes(shaped):
            self._known[document.file, document.digest] = shaped
        return shaped

    def _shaped_within(self, source: Source, shape: type[AnyShape], bounds: Bounds) -> Shaped[AnyShape]:
        """Return a file of a team in its shape, as far as the team's files together are within their bounds."""
        for digest in (self._listings[owner_of(source.file)], source.digest):
            known = self._recall(source, digest, shape)
            if known is not None:
                self._allowances.use(source.file, known.document.nodes)
                return known
        left = self._allowances.nodes(source.file)
        if left or not source.readable:
            document = read_document(source, bounds.within(left))
            self._allowances.use(source.file, document.nodes)
            if document.nodes <= left or left >= bounds.nodes:
                return self._judged(document, shape)
        finding = self._allowances.finding(source.file)
        return shape_document(read_document(replace(source, text="", findings=(finding,))), shape)

    def _shaped_of_team(self, source: Source, shape: type[AnyShape], bounds: Bounds) -> Shaped[AnyShape]:
        try:
            return self._shaped_within(source, shape, bounds)
        except Exception:  # noqa: BLE001 - a bug of ours, found by one team's file, must not hold up the others
            _log.exception("mapping file could not be parsed", extra={"file": source.file})
            finding = internal_fault(source.file)
            return shape_document(read_document(replace(source, findings=(finding,))), shape)

    def _attachment(self, named: "_Named") -> Source:
        name = named.file
        if name.startswith("/") or ".." in name.split("/"):
            finding = named.finding(
                FindingCode.FILE_OUTSIDE,
                f"{name} leads outside the configuration folder.",
                "Move the file into the folder and name it from there, such as schemas/deploy.json.",
            )
            return Source(file=name, digest="", text="", findings=(finding,))
        fault = name_fault(name)
        if fault is not None:
            code, what = fault
            finding = named.finding(
                code, f"The name {shown_name(name)} {what}, so it is not read.", "Rename the file."
            )
            return Source(file=shown_name(name), digest="", text="", findings=(finding,))
        for end in range(1, name.count("/") + 1):
            folder = "/".join(name.split("/")[:end])
            self._findings.extend(self._folders.judge(self._paths.find(folder), folder))
        source = _without_secrets(self._read(name))
        if any(finding.code is FindingCode.FILE_MISSING for finding in source.findings):
            # What is not there has no place of its own; its name has one.
            finding = named.finding(
                FindingCode.FILE_MISSING, f"{name} does not exist.", "Create it, or mend the name."
            )
            return replace(source, findings=(finding,))
        return source


def internal_fault(file: str) -> Finding:
    """Return the finding for a file that makes the gateway fail; the log says how."""
    return Finding(
        code=FindingCode.INTERNAL_FAULT,
        severity="error",
        place=Place(file=file, line=1, column=1),
        message=f"{file} makes the gateway fail, which is a bug of the gateway; its team keeps its last good rules, if any.",
        fix="Take back the last change of this file, and report the bug with what the log says.",
    )


def _known(previous: Sources | None) -> dict[tuple[str, str], object]:
    if previous is None:
        return {}
    central = (previous.gateway,) if previous.gateway else ()
    shaped = (*central, *previous.targets, *previous.mappings, *previous.tests)
    known: dict[tuple[str, str], object] = {
        (one.file, one.document.digest): one for one in shaped if _is_of_its_bytes(one)
    }
    by_file: dict[str, Shaped[MappingShape] | Shaped[CasesShape]] = {
        **{one.file: one for one in previous.mappings},
        **{one.file: one for one in previous.tests},
    }
    digests = listings((file, one.document.digest) for file, one in by_file.items())
    too_large = {file: one for file, one in by_file.items() if _is_too_large(one.document)}
    return known | {(file, digests[owner_of(file)]): one for file, one in too_large.items()}


def _is_too_large(document: Document) -> bool:
    """Say whether a file of known bytes was refused for what stands beside it."""
    found = any(one.code is FindingCode.FILE_TOO_LARGE for one in document.findings)
    return bool(document.digest) and found


def _is_of_its_bytes(shaped: Shaped[AnyShape]) -> bool:
    """Say whether the same bytes would read the same: a large broken file must not slow down every other change."""
    of_others = {FindingCode.FILE_PERMISSIONS, FindingCode.INTERNAL_FAULT, FindingCode.FILE_TOO_LARGE}
    return bool(shaped.document.digest) and not any(one.code in of_others for one in shaped.findings)


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
