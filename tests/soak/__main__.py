"""`scripts/soak`: good, bad and hostile traffic for minutes, and at the end every number must have its other half."""

import argparse
import asyncio
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx2

from tests.soak.actors import Callers
from tests.soak.disturbing import RULES, Disturber, workers_of
from tests.soak.emulator import Emulator
from tests.soak.judging import Verdict, judge_endings, judge_executions, judge_records, stories
from tests.soak.wire import Wire
from tests.support.base_line import Standing, standing
from tests.support.gateways import Gateway, edit, running_gateway, write_config
from tests.support.idp import Idps, running_idps
from tests.support.redis_server import RedisServer, running_redis
from tests.support.scripted_aws import ScriptedAws, running_scripted_aws

PROVIDER = "soak"
_SLOW = 500
_CALLERS = 8
_KIB_PER_MIB = 1024
# Of one process, from the first to the last third of the time after the last restart: what allocators keep varies by so much.
_GROWTH_MIB = 12.0
_SETTLE_S = 30.0
# Of one process to Redis; a pool keeps what it once needed.
_REDIS_POOL = 16
_RULES = """\
format: oidc-gateway/mapping.v1
rules:
  - name: soak
    why: SOAK-1, whoever calls all day
    issuer: soak
    claims: { sub: someone }
    grants:
      - { start: deploy-payments, as: payments-prod }
      - { obtain: payments-prod }
  - name: once
    why: SOAK-2, each token once
    issuer: soak
    claims: { sub: once }
    grants:
      - { start: deploy-payments, as: payments-prod }
    replay: once
"""


@dataclass(slots=True, kw_only=True)
class Soak:
    """One run. memory_kib: of all processes together, second by second after the last restart."""

    gateway: Gateway
    wire: Wire
    callers: Callers
    disturber: Disturber
    temporary: Path
    seconds: float
    memory_kib: list[int] = field(default_factory=list)

    async def run(self) -> Standing:
        """Do everything at once for so long; return what the gateway held after its warm-up, before the first caller left."""
        for _ in range(10):
            await asyncio.gather(*(self.callers.starts_and_looks() for _ in range(4)))
        await asyncio.sleep(7)  # the warm-up's connections to AWS stay, those of callers are gone
        base = _with_redis(standing(self.gateway.process.pid, self.temporary))
        began = asyncio.get_running_loop().time()
        until, half = began + self.seconds, began + self.seconds / 2
        async with asyncio.TaskGroup() as group:
            for _ in range(_CALLERS):
                group.create_task(self._call(until))
            every_s = max(2.0, self.seconds / 24)
            group.create_task(self.disturber.run(every_s=every_s, kills_until=half - 5, until=until))
            group.create_task(self._crowd(began + self.seconds / 4, until))
            group.create_task(self._measure(half, until))
        return base

    async def _call(self, until: float) -> None:
        while asyncio.get_running_loop().time() < until:
            await self.callers.act()
            await asyncio.sleep(0.02)

    async def _crowd(self, start: float, until: float) -> None:
        await asyncio.sleep(start - asyncio.get_running_loop().time())
        left_s = until - asyncio.get_running_loop().time() - 12
        self.wire.crowded = True
        await asyncio.gather(*(self.wire.hang(time.monotonic() + left_s) for _ in range(_SLOW)))
        self.wire.crowded = False

    async def _measure(self, start: float, until: float) -> None:
        await asyncio.sleep(start - asyncio.get_running_loop().time())
        while asyncio.get_running_loop().time() < until:
            self.memory_kib.append(standing(self.gateway.process.pid, self.temporary).memory_kib)
            await asyncio.sleep(1)

    async def settle(self, base: Standing) -> list[str]:
        """Wait until the gateway holds no more than at its base line; return what it keeps."""
        deadline = time.monotonic() + _SETTLE_S
        while kept := standing(self.gateway.process.pid, self.temporary).beyond(base):
            if time.monotonic() > deadline:
                return kept
            await asyncio.sleep(0.2)
        return []


def _with_redis(base: Standing) -> Standing:
    pools = Counter(socket=_REDIS_POOL * max(1, base.processes - 1))
    return replace(base, descriptors=base.descriptors + pools)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the soak; 1 when numbers do not add up."""
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, metavar="N", help="how long (10)")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="of the gateway (2)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of what callers do (1)")
    given = parser.parse_args(arguments)
    verdict = soak(seconds=given.minutes * 60, workers=given.workers, seed=given.seed)
    sys.stdout.write(table(verdict))
    return 1 if verdict.faults else 0


def table(verdict: Verdict) -> str:
    """Return what there is to say, as lines for people."""
    lines = [f"{name:<56}{number:>12}" for name, number in verdict.rows]
    lines += [f"DOES NOT ADD UP: {fault}" for fault in verdict.faults[:20]]
    if len(verdict.faults) > 20:
        lines.append(f"… and {len(verdict.faults) - 20} more")
    return "\n".join([*lines, ""])


def soak(*, seconds: float, workers: int, seed: int = 1) -> Verdict:
    """Run everything for so many seconds and return what there is to say."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="oidc-gateway-soak-")))
        idps = stack.enter_context(running_idps())
        aws = stack.enter_context(running_scripted_aws())
        emulator = Emulator(aws, seed=seed)
        redis = stack.enter_context(running_redis())
        temporary = folder / "tmp"
        temporary.mkdir()
        gateway = stack.enter_context(_gateway(folder, aws, idps, redis, workers))
        wire = Wire(port=httpx2.URL(gateway.url).port or 0)
        callers = Callers(wire, idps.issuer(PROVIDER), random.Random(seed))
        disturber = Disturber(gateway, idps, callers, PROVIDER)
        running = Soak(
            gateway=gateway,
            wire=wire,
            callers=callers,
            disturber=disturber,
            temporary=temporary,
            seconds=seconds,
        )
        base, kept = asyncio.run(_run(running))
        alive = len(workers_of(gateway))
        gateway.process.terminate()
        ended = gateway.process.wait(60)
        return _judge(
            running,
            emulator,
            folder / "audit",
            _After(base=base, kept=kept, alive=alive, ended=ended, workers=workers),
        )


