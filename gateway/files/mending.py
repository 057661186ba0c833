"""A document's data with its mistakes taken out or stood in for, so that everything else in it can still be judged."""

from collections.abc import Mapping, Sequence
from itertools import count, islice
from typing import Final, TypeVar

from pydantic_core import ErrorDetails

from gateway.files.explain import meant_field

Path = tuple[str | int, ...]
Entry = TypeVar("Entry")

#: Stands in for a Region that is wrong; nothing may be concluded from it.
UNKNOWN_REGION: Final = "us-unknown-1"

_ROLE: Final = "arn:aws:iam::111122223333:role/x"
_GRANT: Final = {"start": "x", "as": "x"}
# Stand in for compulsory members that are missing or wrong; no finding is made about them.
_CASE: Final = {"name": "x", "issuer": "x", "claims": {"sub": "x"}, "may": [{"obtain": "x"}]}
_STAND_INS: Final[dict[str, object]] = {
    "issuers": {"x": {"preset": "generic", "issuer": "https://x.invalid", "audiences": ["x"]}},
    "issuers/*/preset": "generic",
    "teams/*/contact": "x",
    "teams/*/issuers": ["x"],
    "aws": {"region": UNKNOWN_REGION},
    "aws/region": UNKNOWN_REGION,
    "vaults/*/address": "https://x.invalid",
    "server/tls/certificate": "x",
    "server/tls/key": "x",
    "admin/listen": "unix:/x",
    "admin/tls/certificate": "x",
    "admin/tls/key": "x",
    "admin/oidc/audience": "x",
    "admin/oidc/read/issuer": "x",
    "admin/oidc/read/claims": {"sub": "x"},
    "admin/oidc/write/issuer": "x",
    "admin/oidc/write/claims": {"sub": "x"},
    "roles/*/arn": _ROLE,
    "vault_roles/*/vault": "x",
    "vault_roles/*/mount": "x",
    "vault_roles/*/role": "x",
    "vault_roles/*/user_claim": "sub",
    "vault_roles/*/policies": ["x"],
    "vault_roles/*/ttl": "15m",
    "vault_roles/*/aws/mount": "x",
    "vault_roles/*/aws/role": "x",
    "vault_roles/*/aws/role_arn": _ROLE,
    "task_roles/*/vault": "x",
    "task_roles/*/mount": "x",
    "task_roles/*/role": "x",
    "task_roles/*/principals": [_ROLE],
    "task_roles/*/policies": ["x"],
    "task_roles/*/ttl": "15m",
    "workflows/*/state_machine": "arn:aws:states:eu-west-1:111122223333:stateMachine:x",
    "workflows/*/type": "standard",
    "rules": [],
    "rules/*/name": "x",
    "rules/*/why": "x",
    "rules/*/issuer": "x",
    "rules/*/claims": {"sub": "x"},
    "rules/*/grants": [_GRANT],
    "tests": [_CASE],
    "tests/*/name": "x",
    "tests/*/issuer": "x",
    "tests/*/claims": {"sub": "x"},
}
_ITEMS: Final[dict[str, object]] = {
    "grants": _GRANT,
    "may": _GRANT,
    "may_not": _GRANT,
    "tests": _CASE,
    "tokens": "id",
}
_VERBS: Final = ("start", "view", "stop", "obtain")
_NOWHERE: Final = object()


