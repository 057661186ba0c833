"""Who may do what, as what: the decision over claims and rules."""

import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import ErrorCode, FailedClaim
from gateway.identity.token import Claims
from gateway.policy.claims import ClaimCheck, check_claim
from gateway.policy.decide import Allowed, Denied, decide, grants_of, judge
from gateway.policy.holdings import Held
from gateway.policy.refuse import refusal
from gateway.policy.rule import Condition, Obtain, Operator, Rule, Scalar, Start, Stop, View, Wish
from gateway.policy.snapshot import Policy
from tests.support.policies import is_, obtain, policy, rule, start, stop, view

NOW = 1_795_342_623.0  # 2026-11-22


def claims(**members: object) -> Claims:
    return Claims(issuer="github", members=members)


def ask(rules: Policy, wish: Wish, **members: object) -> Allowed | Denied:
    return decide(claims(**members), wish, rules, now=NOW)


MAIN = rule("main", [is_("repository_id", "4711"), is_("ref", "refs/heads/main")], start())


def test_all_conditions_together_allow_and_the_record_names_the_rule() -> None:
    answer = ask(policy(MAIN), Start(workflow="deploy"), repository_id="4711", ref="refs/heads/main")

    assert isinstance(answer, Allowed)
    assert answer.rules == ("team.main",)
    assert answer.target.name == "deployer"
    assert {check.outcome for check in answer.checks} == {"matched"}


@pytest.mark.requirement("TV-37")
@pytest.mark.parametrize(
    ("condition", "presented", "outcome"),
    [
        pytest.param(is_("c", "x"), "x", "matched", id="text"),
        pytest.param(is_("c", "x"), "X", "value", id="case"),
        pytest.param(is_("c", "1"), 1, "type", id="integer-for-text"),
        pytest.param(is_("c", 1), "1", "type", id="text-for-integer"),
        pytest.param(is_("c", 1), True, "type", id="true-is-not-1"),
        pytest.param(is_("c", True), "true", "type", id="text-true"),
        pytest.param(is_("c", True), 1, "type", id="1-is-not-true"),
        pytest.param(is_("c", 1), 1.0, "type", id="fraction"),
        pytest.param(is_("c", 2**53), 2**53, "value", id="integer-others-round"),
        pytest.param(is_("c", "x"), ["x"], "type", id="list-of-one"),
        pytest.param(is_("c", "x"), None, "type", id="null"),
        pytest.param(is_("c", ""), None, "type", id="null-is-not-empty"),
        pytest.param(is_("c", ""), "", "matched", id="empty-text-wanted"),
        pytest.param(is_("c", "x"), "", "value", id="empty-text"),
        pytest.param(is_("c", "x", "y"), "y", "matched", id="any-of"),
        pytest.param(is_("c", "x", "y"), "z", "value", id="none-of"),
        pytest.param(is_("c", "x", 1), False, "type", id="any-of-mixed"),
        pytest.param(Condition(claim="c", operator=Operator.CONTAINS, wanted=("x",)), ["a", "x"], "matched", id="contains"),
        pytest.param(Condition(claim="c", operator=Operator.CONTAINS, wanted=("x",)), "x", "type", id="contains-in-text"),
        pytest.param(Condition(claim="c", operator=Operator.CONTAINS, wanted=("x",)), [], "value", id="contains-in-empty"),
        pytest.param(Condition(claim="c", operator=Operator.CONTAINS_ANY, wanted=("x", "y")), ["y"], "matched", id="any"),
        pytest.param(Condition(claim="c", operator=Operator.CONTAINS_ALL, wanted=("x", "y")), ["y", "x"], "matched", id="all"),
        pytest.param(Condition(claim="c", operator=Operator.CONTAINS_ALL, wanted=("x", "y")), ["y"], "value", id="not-all"),
        pytest.param(Condition(claim="c", operator=Operator.CONTAINS_ALL, wanted=()), ["y"], "value", id="all-of-nothing"),
        pytest.param(Condition(claim="c", operator=Operator.SCOPE, wanted=("run",)), "read run", "matched", id="scope-text"),
        pytest.param(Condition(claim="c", operator=Operator.SCOPE, wanted=("run",)), ["run"], "matched", id="scope-list"),
        pytest.param(Condition(claim="c", operator=Operator.SCOPE, wanted=("run",)), "runs", "value", id="scope-prefix"),
        pytest.param(Condition(claim="c", operator=Operator.SCOPE, wanted=("run",)), 7, "type", id="scope-number"),
        pytest.param(Condition(claim="c", operator=Operator.ABSENT, wanted=()), None, "present", id="null-is-present"),
    ],
)  # fmt: skip
def test_a_claim_matches_exactly_in_value_and_type(
    condition: Condition, presented: object, outcome: str
) -> None:
    rules = policy(rule("r", [is_("sub", "s"), condition], start()))

    answer = ask(rules, Start(workflow="deploy"), sub="s", c=presented)

    assert [check.outcome for check in answer.checks if check.claim == "c"] == [outcome]
    assert isinstance(answer, Allowed) is (outcome == "matched")