async def _run(running: Soak) -> tuple[Standing, list[str]]:
    base = await running.run()
    return base, await running.settle(base)


def _gateway(
    folder: Path, aws: ScriptedAws, idps: Idps, redis: RedisServer, workers: int
) -> AbstractContextManager[Gateway]:
    config = write_config(folder / "config", aws=aws.url)
    (config / "idp-ca.pem").write_text(idps.authority.pem)
    entry = (
        f"  soak:\n    preset: generic\n    issuer: {idps.issuer(PROVIDER)}\n    audiences: [https://gateway.acme.example]\n"
        "    ca_file: idp-ca.pem\n    allow_addresses: [127.0.0.1/32]\n"
    )
    edit(config / "gateway.yaml", "issuers:\n", f"issuers:\n{entry}")
    edit(
        config / "gateway.yaml",
        "teams:\n",
        "teams:\n  soak: { contact: soak@acme.example, issuers: [soak] }\n",
    )
    edit(config / "targets.yaml", "teams: [payments]", "teams: [payments, soak]")
    edit(config / "targets.yaml", "teams: [payments, ops]", "teams: [payments, ops, soak]")
    (config / RULES).parent.mkdir()
    (config / RULES).write_text(_RULES)
    environment = {
        "TMPDIR": str(folder / "tmp"),
        "OIDC_GATEWAY_WORKERS": str(workers),
        "OIDC_GATEWAY_IDLE": "2s",
        "OIDC_GATEWAY_STATE_URL": redis.url,
        "OIDC_GATEWAY_STATE_TIMEOUT_MS": "2000",
        "OIDC_GATEWAY_LIMITS_SUBJECT": "unlimited",
        "OIDC_GATEWAY_LIMITS_RULE": "unlimited",
    }
    return running_gateway(
        config, folder / "audit", environment=environment, module="tests.soak.named_gateway"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _After:
    base: Standing
    kept: list[str]
    alive: int
    ended: int
    workers: int


def _judge(running: Soak, emulator: Emulator, audit: Path, after: _After) -> Verdict:
    verdict, wire = Verdict(), running.wire
    told = stories(audit)
    judge_endings(wire.sent, verdict)
    judge_records(wire.sent, told, verdict, killed=running.disturber.killed)
    judge_executions(told, set(emulator.executions), verdict)
    replayed = [one for one in wire.sent if one.kind == "replay" and one.status in {200, 201}]
    tokens = [
        records[0].token for number, records in told.items() if number in {one.number for one in replayed}
    ]
    verdict.say("tokens that count once and did", len(tokens))
    verdict.demand(len(set(tokens)) == len(tokens), "a token that counts once counted twice")
    accepted = [
        one
        for one in wire.sent
        if one.kind in {"bad token", "flood"} and one.status < 400 and one.ending == "answered"
    ]
    verdict.demand(not accepted, f"{len(accepted)} bad tokens were accepted")
    bugs = wire.codes()["internal_error"]
    verdict.demand(not bugs, f"{bugs} answers were internal_error")
    for name, number in sorted(running.disturber.done.items()):
        verdict.say(name, number)
    _judge_machine(running, after, verdict)
    return verdict


def _judge_machine(running: Soak, after: _After, verdict: Verdict) -> None:
    wire = running.wire
    verdict.say("slow sockets opened, all closed by the gateway", wire.slow_opened)
    verdict.demand(wire.slow_opened == wire.slow_closed, "slow sockets were left open")
    good = [
        one for one in wire.sent if one.kind in {"start", "whoami", "obtain", "view"} and 0 < one.status < 300
    ]
    for name, crowded in (("alone", False), (f"while {_SLOW} slow sockets hang", True)):
        times = sorted(one.seconds * 1000 for one in good if one.crowded is crowded)
        if len(times) > 1:
            verdict.say(f"good requests {name}", len(times))
            verdict.say("  p50, ms", f"{statistics.median(times):.0f}")
            verdict.say("  p99, ms", f"{times[int(len(times) * 0.99)]:.0f}")
    third = max(1, len(running.memory_kib) // 3)
    first, last = (
        statistics.median(part) for part in (running.memory_kib[:third], running.memory_kib[-third:])
    )
    processes = after.base.processes
    grown = (last - first) / _KIB_PER_MIB / processes
    verdict.say("memory of a process, MiB", f"{last / _KIB_PER_MIB / processes:.0f}")
    verdict.say("  grown since the last restart, MiB", f"{grown:.1f}")
    verdict.demand(grown < _GROWTH_MIB, f"memory grew by {grown:.1f} MiB a process")
    verdict.say("threads, descriptors and files as before", "no" if after.kept else "yes")
    verdict.faults += after.kept
    verdict.demand(
        after.alive == (after.workers if after.workers > 1 else 0), f"{after.alive} workers live at the end"
    )
    verdict.demand(after.ended == 0, f"the gateway ended with {after.ended}")
    reloads = running.gateway.log().count("policy")
    verdict.demand(reloads > 0, "no change of the files was seen")


if __name__ == "__main__":
    sys.exit(main())
