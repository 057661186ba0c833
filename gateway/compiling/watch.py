"""The policy in force, and the folder it comes from: a good change goes live, a bad one changes nothing.

[edge] Files are read and compiled on a thread; what is in force is swapped on the event loop, as a whole.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

from gateway.clock import Clock
from gateway.compiling.afterwards import OverlapSearch, log_findings, log_held_back
from gateway.compiling.changes import changes
from gateway.compiling.folder import FolderLoad, Loaded
from gateway.errors import ConfigurationInvalid, ErrorCode
from gateway.files.looking import Look, look
from gateway.files.source import Finding, FindingCode, Place
from gateway.files.turns import in_turns
from gateway.metrics import Metrics
from gateway.policy.snapshot import Policy, PolicyState

_log = logging.getLogger("gateway.compiling.watch")

#: How long a change may be read and compiled before the policy in force no longer counts as what the files say.
PATIENCE_S: Final = 5.0


class Load(Protocol):
    """Reads and compiles the folder; called on a thread, one call at a time."""

    def __call__(self, seen: Loaded | None, active: Loaded | None) -> Loaded:
        """Return what the files say now.

        seen:   what the last call returned; returned again, the very same, when nothing has changed since.
        active: what is in force; a team whose file cannot be read keeps its rules of then.
        Raises OSError when there is no folder to read.
        """
        ...


class PolicyRejected(ConfigurationInvalid):
    """No policy can be made of the files, and there is no earlier one. findings: why."""

    def __init__(self, folder: Path, findings: tuple[Finding, ...]) -> None:
        first = next((finding for finding in findings if finding.severity == "error"), None)
        why = f" First: {first.place}: {first.message}" if first else ""
        super().__init__(
            ErrorCode.INTERNAL_ERROR,  # codes are for callers, and at a start there are none
            f"The files in {folder} cannot be used.{why}",
            hint=f"Run: oidc-gateway check {folder}",
        )
        self.findings = findings


class WatchedPolicy:
    """Holds the policy of a folder and keeps it current between `__aenter__` and `__aexit__`.

    dev:       files may be writable by others, issuers and AWS be emulators on loopback.
    on_change: told of a policy once it is in force; awaited at the start, in the background afterwards.
    vet:       raises ConfigurationInvalid for a policy that compiles but cannot be worked with; it is then rejected.
    load:      how the folder is read; tests pass others.
    patience_s: how long a reload may take before the state is `stale`: until it has ended nobody knows what the files say.
    """

    def __init__(
        self,
        folder: Path,
        *,
        dev: bool,
        clock: Clock,
        metrics: Metrics,
        on_change: Callable[[Policy], Awaitable[None]] | None = None,
        vet: Callable[[Policy], None] | None = None,
        load: Load | None = None,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._folder = folder
        self._clock = clock
        self._metrics = metrics
        self._on_change = on_change
        self._vet = vet
        self._load: Load = load or FolderLoad(folder, dev=dev, clock=clock)
        self._seen: Loaded | None = None
        self._active: Loaded | None = None
        self._policy: Policy | None = None
        self._state: PolicyState | None = None
        self._stop = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None
        self._telling: set[asyncio.Task[None]] = set()
        self._overlaps = OverlapSearch()
        self._patience_s = patience_s
        self._is_late = False
        self._findings: tuple[Finding, ...] = ()
        self._loading = asyncio.Lock()

    def current(self) -> Policy:
        """Return the policy in force; only between start and end."""
        if self._policy is None:
            raise RuntimeError("The policy has not been loaded yet.")
        return self._policy

    def state(self) -> PolicyState:
        """Return how the policy in force relates to the files; only between start and end."""
        if self._state is None:
            raise RuntimeError("The policy has not been loaded yet.")
        return replace(self._state, state="stale") if self._is_late else self._state

    def findings(self) -> tuple[Finding, ...]:
        """Return what was found when the folder was last read, warnings included."""
        return self._findings

    async def reload(self) -> tuple[Finding, ...]:
        """Read the folder now, as if it had changed, and return what was found; only between start and end."""
        # Whoever asked may leave: a thread that reads on must not meet a second one.
        return await asyncio.shield(asyncio.ensure_future(self._reload()))

    async def __aenter__(self) -> Self:
        """Load the folder and begin to watch it; raises PolicyRejected when it yields no policy."""
        before = await asyncio.to_thread(look, self._folder)
        findings = await self._reload()
        if self._policy is None:
            raise PolicyRejected(self._folder, findings)
        await asyncio.gather(*self._telling)
        self._stop.clear()
        self._watching = asyncio.create_task(self._watch(before), name="policy-watch")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop watching."""
        self._stop.set()
        tasks = [*self._telling, *([self._watching] if self._watching else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._overlaps.end()

    async def _watch(self, before: Look) -> None:
        async with contextlib.aclosing(changes(self._folder, before, self._stop)) as noticed:
            async for _ in noticed:
                await self._reload()

    async def _reload(self) -> tuple[Finding, ...]:
        """Load once, take what is good, and return what was found."""
        late = asyncio.get_running_loop().call_later(self._patience_s, self._be_late)
        try:
            # One at a time: whoever asks for a reload meets the watch, and the later one must see the later files.
            async with self._loading:
                self._findings = await self._load_once()
                return self._findings
        finally:
            late.cancel()
            self._is_late = False
            if self._state is not None:
                self._metrics.policy_stale.set(1 if self._state.state == "stale" else 0)

    def _be_late(self) -> None:
        if self._state is None:
            return
        self._is_late = True
        self._metrics.policy_stale.set(1)
        _log.error(
            "policy files are still being read; the last good policy stays in force",
            extra={"seconds": self._patience_s},
        )

    async def _load_once(self) -> tuple[Finding, ...]:
        try:
            loaded = await asyncio.to_thread(self._load_and_vet)
        except OSError as fault:
            self._seen = None
            finding = self._unreadable(fault)
            self._reject((finding,))
            return (finding,)
        except Exception:  # noqa: BLE001 - a bug of ours must not end the watch, nor take the service down
            _log.exception("policy files could not be compiled")
            self._seen = None
            self._reject(())
            return ()
        if loaded is self._seen:
            self._metrics.policy_reloads.labels(result="unchanged").inc()
            return loaded.findings
        self._seen = loaded
        if loaded.policy is None:
            self._reject(loaded.findings)
        else:
            self._accept(loaded, loaded.policy)
        return loaded.findings

    def _load_and_vet(self) -> Loaded:
        # At a start nobody waits.
        with in_turns() if self._policy is not None else contextlib.nullcontext():
            loaded = self._load(self._seen, self._active)
        if loaded is self._seen or loaded.policy is None or self._vet is None:
            return loaded
        try:
            self._vet(loaded.policy)
        except ConfigurationInvalid as fault:
            return loaded.without_policy(self._unusable(fault))
        return loaded

    def _accept(self, loaded: Loaded, policy: Policy) -> None:
        changed = self._policy is None or self._policy.digest != policy.digest
        loaded_at = self._clock.wall() if changed or self._state is None else self._state.loaded_at
        self._active, self._policy = loaded, policy
        # A team that keeps earlier rules, or names what is not there, has files that are not in force as they are
        # written: that is stale, for all others current.
        errors = loaded.errors if loaded.is_stale else 0
        self._state = PolicyState(
            digest=policy.digest,
            state="stale" if loaded.is_stale else "current",
            loaded_at=loaded_at,
            findings=errors,
            held_back=loaded.held_back,
            without_rules=loaded.without_rules,
        )
        metrics = self._metrics
        metrics.policy_reloads.labels(result="accepted").inc()
        metrics.policy_info.clear()
        metrics.policy_info.labels(digest=policy.digest).set(1)
        metrics.policy_rules.set(len(policy.rules))
        metrics.policy_loaded.set(loaded_at)
        metrics.policy_inert_grants.set(loaded.inert_grants)
        _log.info(
            "policy in force",
            extra={
                "digest": policy.digest,
                "rules": len(policy.rules),
                "held_back": list(loaded.held_back),
                "changed": changed,
            },
        )
        log_held_back(loaded.held_back, without_rules=loaded.without_rules)
        log_findings(loaded.findings)
        if changed and self._on_change is not None:
            self._tell(self._on_change, policy)
        if changed:
            self._overlaps.begin(loaded)

    def _reject(self, findings: tuple[Finding, ...]) -> None:
        self._metrics.policy_reloads.labels(result="rejected").inc()
        if self._state is None:
            self._metrics.policy_stale.set(1)
        errors = sum(finding.severity == "error" for finding in findings)
        if self._state is not None:
            self._state = replace(self._state, state="stale", findings=max(errors, 1))
            _log.error(
                "policy files rejected; the last good policy stays in force",
                extra={"digest": self._state.digest, "errors": errors},
            )
        log_findings(findings)

    def _tell(self, on_change: Callable[[Policy], Awaitable[None]], policy: Policy) -> None:
        async def tell() -> None:
            try:
                await on_change(policy)
            except Exception:  # noqa: BLE001 - the policy is in force whatever its listener makes of it
                _log.exception("policy change could not be announced")

        task = asyncio.create_task(tell(), name="policy-change")
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    def _unreadable(self, fault: OSError) -> Finding:
        return Finding(
            code=FindingCode.FILE_MISSING,
            severity="error",
            place=Place(file=self._folder.name, line=1, column=1),
            message=f"The folder {self._folder} cannot be read: {fault.strerror or 'it is no folder'}.",
            fix="Put the folder back, readable for the gateway's user.",
        )

    def _unusable(self, fault: ConfigurationInvalid) -> Finding:
        return Finding(
            code=FindingCode.VALUE_INVALID,
            severity="error",
            place=Place(file="gateway.yaml", line=1, column=1),
            message=fault.message,
            fix=fault.hint or "Change what the message names.",
        )
