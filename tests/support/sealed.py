"""A machine that is read-only but for a few folders, for one process that is nobody: what a hardened container is, without one."""

import os
import shlex
import shutil
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

#: The user of the image.
USER: Final = 10001
_TOOLS: Final = ("unshare", "setpriv", "mount")

# In a mount namespace of its own, so that nothing of it is seen outside, and gone with the process.
_SCRIPT: Final = """\
PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount --make-rprivate /
{show_interpreter}
for folder in {writable}; do mount --bind "$folder" "$folder"; done
mount -t tmpfs -o mode=1777,size=16m none {temporary}
while read -r _ place kind options _; do
    case "$kind" in proc|sysfs|cgroup*|devpts) continue;; esac
    case " {kept} " in *" $place "*) continue;; esac
    mount -o remount,bind,ro "$place" 2>/dev/null || true
done < /proc/self/mounts
for place in / /tmp /dev/shm "$HOME" {config}; do
    if touch "$place/.probe" 2>/dev/null; then echo "$place can be written" >&2; exit 99; fi
done
exec setpriv --reuid {user} --regid {user} --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all "$@"
"""


def why_not_sealed() -> str | None:
    """Say what is missing for `sealed`, None when nothing is."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "taking rights away needs Linux and root"
    lacking = [name for name in _TOOLS if shutil.which(name) is None]
    return f"{lacking[0]} is not installed; it is part of util-linux" if lacking else None


def sealed(config: Path, *, writable: Sequence[Path], temporary: Path) -> list[str]:
    """Return the command before the one that is to run so: as `USER`, without any capability.

    config:    read, and not writable to it even as root.
    writable:  the only folders of the disk that can be written; made over to it, closed to everybody else.
    temporary: an empty folder that is in memory for it.
    """
    for folder in writable:
        folder.mkdir(exist_ok=True)
        os.chown(folder, USER, USER)
        folder.chmod(0o700)
    kept = (*writable, temporary)
    script = _SCRIPT.format(
        show_interpreter=_show(Path(sys.base_prefix), temporary),
        writable=" ".join(shlex.quote(str(folder)) for folder in writable),
        kept=" ".join(str(folder) for folder in kept),
        temporary=shlex.quote(str(temporary)),
        config=shlex.quote(str(config)),
        user=USER,
    )
    return [shutil.which("unshare") or "unshare", "--mount", "/bin/sh", "-euc", script, "sealed"]


def _show(interpreter: Path, through: Path) -> str:
    """Return what lets others reach an interpreter that stands in somebody's private folder."""
    closed = [one for one in interpreter.parents if not one.stat().st_mode & stat.S_IXOTH]
    if not closed:
        return ""
    hidden, place, by = (shlex.quote(str(path)) for path in (closed[-1], interpreter, through))
    return (
        f"mount --bind {place} {by}; mount -t tmpfs -o mode=755 none {hidden}; "
        f"mkdir -p {place}; mount --move {by} {place} || mount --bind {by} {place}"
    )
