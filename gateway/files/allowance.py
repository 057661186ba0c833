"""What one team's files may cost together, so that no team holds up everybody's changes or fills the memory."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final

from gateway.files.bounds import MAX_TEAM_BYTES, MAX_TEAM_NODES, MAX_TESTS_BYTES
from gateway.files.listing import is_test, team_of
from gateway.files.source import Finding, FindingCode, Place

_TOP: Final = "mappings/"

#: Whose files, and whether those of its tests: they count by themselves.
Owner = tuple[str, bool]


def owner_of(file: str) -> Owner:
    """Return with which others a file counts; where there are no teams, as if there were."""
    return team_of(file), is_test(file)


class Allowances:
    """How much more is read of each owner's files."""

    def __init__(self) -> None:
        self._bytes: dict[Owner, int] = defaultdict(int)
        self._nodes: dict[Owner, int] = defaultdict(int)

    def is_spent(self, file: str) -> bool:
        """Say whether the files that were opened have too many bytes, so that nothing is done for this one."""
        return self._bytes[owner_of(file)] > _most_bytes(file)

    def open(self, file: str, size: int) -> None:
        """Count the bytes of a file."""
        self._bytes[owner_of(file)] += size

    def nodes(self, file: str) -> int:
        """Return how many keys and values may still be read."""
        return 0 if self.is_spent(file) else max(0, MAX_TEAM_NODES - self._nodes[owner_of(file)])

    def use(self, file: str, nodes: int) -> None:
        """Count keys and values of a file."""
        self._nodes[owner_of(file)] += nodes

    def finding(self, file: str) -> Finding:
        """Say that a file is not read, or not to its end, for what the files together hold."""
        what = (
            f"{_most_bytes(file):,} bytes" if self.is_spent(file) else f"{MAX_TEAM_NODES:,} keys and values"
        )
        owner, kind = owner_of(file)[0], "tests" if is_test(file) else "rules"
        return Finding(
            code=FindingCode.FILE_TOO_LARGE,
            severity="error",
            place=Place(file=file, line=1, column=1),
            message=f"Together the files of {kind} of {_TOP}{owner} have more than {what}, so this one is not read.",
            fix="Take out what nobody needs, or join some.",
        )


def listings(files: Iterable[tuple[str, str]]) -> Mapping[Owner, str]:
    """Return for each owner a digest of all its files. files: names and digests, in order."""
    lines: dict[Owner, list[str]] = defaultdict(list)
    for file, digest in files:
        lines[owner_of(file)].append(f"{file} {digest}\n")
    return {
        owner: hashlib.sha256("".join(one).encode("utf-8", "surrogatepass")).hexdigest()
        for owner, one in lines.items()
    }


def _most_bytes(file: str) -> int:
    return MAX_TESTS_BYTES if is_test(file) else MAX_TEAM_BYTES
