"""Which files a folder holds, and which of its names cannot be taken for what they look like."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from gateway.files.folders import Folders
from gateway.files.paths import Paths
from gateway.files.source import Finding, FindingCode, Place, Severity
from gateway.files.text import RAW_UNSAFE
from gateway.files.turns import step

MAX_FILES: Final = 10_000
_MAX_FOLDERS: Final = 8


class Listing:
    """Lists YAML files below a folder of the root, and says what is wrong with the folders on the way."""

    def __init__(self, root: Path, paths: Paths, folders: Folders, add: Callable[[Finding], None]) -> None:
        self._root = root
        self._paths = paths
        self._folders = folders
        self._add = add

    def yaml_files(self, below: str) -> list[str]:
        """Return the names of all YAML files below a folder, in order, those of rules' tests (`is_test`) included."""
        found: list[str] = []
        if os.path.lexists(self._paths.find(below)):
            self._walk(below, found, depth=0)
        if len(found) > MAX_FILES:
            self._say(
                FindingCode.LIMIT_EXCEEDED,
                below,
                f"{below}/ holds more than {MAX_FILES:,} files.",
                "Join some.",
            )
        return found[:MAX_FILES]

    def _walk(self, below: str, found: list[str], *, depth: int) -> None:
        here = self._paths.find(below)
        if depth > _MAX_FOLDERS or not Path(os.path.realpath(here)).is_relative_to(self._root):
            self._say(
                FindingCode.FILE_OUTSIDE,
                below,
                f"{below}/ leads outside the configuration folder, or in a circle.",
                "Replace the link by a folder.",
            )
            return
        self._judge(self._folders.judge_link(here, below))
        self._judge(self._folders.judge(here, below))
        try:
            names = sorted(entry.name for entry in here.iterdir())
        except OSError as error:
            self._say(
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
        step()
        is_folder = self._paths.find(file).is_dir()
        if (is_folder or file.endswith(".yaml")) and not self._is_plain(file):
            return
        if file.endswith(".yaml"):
            # Also a folder, which then cannot be read: in a file's place it must not count as the file's deletion.
            found.append(file)
        elif is_folder:
            self._walk(file, found, depth=depth + 1)
        else:
            shown = shown_name(file)
            self._say(
                FindingCode.FILE_IGNORED,
                shown,
                f"{shown} is not read.",
                "Name it .yaml when it should be, or move it elsewhere.",
                warning=True,
            )

    def _is_plain(self, file: str) -> bool:
        fault = name_fault(file)
        if fault is None:
            return True
        code, what = fault
        shown = shown_name(file)
        self._say(code, shown, f"The name {shown} {what}, so nothing in it is read.", "Rename it.")
        return False

    def _judge(self, findings: Iterator[Finding]) -> None:
        for finding in findings:
            self._add(finding)

    def _say(self, code: FindingCode, file: str, message: str, fix: str, *, warning: bool = False) -> None:
        place = Place(file=file, line=1, column=1)
        severity: Severity = "warning" if warning else "error"
        self._add(Finding(code=code, severity=severity, place=place, message=message, fix=fix))


def is_test(file: str) -> bool:
    """Say whether a file holds tests of rules, by its name."""
    return file.endswith(".test.yaml")


def team_of(file: str) -> str:
    """Return the team that a file below `mappings/` belongs to by its path."""
    first = file.removeprefix("mappings/").split("/")[0]
    return first.removesuffix(".yaml").removesuffix(".test")


def name_fault(file: str) -> tuple[FindingCode, str] | None:
    """Say what keeps a name from being read, logged and hashed as what it looks like; None: nothing."""
    try:
        file.encode()
    except UnicodeEncodeError:
        return FindingCode.FILE_ENCODING, "is not UTF-8"
    if RAW_UNSAFE.search(file) or not file.isprintable():
        return FindingCode.VALUE_UNSAFE_TEXT, "holds a character that is not shown"
    return None


def shown_name(file: str) -> str:
    """Write a name of any bytes as text, with escapes for what has no character and for what is not shown."""
    return "".join(_shown(one) for one in file)


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    # How Python hands over a byte of a name that is no UTF-8 (PEP 383).
    byte = ord(character) - 0xDC00
    return f"\\x{byte:02x}" if 0x80 <= byte <= 0xFF else f"\\u{{{ord(character):X}}}"