@pytest.mark.requirement("TV-37")
def test_absence_is_a_condition_that_only_absence_satisfies() -> None:
    rules = policy(
        rule(
            "r",
            [is_("sub", "s"), Condition(claim="environment", operator=Operator.ABSENT, wanted=())],
            start(),
        )
    )

    assert isinstance(ask(rules, Start(workflow="deploy"), sub="s"), Allowed)
    assert isinstance(ask(rules, Start(workflow="deploy"), sub="s", environment=""), Denied)


def test_a_pointer_reaches_into_objects_and_a_url_is_one_member() -> None:
    url = "https://acme.example/partner"
    rules = policy(
        rule("r", [is_("/kubernetes.io/namespace", "build"), is_(url, "northwind"), is_("/a~1b", 1)], start())
    )
    members = {"kubernetes.io": {"namespace": "build"}, url: "northwind", "a/b": 1}

    answer = decide(Claims(issuer="github", members=members), Start(workflow="deploy"), rules, now=NOW)

    assert isinstance(answer, Allowed)


def test_a_refusal_names_the_failing_claim_with_the_callers_own_value_and_nothing_of_ours() -> None:
    denied = ask(policy(MAIN), Start(workflow="deploy"), repository_id="4711", ref="refs/heads/x")
    assert isinstance(denied, Denied)

    error = refusal(Start(workflow="deploy"), denied)

    assert error.code is ErrorCode.CLAIM_MISMATCH
    assert error.message == "No rule allows this identity to start deploy."
    assert error.claims == (FailedClaim(name="ref", problem="value", value="refs/heads/x"),)
    assert denied.nearest == "team.main"
    assert "main" not in f"{error.message} {error.hint}"


def test_the_nearest_rule_is_found_by_what_it_is_about_though_another_claim_is_rarer() -> None:
    rules = policy(
        *(rule(f"r{n}", [is_("repository", "a/b"), is_("ref", f"r{n}")], start()) for n in range(3))
    )

    denied = ask(rules, Start(workflow="deploy"), repository="a/b", ref="other")

    assert isinstance(denied, Denied)
    assert denied.nearest == "team.r0"
    assert [check.outcome for check in denied.checks] == ["matched", "value"]


def test_without_a_rule_under_the_tokens_own_values_only_claim_names_are_told() -> None:
    denied = ask(policy(MAIN), Start(workflow="deploy"), repository_id="9999", ref="refs/heads/x")

    assert isinstance(denied, Denied)
    assert [(check.claim, check.outcome) for check in denied.checks] == [("repository_id", "value")]
    assert denied.nearest is None


def test_a_missing_claim_is_told_as_missing() -> None:
    denied = ask(policy(MAIN), Start(workflow="deploy"), ref="refs/heads/main")

    assert isinstance(denied, Denied)
    assert refusal(Start(workflow="deploy"), denied).claims == (
        FailedClaim(name="repository_id", problem="missing"),
    )


