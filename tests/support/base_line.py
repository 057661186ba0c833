"""What a gateway holds of the machine, as the kernel tells it, and whether it gives back what a fault made it take."""

import contextlib
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import descendants

# Both are for each process, and bound the growth since the beginning of a run by all its tests together: a test that leaves a
# thread or half a mebibyte behind each time is noticed in the course of them. They cannot be nothing:
# The event loop's pool starts another thread, up to processors + 4, when more is asked of it at once than ever before, and none
# of them ends. A whole run of tests/faults on two busy cores added one to a gateway of one process, two to one of six.
_POOL_THREADS = 3
# Allocators keep what the greatest fault once needed: strange texts in every place 10 MiB, five hundred connections 8. In a whole
# run one process grew by 20 MiB, six by 49 together.
_GROWTH_KIB = 32 * 1024
_PATIENCE_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Of all processes of one gateway together. descriptors: by kind; files: in its folder for temporary ones."""

    processes: int
    threads: int
    descriptors: Counter[str]
    memory_kib: int
    files: frozenset[str]

    def beyond(self, base: "Standing") -> list[str]:
        """Say what there is more of than at the base line; empty when all was given back."""
        more = [f"{count} more of {kind}" for kind, count in (self.descriptors - base.descriptors).items()]
        if self.processes != base.processes:
            more.append(f"{self.processes} processes in place of {base.processes}")
        if self.threads > base.threads + _POOL_THREADS * base.processes:
            more.append(f"{self.threads} threads in place of {base.threads}")
        if self.memory_kib > base.memory_kib + _GROWTH_KIB * base.processes:
            more.append(f"{self.memory_kib} KiB in place of {base.memory_kib}")
        return more + sorted(self.files - base.files)


def standing(process: int, temporary: Path) -> Standing:
    """Return what the process and its descendants hold now. temporary: the folder they were given for such files."""
    family = descendants(process)
    return Standing(
        processes=len(family),
        threads=sum(len(list(_of(one, "task"))) for one in family),
        descriptors=Counter(kind for one in family for kind in _kinds(one)),
        memory_kib=sum(_resident_kib(one) for one in family),
        files=frozenset(str(path.relative_to(temporary)) for path in temporary.rglob("*")),
    )


def returns_to(base: Standing, process: int, temporary: Path) -> None:
    """Wait until the process holds no more than at its base line; fail with what it keeps."""
    deadline = time.monotonic() + _PATIENCE_S
    while kept := standing(process, temporary).beyond(base):
        assert time.monotonic() < deadline, kept
        time.sleep(0.05)


def _of(process: int, folder: str) -> list[Path]:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return list(Path(f"/proc/{process}/{folder}").iterdir())
    return []


def _kinds(process: int) -> list[str]:
    kinds = []
    for descriptor in _of(process, "fd"):
        with contextlib.suppress(OSError):  # closed since
            kinds.append(str(descriptor.readlink()).partition(":")[0].partition("/")[0] or "file")
    return kinds


def _resident_kib(process: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
    return 0
