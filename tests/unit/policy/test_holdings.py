"""What a token holds is put together once for all tokens that satisfy the same rules of one policy."""

import gc
import weakref

import pytest

from gateway.identity.token import Claims
from gateway.policy import index
from gateway.policy.decide import holdings_of
from gateway.policy.holdings import Holdings
from gateway.policy.rule import Grant, Rule
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


def test_what_is_kept_is_bounded_by_its_grants_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "_MOST_HELD", 10)
    rules = policy(*(rule(f"r{number}", [is_("sub", str(number))], *grants(4)) for number in range(9)))
    drawer = rules.index.of_issuer("github")

    for number in range(9):
        assert len(ask(rules, sub=str(number)).grants) == 4
        assert sum(len(held.grants) for held in drawer._holdings.values()) <= 10


def test_a_token_that_holds_more_than_is_kept_takes_nothing_from_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(index, "_MOST_HELD", 10)
    rules = policy(FIRST, rule("wide", [is_("sub", "wide")], *grants(11)))
    before = ask(rules, sub="s")

    assert len(ask(rules, sub="wide").grants) == 11
    assert ask(rules, sub="s") is before


def grants(count: int) -> list[Grant]:
    return [start(f"workflow-{number}") for number in range(count)]


def test_what_is_kept_goes_with_its_policy() -> None:
    rules = policy(FIRST)
    kept = weakref.ref(ask(rules, sub="s"))

    del rules
    gc.collect()

    assert kept() is None