@pytest.mark.requirement("SF-01")
def test_a_workflow_that_no_token_of_this_issuer_may_start_is_unknown_like_one_that_does_not_exist() -> None:
    other = rule("o", [is_("sub", "s")], start("secret"), issuer="gitlab")
    rules = policy(MAIN, other)

    hidden = ask(rules, Start(workflow="secret"), sub="s")
    absent = ask(rules, Start(workflow="nowhere"), sub="s")

    assert hidden == absent == Denied(code=ErrorCode.WORKFLOW_UNKNOWN)


def test_a_target_that_nobody_may_obtain_in_this_form_is_unknown() -> None:
    rules = policy(rule("r", [is_("sub", "s")], obtain()))

    answer = ask(rules, Obtain(target="deployer", form="vault-token"), sub="s")

    assert answer == Denied(code=ErrorCode.TARGET_UNKNOWN)


def test_an_unknown_target_is_named_as_such() -> None:
    answer = ask(
        policy(MAIN), Start(workflow="deploy", target="other"), repository_id="4711", ref="refs/heads/main"
    )

    assert answer == Denied(code=ErrorCode.TARGET_UNKNOWN)


@pytest.mark.requirement("MP-11")
def test_several_targets_are_ambiguous_until_one_is_named() -> None:
    second = rule("second", [is_("repository_id", "4711")], start(target="other"))
    rules = policy(MAIN, second)
    members = {"repository_id": "4711", "ref": "refs/heads/main"}

    unnamed = ask(rules, Start(workflow="deploy"), **members)
    named = ask(rules, Start(workflow="deploy", target="other"), **members)

    assert isinstance(unnamed, Denied)
    assert (unnamed.code, unnamed.targets) == (ErrorCode.TARGET_AMBIGUOUS, ("deployer", "other"))
    assert isinstance(named, Allowed)
    assert named.target.name == "other"


def test_several_rules_with_one_target_are_one_answer_that_lists_them_all() -> None:
    second = rule("second", [is_("repository_id", "4711")], start())

    answer = ask(policy(MAIN, second), Start(workflow="deploy"), repository_id="4711", ref="refs/heads/main")

    assert isinstance(answer, Allowed)
    assert answer.rules == ("team.main", "team.second")


def test_a_rule_is_usable_through_its_last_day_and_expired_afterwards() -> None:
    rules = policy(rule("r", [is_("sub", "s")], start(), last_day=date(2026, 11, 22)))
    midnight = 1_795_392_000.0  # 2026-11-23T00:00:00Z

    wish = Start(workflow="deploy")

    before = decide(claims(sub="s"), wish, rules, now=midnight - 1)
    expired = decide(claims(sub="s"), wish, rules, now=midnight)

    assert isinstance(before, Allowed)
    assert isinstance(expired, Denied)
    assert expired.code is ErrorCode.RULE_EXPIRED
    assert grants_of(claims(sub="s"), rules, now=midnight) == ()


def test_the_issuers_requirements_answer_alike_for_known_and_unknown_names() -> None:
    rules = policy(MAIN, require=(is_("repository_owner_id", "12"),))

    known = ask(rules, Start(workflow="deploy"), repository_owner_id="13")
    unknown = ask(rules, Start(workflow="nowhere"), repository_owner_id="13")

    assert known == unknown
    assert isinstance(known, Denied)
    assert known.code is ErrorCode.CLAIM_MISMATCH
    assert grants_of(claims(repository_id="4711", ref="refs/heads/main"), rules, now=NOW) == ()


