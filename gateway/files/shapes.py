"""A document against its shape: every mistake in our words, with its place and a fix; what is good is judged on."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Generic, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gateway.files.bounds import MAX_MISTAKES
from gateway.files.document import Document
from gateway.files.explain import as_name, explain, meant_field
from gateway.files.mending import Mending
from gateway.files.schema.cases import CASES_FORMAT, CaseShape, CasesShape
from gateway.files.schema.gateway import GATEWAY_FORMAT, GatewayShape
from gateway.files.schema.mapping import MAPPING_FORMAT, MappingShape, RuleShape
from gateway.files.schema.targets import TARGETS_FORMAT, TargetsShape
from gateway.files.source import Finding, FindingCode, show
from gateway.files.turns import step

Shape = TypeVar("Shape", GatewayShape, TargetsShape, MappingShape, CasesShape)

_FORMATS: Final = {
    GatewayShape: GATEWAY_FORMAT,
    TargetsShape: TARGETS_FORMAT,
    MappingShape: MAPPING_FORMAT,
    CasesShape: CASES_FORMAT,
}
# The long lists; their items are judged one by one.
_ITEMS: Final[Mapping[type[BaseModel], tuple[str, type[BaseModel]]]] = {
    MappingShape: ("rules", RuleShape),
    CasesShape: ("tests", CaseShape),
}
_ROUNDS: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Shaped(Generic[Shape]):
    """A document and what of it has the right shape.

    document: knows the holes: what is wrong and was taken out of `shape`, or stood in for.
    shape:    None when nothing of it can be judged.
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
        """Return the names that stand in a section, those of faulty entries included.

        Of a name that is none, such as `Github`, the one that it will be as well: whoever names that is not mistaken.
        """
        data = self.document.data
        section = self.document.aliases.get((section,), section)
        entries = data.get(section) if isinstance(data, dict) else None
        names: list[str] = list(map(str, entries)) if isinstance(entries, dict) else []
        return frozenset((*names, *(as_name(name) for name in names)))

    def is_unreadable(self, section: str) -> bool:
        """Say whether nothing follows from a name that does not stand in a section: it cannot be read to its end."""
        cut_off = any(finding.code is FindingCode.FILE_SYNTAX for finding in self.document.findings)
        return self.shape is None or cut_off or self.document.is_hole((section,))


def shape_document(document: Document, shape: type[Shape]) -> Shaped[Shape]:
    """Judge a document against the shape of its format."""
    if document.data is None:
        return Shaped(document=document, shape=None, indices=(), findings=document.findings)
    found: list[Finding]
    data, found = _check_format(document, _FORMATS[shape])
    if data is None:
        return Shaped(document=document, shape=None, indices=(), findings=(*document.findings, *found))
    if (items := _ITEMS.get(shape)) is not None:
        judged = _judge_items(data, *items)
        if judged is None:
            return _hopeless(document, found)
        data = judged
    mending = Mending(data)
    made: Shape | None = None
    for _ in range(_ROUNDS):
        try:
            made = shape.model_validate(mending.data)
            break
        except ValidationError as error:
            if error.error_count() > MAX_MISTAKES:
                return _hopeless(document, found)
            mistakes = error.errors(include_url=False)
            # Asked one by one before anything is mended: the paths are those of the data as it was judged.
            found.extend(
                explain(
                    replace(document, aliases=mending.aliases),
                    mending.in_file(mending.find(mistake)),
                    mistake,
                )
                for mistake in _independent(document, mistakes)
            )
            mending.mend(mistakes)
    if made is not None and mending.renamed_sections:
        names = {
            section: mending.written_names(section, getattr(made, section))
            for section in mending.renamed_sections
        }
        made = made.model_copy(update=names)
    return Shaped(
        document=replace(document, holes=frozenset(mending.holes), aliases=mending.aliases),
        shape=made,
        indices=tuple(mending.indices),
        findings=(*document.findings, *_unreported(document, found)),
    )


def _independent(document: Document, mistakes: Iterable[ErrorDetails]) -> Iterable[ErrorDetails]:
    """Leave out members that are missing only because their names are misspelt."""
    mistakes = list(mistakes)
    meant = {
        (*mistake["loc"][:-1], meant_field(document.data, mistake["loc"]))
        for mistake in mistakes
        if mistake["type"] == "extra_forbidden"
    }
    return (mistake for mistake in mistakes if mistake["type"] != "missing" or mistake["loc"] not in meant)


def _judge_items(data: dict[str, object], section: str, shape: type[BaseModel]) -> dict[str, object] | None:
    """Put good items of a list in their shape, which is then not judged again; None: there are too many mistakes.

    One by one, because the library makes an object for each mistake in what it is given, however many there are, and
    nothing else of the process runs meanwhile.
    """
    items, mistakes = data.get(section), 0
    if not isinstance(items, list):
        return data
    judged: list[object] = []
    for item in items:
        step()
        try:
            judged.append(shape.model_validate(item))
        except ValidationError as error:
            judged.append(item)
            mistakes += error.error_count()
            if mistakes > MAX_MISTAKES:
                return None
    return data | {section: judged}


def _hopeless(document: Document, found: list[Finding]) -> Shaped[Shape]:
    """Say that there are too many mistakes; they are not counted to the end, and nothing large is kept."""
    reason = document.finding(
        FindingCode.LIMIT_EXCEEDED,
        (),
        f"There are more than {MAX_MISTAKES:,} mistakes in this file.",
        "Look whether it is what it should be: a file of this format.",
    )
    findings = (*document.findings, *_unreported(document, found), reason)
    return Shaped(document=document.given_up(), shape=None, indices=(), findings=findings)


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
