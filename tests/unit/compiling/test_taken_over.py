"""A reload that takes over what has not changed ends where a start from nothing does."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gateway.compiling import compile as compiling
from gateway.compiling.folder import FolderLoad, Loaded
from gateway.policy import census
from gateway.policy.index import Drawer, GrantIndex
from tests.support.clocks import SettableClock
from tests.support.config_folder import GATEWAY, GOOD, PAYMENTS, TARGETS, write_folder
from tests.support.copied import ROOT

NAMES = ("one", "two", "three")
CLAIMS = (
    '{ repository_id: "4711" }',
    '{ repository_id: "4711", ref: refs/heads/main }',
    '{ repository_id: "4712", ref: refs/heads/main }',
    '{ repository_id: { any_of: ["4711", "4713"] }, environment: prod }',
    '{ repository_id: "4714", ref: main }',  # a value that is unlikely: a warning
)
PARTNERS = (
    "{ sub: nw7@clients }",
    "{ sub: nw7@clients, permissions: { contains_all: [read, write] } }",
    "{ sub: { any_of: [nw7@clients, nw8@clients] }, permissions: { contains_any: [read, sweep] } }",
)
GRANTS = (
    "{ start: deploy, as: shared }",
    "{ obtain: shared }",
    "{ obtain: prod }",  # another team's, for ops: inert
    "{ view: deploy, as: prodd }",  # misspelt: holds the team back
)
FILES = (
    "mappings/payments/deploy.yaml",
    "mappings/payments/more.yaml",
    "mappings/payments/sub/last.yaml",
    "mappings/ops.yaml",
    "mappings/ops/more.yaml",
)
TESTS = "mappings/payments/deploy.test.yaml"
MUST_NOT = """\
format: oidc-gateway/tests.v1
tests:
  - name: strangers
    issuer: github
    claims: { repository_id: "4713", repository_owner_id: "12", environment: prod }
    may_not: [{ obtain: shared }]
"""

rules = st.builds(
    lambda name, issuer, claims, grants, last_day: (
        f"  - name: {name}\n    why: test\n    issuer: {'github' if issuer else 'partners'}\n"
        f"    claims: {(CLAIMS if issuer else PARTNERS)[claims % (5 if issuer else 3)]}\n"
        f"    grants: [{', '.join(sorted({GRANTS[one] for one in grants}))}]\n"
        + (f'    last_day: "{last_day}"\n' if last_day else "")
    ),
    st.sampled_from(NAMES),
    st.booleans(),
    st.integers(0, 14),
    st.lists(st.sampled_from([0, 0, 0, 1, 1, 2, 3]), min_size=1, max_size=3),
    st.sampled_from(["", "", "", "2020-01-31"]),
)
contents = st.one_of(
    st.lists(rules, min_size=1, max_size=4).map(
        lambda some: "format: oidc-gateway/mapping.v1\nrules:\n" + "".join(some)
    ),
    st.sampled_from([None, "rules: [\n", PAYMENTS]),
)
edits = st.one_of(
    st.tuples(st.sampled_from(FILES), contents),
    st.tuples(st.just(TESTS), st.sampled_from([None, MUST_NOT, MUST_NOT.replace("shared", "sharred")])),
    st.tuples(
        st.just("gateway.yaml"), st.sampled_from([GATEWAY, GATEWAY.replace("[github, partners]", "[github]")])
    ),
    st.tuples(
        st.just("targets.yaml"),
        st.sampled_from([TARGETS, TARGETS.replace("teams: [payments, ops] }", "teams: [ops] }"), "nonsense"]),
    ),
)


@pytest.mark.requirement("MP-05", "MP-06")
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(
    steps=[[(FILES[0], None), (TESTS, MUST_NOT)], [(FILES[0], "rules: [\n")]]
)  # tests without a file of rules
@given(steps=st.lists(st.lists(edits, min_size=1, max_size=3), min_size=2, max_size=6))
def test_whatever_is_edited_a_reload_ends_where_a_load_from_nothing_does(
    monkeypatch: pytest.MonkeyPatch, steps: list[list[tuple[str, str | None]]]
) -> None:
    monkeypatch.setattr(census, "_FEW", 1)  # so that a few rules have to be filed anew,
    monkeypatch.setattr(compiling, "MAX_RULES", 6)  # and that they are too many
    with tempfile.TemporaryDirectory() as name:
        folder = write_folder(Path(name), GOOD)
        load = FolderLoad(folder, dev=True, clock=SettableClock())
        seen = active = load(None, None)

        for step in steps:
            edit(folder, dict(step))
            anew = load(None, bare(active))
            seen = load(seen, active)

            assert everything(seen) == everything(anew)
            active = seen if seen.policy is not None else active


def edit(folder: Path, changes: Mapping[str, str | None]) -> None:
    there = {name: text for name, text in changes.items() if text is not None or (folder / name).exists()}
    write_folder(folder, there)


def bare(loaded: Loaded) -> Loaded:
    """Return what stays in force of broken teams, without anything that could be taken over."""
    compiled = loaded.compiled
    return (
        loaded
        if compiled is None
        else replace(loaded, compiled=replace(compiled, policy=None, settled=None, made={}))
    )


def everything(loaded: Loaded) -> object:
    """Return all that a load says, as plain values."""
    compiled, policy = loaded.compiled, loaded.policy
    assert compiled is not None
    return (
        [(one.code, one.severity, one.place, one.message, one.fix) for one in loaded.findings],
        (loaded.held_back, loaded.without_rules, loaded.inert_grants),
        dict(compiled.teams),
        compiled.cases,
        {name: [one.document.digest for one in files] for name, files in compiled.kept.items()},
        dict(compiled.kept_tests),
        policy
        and (policy.digest, list(policy.rules.items()), dict(policy.requirements), filed(policy.index)),
    )


def filed(index: GrantIndex) -> object:
    """Return which grant is filed where, and in which order."""
    drawers: list[tuple[object, Drawer]] = [*index._by_object.items(), *index._by_issuer.items()]
    return {
        name: (drawer.claims, drawer.targets, drawer.forms, list(entries(drawer))) for name, drawer in drawers
    }


def entries(drawer: Drawer) -> Iterator[object]:
    yield [(entry.rule.id, entry.grant, entry.actors) for entry in drawer._loose]
    for where, keys in drawer._by_claim.items():
        yield (
            where,
            {
                key: [(entry.rule.id, entry.grant, entry.places, entry.actors) for entry in found]
                for key, found in keys.items()
            },
        )


_IN_A_PROCESS_OF_ITS_OWN = """
import gc, sys
from pathlib import Path
from gateway.clock import SystemClock
from gateway.compiling.folder import FolderLoad

load = FolderLoad(Path(sys.argv[1]), dev=False, clock=SystemClock())
load(None, None)  # what is loaded and made once
gc.collect()
gc.disable()
loaded = load(None, None)
policy = id(loaded.policy)
del loaded
print(policy in map(id, gc.get_objects()), gc.collect())
"""


def test_what_a_reload_replaces_is_freed_without_the_collector(tmp_path: Path) -> None:
    write_folder(tmp_path, GOOD)

    command = [sys.executable, "-c", _IN_A_PROCESS_OF_ITS_OWN, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)

    # No cycle at all: a process that serves never looks through these objects again.
    assert done.stdout.split() == ["False", "0"]
