"""Where files of the folder are read: below one version of it, although a link to it may be swapped meanwhile."""

import os
from pathlib import Path
from typing import Final

# Kubernetes mounts ConfigMaps and Secrets as links through this one, and replaces it to change all files at once.
_SWAPPED: Final = "..data"


class Paths:
    """Finds the real place of each name, and resolves `..data` of each folder once.

    Otherwise files read before and after a swap would make up a policy that nobody ever wrote.
    root: a real path.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._versions: dict[Path, Path | None] = {}

    def find(self, file: str) -> Path:
        """Return where a file or folder stands. file: relative to the root, without `..`."""
        here = self._root
        for part in file.split("/"):
            here = self._below(here, part)
        return here

    def _below(self, folder: Path, name: str) -> Path:
        if folder not in self._versions:
            self._versions[folder] = self._version(folder)
        version = self._versions[folder]
        entry = folder / name
        if version is None:
            return entry
        try:
            link = str(entry.readlink())
        except (OSError, ValueError):
            return entry
        below = link.removeprefix(f"{_SWAPPED}/")
        return version / below if below != link and ".." not in below.split("/") else entry

    def _version(self, folder: Path) -> Path | None:
        swapped = folder / _SWAPPED
        if not swapped.is_symlink():
            return None
        version = Path(os.path.realpath(swapped))
        return version if version.is_relative_to(self._root) else None
