"""The judge of the soak notices one record that is missing, wherever it is, and excuses a killed worker alone."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from gateway.audit.record import Record, RecordKind
from gateway.errors import ErrorCode
from gateway.together import IN_FULL, TOGETHER_S
from tests.soak.judging import Killed, Verdict, judge_endings, judge_executions, judge_records
from tests.soak.wire import Sent

LIVES, DIES = 11, 12
KILLED_AT = 500.0
BAD = ErrorCode.TOKEN_MALFORMED
Told = dict[int, list[Record]]


def request_id(process: int, number: int) -> str:
    return f"{process:08x}{number:024x}"


def record(process: int, number: int, kind: RecordKind, **members: object) -> Record:
    plain = Record(kind=kind, request_id=request_id(process, number), at=1.0, act="start", policy="sha256:p")
    return replace(plain, **members)  # type: ignore[arg-type]


def sent(process: int, number: int, status: int, code: str = "", *, ended_at: float = 100.0) -> Sent:
    return Sent(
        number=number,
        kind="start",
        ending="answered",
        status=status,
        code=code,
        request_id=request_id(process, number),
        ended_at=ended_at,
    )


class Run:
    """What a small run left behind: two workers, each with a start, a refusal, and a flood of bad tokens; one is killed."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.told: Told = {}
        self.begun: set[str] = set()
        self.killed = [Killed(process=DIES, at=KILLED_AT)]
        for process in (LIVES, DIES):
            self.starts(process)
            self.refuses(process, ErrorCode.CLAIM_MISMATCH, 403)
            # The one that dies has told of those that came early enough.
            self.floods(process, ended_at=KILLED_AT - TOGETHER_S - 10)

    def starts(self, process: int) -> None:
        number = len(self.sent) + 1
        name = f"execution-{number}"
        self.sent.append(sent(process, number, 201))
        self.told[number] = [
            record(process, number, "intent", execution=name),
            record(process, number, "outcome", execution=f"arn:aws:states:::{name}"),
        ]
        self.begun.add(name)

    def refuses(self, process: int, code: ErrorCode, status: int) -> None:
        number = len(self.sent) + 1
        self.sent.append(sent(process, number, status, code))
        self.told[number] = [record(process, number, "refused", code=code)]

    def floods(self, process: int, *, ended_at: float, more: int = 10, told: bool = True) -> None:
        """Have twenty refused and told of each by itself, and so many more counted, and told of together."""
        for _ in range(IN_FULL):
            self.refuses(process, BAD, 401)
        for _ in range(more):
            self.sent.append(sent(process, len(self.sent) + 1, 401, BAD, ended_at=ended_at))
        if told:
            last = len(self.sent)
            self.told[last] = [record(process, last, "refused", code=BAD, repeated=more)]

    def judged(self) -> list[str]:
        verdict = Verdict()
        judge_endings(self.sent, verdict)
        judge_records(self.sent, self.told, verdict, killed=self.killed)
        judge_executions(self.told, self.begun, verdict)
        return verdict.faults

    def first(self, kind: RecordKind, process: int, *, repeated: bool = False) -> tuple[int, Record]:
        """Return the first record of a worker that is of this kind, with its request's number."""
        return next(
            (number, one)
            for number, records in self.told.items()
            for one in records
            if one.kind == kind
            and one.request_id == request_id(process, number)
            and (one.repeated is not None) is repeated
        )

    def loses(self, kind: RecordKind, process: int, *, repeated: bool = False) -> None:
        number, lost = self.first(kind, process, repeated=repeated)
        self.told[number] = [one for one in self.told[number] if one is not lost]
        if not self.told[number]:
            del self.told[number]

    def counts_one_less(self, process: int) -> None:
        number, one = self.first("refused", process, repeated=True)
        self.told[number] = [replace(one, repeated=(one.repeated or 0) - 1)]


def test_a_run_in_which_everything_has_its_other_half_adds_up() -> None:
    assert Run().judged() == []


@pytest.mark.requirement("CO-06")
@pytest.mark.parametrize("process", [LIVES, DIES], ids=["alive", "killed-long-after"])
@pytest.mark.parametrize(
    "loses",
    [
        pytest.param(lambda run, process: run.loses("intent", process), id="an intent"),
        pytest.param(lambda run, process: run.loses("outcome", process), id="an outcome"),
        pytest.param(lambda run, process: run.loses("refused", process), id="a refusal"),
        pytest.param(lambda run, process: run.loses("refused", process, repeated=True), id="one for several"),
        pytest.param(lambda run, process: run.counts_one_less(process), id="one of several"),
    ],
)
def test_one_record_that_is_missing_is_noticed(loses: Callable[[Run, int], None], process: int) -> None:
    run = Run()

    loses(run, process)

    assert run.judged()


@pytest.mark.requirement("CO-06")
def test_what_a_killed_worker_had_counted_and_not_told_is_excused_and_what_another_had_is_not() -> None:
    for process, excused in ((DIES, True), (LIVES, False)):
        run = Run()

        run.floods(process, ended_at=KILLED_AT - 5, told=False)

        assert (run.judged() == []) is excused, process


@pytest.mark.requirement("CO-06")
def test_a_worker_that_had_not_told_of_enough_by_themselves_had_none_to_count() -> None:
    run = Run()
    number = len(run.sent) + 1

    run.sent.append(
        sent(DIES, number, 401, ErrorCode.TOKEN_SIGNATURE_INVALID, ended_at=KILLED_AT - TOGETHER_S / 2)
    )

    assert run.judged()


@pytest.mark.requirement("CO-06")
@pytest.mark.parametrize(
    ("process", "before_s", "excused"),
    [
        pytest.param(DIES, 0.5, True, id="unwritten"),
        pytest.param(DIES, 5, False, id="earlier"),
        pytest.param(LIVES, 0.5, False, id="by another"),
    ],
)
def test_of_refusals_of_known_callers_a_killed_worker_takes_its_own_last_ones_alone(
    process: int, before_s: float, excused: bool
) -> None:
    run = Run()
    ended_at = KILLED_AT - before_s

    run.sent.append(sent(process, len(run.sent) + 1, 403, ErrorCode.CLAIM_MISMATCH, ended_at=ended_at))

    assert (run.judged() == []) is excused


@pytest.mark.requirement("CO-06")
@pytest.mark.parametrize("ending", ["under way", "unanswered"])
def test_a_request_that_was_neither_answered_nor_disconnected_is_noticed(ending: str) -> None:
    run = Run()

    run.sent.append(Sent(number=len(run.sent) + 1, kind="whoami", ending=ending))  # type: ignore[arg-type]

    assert run.judged()


@pytest.mark.requirement("CO-06")
def test_a_count_of_more_than_anybody_was_refused_is_noticed() -> None:
    run = Run()
    number, one = run.first("refused", LIVES, repeated=True)

    run.told[number] = [replace(one, repeated=(one.repeated or 0) + 1)]

    assert run.judged()