@pytest.mark.requirement("SF-08")
@pytest.mark.parametrize(
    ("grant", "wish", "allowed"),
    [
        pytest.param(start(), View(workflow="deploy", own=True), True, id="start-sees-own"),
        pytest.param(start(), View(workflow="deploy", own=False), False, id="start-sees-no-other"),
        pytest.param(start(), Stop(workflow="deploy", own=True), True, id="start-stops-own"),
        pytest.param(start(), Stop(workflow="deploy", own=False), False, id="start-stops-no-other"),
        pytest.param(view(), View(workflow="deploy", own=False), True, id="view-sees-any"),
        pytest.param(view(), Stop(workflow="deploy", own=True), False, id="view-stops-none"),
        pytest.param(view(), Start(workflow="deploy"), False, id="view-starts-none"),
        pytest.param(stop(), Stop(workflow="deploy", own=False), True, id="stop-stops-any"),
        pytest.param(stop(), View(workflow="deploy", own=False), False, id="stop-sees-none"),
        pytest.param(obtain(), Start(workflow="deploy"), False, id="obtain-starts-none"),
        pytest.param(start(), Obtain(target="deployer", form="aws-credentials"), False, id="start-hands-out-nothing"),
        pytest.param(obtain(), Obtain(target="deployer", form="aws-credentials"), True, id="obtain"),
        pytest.param(
            obtain(),
            Obtain(target="arn:aws:iam::111122223333:role/deployer", form="aws-credentials"),
            True,
            id="obtain-by-arn",
        ),
        pytest.param(obtain(), Obtain(target="deployer", form="vault-token"), False, id="other-form"),
    ],
)  # fmt: skip
def test_a_grant_gives_its_own_power_and_no_other(grant: object, wish: Wish, allowed: bool) -> None:
    rules = policy(rule("r", [is_("sub", "s")], grant))  # type: ignore[arg-type]

    assert isinstance(ask(rules, wish, sub="s"), Allowed) is allowed


@pytest.mark.requirement("TV-38")
def test_a_distributed_claim_fails_with_its_own_reason_and_is_never_followed() -> None:
    rules = policy(rule("r", [is_("sub", "s"), is_("groups", "admins")], start()))
    members = {
        "sub": "s",
        "_claim_names": {"groups": "src1"},
        "_claim_sources": {"src1": {"endpoint": "https://x"}},
    }

    answer = ask(rules, Start(workflow="deploy"), **members)

    assert isinstance(answer, Denied)
    assert answer.code is ErrorCode.CLAIM_DISTRIBUTED


@pytest.mark.requirement("TV-39")
@pytest.mark.parametrize(
    ("chain", "code"),
    [
        pytest.param({"sub": "agent"}, None, id="the-actor"),
        pytest.param({"sub": "other"}, ErrorCode.ACTOR_MISMATCH, id="another"),
        pytest.param(
            {"sub": "agent", "act": {"sub": "earlier"}}, ErrorCode.ACTOR_MISMATCH, id="longer-chain"
        ),
        pytest.param(None, ErrorCode.ACTOR_MISMATCH, id="none"),
        pytest.param({"sub": "agent", "act": "evil"}, ErrorCode.ACTOR_MISMATCH, id="hidden-as-text"),
        pytest.param(
            {"sub": "agent", "act": [{"sub": "evil"}]}, ErrorCode.ACTOR_MISMATCH, id="hidden-in-a-list"
        ),
        pytest.param({"sub": "agent", "act": None}, ErrorCode.ACTOR_MISMATCH, id="hidden-as-null"),
    ],
)
def test_a_rule_that_names_an_actor_matches_the_whole_chain(chain: object, code: ErrorCode | None) -> None:
    rules = policy(rule("r", [is_("sub", "s"), is_("/act/sub", "agent")], start()))
    members = {"sub": "s"} | ({"act": chain} if chain else {})

    answer = ask(rules, Start(workflow="deploy"), **members)

    assert (answer.code if isinstance(answer, Denied) else None) is code


@pytest.mark.requirement("TV-39")
def test_a_rule_that_names_no_actor_ignores_them() -> None:
    rules = policy(rule("r", [is_("sub", "s")], start()))

    assert isinstance(
        ask(rules, Start(workflow="deploy"), sub="s", act={"sub": "a"}, may_act={"sub": "b"}), Allowed
    )


