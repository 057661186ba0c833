"""How often one token may use a rule: what files may say, what several rules amount to, and who has to share it."""

from dataclasses import replace
from pathlib import Path

import pytest

from gateway.compiling.central import Serving
from gateway.compiling.compile import compile_policy
from gateway.compiling.compiled import Compiled
from gateway.identity.token import Claims
from gateway.policy.decide import Allowed, decide, grants_of
from gateway.policy.holdings import Held
from gateway.policy.rule import Obtain, Replay, Start, strictest
from tests.support.config_folder import GATEWAY, PAYMENTS, TODAY, codes, compiled, load
from tests.support.policies import is_, obtain, policy, rule, start

NOW = 1_795_342_623.0
ONCE = PAYMENTS + "    replay: once\n"
FOUR = GATEWAY + "server: { workers: 4 }\n"


def with_replay(text: str) -> dict[str, str | bytes | None]:
    return {"mappings/payments/deploy.yaml": PAYMENTS + f"    replay: {text}\n"}


@pytest.mark.requirement("TV-40")
@pytest.mark.parametrize(
    ("text", "replay"),
    [('"off"', "off"), ("once", "once"), ("per-request", "per-request")],
)
def test_a_rule_says_how_often_one_token_may_use_it(tmp_path: Path, text: str, replay: Replay) -> None:
    result = compiled(tmp_path, with_replay(text))

    assert result.findings == ()
    assert result.policy is not None
    assert result.policy.rules["payments.deploy"].replay == replay


@pytest.mark.requirement("TV-40")
def test_a_rule_that_says_nothing_limits_nothing(tmp_path: Path) -> None:
    result = compiled(tmp_path)

    assert result.policy is not None
    assert {rule.replay for rule in result.policy.rules.values()} == {"off"}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        pytest.param("twice", "value_invalid", id="unknown"),
        pytest.param("off", "yaml_type", id="off-without-quotes"),
        pytest.param("true", "value_invalid", id="truth"),
    ],
)
def test_anything_else_is_a_mistake(tmp_path: Path, text: str, code: str) -> None:
    result = compiled(tmp_path, with_replay(text))

    assert code in codes(result)


def with_workers(folder: Path, serving: Serving | None = None) -> Compiled:
    sources = load(folder, {"gateway.yaml": FOUR, "mappings/payments/deploy.yaml": ONCE})
    return compile_policy(sources, dev=False, today=TODAY, serving=serving)


@pytest.mark.requirement("TV-42")
def test_several_workers_without_a_shared_store_are_an_error_of_the_rule_that_needs_one(
    tmp_path: Path,
) -> None:
    result = with_workers(tmp_path)

    (finding,) = result.findings
    assert (finding.code, finding.severity) == ("store_not_shared", "error")
    assert str(finding.place) == "mappings/payments/deploy.yaml:10:13"
    assert "Rule deploy" in finding.message
    assert result.policy is not None
    assert list(result.policy.rules) == ["ops.watch"]


@pytest.mark.requirement("TV-42")
@pytest.mark.parametrize(
    "serving",
    [
        pytest.param(Serving(workers=4, shared=True), id="shared"),
        pytest.param(Serving(workers=1), id="one-process"),
    ],
)
def test_how_the_service_really_runs_outweighs_what_the_file_says(tmp_path: Path, serving: Serving) -> None:
    result = with_workers(tmp_path, serving)

    assert result.findings == ()


@pytest.mark.requirement("TV-42")
def test_several_workers_with_a_state_in_common_may_count(tmp_path: Path) -> None:
    shared = FOUR + "state: { url: rediss://state.acme.example:6379/0 }\n"

    result = compiled(tmp_path, {"gateway.yaml": shared, "mappings/payments/deploy.yaml": ONCE})

    assert result.findings == ()


@pytest.mark.requirement("TV-42")
def test_several_workers_need_no_shared_store_when_no_rule_counts(tmp_path: Path) -> None:
    result = compiled(tmp_path, {"gateway.yaml": FOUR})

    assert result.findings == ()


@pytest.mark.requirement("TV-40")
@pytest.mark.parametrize(
    ("several", "expected"),
    [
        ((), "off"),
        (("off", "per-request"), "per-request"),
        (("once", "per-request", "off"), "once"),
        (("per-request", "once"), "once"),
    ],
)
def test_of_several_the_strictest_counts(several: tuple[Replay, ...], expected: Replay) -> None:
    assert strictest(several) == expected


@pytest.mark.requirement("TV-40")
def test_of_several_rules_that_match_the_strictest_counts_and_of_others_none() -> None:
    wanted = [is_("ref", "x")]
    rules = policy(
        rule("a", wanted, start(), obtain()),
        replace(rule("b", wanted, start()), replay="per-request"),
        replace(rule("c", wanted, start()), replay="once"),
        replace(rule("d", [is_("ref", "y")], obtain()), replay="once"),
    )
    claims = Claims(issuer="github", members={"ref": "x"})

    starting = decide(claims, Start(workflow="deploy"), rules, now=NOW)
    obtaining = decide(claims, Obtain(target="deployer", form="aws-credentials"), rules, now=NOW)

    assert isinstance(starting, Allowed)
    assert isinstance(obtaining, Allowed)
    assert (starting.replay, obtaining.replay) == ("once", "off")
    assert grants_of(claims, rules, now=NOW) == (
        Held(grant=start(), replay="once"),
        Held(grant=obtain(), replay="off"),
    )
