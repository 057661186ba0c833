"""A document against its shape: every mistake in our words, with its place and a fix; what is good is kept."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from gateway.files.document import Document
from gateway.files.explain import explain
from gateway.files.schema import (
    GATEWAY_FORMAT,
    MAPPING_FORMAT,
    TARGETS_FORMAT,
    GatewayShape,
    MappingShape,
    TargetsShape,
)
from gateway.files.source import Finding, FindingCode, show

Shape = TypeVar("Shape", GatewayShape, TargetsShape, MappingShape)

#: Sections whose entries stand or fall by themselves.
_SECTIONS: Final = frozenset({"issuers", "teams", "vaults", "roles", "vault_roles", "workflows", "rules"})
_FORMATS: Final = {
    GatewayShape: GATEWAY_FORMAT,
    TargetsShape: TARGETS_FORMAT,
    MappingShape: MAPPING_FORMAT,
}
# Stand in for compulsory parts that are wrong, so that the rest is still judged; the findings remain.
_STAND_INS: Final[dict[str, object]] = {"aws": {"region": "us-east-1"}, "rules": []}
# Members whose default can stand in for a wrong value while the rest of the entry is judged.
_SIMPLE: Final = frozenset({"duration", "timeout", "output", "leeway_s", "max_age", "last_day", "wrap"})
_ROUNDS: Final = 8
_MOST_MISTAKES: Final = 2_000
_NOWHERE: Final = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shaped(Generic[Shape]):
    """A document and what of it has the right shape.

    shape:    without the entries that are wrong; None when nothing of it can be used.
    indices:  of a mapping file: the place in the file of each rule of `shape`.
    findings: of the document and of its shape.
    """

    document: Document
    shape: Shape | None
    indices: tuple[int, ...]
    findings: tuple[Finding, ...]

    @property
    def file(self) -> str:
        """Return the file's name, relative to the configuration folder."""
        return self.document.file

    @property
    def sound(self) -> bool:
        """Say whether nothing in the file is wrong by itself."""
        return not any(finding.severity == "error" for finding in self.findings)

    def written(self, section: str) -> frozenset[str]:
        """Return the names that stand in a section, those of faulty entries included."""
        data = self.document.data
        found = data.get(section) if isinstance(data, dict) else None
        return frozenset(found) if isinstance(found, dict) else frozenset()


def shape_document(document: Document, shape: type[Shape]) -> Shaped[Shape]:
    """Judge a document against the shape of its format."""
    if document.data is None:
        return Shaped(document=document, shape=None, indices=(), findings=document.findings)
    found: list[Finding]
    data, found = _check_format(document, _FORMATS[shape])
    if data is None:
        return Shaped(document=document, shape=None, indices=(), findings=(*document.findings, *found))
    rules = data.get("rules")
    indices = list(range(len(rules))) if isinstance(rules, list) else []
    made: Shape | None = None
    taken_out: set[object] = set()
    for _ in range(_ROUNDS):
        try:
            made = shape.model_validate(data)
            break
        except ValidationError as error:
            if error.error_count() > _MOST_MISTAKES:
                found.append(
                    document.finding(
                        FindingCode.LIMIT_EXCEEDED,
                        (),
                        f"There are {error.error_count():,} mistakes in this file.",
                        "Look whether it is what it should be: a file of this format.",
                    )
                )
                break
            mistakes = [
                mistake
                for mistake in error.errors(include_url=False)
                # What an earlier round took out because it was wrong is not missing.
                if mistake["type"] != "missing" or mistake["loc"][0] not in taken_out
            ]
            found.extend(
                explain(document, _real_path(data, mistake), mistake, indices) for mistake in mistakes
            )
            before = set(data)
            data, indices = _without(data, mistakes, indices)
            taken_out |= before - set(data)
    return Shaped(
        document=document,
        shape=made,
        indices=tuple(indices),
        findings=(*document.findings, *_unreported(document, found)),
    )