@pytest.mark.requirement("TV-39")
def test_a_chain_of_more_than_four_actors_matches_no_rule_that_names_one() -> None:
    names = [
        "/act/sub",
        "/act/act/sub",
        "/act/act/act/sub",
        "/act/act/act/act/sub",
        "/act/act/act/act/act/sub",
    ]
    chain: dict[str, object] = {"sub": "a"}
    for _ in range(4):
        chain = {"sub": "a", "act": chain}
    rules = policy(rule("r", [is_("sub", "s"), *(is_(name, "a") for name in names)], start()))

    answer = ask(rules, Start(workflow="deploy"), sub="s", act=chain)

    assert isinstance(answer, Denied)
    assert answer.code is ErrorCode.ACTOR_MISMATCH


def test_a_rule_without_conditions_never_allows() -> None:
    answer = ask(policy(rule("r", [], start())), Start(workflow="deploy"), sub="s")

    assert isinstance(answer, Denied)


_values: st.SearchStrategy[Scalar] = st.sampled_from(["a", "b", "", 1, 0, True, False])
_claim_names = st.sampled_from(["p", "q", "r"])
_operators = st.sampled_from(list(Operator))


@st.composite
def _conditions(draw: st.DrawFn) -> Condition:
    operator = draw(_operators)
    count = {Operator.ABSENT: 0, Operator.EQUALS: 1, Operator.CONTAINS: 1, Operator.SCOPE: 1}.get(operator, 2)
    wanted = tuple(draw(_values) for _ in range(count))
    return Condition(claim=draw(_claim_names), operator=operator, wanted=wanted)


_rules = st.lists(
    st.lists(_conditions(), min_size=1, max_size=3).map(
        lambda found: list({condition.claim: condition for condition in found}.values())
    ),
    max_size=12,
)
_members = st.dictionaries(_claim_names, _values | st.lists(_values, max_size=3) | st.none() | st.just("a b"))


@given(written=_rules, members=_members)
def test_the_index_finds_exactly_what_a_scan_over_all_rules_finds(
    written: list[list[Condition]], members: dict[str, object]
) -> None:
    rules = [rule(f"r{number}", conditions, start()) for number, conditions in enumerate(written)]

    answer = decide(claims(**members), Start(workflow="deploy"), policy(*rules), now=NOW)

    found = set(answer.rules) if isinstance(answer, Allowed) else set()
    assert found == {one.id for one in rules if _scan(one, members)}


def _scan(one: Rule, members: dict[str, object]) -> bool:
    return all(check_claim(condition, members).outcome == "matched" for condition in one.conditions)


def test_the_cost_of_a_decision_does_not_depend_on_the_number_of_rules() -> None:
    def cost(count: int) -> int:
        rules = policy(
            *(
                rule(f"r{n}", [is_("ref", "main"), is_("repository_id", str(n))], start())
                for n in range(count)
            )
        )
        calls = 0

        def counting(_frame: object, event: str, _arg: object) -> None:
            nonlocal calls
            calls += event == "call"

        sys.setprofile(counting)
        try:
            ask(rules, Start(workflow="deploy"), ref="main", repository_id="5")
        finally:
            sys.setprofile(None)
        return calls

    assert cost(2_000) <= cost(10) + 5


@pytest.mark.requirement("MP-15")
def test_a_rule_that_is_off_grants_nothing_and_the_record_alone_names_it() -> None:
    rules = policy(rule("r", [is_("sub", "s")], start()))

    answer = decide(claims(sub="s"), Start(workflow="deploy"), rules, now=NOW, off=frozenset({"team.r"}))

    assert isinstance(answer, Denied)
    assert (answer.code, answer.nearest) == (ErrorCode.RULE_DISABLED, "team.r")
    assert "team.r" not in refusal(Start(workflow="deploy"), answer).message


