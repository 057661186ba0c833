"""What the kernel says: cores, CPU time and memory of a process with all its children. Linux only."""

import os
import platform
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from cryptography.hazmat.backends.openssl import backend

from tests.support.processes import descendants, listening_addresses

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


def share_a_core(one: int, other: int) -> bool:
    """Say whether two processors are threads of one core, which together do less than twice what one does alone."""
    place = Path(f"/sys/devices/system/cpu/cpu{one}/topology/core_cpus_list")
    try:
        return other in set(numbers_of(place.read_text()))
    except (OSError, ValueError):
        return False


def numbers_of(listed: str) -> Iterator[int]:
    """Read a list of processors, such as `0-3,8`."""
    for part in listed.strip().split(","):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cores:
    """Where servers run and where the load comes from; the same core where there is but one.

    pair: where a server of two processes runs; the load's core is one of them where there are but two.
    """

    server: int
    load: int
    pair: tuple[int, ...] = ()

    @property
    def apart(self) -> bool:
        """Say whether the load leaves a pair of servers two whole cores."""
        return self.load not in self.pair

    def pin_server(self) -> tuple[str, ...]:
        """Return what stands before the command of a server."""
        return ("taskset", "-c", str(self.server))

    def pin_pair(self) -> tuple[str, ...]:
        """Return the same for a server of two processes."""
        return ("taskset", "-c", ",".join(str(core) for core in self.pair))

    def pin_load(self) -> tuple[str, ...]:
        """Return what stands before the command of the load generator."""
        return ("taskset", "-c", str(self.load))


def cores() -> Cores:
    """Return the last core for servers, the first for the load generator, and for us."""
    usable = sorted(os.sched_getaffinity(0))
    return Cores(server=usable[-1], load=usable[0], pair=tuple(usable[-2:]))


def _build() -> str:
    """Say how the interpreter was built: profile-guided ones are 10 to 25 % faster."""
    chosen = str(sysconfig.get_config_var("CONFIG_ARGS"))
    return "with PGO" if "--enable-optimizations" in chosen else "without PGO"


def _first_and_last() -> tuple[int, int]:
    places = cores()
    return places.load, places.server


def cpu_seconds(root: int) -> float:
    """Return user and system time of the process and its descendants, those that ended and were waited for included."""
    return sum(ticks_of(_stat(process)) for process in descendants(root)) / _TICKS_A_SECOND


def ticks_of(stat: str) -> int:
    """Return utime, stime, cutime and cstime together, from a line of /proc/PID/stat; 0 for an empty one."""
    # The name in brackets may hold blanks and brackets; utime is the 14th field, the 12th after the name.
    fields = stat.rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15])


def core_wait_s(process: int) -> float:
    """Return how long a process's main thread was ready and had no core because others had it; 0 where nobody counts it."""
    try:
        return int(Path(f"/proc/{process}/task/{process}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


def rss_mb(root: int) -> float:
    """Return the resident memory of the process and its descendants in MB (10^6 bytes)."""
    return sum(_status_kb(process, "VmRSS") for process in descendants(root)) * 1024 / 1e6


def peak_mb(root: int) -> float:
    """Return the most that each of them has had resident since its start, together, in MB."""
    return sum(_status_kb(process, "VmHWM") for process in descendants(root)) * 1024 / 1e6


def _status_kb(process: int, name: str) -> int:
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), 0)


def _stat(process: int) -> str:
    try:
        return Path(f"/proc/{process}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def listener(port: int) -> int:
    """Return which of our descendants listens on a port; the one highest up where several share it."""
    for process in sorted(descendants(os.getpid())):
        if any(found == port for _, found in listening_addresses({process})):
            return process
    raise LookupError(f"None of our processes listens on port {port}.")


def gateway_version() -> str:
    """Return its version, and the commit where this is a checkout with Git."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    done = (
        subprocess.run(command, capture_output=True, text=True, check=False) if shutil.which("git") else None
    )
    commit = done.stdout.strip() if done is not None and done.returncode == 0 else ""
    return f"{version('oidc-gateway')} ({commit})" if commit else version("oidc-gateway")


def load_generator() -> str:
    """Return wrk's version; empty where it is missing."""
    if shutil.which("wrk") is None:
        return ""
    # It says its version with its usage, and that this was wrong.
    done = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).partition("[")[0].strip()


def description() -> dict[str, object]:
    """Return what a reader must know of the machine to judge figures."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return {
        "cpu": model or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "threads_of_one_core": share_a_core(*_first_and_last()),
        "load_average": os.getloadavg()[0],
        "python": f"{platform.python_version()} ({platform.python_compiler()}, {_build()})",
        "signatures": f"cryptography {version('cryptography')}, {backend.openssl_version_text()}",
    }
