"""Holds what was sent against what was recorded and what AWS did: every number must have its other half."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gateway.audit.reading import read_entries
from gateway.audit.record import Record
from gateway.together import TOGETHER_S
from tests.soak.wire import AGENT, Sent

# How long a refusal may wait in memory for its turn on a busy disk.
_UNWRITTEN_S = 1.0
#: Answered before there is a call: nothing was asked of the policy, so there is no record of it.
_NO_CALL = frozenset(
    {
        "body_too_large",
        "draining",
        "headers_too_large",
        "host_not_allowed",
        "method_not_allowed",
        "not_found",
        "overloaded",
        "request_malformed",
        "request_timeout",
        "token_missing",
        "unsupported_media_type",
        "uri_too_long",
    }
)
#: Refused before a signature was verified: of many from one address, those beyond the first share a record.
_NOBODYS = frozenset(
    {
        "keys_unavailable",
        "token_encoding_invalid",
        "token_issuer_unknown",
        "token_key_unknown",
        "token_malformed",
        "token_signature_invalid",
    }
)


@dataclass(slots=True)
class Verdict:
    """rows: of the table, name and number. faults: what does not add up."""

    rows: list[tuple[str, str]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def say(self, name: str, number: object) -> None:
        """Add a row."""
        self.rows.append((name, str(number)))

    def demand(self, holds: bool, otherwise: str) -> None:
        """Add a fault unless it holds."""
        if not holds:
            self.faults.append(otherwise)


def leaves_a_record(answered: Sent) -> bool:
    """Say whether an answer is one of a call that is recorded.

    Not recorded by design: an identity that was shown (`whoami`, 200), and what is refused before there is a call.
    """
    if answered.status == 200 and answered.kind in {"whoami", "nonsense"}:
        return False
    return answered.code not in _NO_CALL


def stories(audit: Path) -> dict[int, list[Record]]:
    """Return the records of each numbered request."""
    found: dict[int, list[Record]] = defaultdict(list)
    agents: dict[str, int] = {}
    for entry in read_entries(audit):
        record = entry.record
        if record.user_agent and record.user_agent.startswith(AGENT):
            agents[record.request_id] = int(record.user_agent.removeprefix(AGENT))
        if record.request_id in agents:
            found[agents[record.request_id]].append(record)
    return found


def judge_records(
    sent: list[Sent], audit: Path, verdict: Verdict, *, killed_at: Sequence[float]
) -> dict[int, list[Record]]:
    """Hold requests against records: each answer has its story or none by design, and no story is nobody's.

    killed_at: monotonic seconds at which a worker was killed: refusals do not wait for the disk, so it may have taken the last
               ones with it.
    """
    told = stories(audit)
    answered = [one for one in sent if one.ending == "answered"]
    lost = [one for one in sent if one.ending == "disconnected"]
    recorded = [one for one in answered if leaves_a_record(one)]
    verdict.say("requests sent", len(sent))
    verdict.say("  answered", len(answered))
    verdict.say("  disconnected", len(lost))
    verdict.say("stories in the record", len(told))
    verdict.say("  of answers", sum(one.number in told for one in answered))
    verdict.say("  of disconnected callers, whose call went on", sum(one.number in told for one in lost))
    verdict.say("answers without a record by design", len(answered) - len(recorded))
    silent = [one for one in recorded if one.number not in told]
    together = [one for one in silent if one.code in _NOBODYS]
    taken = {one.number for one in silent if one.code not in _NOBODYS and _went_with_a_worker(one, killed_at)}
    verdict.say("refusals that a killed worker took with it", len(taken))
    judge_together(together, lost, told, verdict, killed_at=killed_at)
    excused = taken | {one.number for one in together}
    for one in answered:
        if one.number in excused:
            continue
        if (one.number in told) != leaves_a_record(one):
            verdict.faults.append(
                f"request {one.number} ({one.kind}, {one.status} {one.code}) has {len(told.get(one.number, []))} records"
            )
        elif one.number in told:
            ids = {record.request_id for record in told[one.number]}
            verdict.demand(
                ids == {one.request_id},
                f"request {one.number} was answered as {one.request_id} and recorded as {ids}",
            )
    numbers = {one.number for one in sent}
    verdict.demand(set(told) <= numbers, f"{len(set(told) - numbers)} stories belong to no request")
    for number, records in told.items():
        kinds: Counter[str] = Counter(record.kind for record in records)
        whole = (kinds["refused"], kinds["intent"], kinds["outcome"] + kinds["unknown"]) in {
            (1, 0, 0),
            (0, 1, 1),
        }
        verdict.demand(whole or _closed_late(kinds), f"the story of request {number} is {dict(kinds)}")
    return told


def judge_together(
    together: Sequence[Sent],
    lost: Sequence[Sent],
    told: dict[int, list[Record]],
    verdict: Verdict,
    *,
    killed_at: Sequence[float],
) -> None:
    """Hold refusals without a record of their own against the numbers in records that stand for several, code by code.

    together: answered with a code of nobody's token. lost: may have been counted although nobody read the answer.
    """
    counted: Counter[str] = Counter()
    for records in told.values():
        for record in records:
            # One of those it stands for is the request whose story it is.
            counted[str(record.code)] += (record.repeated or 1) - 1
    answered = Counter(one.code for one in together)
    with_a_worker = Counter(
        one.code
        for one in together
        if any(-_UNWRITTEN_S < at - one.ended_at < TOGETHER_S for at in killed_at)
    )
    unread = sum(one.number not in told for one in lost)
    verdict.say("refusals that share a record", sum(counted.values()))
    verdict.say("  that a killed worker had counted and not told", (answered - counted).total())
    for code in answered | counted:
        verdict.demand(
            answered[code] - with_a_worker[code] <= counted[code] <= answered[code] + unread,
            f"{answered[code]} refusals as {code} have no record of their own, and {counted[code]} are counted in others; "
            f"killed workers may have taken {with_a_worker[code]}, and {unread} answers were not read",
        )


def _went_with_a_worker(refused: Sent, killed_at: Sequence[float]) -> bool:
    return refused.status >= 400 and any(
        -_UNWRITTEN_S < at - refused.ended_at < _UNWRITTEN_S for at in killed_at
    )


def _closed_late(kinds: Counter[str]) -> bool:
    # A worker was killed between the two; who repeated the start found it.
    return kinds["intent"] == 1 and kinds["outcome"] <= 1 and kinds["unknown"] <= 1 and kinds["found"] >= 1


def judge_executions(told: dict[int, list[Record]], begun: set[str], verdict: Verdict) -> None:
    """Hold records of starts against executions, by name."""
    starts = [record for records in told.values() for record in records if record.act == "start"]
    intended = {_name(record) for record in starts if record.kind == "intent"}
    sure = {_name(record) for record in starts if record.kind in {"outcome", "found"} and record.code is None}
    in_doubt = {
        _name(record)
        for record in starts
        if record.kind == "unknown" or (record.kind == "outcome" and record.code)
    } - sure
    verdict.say("executions at AWS", len(begun))
    verdict.say("  recorded as started", len(sure & begun))
    verdict.say("  recorded as in doubt", len((in_doubt & begun) - sure))
    verdict.demand(begun <= intended, f"{len(begun - intended)} executions have no intent")
    verdict.demand(sure <= begun, f"{len(sure - begun)} starts are recorded that AWS never saw")
    verdict.demand(begun <= sure | in_doubt, f"{len(begun - sure - in_doubt)} executions have no outcome")


def _name(record: Record) -> str:
    return (record.execution or "").rpartition(":")[2]
