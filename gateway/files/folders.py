"""Who can replace a file: every folder on the way to it is judged by owner and mode, and every link by its owner."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from gateway.files.source import (
    OTHERS_WRITE,
    Finding,
    FindingCode,
    Place,
    Severity,
    is_trusted_owner,
    mode_findings,
)


class Folders:
    """Judges each folder once: whoever can write in one can replace the files in it.

    Not judged are folders on read-only mounts, where nobody writes whatever their modes say: that is how Kubernetes
    mounts ConfigMaps and Secrets, with mode 0777. In a folder with the sticky bit others can add files and links but
    not replace any, and what they add is theirs, so it is refused for its owner.
    """

    def __init__(self, root: Path, severity: Severity) -> None:
        self._root = root
        self._severity = severity
        self._judged: set[Path] = set()
        self._seen: set[Path] = set()

    def judge(self, folder: Path, name: str) -> Iterator[Finding]:
        """Judge a folder, and every real one between the root and where its links lead. name: as the findings say it."""
        if folder in self._seen:
            return
        self._seen.add(folder)
        real = Path(os.path.realpath(folder))
        yield from self._judge(real, name)
        for above in real.parents:
            if not above.is_relative_to(self._root):
                return
            yield from self._judge(above, str(above.relative_to(self._root)))

    def judge_link(self, path: Path, name: str) -> Iterator[Finding]:
        """Judge a link by its owner, and every folder that it leads through; nothing when the path is no link."""
        try:
            status = path.lstat()
        except OSError:
            return
        if stat.S_ISLNK(status.st_mode):
            if not is_trusted_owner(status.st_uid):
                what = f"is a link of user {status.st_uid}, who is neither root nor the user of this process"
                yield _finding(name, what, f"chown -h root {name}", self._severity)
            yield from self.judge(Path(os.path.realpath(path)).parent, str(Path(name).parent))

    def _judge(self, real: Path, name: str) -> Iterator[Finding]:
        if real in self._judged or not real.is_relative_to(self._root):
            return
        self._judged.add(real)
        try:
            status, mount = real.stat(), os.statvfs(real)
        except OSError:
            return
        if mount.f_flag & os.ST_RDONLY:
            return
        if status.st_mode & stat.S_ISVTX:
            status = os.stat_result((status.st_mode & ~OTHERS_WRITE, *status[1:]))
        yield from mode_findings(
            name, status, self._severity, written="is a folder in which files can be replaced by others"
        )


def _finding(file: str, what: str, fix: str, severity: Severity) -> Finding:
    return Finding(
        code=FindingCode.FILE_PERMISSIONS,
        severity=severity,
        place=Place(file=file, line=1, column=1),
        message=f"{file} {what}.",
        fix=fix,
    )
