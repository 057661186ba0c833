"""What a token holds is put together once for all tokens that satisfy the same rules of one policy."""

import gc
import weakref

from gateway.identity.token import Claims
from gateway.policy import index
from gateway.policy.decide import holdings_of
from gateway.policy.holdings import Holdings
from gateway.policy.rule import Rule
from gateway.policy.snapshot import Policy
from tests.support.policies import is_, obtain, policy, rule, start, view

NOW = 1_795_342_623.0  # 2026-11-22
FIRST = rule("first", [is_("sub", "s")], start(), obtain())
SECOND = rule("second", [is_("ref", "main")], view())


def ask(rules: Policy, *, off: frozenset[str] = frozenset(), **members: object) -> Holdings:
    return holdings_of(Claims(issuer="github", members=members), rules, now=NOW, off=off)


def many(count: int) -> list[Rule]:
    return [rule(f"r{number}", [is_("sub", str(number))], start()) for number in range(count)]


def test_tokens_that_satisfy_the_same_rules_hold_one_value() -> None:
    rules = policy(FIRST, SECOND)

    assert ask(rules, sub="s", jti="1") is ask(rules, sub="s", jti="2")


def test_tokens_that_satisfy_other_rules_hold_another() -> None:
    rules = policy(FIRST, SECOND)
    both = ask(rules, sub="s", ref="main")

    assert [held.grant.verb for held in both.grants] == ["view", "start", "obtain"]
    assert [held.grant.verb for held in ask(rules, sub="s", ref="x").grants] == ["start", "obtain"]
    assert [held.grant.verb for held in ask(rules, ref="main").grants] == ["view"]


def test_a_rule_that_is_switched_off_is_missing_at_once_and_there_again_when_it_is_on() -> None:
    rules = policy(FIRST)
    before = ask(rules, sub="s")

    assert ask(rules, sub="s", off=frozenset({"team.first"})).grants == ()
    assert ask(rules, sub="s") is before


def test_what_is_kept_is_bounded() -> None:
    count = index._MOST_HOLDINGS + 10
    rules = policy(*many(count))

    for number in range(count):
        assert len(ask(rules, sub=str(number)).grants) == 1

    assert len(rules.index.of_issuer("github")._holdings) <= index._MOST_HOLDINGS


def test_what_is_kept_goes_with_its_policy() -> None:
    rules = policy(FIRST)
    kept = weakref.ref(ask(rules, sub="s"))

    del rules
    gc.collect()

    assert kept() is None
