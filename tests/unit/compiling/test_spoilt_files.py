"""Files that were cut short, garbled or written twice over: `check` always answers, and nobody may do more than before."""

from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Final

import pytest

from gateway.compiling.compiled import Compiled
from gateway.identity.token import Claims
from gateway.policy.decide import grants_of
from tests.support.config_folder import GATEWAY, GOOD, OPS, PAYMENTS, TARGETS, compiled

NOW: Final = 1_795_342_623.0
FILES: Final[Mapping[str, str]] = {
    "gateway.yaml": GATEWAY,
    "targets.yaml": TARGETS,
    "mappings/payments/deploy.yaml": PAYMENTS,
    "mappings/ops.yaml": OPS,
}
# Who asks: the identities of the rules, and those that lack one thing or have another value of it.
_CALLERS: Final = tuple(
    Claims(issuer=issuer, members={"repository_owner_id": "12", "azp": "nw7"} | members)
    for issuer, members in (
        ("github", {"repository_id": "4711", "ref": "refs/heads/main"}),
        ("github", {"repository_id": "4711", "ref": "refs/heads/other"}),
        ("github", {"repository_id": "4711"}),
        ("github", {"ref": "refs/heads/main"}),
        ("github", {"repository_id": "4711", "ref": "refs/heads/main", "repository_owner_id": "13"}),
        ("github", {}),
        ("partners", {"sub": "nw7@clients"}),
        ("partners", {"sub": "somebody"}),
        ("partners", {}),
    )
)


def powers(found: Compiled) -> set[tuple[int, str, str, str]]:
    """Return who may do what as what: number of the caller, verb, object, and the target (of whose ARN any spelling is one)."""
    policy = found.policy
    if policy is None:
        return set()
    return {
        (
            number,
            held.grant.verb,
            held.grant.workflow.name if held.grant.workflow else "",
            held.grant.target.name,
        )
        for number, caller in enumerate(_CALLERS)
        for held in grants_of(caller, policy, now=NOW)
    }


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> set[tuple[int, str, str, str]]:
    """Who may do what under the good files."""
    found = powers(compiled(tmp_path_factory.mktemp("before")))
    assert {one[0] for one in found} == {0, 6}
    return found


@pytest.mark.requirement("MP-05", "MP-06")
@pytest.mark.parametrize("file", FILES)
def test_a_file_that_was_cut_anywhere_gives_nobody_more(
    tmp_path: Path, before: set[tuple[int, str, str, str]], file: str
) -> None:
    text = FILES[file]

    for length in range(0, len(text), 3):
        found = compiled(tmp_path, {file: text[:length]})
        assert powers(found) <= before, text[:length]
        # Only a cut that takes nothing but white space, or whole entries off the end, goes unsaid.
        assert found.policy is not None or found.errors


# A comment sign or a line taken away is somebody's wish; these are not.
_NOISE: Final[tuple[str, ...]] = (
    *"\0\t\"'`{}[]:,&*!|>%@-?~=<.\\ \n\r\x85\u2028é\U0001f600aA0",
    *("- ", ": ", "<<: ", "...\n", "---\n", "!!x "),
)


def spoilt(text: str, random: Random) -> str:
    """Return the text with a piece of noise in it, a character replaced, or a stretch of it written twice."""
    at = random.randrange(len(text))
    match random.randrange(3):
        case 0:
            return text[:at] + random.choice(_NOISE) + text[at:]
        case 1:
            return text[:at] + random.choice(_NOISE) + text[at + 1 :]
        case _:
            return text[: at + random.randrange(1, 60)] + text[at:]


@pytest.mark.requirement("MP-05", "MP-06")
@pytest.mark.parametrize("file", FILES)
def test_noise_in_a_file_gives_nobody_more_and_is_no_fault_of_ours(
    tmp_path: Path, before: set[tuple[int, str, str, str]], file: str
) -> None:
    random = Random(file)
    refused = 0

    for _ in range(300):
        text = spoilt(FILES[file], random)
        found = compiled(tmp_path, {file: text.encode("utf-8", "surrogatepass")})
        assert powers(found) <= before, text
        refused += found.errors > 0

    assert refused > 100


def test_the_probe_sees_a_condition_that_is_gone(
    tmp_path: Path, before: set[tuple[int, str, str, str]]
) -> None:
    without = PAYMENTS.replace(", ref: refs/heads/main", "")

    found = compiled(tmp_path, {"mappings/payments/deploy.yaml": without})

    assert not powers(found) <= before
    assert set(GOOD) == set(FILES)
