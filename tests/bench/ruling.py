"""P7: what more rules cost: a decision, the load of a folder, the reload of one changed file; and what callers notice of it."""

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.clock import SystemClock
from gateway.compiling.folder import FolderLoad, Loaded
from gateway.identity.token import Claims
from gateway.policy.decide import Allowed, decide
from gateway.policy.rule import Start
from gateway.policy.snapshot import Policy
from tests.bench import reloading
from tests.bench.configuration import RULES_A_FILE, repository_id, write_configuration, write_mapping
from tests.bench.figures import figure, ratio
from tests.bench.peers import scratch
from tests.bench.rows import Bench, Line, Measured, Row, at_most
from tests.bench.tokens import claims

FEW: Final = 10
_DECISIONS: Final = 2_000
_ROUNDS: Final = 7
_LOADS: Final = 3
_MOST_TIMES: Final = 1.2
_MOST_LOAD_S: Final = 1.0
_LOAD_GOAL_RULES: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Size:
    rules: int
    loads_s: tuple[float, ...]
    reloads_s: tuple[float, ...]
    policy: Policy
    callers: tuple[Claims, ...]


def measure(rows: Sequence[Row], bench: Bench) -> tuple[Measured, ...]:
    """Return the row, for few rules and each of many. Raises PeerUnfit, LoadFailed."""
    (row,) = rows
    many = (10_000, 100_000) if bench.full else (10_000,)
    sizes = [_size(rules, bench.supply.jwks, bench.log) for rules in (FEW, *many)]
    costs = [[_decision_us(size) for size in sizes] for _ in range(_ROUNDS + 1)][1:]
    few, *more = [figure([row_of[at] for row_of in costs]) for at in range(len(sizes))]
    lines = [Line(label=f"{FEW} rules: a decision", figure=few, unit="µs CPU")]
    for size, cost in zip(sizes[1:], more, strict=True):
        times, name = ratio(cost, few), f"{size.rules:,} rules"
        lines += [
            Line(label=f"{name}: a decision", figure=cost, unit="µs CPU"),
            Line(label=f"{name} / {FEW}: a decision", figure=times, unit="×", digits=2).judged(
                at_most(_MOST_TIMES)
            ),
            _load_line(name, size),
            Line(
                label=f"{name}: reload, one file of {RULES_A_FILE} changed",
                figure=figure(size.reloads_s),
                unit="s CPU",
                digits=3,
            ),
        ]
    lines += reloading.lines(bench, rules=_LOAD_GOAL_RULES)
    notes = (
        "Decision, load, reload: in the bench's own process, in CPU time: reading, checking and compiling a folder; deciding about an allowed start.",
        "Every rule is about the same workflow and a repository of its own.",
        *reloading.NOTES,
    )
    return (Measured(row=row, lines=tuple(lines), notes=notes),)


def _load_line(name: str, size: _Size) -> Line:
    line = Line(label=f"{name}: load", figure=figure(size.loads_s), unit="s CPU", digits=3)
    return line.judged(at_most(_MOST_LOAD_S)) if size.rules == _LOAD_GOAL_RULES else line


def _size(rules: int, jwks: bytes, log: Callable[[str], None]) -> _Size:
    log(f"{rules:,} rules: loading and reloading {_LOADS} times")
    with scratch() as folder:
        write_configuration(folder / "config", rules=rules, jwks=jwks)
        load = FolderLoad(folder / "config", dev=False, clock=SystemClock())
        # Only the last one is kept: the collector would go through the others again and again.
        loads_s = [_timed(lambda: load(None, None))[1] for _ in range(_LOADS - 1)]
        loaded, seconds = _timed(lambda: load(None, None))
        loads_s.append(seconds)
        reloads_s = []
        for number in range(_LOADS):
            _change_one_file(folder / "config", number, rules)
            before = loaded
            loaded, seconds = _timed(lambda: load(before, before))  # noqa: B023  called at once
            reloads_s.append(seconds)
    if loaded.policy is None or loaded.findings:
        raise AssertionError(f"The folder to measure is wrong: {loaded.findings[:3]}")
    return _Size(
        rules=rules,
        loads_s=tuple(loads_s),
        reloads_s=tuple(reloads_s),
        policy=loaded.policy,
        callers=tuple(_caller(number * rules // _DECISIONS % rules) for number in range(_DECISIONS)),
    )


def _timed(act: Callable[[], Loaded]) -> tuple[Loaded, float]:
    gc.collect()
    begun = time.process_time()
    return act(), time.process_time() - begun


def _change_one_file(folder: Path, number: int, rules: int) -> None:
    write_mapping(folder, 0, range(min(rules, RULES_A_FILE)), why=f"BENCH-1, change {number}")


def _caller(rule: int) -> Claims:
    members = claims(rule, int(time.time()))
    if rule:
        members |= {"repository": f"acme/service-{rule}", "repository_id": repository_id(rule)}
    return Claims(issuer="github", members=members)


def _decision_us(size: _Size) -> float:
    wish, now = Start(workflow="deploy", target=None), time.time()
    gc.collect()
    begun = time.process_time()
    answers = [decide(caller, wish, size.policy, now=now) for caller in size.callers]
    spent = time.process_time() - begun
    if not all(isinstance(answer, Allowed) for answer in answers):
        raise AssertionError("A decision to measure was refused.")
    return spent / len(answers) * 1e6
