"""Sampled stacks as a table: which modules and functions the time is spent in, by themselves and with what they call."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_FRAME: Final = re.compile(r"(?P<function>.+) \((?P<file>.*?)(?::(?P<line>\d+))?\)")
_INSTALLED: Final = re.compile(r".*/(?:site|dist)-packages/")
_STANDARD: Final = re.compile(r".*/python3[^/]*/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """module: `gateway/doors/rest.py` for our own files, the package's name for installed ones, the file's for others."""

    module: str
    function: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """Outermost frame first. samples: how often it was seen."""

    frames: Sequence[Frame]
    samples: int


_WAITING: Final = frozenset(
    {
        Frame(module="python: concurrent/futures/thread", function="_worker"),
        Frame(module="python: threading", function="Condition.wait"),
        Frame(module="anyio", function="WorkerThread.run"),
        Frame(module="gateway/cli/logs.py", function="LogOutput._run"),
    }
)


def read(text: str, *, root: Path) -> list[Stack]:
    """Read py-spy's raw format: frames with `;` between, a blank, a number. root: of our own files."""
    stacks = []
    for line in text.splitlines():
        names, _, number = line.rpartition(" ")
        if number.isdigit():
            frames = [_frame(name, root) for name in names.split(";")]
            stacks.append(Stack(frames=frames, samples=int(number)))
    return stacks


def at_work(stacks: Iterable[Stack]) -> list[Stack]:
    """Leave out threads that wait for something to do: py-spy does not know that they sleep."""
    return [stack for stack in stacks if stack.frames[-1] not in _WAITING]


def _frame(text: str, root: Path) -> Frame:
    found = _FRAME.fullmatch(text)
    if found is None:
        return Frame(module="(other)", function=text)
    return Frame(module=module_of(found["file"], root), function=found["function"])


def module_of(file: str, root: Path) -> str:
    """Return what a file counts as; see Frame."""
    # The environment may stand inside of our own folder.
    if _INSTALLED.match(file):
        return _INSTALLED.sub("", file).partition("/")[0]
    if file.startswith(f"{root}/"):
        return file.removeprefix(f"{root}/")
    if _STANDARD.match(file):
        return f"python: {_STANDARD.sub('', file).removesuffix('.py').removesuffix('/__init__')}"
    return file.rpartition("/")[2] or "(native)"


def table(stacks: Sequence[Stack], *, cpu_us: float, most: int = 30) -> str:
    """Return the shares of modules, then of functions, the largest first. cpu_us: of one call, to be divided."""
    modules = _shares(stacks, lambda frame: frame.module)
    functions = _shares(stacks, lambda frame: f"{frame.function}  {frame.module}")
    whole = sum(stack.samples for stack in stacks)
    head = f"{whole:,} samples. self: in it; total: in it or in what it called; µs: of self, a call.\n"
    by_self = _section("By module, by self", modules, most, cpu_us)
    by_total = _section("Our own modules, by total", _ours_by_total(modules), most, cpu_us)
    return "\n".join([head, by_self, by_total, _section("By function, by self", functions, most, cpu_us)])


_Share = tuple[str, float, float]


def _shares(stacks: Iterable[Stack], of: Callable[[Frame], str]) -> list[_Share]:
    """Return name, self and total in percent, the largest self first."""
    alone: Counter[str] = Counter()
    within: Counter[str] = Counter()
    whole = 0
    for stack in stacks:
        whole += stack.samples
        names = [of(frame) for frame in stack.frames]
        alone[names[-1]] += stack.samples
        for name in set(names):  # a function that calls itself is in a stack once
            within[name] += stack.samples
    return sorted(
        ((name, alone[name] * 100 / whole, within[name] * 100 / whole) for name in within),
        key=lambda share: (-share[1], share[0]),
    )


def _ours_by_total(shares: Iterable[_Share]) -> list[_Share]:
    return sorted((share for share in shares if share[0].startswith("gateway/")), key=lambda share: -share[2])


def _section(title: str, shares: Sequence[_Share], most: int, cpu_us: float) -> str:
    lines = [
        f"{alone:6.1f} % {total:6.1f} % {alone * cpu_us / 100:8.1f}  {name}"
        for name, alone, total in shares[:most]
    ]
    return "\n".join([title, "    self    total       µs", *lines, ""])