@pytest.mark.requirement("MP-15")
def test_another_rule_that_allows_the_same_goes_on_without_the_one_that_is_off() -> None:
    rules = policy(
        rule("a", [is_("sub", "s")], start(target="one")), rule("b", [is_("sub", "s")], start(target="two"))
    )

    answer = decide(claims(sub="s"), Start(workflow="deploy"), rules, now=NOW, off=frozenset({"team.a"}))

    assert isinstance(answer, Allowed)
    assert (answer.target.name, answer.rules) == ("two", ("team.b",))


@pytest.mark.requirement("MP-15")
def test_whom_the_rule_that_is_off_would_not_have_allowed_is_told_the_claim_and_not_the_switch() -> None:
    rules = policy(rule("r", [is_("sub", "s"), is_("ref", "main")], start()))
    off = frozenset({"team.r"})

    answer = decide(claims(sub="s", ref="x"), Start(workflow="deploy"), rules, now=NOW, off=off)

    assert isinstance(answer, Denied)
    assert answer.code is ErrorCode.CLAIM_MISMATCH


@pytest.mark.requirement("MP-15")
def test_what_a_rule_that_is_off_gives_is_not_among_the_grants() -> None:
    rules = policy(rule("r", [is_("sub", "s")], start(), obtain()), rule("q", [is_("sub", "s")], view()))

    held = grants_of(claims(sub="s"), rules, now=NOW, off=frozenset({"team.r"}))

    assert [one.grant.verb for one in held] == ["view"]


OWNER = is_("repository_owner_id", "12")


def test_an_issuer_of_whom_nothing_is_required_is_judged_by_its_rules_alone() -> None:
    rules = replace(policy(MAIN), requirements={})
    members = {"repository_id": "4711", "ref": "refs/heads/main"}

    assert isinstance(ask(rules, Start(workflow="deploy"), **members), Allowed)
    assert [held.grant for held in grants_of(claims(**members), rules, now=NOW)] == list(MAIN.grants)
    assert judge(claims(**members), MAIN.conditions, rules)[0]


def test_whoever_lacks_what_the_issuer_requires_is_told_that_claim_alone() -> None:
    rules = policy(MAIN, require=(OWNER,))

    answer = ask(rules, Start(workflow="deploy"), repository_owner_id="13")

    assert isinstance(answer, Denied)
    assert [(check.claim, check.outcome, check.presented) for check in answer.checks] == [
        ("repository_owner_id", "value", "13")
    ]


def test_whoever_has_what_the_issuer_requires_holds_the_grants_of_the_rules() -> None:
    rules = policy(MAIN, require=(OWNER,))
    members = {"repository_owner_id": "12", "repository_id": "4711", "ref": "refs/heads/main"}

    assert len(grants_of(claims(**members), rules, now=NOW)) == 1


def test_a_grant_that_several_rules_give_is_held_once_with_the_strictest_of_their_replay_modes() -> None:
    first = rule("first", [is_("sub", "s")], start(), start("other"), obtain())
    second = replace(rule("second", [is_("sub", "s")], start()), replay="once")
    third = rule("third", [is_("sub", "s")], start())

    held = grants_of(claims(sub="s"), policy(first, second, third), now=NOW)

    assert held == (
        Held(grant=start(), replay="once"),
        Held(grant=start("other"), replay="off"),
        Held(grant=obtain(), replay="off"),
    )


def test_a_rule_of_several_grants_is_compared_once() -> None:
    looked_at: list[str] = []

    class Watched(dict[str, object]):
        def __contains__(self, name: object) -> bool:
            looked_at.append(f"in {name}")
            return super().__contains__(name)

        def get(self, name: str, default: object = None) -> object:
            looked_at.append(name)
            return super().get(name, default)

    def looks(*grants: object) -> int:
        looked_at.clear()
        one = rule("r", [is_("sub", "s"), is_("ref", "main")], *grants)  # type: ignore[arg-type]
        members = Watched(sub="s", ref="main")
        assert len(grants_of(Claims(issuer="github", members=members), policy(one), now=NOW)) == len(grants)
        return sum(name.endswith("ref") for name in looked_at)

    assert looks(start(), view(), stop(), obtain()) == looks(start())