class Mending:
    """The data of a document while its mistakes are mended, one after the other.

    data:    a copy, as far as it differs.
    indices: of a mapping file: the place in the file of each rule of `data`.
    holes:   paths in the file of what was taken out or stood in for.
    aliases: of members with misspelt names: their paths as they are meant → the name in the file.
    """

    def __init__(self, data: dict[str, object]) -> None:
        self.data = dict(data)
        self.indices = _indices(data.get("rules"))
        self.holes: set[Path] = set()
        self.aliases: dict[Path, str] = {}
        self._named: dict[Path, str] = {}
        self._gone: set[int] = set()

    def find(self, mistake: ErrorDetails) -> Path:
        """Return where a mistake is, without the parts of the library's path that stand for alternatives or keys."""
        path: list[str | int] = []
        here: object = self.data
        for part in mistake["loc"]:
            below = _below(here, part)
            if below is not _NOWHERE:
                here = below
                path.append(part)
        return tuple(path)

    def written_names(self, section: str, entries: Mapping[str, Entry]) -> dict[str, Entry]:
        """Give the entries of a section the names back that stand in the file, wrong ones included."""
        return {self._named.get((section, name), name): entry for name, entry in entries.items()}

    @property
    def renamed_sections(self) -> frozenset[str]:
        """Return the sections of `data` with names that do not stand in the file."""
        return frozenset(str(section) for section, _ in self._named)

    def in_file(self, path: Path) -> Path:
        """Return a path of `data` as it is in the file: with the written names, and with rules that were taken out."""
        if path[:2] in self._named:
            return (path[0], self._named[path[:2]], *path[2:])
        if len(path) > 1 and path[0] == "rules" and isinstance(path[1], int):
            return ("rules", self.indices[path[1]], *path[2:])
        return path

    def mend(self, mistakes: Sequence[ErrorDetails]) -> None:
        """Take out what is wrong, or put something in its place."""
        found = [(mistake, self.find(mistake)) for mistake in mistakes]
        # Names come last: until then the paths are those that were found.
        found.sort(key=lambda one: (one[0]["loc"][-1] == "[key]", one[0]["type"] == "missing"))
        for mistake, path in found:
            self._mend(mistake, path)
        rules = self.data.get("rules")
        if self._gone and isinstance(rules, list):
            self.data["rules"] = [rule for index, rule in enumerate(rules) if index not in self._gone]
            self.indices = [number for index, number in enumerate(self.indices) if index not in self._gone]
        self._gone = set()

    def _mend(self, mistake: ErrorDetails, path: Path) -> None:
        kind = mistake["type"]
        if kind == "extra_forbidden" and not (_is_in_claim(path) and meant_field(self.data, path) is None):
            self._misnamed(path)
        elif kind == "missing":
            member = (*path, str(mistake["loc"][-1]))
            if self._at(member) is _NOWHERE:  # it may stand there under a misspelt name
                self._stand_in(member)
        elif kind == "too_long" and isinstance(mistake.get("ctx", {}).get("max_length"), int):
            self._cut(path, int(mistake["ctx"]["max_length"]))
        elif _is_in_claim(path):
            self._claim(path)
        elif kind in {"one_verb", "as_missing", "as_extra", "form_extra"}:
            self._grant(kind, path)
        elif mistake["loc"][-1] == "[key]":
            self._rename(path)
        elif isinstance(path[-1], int):
            self._item(path)
        else:
            self._stand_in(path)

    def _rename(self, path: Path) -> None:
        """Give an entry another name, so that what stands in it is judged; `written_names` gives the old one back."""
        entries = self._at(path[:1])
        if len(path) != 2 or not isinstance(entries, dict):
            self._take_out(path)
            return
        names = (f"x{number}" for number in count())
        name = next(name for name in names if name not in entries)
        self._named[str(path[0]), name] = str(path[1])
        self._set(path[:1], {name if key == path[1] else key: entry for key, entry in entries.items()})

    def _misnamed(self, path: Path) -> None:
        """Take an unknown member out; what it holds is judged as that of the member which was meant."""
        meant = meant_field(self.data, path)
        if meant is not None and _below(self._at(path[:-1]), meant) is _NOWHERE:
            meant_path = (*path[:-1], meant)
            self.aliases[self.in_file(meant_path)] = str(path[-1])
            self._set(meant_path, self._at(path))
            if meant_path == ("rules",):
                self.indices = _indices(self.data["rules"])
        self._take_out(path)

    def _stand_in(self, path: Path) -> None:
        found = _STAND_INS.get(_pattern(path), _NOWHERE)
        if found is _NOWHERE:
            self._take_out(path)
        else:
            self._put(path, found)

    def _claim(self, path: Path) -> None:
        """A wrong item of a list becomes a second copy of a good one; any other mistake takes the whole condition."""
        items = self._at(path[:5])
        good = [one for one in items if isinstance(one, str | int)] if isinstance(items, list) else []
        if len(path) == 6 and good:
            self._set(path, good[0])
        else:
            self._put(path[:4], {"absent": True})

    def _grant(self, kind: str, path: Path) -> None:
        grant = self._at(path)
        verbs = [verb for verb in _VERBS if isinstance(grant, dict) and verb in grant]
        if kind == "as_missing":
            self._put((*path, "as"), "x")
        elif kind in {"as_extra", "form_extra"}:
            self._take_out((*path, kind.removesuffix("_extra")))
        elif len(verbs) > 1:
            for verb in verbs[1:]:
                self._take_out((*path, verb))
        else:
            self._put(path, _GRANT)

    def _item(self, path: Path) -> None:
        if len(path) == 2 and path[0] == "rules" and isinstance(path[1], int):
            self._gone.add(path[1])
            return
        # Not taken out: the places of the items after it would be wrong.
        self._put(path, _ITEMS.get(str(path[-2]), "x"))

    def _cut(self, path: Path, most: int) -> None:
        found = self._at(path)
        if isinstance(found, list):
            self._set(path, found[:most])
        elif isinstance(found, dict):
            self._set(path, dict(islice(found.items(), most)))

    def _put(self, path: Path, value: object) -> None:
        self.holes.add(self.in_file(path))
        self._set(path, value)

    def _take_out(self, path: Path) -> None:
        self.holes.add(self.in_file(path))
        self._set(path, _NOWHERE)

    def _at(self, path: Path) -> object:
        here: object = self.data
        for part in path:
            here = _below(here, part)
        return here

    def _set(self, path: Path, value: object) -> None:
        """Put a value in or take it out; what stands above it is copied, because the document keeps its data."""
        here: dict[str, object] | list[object] = self.data
        for part in path[:-1]:
            below = _below(here, part)
            copy: dict[str, object] | list[object]
            if isinstance(below, dict):
                copy = dict(below)
            elif isinstance(below, list):
                copy = list(below)
            else:
                return  # an earlier mistake took it out
            _write(here, part, copy)
            here = copy
        _write(here, path[-1], value)


def _write(here: dict[str, object] | list[object], part: str | int, value: object) -> None:
    if isinstance(here, dict):
        if value is _NOWHERE:
            here.pop(str(part), None)
        else:
            here[str(part)] = value
    elif isinstance(part, int) and part < len(here) and value is not _NOWHERE:
        here[part] = value


def _below(here: object, part: str | int) -> object:
    if isinstance(here, dict):
        return here.get(part, _NOWHERE)
    if isinstance(here, list) and isinstance(part, int) and part < len(here):
        found: object = here[part]
        return found
    return _NOWHERE


def _indices(rules: object) -> list[int]:
    return list(range(len(rules))) if isinstance(rules, list) else []


def _pattern(path: Path) -> str:
    if len(path) < 3 or path[0] in {"aws", "server", "audit", "admin"}:
        return "/".join(map(str, path))
    return "/".join(("*" if index == 1 else str(part)) for index, part in enumerate(path))


def _is_in_claim(path: Path) -> bool:
    if len(path) >= 5 and path[:2] == ("admin", "oidc"):
        return path[3] == "claims"
    return len(path) >= 4 and (path[0], path[2]) in {("rules", "claims"), ("issuers", "require")}
