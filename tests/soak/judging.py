"""Holds what was sent against what was recorded and what AWS did: every number must have its other half."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gateway.audit.reading import read_entries
from gateway.audit.record import Record
from gateway.together import IN_FULL, TOGETHER_S
from tests.soak.named_gateway import process_of
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Killed:
    """A worker that was killed without a word. process: its id; at: monotonic seconds."""

    process: int
    at: float

    def may_have_lost(self, refused: Sent, within_s: float) -> bool:
        """Say whether this worker answered it, and so shortly before its end."""
        lived_on_s = self.at - refused.ended_at
        return process_of(refused.request_id) == self.process and -_UNWRITTEN_S < lived_on_s < within_s


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


def judge_endings(sent: Sequence[Sent], verdict: Verdict) -> None:
    """Hold what became of every request: each was numbered once, and answered, or its connection was ended by a side."""
    endings = Counter(one.ending for one in sent)
    verdict.say("requests sent", len(sent))
    verdict.say("  answered", endings["answered"])
    verdict.say("  disconnected", endings["disconnected"])
    verdict.demand(
        len(sent) == endings["answered"] + endings["disconnected"],
        f"{endings['unanswered']} requests were neither answered nor disconnected, {endings['under way']} have no ending",
    )
    numbers = {one.number for one in sent}
    verdict.demand(
        numbers == set(range(1, len(sent) + 1)), f"{len(sent)} requests have {len(numbers)} numbers"
    )


def judge_records(
    sent: Sequence[Sent], told: Mapping[int, Sequence[Record]], verdict: Verdict, *, killed: Sequence[Killed]
) -> None:
    """Hold requests against records: each answer has its story or none by design, and no story is nobody's.

    killed: refusals do not wait for the disk, so such a worker may have taken its own last ones with it.
    """
    answered = [one for one in sent if one.ending == "answered"]
    lost = [one for one in sent if one.ending == "disconnected"]
    recorded = [one for one in answered if leaves_a_record(one)]
    verdict.say("stories in the record", len(told))
    verdict.say("  of answers", sum(one.number in told for one in answered))
    verdict.say("  of disconnected callers, whose call went on", sum(one.number in told for one in lost))
    verdict.say("answers without a record by design", len(answered) - len(recorded))
    silent = [one for one in recorded if one.number not in told]
    together = [one for one in silent if one.code in _NOBODYS]
    taken = {
        one.number
        for one in silent
        if one.code not in _NOBODYS
        and one.status >= 400
        and any(each.may_have_lost(one, _UNWRITTEN_S) for each in killed)
    }
    verdict.say("refusals that a killed worker took with it", len(taken))
    unread = sum(one.number not in told for one in lost)
    judge_together(together, told, verdict, killed=killed, unread=unread)
    excused = taken | {one.number for one in together}
    for one in answered:
        if one.number not in excused:
            _judge_story(one, told.get(one.number, ()), verdict)
    numbers = {one.number for one in sent}
    verdict.demand(set(told) <= numbers, f"{len(set(told) - numbers)} stories belong to no request")
    for number, records in told.items():
        kinds: Counter[str] = Counter(record.kind for record in records)
        whole = (kinds["refused"], kinds["intent"], kinds["outcome"] + kinds["unknown"]) in {
            (1, 0, 0),
            (0, 1, 1),
        }
        verdict.demand(whole or _closed_late(kinds), f"the story of request {number} is {dict(kinds)}")


def _judge_story(answered: Sent, records: Sequence[Record], verdict: Verdict) -> None:
    ids = {record.request_id for record in records}
    if bool(records) != leaves_a_record(answered):
        said = f"{answered.kind}, {answered.status} {answered.code}"
        verdict.faults.append(f"request {answered.number} ({said}) has {len(records)} records")
    elif records:
        verdict.demand(
            ids == {answered.request_id},
            f"request {answered.number} was answered as {answered.request_id} and recorded as {ids}",
        )


#: A process of the gateway and a code that it refused with: what it counts together, since all callers are at one address.
_Counter = tuple[int, str]


def judge_together(
    together: Sequence[Sent],
    told: Mapping[int, Sequence[Record]],
    verdict: Verdict,
    *,
    killed: Sequence[Killed],
    unread: int,
) -> None:
    """Hold refusals without a record of their own against the numbers in records that stand for several.

    Each process by itself and code by code, to the last one: only a killed worker may have told of fewer, and only by those
    that it can have counted and not told yet.

    together: answered with a code of nobody's token. unread: answers that nobody read, which may have been counted.
    """
    refused = [record for records in told.values() for record in records if record.kind == "refused"]
    counted: Counter[_Counter] = Counter()
    for record in refused:
        # One of those it stands for is the request whose story it is.
        counted[_counter(record.request_id, record.code)] += (record.repeated or 1) - 1
    answered = Counter(_counter(one.request_id, one.code) for one in together)
    in_full = Counter(_counter(one.request_id, one.code) for one in refused if one.repeated is None)
    missing, more = answered - counted, counted - answered
    verdict.say("refusals that share a record", counted.total())
    verdict.say("  that a killed worker had counted and not told", missing.total())
    for (process, code), number in missing.items():
        # It tells of the first ones each by itself, and of those that follow after so long at most.
        within_s = TOGETHER_S if in_full[process, code] >= IN_FULL else _UNWRITTEN_S
        excused = sum(
            _counter(one.request_id, one.code) == (process, code)
            and any(each.may_have_lost(one, within_s) for each in killed)
            for one in together
        )
        verdict.demand(
            number <= excused,
            f"{answered[process, code]} refusals as {code} by process {process} have no record of their own, and "
            f"{counted[process, code]} are counted in others; killed it may have taken {excused} with it",
        )
    verdict.demand(
        more.total() <= unread,
        f"{more.total()} refusals are counted that nobody got, and {unread} were not read",
    )


def _counter(request_id: str, code: str | None) -> _Counter:
    return process_of(request_id), str(code)


def _closed_late(kinds: Counter[str]) -> bool:
    # A worker was killed between the two; who repeated the start found it.
    return kinds["intent"] == 1 and kinds["outcome"] <= 1 and kinds["unknown"] <= 1 and kinds["found"] >= 1


def judge_executions(told: Mapping[int, Sequence[Record]], begun: set[str], verdict: Verdict) -> None:
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