def test_an_answer_names_the_workflow_whose_grant_it_is() -> None:
    answer = ask(policy(MAIN), Start(workflow="deploy"), repository_id="4711", ref="refs/heads/main")

    assert isinstance(answer, Allowed)
    assert answer.workflow == MAIN.grants[0].workflow


def test_of_an_expired_rule_and_one_that_is_off_the_one_that_is_off_is_named_with_its_checks() -> None:
    expired = rule("expired", [is_("sub", "s")], start(), last_day=date(2020, 1, 31))
    asleep = rule("asleep", [is_("sub", "s")], start())

    answer = decide(
        claims(sub="s"),
        Start(workflow="deploy"),
        policy(expired, asleep),
        now=NOW,
        off=frozenset({"team.asleep"}),
    )

    assert isinstance(answer, Denied)
    assert (answer.code, answer.nearest) == (ErrorCode.RULE_DISABLED, "team.asleep")
    assert [(check.claim, check.outcome) for check in answer.checks] == [("sub", "matched")]


def test_of_rules_filed_alike_the_one_with_the_fewest_failures_is_the_nearest() -> None:
    far = rule("far", [is_("sub", "s"), is_("a", "1"), is_("b", "1"), is_("c", "1")], start())
    near = rule("near", [is_("sub", "s"), is_("a", "1"), is_("b", "1"), is_("c", "2")], start())
    rules = policy(far, near)

    answer = ask(rules, Start(workflow="deploy"), sub="s", a="1", b="1", c="3")
    nearer = ask(
        policy(
            rule("far", [is_("sub", "s"), is_("a", "1"), is_("b", "1")], start()),
            rule("near", [is_("sub", "s"), is_("a", "1")], start()),
        ),
        Start(workflow="deploy"),
        sub="s",
        a="2",
        b="2",
    )

    assert isinstance(answer, Denied)
    assert answer.nearest == "team.far"
    assert isinstance(nearer, Denied)
    assert nearer.nearest == "team.near"


def test_the_nearest_rule_is_the_one_with_the_fewest_failures_and_not_the_shortest() -> None:
    short = rule("short", [is_("sub", "s"), is_("b", "2"), is_("c", "2")], start())
    long = rule("long", [is_("sub", "s"), is_("a", "1"), is_("b", "1"), is_("c", "1")], start())

    answer = ask(policy(short, long), Start(workflow="deploy"), sub="s", a="1", b="1", c="3")

    assert isinstance(answer, Denied)
    assert answer.nearest == "team.long"


def test_claims_under_which_nothing_is_filed_are_told_by_name_and_own_value_alone() -> None:
    answer = ask(policy(MAIN), Start(workflow="deploy"), repository_id="1")

    assert isinstance(answer, Denied)
    assert answer.code is ErrorCode.CLAIM_MISMATCH
    assert answer.checks == (
        ClaimCheck(
            claim="repository_id", outcome="value", presented="1", wanted=(), operator=Operator.EQUALS
        ),
    )


@pytest.mark.requirement("TV-39")
def test_a_chain_of_actors_that_is_too_long_is_told_with_both_lengths() -> None:
    rules = policy(rule("r", [is_("sub", "s"), is_("/act/sub", "agent")], start()))

    answer = ask(rules, Start(workflow="deploy"), sub="s", act={"sub": "agent", "act": {"sub": "earlier"}})

    assert isinstance(answer, Denied)
    assert answer.checks[-1] == ClaimCheck(
        claim="act", outcome="value", presented=2, wanted=(1,), operator=Operator.EQUALS
    )


@pytest.mark.requirement("TV-39")
def test_a_rule_that_names_an_actor_only_to_forbid_it_holds_without_one() -> None:
    nobody = Condition(claim="/act/sub", operator=Operator.ABSENT, wanted=())
    rules = policy(rule("r", [is_("sub", "s"), nobody], start()))

    assert isinstance(ask(rules, Start(workflow="deploy"), sub="s"), Allowed)