def _check_format(document: Document, wanted: str) -> tuple[dict[str, object] | None, list[Finding]]:
    data = document.data
    if not isinstance(data, dict):
        return None, [
            document.finding(
                FindingCode.VALUE_TYPE, (), "The file holds no mapping.", f"Begin it with: format: {wanted}"
            )
        ]
    written = data.get("format")
    if written != wanted:
        message = (
            f"The format is {show(written)}." if "format" in data else "The file does not name its format."
        )
        fix = f"Make the first line: format: {wanted}"
        finding = document.finding(FindingCode.FORMAT_UNKNOWN, ("format",), message, fix)
        # A file of another kind or version would only have its whole content refused word by word.
        return (
            None
            if isinstance(written, str) and written.startswith("oidc-gateway/")
            else data | {"format": wanted}
        ), [finding]
    if next(iter(data)) != "format":
        return data, [
            document.finding(
                FindingCode.FORMAT_UNKNOWN,
                ("format",),
                "format is not the first key.",
                "Move it to the top: readers look there first.",
                key=True,
            )
        ]
    return data, []


def _real_path(data: object, mistake: ErrorDetails) -> tuple[str | int, ...]:
    """Drop the parts of the library's path that stand for alternatives, keys or missing members."""
    path: list[str | int] = []
    here = data
    for part in mistake["loc"]:
        below = _below(here, part)
        if below is not _NOWHERE:
            here = below
            path.append(part)
    return tuple(path)


def _below(here: object, part: str | int) -> object:
    if isinstance(here, dict):
        return here.get(part, _NOWHERE)
    if isinstance(here, list) and isinstance(part, int) and part < len(here):
        found: object = here[part]
        return found
    return _NOWHERE


def _without(
    data: dict[str, object], mistakes: Iterable[ErrorDetails], indices: list[int]
) -> tuple[dict[str, object], list[int]]:
    """Copy the data without the entries that are wrong, and without unknown members of the others."""
    kept = dict(data)
    dropped_rules: set[int] = set()
    for mistake in mistakes:
        path = _real_path(data, mistake)
        is_unknown = mistake["type"] == "extra_forbidden" and len(path) <= 3
        if is_unknown or (len(path) == 3 and path[2] in _SIMPLE):
            _drop(kept, path)
        elif len(path) >= 2 and path[0] in _SECTIONS:
            if isinstance(path[1], int):
                dropped_rules.add(path[1])
            else:
                _drop(kept, path[:2])
        else:
            top = str(mistake["loc"][0])
            kept.pop(top, None)
            if top in _STAND_INS:
                kept[top] = _STAND_INS[top]
    rules = kept.get("rules")
    if dropped_rules and isinstance(rules, list):
        kept["rules"] = [rule for index, rule in enumerate(rules) if index not in dropped_rules]
        indices = [number for index, number in enumerate(indices) if index not in dropped_rules]
    return kept, indices


def _drop(data: dict[str, object], path: Sequence[str | int]) -> None:
    """Take a member out; what stands above it is copied, because the document keeps its data."""
    here: dict[str, object] | list[object] = data
    for part in path[:-1]:
        below = _below(here, part)
        copy: dict[str, object] | list[object]
        if isinstance(below, dict):
            copy = dict(below)
        elif isinstance(below, list):
            copy = list(below)
        else:
            return
        if isinstance(here, dict):
            here[str(part)] = copy
        elif isinstance(part, int):
            here[part] = copy
        here = copy
    if isinstance(here, dict):
        here.pop(str(path[-1]), None)


def _unreported(document: Document, found: Iterable[Finding]) -> Iterable[Finding]:
    # A value that YAML parsers read differently is reported as that, not a second time as being of the wrong type.
    known = {finding.place for finding in document.findings}
    # What stands after a syntax error was never read, so nothing can be said to be missing.
    cut_off = any(finding.code is FindingCode.FILE_SYNTAX for finding in document.findings)
    return (
        finding
        for finding in dict.fromkeys(found)
        if (not cut_off if finding.code is FindingCode.FIELD_MISSING else finding.place not in known)
    )