@pytest.mark.requirement("TV-38")
def test_only_a_claim_that_is_missing_counts_as_distributed() -> None:
    rules = policy(rule("r", [is_("sub", "s"), is_("groups", "admins")], start()))

    here = ask(rules, Start(workflow="deploy"), sub="s", groups="users", _claim_names={"groups": "src1"})
    elsewhere = ask(rules, Start(workflow="deploy"), sub="s", _claim_names={"others": "src1"})

    assert isinstance(here, Denied)
    assert isinstance(elsewhere, Denied)
    assert {here.code, elsewhere.code} == {ErrorCode.CLAIM_MISMATCH}


@pytest.fixture(params=["Pacific/Kiritimati", "Pacific/Pago_Pago"])
def far_away(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose own day is another than UTC's for half of it."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("far_away")
def test_a_last_day_is_a_day_in_utc_wherever_the_machine_stands() -> None:
    rules = policy(rule("r", [is_("sub", "s")], start(), last_day=date(2026, 11, 22)))
    midnight = 1_795_392_000.0  # 2026-11-23T00:00:00Z

    wish = Start(workflow="deploy")

    assert isinstance(decide(claims(sub="s"), wish, rules, now=midnight - 1), Allowed)
    assert isinstance(decide(claims(sub="s"), wish, rules, now=midnight), Denied)


# --- Conditions that belong to no grant ---


@pytest.mark.parametrize(
    ("conditions", "members", "holds", "told"),
    [
        pytest.param([is_("sub", "s")], {"sub": "s"}, True, [("sub", "matched")], id="all"),
        pytest.param([is_("sub", "s")], {"sub": "x"}, False, [("sub", "value")], id="another"),
        pytest.param(
            [is_("sub", "s"), is_("ref", "main")],
            {"sub": "s"},
            False,
            [("sub", "matched"), ("ref", "missing")],
            id="one of two",
        ),
        pytest.param([], {"sub": "s"}, False, [], id="no conditions"),
        pytest.param([], {"act": {"sub": "a", "act": {"sub": "b"}}}, False, [], id="no conditions, actors"),
        pytest.param(
            [is_("sub", "s"), is_("/act/sub", "a")],
            {"sub": "s", "act": {"sub": "a"}},
            True,
            [("sub", "matched"), ("/act/sub", "matched")],
            id="an actor",
        ),
        pytest.param(
            [is_("sub", "s"), is_("/act/sub", "a")],
            {"sub": "s", "act": {"sub": "a", "act": {"sub": "b"}}},
            False,
            [("sub", "matched"), ("/act/sub", "matched"), ("act", "value")],
            id="an actor's actor",
        ),
        pytest.param(
            [is_("sub", "s")],
            {"sub": "s", "act": {"sub": "b"}},
            True,
            [("sub", "matched")],
            id="an actor that nothing names",
        ),
    ],
)
def test_conditions_without_a_grant_hold_exactly_when_a_rules_would(
    conditions: list[Condition], members: dict[str, object], holds: bool, told: list[tuple[str, str]]
) -> None:
    found, checks = judge(claims(**members), iter(conditions), policy(MAIN))

    assert found is holds
    assert [(check.claim, check.outcome) for check in checks] == told
    granted = ask(policy(rule("r", conditions, start())), Start(workflow="deploy"), **members)
    assert isinstance(granted, Allowed) is holds


@pytest.mark.parametrize(("owner", "holds"), [("12", True), ("13", False)])
def test_what_the_issuer_requires_holds_for_conditions_without_a_grant_too(owner: str, holds: bool) -> None:
    rules = policy(MAIN, require=(OWNER,))

    found, checks = judge(claims(repository_owner_id=owner, sub="s"), [is_("sub", "s")], rules)

    assert found is holds
    assert [check.claim for check in checks] == ["sub" if holds else "repository_owner_id"]
